//! The services behind.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use crate::wire::tls::UpstreamTls;

/// One round trip across a continent and a lost SYN: longer means that the endpoint is not there.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

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
    /// Connections per endpoint at most, all workers together.
    pub max_connections: NonZeroUsize,
    /// An idle connection is closed after this; below the upstream's own.
    pub idle_timeout: Duration,
    /// How its endpoints are reached over TLS; `None` where that is in clear.
    pub tls: Option<Arc<UpstreamTls>>,
}

impl Upstream {
    /// Whether each of its endpoints is reached over TLS.
    pub fn is_secure(&self) -> bool {
        self.endpoints.iter().all(|endpoint| endpoint.is_secure)
    }
}

/// One address of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `host:port` as written, with the scheme's default port filled in; the `Host` of requests that carry none.
    pub authority: http::uri::Authority,
    /// Written with `https://`.
    pub is_secure: bool,
}

/// Which HTTP is spoken to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 in clear; over TLS what the endpoint chooses (ALPN).
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, in clear with prior knowledge.
    Http2,
}
