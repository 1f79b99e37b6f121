//! Opening a connection to an endpoint: resolve and connect, within `connect_timeout`.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use http::uri::Authority;
use mainstay_policies::evidence::{AttemptError, Cause, Sent};
use tokio::{
    net::{TcpStream, UnixStream},
    time::{Instant, sleep, timeout_at},
};

use super::{
    handshake::{Handshake, Spoken},
    names::{HearsAddresses, Name, race},
};
use crate::{
    config::model::{self, Resolve},
    wire::transport::Transport,
};

/// Where an endpoint is, with a literal address already parsed.
pub(crate) struct Target {
    pub(crate) authority: Authority,
    place: Place,
    /// Over TLS, that is how.
    pub(super) tls: Option<Handshake>,
    /// How long what was sent may stay unacknowledged, in ms; 0: as long as the system says.
    unacknowledged_ms: Arc<AtomicU64>,
}

/// Where to connect.
enum Place {
    Address(SocketAddr),
    Name(Arc<Name>),
    /// One of the addresses of a name. The count is odd while it is none of them.
    OfName(SocketAddr, AtomicU32),
    /// A Unix socket.
    Socket(Arc<Path>),
}

impl Target {
    pub(crate) fn new(authority: Authority, resolve: &Resolve) -> Self {
        let port = authority.port_u16().unwrap_or(80);
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let place = match host.parse::<IpAddr>() {
            Ok(ip) => Place::Address(SocketAddr::new(ip, port)),
            Err(_) => Place::Name(Arc::new(Name::new(host, port, resolve))),
        };
        Self { authority, place, tls: None, unacknowledged_ms: Arc::default() }
    }

    /// An endpoint as it is written.
    pub(super) fn of(endpoint: &model::Endpoint, resolve: &Resolve) -> Self {
        let target = Self::new(endpoint.authority.clone(), resolve);
        if endpoint.is_rooted && matches!(target.place, Place::Name(_)) {
            let authority = &endpoint.authority;
            let name = Name::new(&format!("{}.", authority.host()), authority.port_u16().unwrap_or(80), resolve);
            return Self { place: Place::Name(Arc::new(name)), ..target };
        }
        match (&endpoint.socket, &endpoint.service) {
            (Some(path), _) => Self { place: Place::Socket(path.clone()), ..target },
            (None, Some(service)) => {
                Self { place: Place::Name(Arc::new(Name::of_service(service, resolve))), ..target }
            }
            (None, None) => target,
        }
    }

    /// The addresses that it stands for now; waits for them. None of a Unix socket.
    pub(super) async fn addresses(&self) -> Result<Vec<SocketAddr>, String> {
        match &self.place {
            Place::Address(address) | Place::OfName(address, _) => Ok(vec![*address]),
            Place::Name(name) => name.addresses().await,
            Place::Socket(_) => Ok(Vec::new()),
        }
    }

    /// One of the addresses that the name stands for.
    pub(super) fn at_address(&self, address: SocketAddr) -> Self {
        let place = Place::OfName(address, AtomicU32::new(0));
        let unacknowledged_ms = self.unacknowledged_ms.clone();
        Self { authority: self.authority.clone(), place, tls: None, unacknowledged_ms }
    }

    /// Whether it is a name that others are asked for.
    pub(super) fn is_resolved(&self) -> bool {
        matches!(&self.place, Place::Name(name) if name.is_asked_for())
    }

    /// Its address; `None` for a name.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match &self.place {
            Place::Address(address) | Place::OfName(address, _) => Some(*address),
            Place::Name(_) | Place::Socket(_) => None,
        }
    }

    /// The Unix socket that it is.
    pub(super) fn socket(&self) -> Option<&Arc<Path>> {
        match &self.place {
            Place::Socket(path) => Some(path),
            _ => None,
        }
    }

    /// Tells this the addresses of a name whenever they have changed.
    pub(super) fn on_change(&self, heard: Box<dyn HearsAddresses>) {
        if let Place::Name(name) = &self.place {
            name.on_change(heard);
        }
    }

    /// Its name no longer stands for the address: no connection is kept.
    pub(super) fn leave(&self) {
        if let Place::OfName(_, moves) = &self.place {
            moves.fetch_or(1, Relaxed);
        }
    }

    /// Its name stands for the address again.
    pub(super) fn come(&self) {
        if let Place::OfName(_, moves) = &self.place
            && is_away(moves)
        {
            moves.fetch_add(1, Relaxed);
        }
    }

    /// The same over TLS.
    pub(super) fn over(self, tls: Option<Handshake>) -> Self {
        Self { tls, ..self }
    }

    /// What is sent over connections that are opened from now on arrives within `bound`, or never. `None`: when the system says.
    pub(super) fn bound_delivery(&self, bound: Option<Duration>) {
        let ms = bound.map_or(0, |bound| u64::try_from(bound.as_millis()).unwrap_or(u64::MAX));
        self.unacknowledged_ms.store(ms, Relaxed);
    }

    async fn connect(&self) -> Result<TcpStream, AttemptError> {
        let stream = match &self.place {
            Place::Address(address) | Place::OfName(address, _) => {
                TcpStream::connect(address).await.map_err(unconnected)?
            }
            Place::Name(name) => by_name(name).await?,
            Place::Socket(_) => return Err(AttemptError::new(Cause::Connect, Sent::No).with_source("a Unix socket")),
        };
        stream.set_nodelay(true).map_err(unconnected)?;
        let bound = self.unacknowledged_ms.load(Relaxed);
        if bound > 0 {
            let socket = socket2::SockRef::from(&stream);
            socket.set_tcp_user_timeout(Some(Duration::from_millis(bound))).map_err(unconnected)?;
        }
        Ok(stream)
    }

    /// How often the addresses that it stands for have changed.
    pub(super) fn generation(&self) -> u32 {
        match &self.place {
            Place::Address(_) | Place::Socket(_) => 0,
            Place::OfName(_, moves) => moves.load(Relaxed),
            Place::Name(name) => name.generation(),
        }
    }

    /// Whether a connection leads where it would be opened now.
    pub(super) fn still_leads(&self, stream: &Transport) -> bool {
        match &self.place {
            Place::Address(_) | Place::Socket(_) => true,
            Place::OfName(_, moves) => !is_away(moves),
            Place::Name(_) => {
                let peer = stream.tcp().and_then(|stream| stream.peer_addr().ok());
                peer.is_some_and(|address| self.stands_for(address))
            }
        }
    }

    /// Whether an address is one of those that it stands for.
    pub(super) fn stands_for(&self, address: SocketAddr) -> bool {
        match &self.place {
            Place::Address(own) => *own == address,
            Place::OfName(own, moves) => *own == address && !is_away(moves),
            Place::Name(name) => name.stands_for(address),
            Place::Socket(_) => false,
        }
    }

    /// Lets a name be asked for again, if it is time.
    pub(super) fn renew(&self) {
        if let Place::Name(name) = &self.place {
            name.renew();
        }
    }

    /// Answers about its name, and answers that were none; nothing of an address.
    pub(super) fn resolutions(&self) -> Option<[u64; 2]> {
        match &self.place {
            Place::Address(_) | Place::OfName(..) | Place::Socket(_) => None,
            Place::Name(name) => Some(name.resolutions()),
        }
    }
}

