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
    worker::{Listen, Worker},
};
use crate::{
    admin::guard::{Caller, Credential, TokenFile},
    config::{
        self,
        model::{self, Direction},
    },
    listener,
};

/// The listeners that are being served, by name.
#[derive(Default)]
pub(super) struct Listeners(Mutex<HashMap<Arc<str>, Bound>>);

/// A listener that is being served.
struct Bound {
    params: Arc<ArcSwap<model::Listener>>,
    stop: watch::Sender<bool>,
}

impl Listeners {
    /// Binds what is new or has moved, for `workers`, then lets go of the old addresses.
    pub(super) fn bind(&self, listeners: &[Arc<model::Listener>], workers: &[Worker]) -> Result<(), StartError> {
        let mut bound = self.0.lock();
        let mut fresh = Vec::new();
        for listener in listeners {
            if bound.get(&listener.name).is_some_and(|bound| bound.params.load().address == listener.address) {
                continue;
            }
            let sockets = listener::listen(listener.address, workers.len()).map_err(|source| StartError::Listen {
                address: listener.address,
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
        for (listener, sockets) in fresh {
            let stop = watch::Sender::new(false);
            let params = Arc::new(ArcSwap::new(listener.clone()));
            for (worker, socket) in workers.iter().zip(sockets) {
                let listen = Listen { params: params.clone(), socket, stop: stop.subscribe() };
                // A worker ends only when this end of the channel is dropped.
                let _ = worker.sockets.send(listen);
            }
            tracing::info!(listener = %listener.name, address = %listener.address, "listening");
            if let Some(moved) = bound.insert(listener.name.clone(), Bound { params, stop }) {
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
        for bound in self.0.lock().values().filter(|bound| bound.params.load().direction == direction) {
            let _ = bound.stop.send(true);
        }
    }
}

/// The socket of the probes: on all interfaces, if that is asked for, also where the kernel has no IPv6.
pub(super) async fn bind_probes(address: SocketAddr) -> Result<TcpListener, StartError> {
    let refused = |source| StartError::Listen { address, what: "probes".into(), source };
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
        Err(source) => Err(StartError::Listen { address: *address, what: "admin".into(), source }),
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
