//! The effective configuration: every default filled in, every reference resolved, nothing left to check.

use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use http::{HeaderName, HeaderValue, Method};
use mainstay_policies::{
    access::AccessList, circuit_breaker::CircuitBreaker, concurrency_limit::ConcurrencyLimit, fallback::Fallback,
    idempotency::Idempotency, rate_limit::RateLimit, retry::Retry, timeout::Timeout,
};

use crate::ledger::disk::Settle;

/// One immutable snapshot; a request keeps the one it began with.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where HTTP is accepted.
    pub listeners: Vec<Arc<Listener>>,
    /// The services behind.
    pub upstreams: Vec<Arc<Upstream>>,
    /// In file order; the first match wins.
    pub routes: Vec<Arc<Route>>,
    /// Every named policy, used or not.
    pub policies: Vec<Arc<Policy>>,
    /// Where operations are kept.
    pub ledger: Ledger,
    /// Traces and logs.
    pub telemetry: Telemetry,
    /// The read-only listener for probes and metrics.
    pub probes: Probes,
    /// The operators' listener; `None` is off.
    pub admin: Option<Admin>,
    /// `/_mainstay` on the data listeners.
    pub control: Control,
    /// Bounds.
    pub limits: Limits,
    /// Shutdown.
    pub drain: Drain,
}

impl Config {
    /// Whether any route protects writes, and so needs a ledger.
    pub fn protects_writes(&self) -> bool {
        self.routes.iter().any(|route| route.policy.idempotency.is_some())
    }
}

/// An address on which Mainstay accepts HTTP.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Its name.
    pub name: Arc<str>,
    /// Where it listens.
    pub address: SocketAddr,
    /// How the caller is known.
    pub principal: Principal,
    /// Whether deadlines in request headers are honoured.
    pub trust_deadline: bool,
    /// `None` lets everybody in.
    pub access: Option<Arc<AccessList>>,
}

/// How the caller is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Not at all.
    Anonymous,
    /// By a header that a trusted front sets.
    Header(HeaderName),
}

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

/// A match with an upstream and a policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Its name in logs, metrics and documents: `name:` if given, else the path pattern.
    pub name: Arc<str>,
    /// What it matches.
    pub matches: Match,
    /// Where it leads.
    pub upstream: Arc<Upstream>,
    /// What is enforced; a route without one has the default timeout and nothing else.
    pub policy: Arc<Policy>,
}

/// What a route matches; every part that is given must match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The path.
    pub path: PathPattern,
    /// Any of these methods; empty means all.
    pub methods: Vec<Method>,
    /// The host, without port, in lower case; `None` means any.
    pub host: Option<String>,
    /// Headers with these exact values.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// A path pattern, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    /// As written.
    pub text: String,
    /// The segments between slashes.
    pub segments: Vec<Segment>,
    /// Ends in `/**`: any rest, and the bare prefix.
    pub rest: bool,
}

/// One segment of a path pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Exactly this text.
    Literal(String),
    /// Any one segment, remembered under this name.
    Param(String),
}

/// A named set of rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Its name.
    pub name: Arc<str>,
    /// Always there: a request without a bound is a leak.
    pub timeout: Timeout,
    /// `None` retries nothing.
    pub retry: Option<Retry>,
    /// `None` admits everything.
    pub rate_limit: Option<RateLimit>,
    /// `None` admits everything.
    pub concurrency_limit: Option<ConcurrencyLimit>,
    /// `None` never opens.
    pub circuit_breaker: Option<CircuitBreaker>,
    /// `None` protects no write.
    pub idempotency: Option<Idempotency>,
    /// `None` lets everybody in.
    pub access: Option<Arc<AccessList>>,
    /// `None` lets failures stand.
    pub fallback: Option<Fallback>,
    /// `None` asks the service every time.
    pub cache: Option<Cache>,
}

