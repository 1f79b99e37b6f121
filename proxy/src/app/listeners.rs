//! Sockets: bound, moved to another address, let go.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::{net::TcpListener, sync::watch};

use super::{
    error::StartError,
    worker::{Listen, Listening, Worker},
};
use crate::{
    admin::guard::{Caller, Credential, TokenFile},
    config::{
        self,
        model::{self, Direction},
    },
    listener::{self, local::SocketFile},
};

/// The listeners that are being served, by name.
#[derive(Default)]
pub(super) struct Listeners(Mutex<HashMap<Arc<str>, Bound>>);

/// A listener that is being served.
struct Bound {
    params: Arc<ArcSwap<model::Listener>>,
    stop: watch::Sender<bool>,
    /// Of a Unix socket, for as long as somebody is accepted there.
    file: Option<SocketFile>,
}

/// The sockets of a listener, one for each worker.
type Sockets = (Vec<Listening>, Option<SocketFile>);

impl Listeners {
    /// Binds what is new or has moved, for `workers`, then lets go of the old addresses.
    pub(super) fn bind(&self, listeners: &[Arc<model::Listener>], workers: &[Worker]) -> Result<(), StartError> {
        let mut bound = self.0.lock();
        let mut fresh = Vec::new();
        for listener in listeners {
            if bound.get(&listener.name).is_some_and(|bound| bound.params.load().address == listener.address) {
                continue;
            }
            let sockets = open(&listener.address, workers.len()).map_err(|source| StartError::Listen {
                address: listener.address.to_string(),
                what: format!("listener `{}`", listener.name),
                source,
            })?;
            fresh.push((listener.clone(), sockets));
        }
        for listener in listeners {
            if let Some(bound) = bound.get(&listener.name) {
                bound.params.store(listener.clone());
            }
        }
        for (listener, (sockets, file)) in fresh {
            let stop = watch::Sender::new(false);
            let params = Arc::new(ArcSwap::new(listener.clone()));
            for (worker, socket) in workers.iter().zip(sockets) {
                let listen = Listen { params: params.clone(), socket, stop: stop.subscribe() };
                // A worker ends only when this end of the channel is dropped.
                let _ = worker.sockets.send(listen);
            }
            tracing::info!(listener = %listener.name, address = %listener.address, "listening");
            if let Some(moved) = bound.insert(listener.name.clone(), Bound { params, stop, file }) {
                let _ = moved.stop.send(true);
            }
        }
        Ok(())
    }

    /// Lets go of those that a configuration has no more.
    pub(super) fn retain(&self, listeners: &[Arc<model::Listener>]) {
        self.0.lock().retain(|name, bound| {
            let kept = listeners.iter().any(|listener| listener.name == *name);
            if !kept {
                let _ = bound.stop.send(true);
            }
            kept
        });
    }

    /// Accepts no more in that direction.
    pub(super) fn stop(&self, direction: Direction) {
        for bound in self.0.lock().values_mut().filter(|bound| bound.params.load().direction == direction) {
            bound.file.take();
            let _ = bound.stop.send(true);
        }
    }
}

/// Binds an address, for so many workers.
fn open(address: &model::Address, workers: usize) -> io::Result<Sockets> {
    match address {
        model::Address::Internet(address) => {
            let sockets = listener::listen(*address, workers)?;
            Ok((sockets.into_iter().map(Listening::Internet).collect(), None))
        }
        model::Address::Unix(path) => {
            let (sockets, file) = listener::local::listen(path, workers)?;
            Ok((sockets.into_iter().map(Listening::Unix).collect(), Some(file)))
        }
    }
}

/// The socket of the probes: on all interfaces, if that is asked for, also where the kernel has no IPv6.
pub(super) async fn bind_probes(address: SocketAddr) -> Result<TcpListener, StartError> {
    let refused = |source| StartError::Listen { address: address.to_string(), what: "probes".into(), source };
    match TcpListener::bind(address).await {
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && error.kind() != io::ErrorKind::AddrInUse => {
            let without = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            TcpListener::bind(without).await.map_err(|_| refused(error))
        }
        bound => bound.map_err(refused),
    }
}

/// The operators' socket. Without it the proxy protects writes all the same; so if another process, perhaps another
/// Mainstay of this pod, has the address that nobody chose, the start goes on.
pub(super) async fn bind_admin(
    admin: Option<&model::Admin>,
) -> Result<Option<(TcpListener, Vec<Credential>)>, StartError> {
    let Some(settings @ model::Admin { address, .. }) = admin else { return Ok(None) };
    match TcpListener::bind(address).await {
        Ok(socket) => {
            tracing::info!(address = %socket.local_addr().unwrap_or(*address), "operators are served");
            Ok(Some((socket, credentials(settings)?)))
        }
        Err(error) if admin == Some(&config::default_admin()) && error.kind() == io::ErrorKind::AddrInUse => {
            tracing::warn!(
                %address,
                "another process has this address: this one runs without its operators' interface. Give it another \
                 `admin.address`, or say `admin: off`"
            );
            Ok(None)
        }
        Err(source) => Err(StartError::Listen { address: address.to_string(), what: "admin".into(), source }),
    }
}

/// Whom the operators' interface knows.
fn credentials(admin: &model::Admin) -> Result<Vec<Credential>, StartError> {
    let unnamed = admin.token_file.iter().map(|file| (file, Caller::default()));
    let named = admin.tokens.iter().map(|token| {
        let caller = Caller { name: Some(token.name.clone()), read_only: token.read_only };
        (&token.file, caller)
    });
    let open = |(path, caller): (&std::path::PathBuf, Caller)| match TokenFile::open(path) {
        Ok(file) => Ok(Credential { file, caller }),
        Err(source) => Err(StartError::Token { path: path.clone(), source }),
    };
    unnamed.chain(named).map(open).collect()
}
