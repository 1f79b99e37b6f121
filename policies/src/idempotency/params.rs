//! The parameters of idempotency.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, Method, StatusCode};

use super::{KeySource, ResponseStatus, Rule, Verdict};
use crate::operation::{QuerySchedule, Redispatch};

/// How keyed writes are recognised, recorded and answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Idempotency {
    /// A protected request without a key is refused.
    pub required: bool,
    /// Which methods are protected.
    pub methods: Vec<Method>,
    /// A keyed write without a principal is refused.
    pub principal_required: bool,
    /// Whether a key belongs to the credentials that it was first used with, where no principal is declared.
    pub credentials: Credentials,
    /// Where the key comes from.
    pub key: KeySource,
    /// What makes two requests the same.
    pub fingerprint: Fingerprint,
    /// What a response proves.
    pub outcome: Outcomes,
    /// What a repeat meets while the first is in flight.
    pub on_concurrent: OnConcurrent,
    /// Bytes of a request body; more is refused before anything is recorded.
    pub max_body: usize,
    /// Bytes of a response kept for replay.
    pub max_response: usize,
    /// How long after settling a response is replayed.
    pub retention: Duration,
    /// How long after settling a key is remembered.
    pub tombstone: Duration,
    /// How long after a timeout the attempt is kept open for a late answer.
    pub late_response: Duration,
    /// Response headers replayed beyond the built-in allow-list.
    pub replay_headers: Vec<HeaderName>,
    /// How to ask the upstream what became of a write.
    pub status: Option<StatusQuery>,
    /// How often a write in doubt is dispatched again, without its caller. Only for an upstream that honours keys.
    pub redispatch: Redispatch,
    /// What repeats get where a write was settled and its own response was never seen.
    pub resolved_response: ResolvedResponses,
    /// A repeat of such a write that was done is sent to its operation by 303, in place of an answer.
    pub redirect: bool,
}

/// What the credentials of a request mean, where no principal says who is calling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// A key belongs to those that it was first used with: nobody else is answered from the record.
    Bind,
    /// Whoever knows a key may repeat its request and read its answer.
    Ignore,
}

/// What makes two requests the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// How the body enters.
    pub body: FingerprintBody,
    /// Request headers that enter.
    pub headers: Vec<HeaderName>,
}

/// How the body enters the fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FingerprintBody {
    /// Byte for byte.
    Exact,
    /// As canonical JSON (RFC 8785).
    Json,
}

/// What a complete response proves.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcomes {
    /// Statuses by which the service says that it did nothing.
    pub not_executed: Vec<ResponseStatus>,
    /// Statuses of success; without one of HTTP, any 2xx or 3xx is one.
    pub succeeded: Vec<ResponseStatus>,
    /// Statuses of definite failure, beside every other 4xx except 408.
    pub failed: Vec<ResponseStatus>,
    /// Statuses by which the service says that it is still at it.
    pub ongoing: Vec<ResponseStatus>,
    /// Refinements by body; the first match wins over the lists above.
    pub rules: Vec<Rule>,
}

/// What a repeat meets while the first is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnConcurrent {
    /// 409 at once.
    Reject,
    /// It waits this long, then replays or gets 409.
    Wait(Duration),
}

/// The upstream's own status endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusQuery {
    /// The method, `GET` or `POST`.
    pub method: Method,
    /// The path template: `{key}`, `{operation}`, `{path.NAME}`; each value is percent-encoded as one segment.
    pub path: Arc<str>,
    /// First match wins; no match is no evidence.
    pub rules: Vec<Rule>,
    /// `not_found` proves nothing until this long after the last dispatch.
    pub settle_after: Duration,
    /// The endpoint itself bars a late original, so `not_found` proves at once.
    pub fenced: bool,
    /// The service's instances share their data: whichever of them is asked answers for all.
    pub shared: bool,
    /// When the next query is made.
    pub schedule: QuerySchedule,
    /// Queries per second to one upstream.
    pub rate_per_sec: f64,
}

impl StatusQuery {
    /// Whether `not_found` is believed, and only after a while: an original that is still on its way may come after it.
    pub fn believes_absence_late(&self) -> bool {
        !self.fenced && self.rules.iter().any(|rule| rule.then == Verdict::NotFound)
    }
}

/// What repeats get where a write was settled and its own response was never seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedResponses {
    /// The status endpoint's own answer by which a write was found done is kept, and is what its repeats get.
    pub from_status: bool,
    /// Else this, for a write that was done.
    pub succeeded: Option<ResolvedResponse>,
    /// For one that the service decided against; its status is 400 or above.
    pub failed: Option<ResolvedResponse>,
}

impl Default for ResolvedResponses {
    /// Nobody knows the result of a write better than the service's own status endpoint.
    fn default() -> Self {
        Self { from_status: true, succeeded: None, failed: None }
    }
}

/// An answer that stands for one that was never seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedResponse {
    /// The status.
    pub status: StatusCode,
    /// The body, sent as `application/json`.
    pub body: String,
}

impl Default for Idempotency {
    fn default() -> Self {
        const DAY: Duration = Duration::from_hours(24);
        Self {
            required: false,
            methods: vec![Method::POST, Method::PATCH],
            principal_required: false,
            // A key is easily guessed or shared; an answer that was meant for somebody else cannot be taken back.
            credentials: Credentials::Bind,
            key: KeySource::default(),
            fingerprint: Fingerprint { body: FingerprintBody::Exact, headers: Vec::new() },
            outcome: Outcomes::default(),
            on_concurrent: OnConcurrent::Reject,
            max_body: 1024 * 1024,
            max_response: 256 * 1024,
            // Stripe keeps keys for at least a day.
            retention: DAY,
            tombstone: 30 * DAY,
            late_response: Duration::from_secs(30),
            replay_headers: Vec::new(),
            status: None,
            redispatch: Redispatch::default(),
            resolved_response: ResolvedResponses::default(),
            redirect: false,
        }
    }
}

impl Idempotency {
    /// Whether an answer of the status endpoint is kept for repeats.
    pub const fn keeps_status_answers(&self) -> bool {
        self.resolved_response.from_status && !self.redirect
    }
}

impl Default for Outcomes {
    /// 401, 403 and 407 are refused before the work, 425 and 429 ask for a repeat.
    fn default() -> Self {
        Self {
            not_executed: [
                StatusCode::UNAUTHORIZED,
                StatusCode::FORBIDDEN,
                StatusCode::PROXY_AUTHENTICATION_REQUIRED,
                StatusCode::TOO_EARLY,
                StatusCode::TOO_MANY_REQUESTS,
            ]
            .map(ResponseStatus::from)
            .to_vec(),
            succeeded: Vec::new(),
            failed: Vec::new(),
            ongoing: Vec::new(),
            rules: Vec::new(),
        }
    }
}