/// A cache, and what writes make it forget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Its bounds.
    pub params: mainstay_policies::cache::Cache,
    /// What a write forgets beside its own path.
    pub invalidate: Vec<PathPattern>,
}

/// Where operations are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// Which backend.
    pub store: Store,
    /// Operations kept that are not terminal; one more is refused.
    pub max_open: usize,
    /// Bytes of operations and responses kept; one more is refused.
    pub max_bytes: u64,
    /// Which of several instances this is, in the keys that it mints; drawn by the ledger if it is not given.
    pub node: Option<u16>,
}

/// Which ledger backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// In memory, lost on exit: for trials.
    Memory,
    /// In a directory of its own.
    Disk {
        /// The directory.
        path: PathBuf,
        /// When the end of a write counts as recorded.
        settle: Settle,
        /// Where the keys are with which it is sealed; `None` does not seal.
        key_file: Option<PathBuf>,
    },
}

/// Traces and logs.
#[derive(Clone, Debug, PartialEq)]
pub struct Telemetry {
    /// `service.name`.
    pub service_name: String,
    /// Where spans go: the OTLP/HTTP base URL, for example `http://jaeger:4318`.
    pub otlp: Option<Otlp>,
    /// Formats of trace context, in order of preference.
    pub propagation: Vec<Propagation>,
    /// The share of new traces that are sampled, 0 to 1; a caller's own decision is kept.
    pub sample_ratio: f64,
    /// Program log and access log.
    pub logs: Logs,
}

/// An OTLP receiver.
#[derive(Clone, Debug, PartialEq)]
pub struct Otlp {
    /// Base URL; `/v1/traces` is appended.
    pub endpoint: http::Uri,
    /// Bounds one export.
    pub timeout: Duration,
    /// Spans waiting at most; more are dropped and counted.
    pub queue: NonZeroUsize,
}

/// A format of trace context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// W3C `traceparent`, `tracestate`, `baggage`.
    W3c,
    /// B3, one header.
    B3,
    /// B3, several headers.
    B3Multi,
    /// `uber-trace-id`.
    Jaeger,
}

/// Program log and access log.
#[derive(Clone, Debug, PartialEq)]
pub struct Logs {
    /// JSON or text.
    pub format: LogFormat,
    /// A `tracing` filter, for example `info` or `mainstay=debug`.
    pub level: String,
    /// A line per request.
    pub access: bool,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One object a line.
    Json,
    /// For people.
    Text,
}

/// The read-only listener for probes and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probes {
    /// Where it listens.
    pub address: SocketAddr,
}

/// The operators' listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens. Off loopback only with a token.
    pub address: SocketAddr,
    /// The file that holds the bearer token; `None` asks for none.
    pub token_file: Option<PathBuf>,
}

/// `/_mainstay` on the data listeners.
#[derive(Clone, Debug, PartialEq)]
pub struct Control {
    /// The prefix, without a slash at its end.
    pub path: Arc<str>,
    /// Bounds all of it together, per listener, apart from traffic.
    pub rate_limit: RateLimit,
}

/// Bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's head.
    pub header_bytes: NonZeroUsize,
    /// Header fields of a request.
    pub header_count: NonZeroUsize,
    /// From a request's first byte to the last of its head; also the time for an HTTP/2 preface.
    pub header_timeout: Duration,
    /// An idle client connection is closed after this.
    pub keep_alive: Duration,
    /// Client connections, all listeners together.
    pub connections: NonZeroUsize,
    /// Concurrent streams of one HTTP/2 client connection.
    pub streams: NonZeroU32,
    /// Threads that serve traffic; by default the CPUs that the process may use.
    pub workers: NonZeroUsize,
}

/// Shutdown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// From SIGTERM to the end of accepting; readiness fails at once.
    pub delay: Duration,
    /// Requests in flight may take this long after accepting ends.
    pub timeout: Duration,
}

/// Where the configuration came from, for reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location(pub PathBuf);
