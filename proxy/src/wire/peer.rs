//! Whom a connection leads to, for the span of what is sent over it.

use std::net::SocketAddr;

use parking_lot::Mutex;

/// The other end of a connection, and what is spoken with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// An IP address and its port, or the path of a Unix socket; `None` where the system does not say.
    pub(crate) place: Option<Place>,
    /// The version of HTTP.
    pub(crate) http: &'static str,
    /// The version of TLS, where it is that.
    pub(crate) tls: Option<&'static str>,
}

/// Where the other end is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Network(SocketAddr),
    /// A Unix socket.
    Local(String),
}

/// Whom an attempt has met last, for whoever asks in the end. Made only where somebody does: a look at the other end is a call
/// into the system.
#[derive(Debug, Default)]
pub(crate) struct Met(Mutex<Option<Peer>>);

impl Met {
    /// A connection to this one has taken the attempt.
    pub(crate) fn note(&self, peer: Peer) {
        *self.0.lock() = Some(peer);
    }

    /// The last one.
    pub(crate) fn last(&self) -> Option<Peer> {
        self.0.lock().clone()
    }
}
