//! What all requests of one client connection share.

use std::{net::SocketAddr, sync::Arc};

use http::request::Parts;
use mainstay_policies::access::AccessList;

use crate::{config::model, listener::Connection, runtime::Runtime, wire::forward::Client};

/// What all requests of one client connection share.
pub(crate) struct Session {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) worker: usize,
    pub(crate) listener: Arc<arc_swap::ArcSwap<model::Listener>>,
    /// What it was called when the connection was accepted, and its address.
    pub(crate) accepted_by: (Arc<str>, SocketAddr),
    pub(crate) client: Client,
    pub(crate) peer: SocketAddr,
    pub(crate) connection: Arc<Connection>,
}

impl Session {
    /// Whether an access list lets the request pass. The client is the peer: a header says what its sender likes.
    pub(super) fn may_pass(&self, access: &AccessList, parts: &Parts) -> bool {
        access.admits(self.peer.ip(), &parts.method, parts.uri.path())
    }
}