fn is_away(moves: &AtomicU32) -> bool {
    moves.load(Relaxed) % 2 == 1
}

/// A connection to one of the addresses of a name.
async fn by_name(name: &Arc<Name>) -> Result<TcpStream, AttemptError> {
    let unresolved = |why: String| AttemptError::new(Cause::Connect, Sent::No).named(DNS).with_source(why);
    let addresses = name.addresses().await.map_err(unresolved)?;
    match race(&addresses, TcpStream::connect).await {
        Some(connected) => connected.map_err(unconnected),
        None => Err(unresolved("the name stands for no address".to_owned())),
    }
}

/// The words for a connection that was not made.
pub(super) const DNS: &str = "dns";
pub(super) const REFUSED: &str = "refused";
pub(super) const TIMED_OUT: &str = "connect_timeout";
/// There is no such socket: the service has not made it yet, or has taken it away.
pub(super) const ABSENT: &str = "absent";
/// The socket is there, and may not be used by this user.
pub(super) const NO_PERMISSION: &str = "denied";

fn unconnected(error: io::Error) -> AttemptError {
    let attempt = AttemptError::new(Cause::Connect, Sent::No);
    match error.kind() {
        io::ErrorKind::ConnectionRefused => attempt.named(REFUSED),
        io::ErrorKind::TimedOut => attempt.named(TIMED_OUT),
        io::ErrorKind::NotFound => attempt.named(ABSENT),
        io::ErrorKind::PermissionDenied => attempt.named(NO_PERMISSION),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => attempt.named("unreachable"),
        _ => attempt,
    }
    .with_source(error)
}

/// Opens a connection before `deadline`. Nothing of a request can have been sent if this fails.
pub(crate) async fn tcp(target: &Target, deadline: Instant) -> Result<TcpStream, AttemptError> {
    match timeout_at(deadline, target.connect()).await {
        Ok(connected) => connected,
        Err(_) => Err(AttemptError::new(Cause::Connect, Sent::No).named(TIMED_OUT).with_source("connect_timeout")),
    }
}

/// The same, ready for a request over `spoken`, or over what the endpoint chooses, if that is to be found out.
pub(super) async fn ready(
    target: &Target,
    spoken: Option<Spoken>,
    deadline: Instant,
) -> Result<(Transport, Spoken), AttemptError> {
    if let Place::Socket(path) = &target.place {
        return Ok((Transport::Local(local(path, deadline).await?), spoken.unwrap_or(Spoken::Http1)));
    }
    let stream = tcp(target, deadline).await?;
    match &target.tls {
        Some(tls) => tls.shake(stream, spoken, deadline).await,
        None => Ok((Transport::Clear(stream), spoken.unwrap_or(Spoken::Http1))),
    }
}

/// Between two tries where the service has not taken those who wait already: its queue is full, and nobody is told when it is not.
const QUEUE_PAUSE: Duration = Duration::from_millis(5);

/// The same to a Unix socket. What is written there lies with the service at once, so no bound on its delivery is needed.
async fn local(path: &Path, deadline: Instant) -> Result<UnixStream, AttemptError> {
    let connected = timeout_at(deadline, async {
        loop {
            match UnixStream::connect(path).await {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(QUEUE_PAUSE).await,
                connected => return connected,
            }
        }
    });
    match connected.await {
        Ok(connected) => connected.map_err(unconnected),
        Err(_) => Err(AttemptError::new(Cause::Connect, Sent::No).named(TIMED_OUT).with_source("connect_timeout")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_lies_in_a_dead_socket_does_not_arrive_later_than_it_may() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string().parse().unwrap();
        let target = Target::new(authority, &Resolve::default());
        let bound_of = async || {
            let stream = target.connect().await.unwrap();
            socket2::SockRef::from(&stream).tcp_user_timeout().unwrap().unwrap_or_default()
        };
        assert_eq!(bound_of().await, Duration::ZERO, "the system's own");
        target.bound_delivery(Some(Duration::from_secs(5)));
        assert_eq!(bound_of().await, Duration::from_secs(5));
    }
}
