//! What all requests of one client connection share.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::{HeaderMap, HeaderValue};

use crate::{
    config::model,
    listener::Connection,
    runtime::Runtime,
    wire::forward::{self, Client, Hints},
};

/// What all requests of one client connection share.
pub(crate) struct Session {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) worker: usize,
    pub(crate) listener: Arc<arc_swap::ArcSwap<model::Listener>>,
    /// What it was called when the connection was accepted, and its address.
    pub(crate) accepted_by: (Arc<str>, SocketAddr),
    pub(crate) client: Client,
    pub(crate) peer: SocketAddr,
    /// Ours, at which the peer called.
    pub(crate) own: IpAddr,
    pub(crate) connection: Arc<Connection>,
}

impl Session {
    /// Takes off what the peer may not say of who is calling and for whom, and reads the rest: who the client is. That is the
    /// peer, unless it is a front that is trusted to say whom it forwards for.
    pub(super) fn client_of(&self, listener: &model::Listener, headers: &mut HeaderMap, hints: Hints) -> SocketAddr {
        let peer = self.peer.ip();
        for header in listener.identifying_headers().filter(|header| !header.from.include(peer, self.own)) {
            headers.remove(&header.name);
        }
        if !hints.front {
            return self.peer;
        }
        let model::ClientRule { header, trusted, .. } = &listener.client;
        if !trusted.include(peer, self.own) {
            forward::distrust(headers);
            return self.peer;
        }
        let values = headers.get_all(header.name()).iter().map(HeaderValue::as_bytes);
        let client = header.client(values, peer, |address| trusted.include(address, self.own));
        if client == peer.to_canonical() { self.peer } else { SocketAddr::new(client, 0) }
    }
}
