//! Bounds and interfaces of the process.

use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use mainstay_policies::rate_limit::RateLimit;

use crate::wire::{http1::HeadLimits, tls::ListenerTls};

/// The read-only listener for probes and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probes {
    /// Where it listens. All interfaces of IPv6 stand for those of IPv4 where the kernel has no IPv6.
    pub address: SocketAddr,
    /// What readiness depends on.
    pub ready: Ready,
}

/// What readiness depends on, beyond what it always does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// The ledger.
    pub ledger: ReadyLedger,
}

/// Whether a ledger that takes no writes keeps traffic away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadyLedger {
    /// One on this instance's own disk does: another instance's may be well.
    #[default]
    Auto,
    /// Never.
    Never,
}

/// The operators' listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens. Off loopback only with a token, or for those who have a certificate.
    pub address: SocketAddr,
    /// The file that holds the bearer token; `None` asks for none.
    pub token_file: Option<PathBuf>,
    /// Tokens with names.
    pub tokens: Vec<AdminToken>,
    /// Whether an operation's key may be shown.
    pub reveal: bool,
    /// Whether many writes may be said not to have been executed by one order.
    pub bulk_not_executed: bool,
    /// How it shows itself over TLS; `None` is in clear.
    pub tls: Option<Arc<ListenerTls>>,
}

impl Admin {
    /// Whether nobody gets as far as a request without a certificate.
    pub fn wants_certificates(&self) -> bool {
        self.tls.as_ref().and_then(|tls| tls.client.as_ref()).is_some_and(|client| client.required)
    }
}

/// A token, and who has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminToken {
    /// Who: the actor of the audit trail.
    pub name: Arc<str>,
    /// The file that holds it.
    pub file: PathBuf,
    /// May look and not act.
    pub read_only: bool,
}

/// `/_mainstay` on the data listeners.
#[derive(Clone, Debug, PartialEq)]
pub struct Control {
    /// The prefix, without a slash at its end.
    pub path: Arc<str>,
    /// Where callers find it, scheme and host, without a slash at its end; `None`: where they are.
    pub public_url: Option<Arc<str>>,
    /// With what links begin: the public address, if there is one, and the prefix.
    pub links: Arc<str>,
    /// Bounds all of it together, per listener, apart from traffic.
    pub rate_limit: RateLimit,
    /// Who may list operations.
    pub list: List,
}

/// Who may list operations on the data listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// Each principal its own; nobody where a listener names none.
    Own,
    /// Nobody.
    Off,
}

/// Bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's head.
    pub header_bytes: NonZeroUsize,
    /// Header fields of a request.
    pub header_count: NonZeroUsize,
    /// Bytes of an answer's head.
    pub response_header_bytes: NonZeroUsize,
    /// Header fields of an answer.
    pub response_header_count: NonZeroUsize,
    /// From a request's first byte to the last of its head; also the time for an HTTP/2 preface.
    pub header_timeout: Duration,
    /// From a connection to the end of its TLS handshake.
    pub handshake_timeout: Duration,
    /// An idle client connection is closed after this.
    pub keep_alive: Duration,
    /// A client connection ends after this, a tenth more or less, between two requests; `None`: it may grow as old as it likes.
    pub max_connection_age: Option<Duration>,
    /// Client connections, all listeners together.
    pub connections: NonZeroUsize,
    /// Concurrent streams of one HTTP/2 client connection.
    pub streams: NonZeroU32,
    /// Threads that serve traffic.
    pub workers: NonZeroUsize,
    /// Bytes of all bodies that are held whole.
    pub buffered_bytes: NonZeroUsize,
}

impl Limits {
    /// Bounds on the head of a request, over HTTP/1.1 and HTTP/2.
    pub const fn request_head(&self) -> HeadLimits {
        HeadLimits { bytes: self.header_bytes.get(), fields: self.header_count.get() }
    }

    /// Bounds on the head of an answer, over HTTP/1.1 and HTTP/2.
    pub const fn response_head(&self) -> HeadLimits {
        HeadLimits { bytes: self.response_header_bytes.get(), fields: self.response_header_count.get() }
    }
}

/// Shutdown.
#[derive(Clone, Debug)]
pub struct Drain {
    /// From SIGTERM to the end of accepting; readiness fails at once.
    pub delay: Duration,
    /// Nobody said how long that is. Where the process was started on a terminal there is no load balancer to wait for.
    pub is_delay_default: bool,
    /// Requests in flight may take this long after accepting ends.
    pub timeout: Duration,
}

/// Who wrote a delay is no part of what a configuration means.
impl PartialEq for Drain {
    fn eq(&self, other: &Self) -> bool {
        (self.delay, self.timeout) == (other.delay, other.timeout)
    }
}

impl Eq for Drain {}
