//! Sockets: bound, moved to another address, let go.

use std::{io, sync::Arc};

use arc_swap::ArcSwap;
use tokio::{net::TcpListener, sync::watch};

use super::{App, error::StartError, worker::Listen};
use crate::{
    admin::guard::TokenFile,
    config::{self, model},
    listener,
};

/// A listener that is being served.
pub(super) struct Bound {
    params: Arc<ArcSwap<model::Listener>>,
    pub(crate) stop: watch::Sender<bool>,
}

impl App {
    /// Binds what is new or has moved, then lets go of the old addresses.
    pub(crate) fn listen(&self, listeners: &[Arc<model::Listener>]) -> Result<(), StartError> {
        let mut bound = self.listeners.lock();
        let mut fresh = Vec::new();
        for listener in listeners {
            if bound.get(&listener.name).is_some_and(|bound| bound.params.load().address == listener.address) {
                continue;
            }
            let sockets = listener::listen(listener.address, self.workers.len()).map_err(|source| {
                StartError::Listen { address: listener.address, what: format!("listener `{}`", listener.name), source }
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
            for (worker, socket) in self.workers.iter().zip(sockets) {
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
}

/// The operators' socket. Without it the proxy protects writes all the same; so if another process, perhaps another
/// Mainstay of this pod, has the address that nobody chose, the start goes on.
pub(super) async fn bind_admin(
    admin: Option<&model::Admin>,
) -> Result<Option<(TcpListener, Option<TokenFile>)>, StartError> {
    let Some(model::Admin { address, token_file }) = admin else { return Ok(None) };
    let token = token_file
        .as_deref()
        .map(|path| TokenFile::open(path).map_err(|source| StartError::Token { path: path.to_owned(), source }));
    match TcpListener::bind(address).await {
        Ok(socket) => {
            tracing::info!(address = %socket.local_addr().unwrap_or(*address), "operators are served");
            Ok(Some((socket, token.transpose()?)))
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
