//! TLS with those who run the proxy, before their first request.

use std::{net::SocketAddr, sync::Arc};

use tokio::net::TcpStream;

use crate::{
    listener::handshake::{Shaken, shake},
    runtime::Runtime,
    telemetry::metrics::{ConnectionGuard, ListenerMetrics},
    wire::{
        tls::{Acceptor, Caller, Names},
        transport::Transport,
    },
};

/// How a connection came.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrival {
    /// Through TLS.
    pub(super) is_secure: bool,
    /// Whom its certificate names, if it has shown one.
    pub(super) certified: Option<Arc<str>>,
}

/// The operators' listener, where it speaks TLS.
pub(super) struct Secure {
    /// In logs and metrics.
    name: &'static str,
    acceptor: Arc<Acceptor>,
    runtime: Arc<Runtime>,
    metrics: ListenerMetrics,
}

impl Secure {
    /// `None` where it speaks in clear.
    pub(super) fn of(runtime: &Arc<Runtime>, name: &'static str) -> Option<Arc<Self>> {
        let acceptor = runtime.snapshot.load().secured.admin.clone()?;
        let metrics = runtime.resources.metrics.listener(name);
        Some(Arc::new(Self { name, acceptor, runtime: Arc::clone(runtime), metrics }))
    }

    /// Counts a connection for as long as it is open.
    pub(super) fn connection(&self) -> ConnectionGuard {
        self.metrics.connection()
    }

    /// Shakes hands with whoever calls; who is not let in is counted, and told of in the log.
    pub(super) async fn shake(&self, stream: TcpStream, peer: SocketAddr) -> Option<(Transport, Arrival)> {
        let within = self.runtime.snapshot.load().config.limits.handshake_timeout;
        let shaken = Box::pin(shake(stream, &self.acceptor, within)).await;
        self.metrics.handshake(shaken.as_ref().map_or_else(|failed| failed.word, |_| "ok"));
        match shaken {
            Ok(Shaken { transport, caller, .. }) => {
                Some((transport, Arrival { is_secure: true, certified: caller.as_ref().map(name) }))
            }
            Err(failed) => {
                self.runtime.notices.unshaken(self.name, peer, &failed);
                None
            }
        }
    }
}

/// The one word for who has a certificate, as the audit trail has it: its one URI, else its one DNS name, else its number.
fn name(caller: &Caller) -> Arc<str> {
    let Names { uris, dns, serial } = &caller.names;
    match (uris.as_slice(), dns.as_slice()) {
        ([one], _) | ([], [one]) => one.as_str().into(),
        _ => format!("certificate {serial}").into(),
    }
}
