//! What all requests of one client connection share.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use super::xfcc;
use crate::{
    config::model::{self, HeaderFormat, HeaderPrincipal, Principal, San},
    listener::Connection,
    runtime::Runtime,
    wire::{
        forward::{self, Client, Hints},
        tls::Caller,
    },
};

/// What all requests of one client connection share.
pub(crate) struct Session {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) worker: usize,
    pub(crate) listener: Arc<arc_swap::ArcSwap<model::Listener>>,
    /// What it was called when the connection was accepted, and its address.
    pub(crate) accepted_by: (Arc<str>, model::Address),
    pub(crate) client: Client,
    pub(crate) peer: SocketAddr,
    /// Ours, at which the peer called.
    pub(crate) own: IpAddr,
    pub(crate) connection: Arc<Connection>,
    /// What the peer's certificate says of it; `None` where it has shown none.
    pub(crate) caller: Option<Box<Certified>>,
}

/// Who the peer is by its certificate.
pub(crate) struct Certified {
    caller: Caller,
    uri: Option<Bytes>,
    dns: Option<Bytes>,
}

impl Certified {
    pub(crate) fn new(caller: Caller) -> Self {
        // Several of one kind name nobody: it could choose whom.
        let only = |names: &[String]| match names {
            [one] => Some(Bytes::copy_from_slice(one.as_bytes())),
            _ => None,
        };
        let (uri, dns) = (only(&caller.names.uris), only(&caller.names.dns));
        Self { caller, uri, dns }
    }

    /// Its principal by that name.
    fn principal(&self, san: San) -> Option<Bytes> {
        match san {
            San::Dns => self.dns.clone(),
            San::Any if self.caller.names.uris.is_empty() => self.dns.clone(),
            San::Any | San::Uri => self.uri.clone(),
        }
    }

    /// How long it is valid from now on.
    pub(crate) fn time_left(&self) -> Duration {
        self.caller.time_left()
    }
}

impl Session {
    /// Whether this process is about to end, as the peer is told.
    pub(super) fn is_draining(&self) -> bool {
        self.runtime.is_draining(self.client.direction)
    }

    /// Whether the connection is to be used for no further request: the process ends, it has served its time, or what the peer
    /// showed is not valid any more.
    pub(crate) fn is_ending(&self) -> bool {
        self.is_draining() || self.connection.is_old() || self.caller.as_ref().is_some_and(|it| it.caller.has_expired())
    }

    /// Who is calling, by one way of knowing it; an empty header is no principal.
    pub(crate) fn principal(&self, way: &Principal, headers: &HeaderMap) -> Option<Bytes> {
        match way {
            Principal::Anonymous => None,
            Principal::Local => Some(Bytes::from_static(model::LOCAL.as_bytes())),
            Principal::Certificate(san) => self.caller.as_ref()?.principal(*san),
            Principal::Header(HeaderPrincipal { name, format: HeaderFormat::Xfcc, .. }) => {
                xfcc::caller(headers, name).map(Bytes::from)
            }
            Principal::Header(header) => {
                let value = headers.get(&header.name)?;
                Some(Bytes::copy_from_slice(value.as_bytes())).filter(|value| !value.is_empty())
            }
        }
    }

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
            // What names the caller stands there only from who is believed: `X-Forwarded-Client-Cert` looks like a front's, too.
            forward::distrust(headers, |name| listener.identifying_headers().any(|header| header.name == *name));
            return self.peer;
        }
        let values = headers.get_all(header.name()).iter().map(HeaderValue::as_bytes);
        let client = header.client(values, peer, |address| trusted.include(address, self.own));
        if client == peer.to_canonical() { self.peer } else { SocketAddr::new(client, 0) }
    }
}
