//! Opening a connection to an endpoint: resolve and connect, within `connect_timeout`.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::handshake::{Handshake, Spoken};
use crate::wire::transport::Transport;
use http::uri::Authority;
use mainstay_policies::evidence::{AttemptError, Cause, Sent};
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout_at},
};

/// Where an endpoint is, with a literal address already parsed.
pub(crate) struct Target {
    pub(crate) authority: Authority,
    port: u16,
    literal: Option<SocketAddr>,
    /// Over TLS, that is how.
    pub(super) tls: Option<Handshake>,
    /// How long what was sent may stay unacknowledged, in ms; 0: as long as the system says.
    unacknowledged_ms: AtomicU64,
}

impl Target {
    pub(crate) fn new(authority: Authority) -> Self {
        let port = authority.port_u16().unwrap_or(80);
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let literal = host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, port));
        Self { authority, port, literal, tls: None, unacknowledged_ms: AtomicU64::new(0) }
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
        let stream = match self.literal {
            Some(address) => TcpStream::connect(address).await.map_err(unconnected)?,
            None => self.connect_by_name().await?,
        };
        stream.set_nodelay(true).map_err(unconnected)?;
        let bound = self.unacknowledged_ms.load(Relaxed);
        if bound > 0 {
            let socket = socket2::SockRef::from(&stream);
            socket.set_tcp_user_timeout(Some(Duration::from_millis(bound))).map_err(unconnected)?;
        }
        Ok(stream)
    }

    /// Tries each resolved address in turn; the last error stands.
    async fn connect_by_name(&self) -> Result<TcpStream, AttemptError> {
        let unresolved = |error| AttemptError::new(Cause::Connect, Sent::No).named(DNS).with_source(error);
        let mut last = unresolved(io::Error::new(io::ErrorKind::NotFound, "the name resolves to no address"));
        for address in lookup_host((self.authority.host(), self.port)).await.map_err(unresolved)? {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = unconnected(error),
            }
        }
        Err(last)
    }
}

/// The words for a connection that was not made.
pub(super) const DNS: &str = "dns";
pub(super) const REFUSED: &str = "refused";
pub(super) const TIMED_OUT: &str = "connect_timeout";

fn unconnected(error: io::Error) -> AttemptError {
    let attempt = AttemptError::new(Cause::Connect, Sent::No);
    match error.kind() {
        io::ErrorKind::ConnectionRefused => attempt.named(REFUSED),
        io::ErrorKind::TimedOut => attempt.named(TIMED_OUT),
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
    let stream = tcp(target, deadline).await?;
    match &target.tls {
        Some(tls) => tls.shake(stream, spoken, deadline).await,
        None => Ok((Transport::Clear(stream), spoken.unwrap_or(Spoken::Http1))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_lies_in_a_dead_socket_does_not_arrive_later_than_it_may() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string().parse().unwrap();
        let target = Target::new(authority);
        let bound_of = async || {
            let stream = target.connect().await.unwrap();
            socket2::SockRef::from(&stream).tcp_user_timeout().unwrap().unwrap_or_default()
        };
        assert_eq!(bound_of().await, Duration::ZERO, "the system's own");
        target.bound_delivery(Some(Duration::from_secs(5)));
        assert_eq!(bound_of().await, Duration::from_secs(5));
    }
}
