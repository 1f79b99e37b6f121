//! The services behind.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

/// The service behind.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// Its name.
    pub name: Arc<str>,
    /// At least one.
    pub endpoints: Vec<Endpoint>,
    /// Which HTTP is spoken to it.
    pub protocol: Protocol,
    /// Bounds resolving, connecting and handshake.
    pub connect_timeout: Duration,
    /// It deduplicates by the same key, so a keyed write may be sent again.
    pub honours_key: bool,
    /// Connections per endpoint and worker at most.
    pub max_connections: NonZeroUsize,
    /// An idle connection is closed after this; below the upstream's own.
    pub idle_timeout: Duration,
}

/// One address of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `host:port` as written, with the scheme's default port filled in; the `Host` of requests that carry none.
    pub authority: http::uri::Authority,
}

/// Which HTTP is spoken to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 in clear (ALPN would decide in TLS).
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}
