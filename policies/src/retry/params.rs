//! The parameters of a retry policy.

use std::time::Duration;

use http::StatusCode;

/// When and how often a failed attempt is tried again.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// Retries after the first attempt; 0 retries nothing.
    pub max_retries: u32,
    /// How long to wait before each retry.
    pub delays: Delays,
    /// The share of traffic that retries may add; `None` is `budget: none`.
    pub budget: Option<Budget>,
    /// What counts as a failure worth another try.
    pub on: Vec<Condition>,
    /// Bytes of a request body kept for replay; a larger body is streamed and not retried.
    pub max_body: usize,
    /// A second attempt beside a slow one; `None` waits for the first.
    pub hedge: Option<Hedge>,
}

/// When a safe request that has no answer yet is sent once more beside the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hedge {
    /// How long the last attempt may take before the next is sent.
    pub after: HedgeAfter,
    /// Hedges of one request; each is paid for like a retry.
    pub max: u32,
}

/// How long an attempt may take before it is hedged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HedgeAfter {
    /// This long.
    Fixed(Duration),
    /// As long as this share of the route's attempts took lately, in percent.
    Percentile(u8),
}

/// The waits before retries.
#[derive(Clone, Debug, PartialEq)]
pub enum Delays {
    /// `min(max, base * multiplier^(k-1))` before retry `k`, jittered.
    Backoff(Backoff),
    /// A fixed wait per retry; the last one repeats.
    Schedule(Vec<Duration>),
}

/// Exponential backoff.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// The bound of the first wait.
    pub base: Duration,
    /// The bound of every wait.
    pub max: Duration,
    /// The growth from one retry to the next; at least 1.
    pub multiplier: f64,
    /// How the wait is drawn under its bound.
    pub jitter: Jitter,
}

/// How a wait is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter {
    /// Uniform in `[0, bound]` ("full jitter", AWS Architecture Blog, 2015).
    Full,
    /// Exactly the bound.
    None,
}

/// A retry budget: `balance = min_retries_per_sec * ttl + percent * originals within ttl - retries within ttl`.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// Retries allowed for each hundred original requests.
    pub percent: f64,
    /// Retries per second that are always allowed.
    pub min_retries_per_sec: f64,
    /// How long a deposit or a withdrawal counts.
    pub ttl: Duration,
}

/// One entry of `retry.on`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// No connection could be made.
    ConnectError,
    /// The request was handed back unprocessed.
    Refused,
    /// The connection died before a complete response head, or spoke garbage.
    Reset,
    /// The attempt timed out.
    Timeout,
    /// A response with this status.
    Status(StatusCode),
    /// A gRPC response with this code in its headers, or in trailers without a message before them (see the gRPC status code
    /// list).
    Grpc(u16),
}

impl Default for Retry {
    /// No retry unless asked for: each one is load that a service in trouble did not ask for. Then for what says that nobody
    /// worked on the request (no connection, refused, 503) or that its answer was lost; other statuses are answers, and stand.
    /// 64 KiB holds most bodies of an interface and bounds what a thousand requests keep to 64 MiB.
    fn default() -> Self {
        Self {
            max_retries: 0,
            delays: Delays::Backoff(Backoff::default()),
            budget: Some(Budget::default()),
            on: vec![
                Condition::ConnectError,
                Condition::Refused,
                Condition::Reset,
                Condition::Timeout,
                Condition::Status(StatusCode::SERVICE_UNAVAILABLE),
            ],
            max_body: 64 * 1024,
            hedge: None,
        }
    }
}

impl Default for Backoff {
    /// 25 ms is Envoy's base interval; a ceiling of 1 s keeps a second retry inside a typical total timeout.
    fn default() -> Self {
        Self { base: Duration::from_millis(25), max: Duration::from_secs(1), multiplier: 2.0, jitter: Jitter::Full }
    }
}

impl Default for Budget {
    /// Finagle's and Linkerd's: 20 % of traffic, and a floor so that a quiet route can retry at all.
    fn default() -> Self {
        Self { percent: 20.0, min_retries_per_sec: 3.0, ttl: Duration::from_secs(10) }
    }
}
