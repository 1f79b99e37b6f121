//! Every answer that Mainstay makes itself: errors to responses, in one place.
//!
//! RFC 9457 documents, marked with `Mainstay-Error` so that they can never be taken for the upstream's; to a gRPC call what
//! its client reads (`grpc`). No upstream address, body, key or credential appears in one.

pub(crate) mod explain;
pub(crate) mod failure;
pub(crate) mod grpc;

pub mod document;

use std::{borrow::Cow, error::Error, iter, time::Duration};

use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
};
use mainstay_policies::{
    concurrency_limit::{Overloaded, OverloadedBy},
    evidence::{AttemptError, Cause, Sent},
    grpc::Dialect,
    idempotency::{MAINSTAY_OUTCOME, Standing},
    operation::OperationId,
    problem::{Effect, Problem},
    rate_limit::{Usage, retry_after_secs},
    timeout::IdleTimeout,
};

use self::failure::Failure;
use crate::wire::body::ProxyBody;

/// The slug of the problem, on every answer that is ours.
pub(crate) const MAINSTAY_ERROR: HeaderName = HeaderName::from_static("mainstay-error");
/// Attempts made, when more than one.
pub(crate) const MAINSTAY_ATTEMPTS: HeaderName = HeaderName::from_static("mainstay-attempts");
/// The address of a keyed write's operation.
pub(crate) const OPERATION_LOCATION: HeaderName = HeaderName::from_static("operation-location");
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// What every document of one exchange shares.
pub(crate) struct ProblemContext<'a> {
    /// The control prefix, for `type`.
    pub(crate) prefix: &'a str,
    pub(crate) trace_id: Option<&'a str>,
    /// The write's, if there is one.
    pub(crate) operation: Option<OperationId>,
    /// How the call is answered, if it is one of gRPC.
    pub(crate) grpc: Option<Dialect>,
}

/// A failure in the parts of a document.
struct ProblemParts {
    problem: Problem,
    status: StatusCode,
    detail: Cow<'static, str>,
    effect: Effect,
    operation: Option<OperationId>,
    retry_after: Option<Duration>,
}

impl ProblemParts {
    fn new(problem: Problem, detail: impl Into<Cow<'static, str>>, effect: Effect) -> Self {
        let status = problem.status();
        Self { problem, status, detail: detail.into(), effect, operation: None, retry_after: None }
    }

    fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

/// The response to `failure`, and the problem it shows.
pub(crate) fn failure(voice: &ProblemContext<'_>, failure: Failure) -> (Response<ProxyBody>, Problem) {
    let said = say(failure);
    let problem = said.problem;
    let operation = said.operation.or(voice.operation);
    let mut response = match voice.grpc {
        Some(dialect) => grpc::response(dialect, &said, operation),
        None => documented(voice, &said, operation),
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(MAINSTAY_ERROR, HeaderValue::from_static(problem.slug()));
    if let Some(wait) = said.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(retry_after_secs(wait)));
    }
    if let Some(operation) = operation {
        locate(headers, voice.prefix, operation);
    }
    (response, problem)
}

/// The document, as a response.
fn documented(voice: &ProblemContext<'_>, said: &ProblemParts, operation: Option<OperationId>) -> Response<ProxyBody> {
    let body = document::document(
        voice.prefix,
        said.problem,
        said.status,
        &said.detail,
        said.effect,
        voice.trace_id,
        operation,
    );
    let mut response = Response::new(ProxyBody::from(body));
    *response.status_mut() = said.status;
    response.headers_mut().insert(CONTENT_TYPE, PROBLEM_JSON);
    response
}

fn say(failure: Failure) -> ProblemParts {
    match failure {
        Failure::Request(problem, detail) => ProblemParts::new(problem, detail, Effect::None),
        Failure::Head(refused) => ProblemParts {
            status: refused.status(),
            ..ProblemParts::new(Problem::BadRequest, refused.detail(), Effect::None)
        },
        Failure::RateLimited { retry_after } => {
            ProblemParts::new(Problem::RateLimited, "This route's rate limit is used up.", Effect::None)
                .retry_after(retry_after)
        }
        Failure::Overloaded(Overloaded { by, retry_after }) => {
            let detail = match by {
                OverloadedBy::Places => "This route has as many requests in flight as it may.",
                OverloadedBy::Cpu => {
                    "The CPU is busy, and this route has as many requests in flight as it was seen to manage."
                }
            };
            ProblemParts::new(Problem::Overloaded, detail, Effect::None).retry_after(retry_after)
        }
        Failure::NoMemory => ProblemParts::new(
            Problem::Overloaded,
            "The bodies that this proxy holds take all the memory that they may. Nothing was read or sent of this one.",
            Effect::None,
        )
        .retry_after(Duration::from_secs(1)),
        Failure::CircuitOpen { retry_after } => {
            ProblemParts::new(Problem::CircuitOpen, "Recent calls failed, so this one was not made.", Effect::None)
                .retry_after(retry_after)
        }
        Failure::Attempt(error) => attempt(&error),
        Failure::NotPassable { status, effect } => not_passable(status, effect),
        Failure::NoTime(sent) => {
            ProblemParts::new(Problem::Timeout, "The total time ran out before an answer came.", effect(sent))
        }
        Failure::Draining => ProblemParts::new(
            Problem::Draining,
            "This proxy is ending, so the request was not carried out. It changed nothing; repeat it at once.",
            Effect::None,
        )
        .retry_after(Duration::from_secs(1)),
        Failure::Refused(refusal) => {
            let effect = refusal.effect();
            ProblemParts {
                status: refusal.status,
                operation: refusal.operation,
                retry_after: refusal.retry_after,
                ..ProblemParts::new(refusal.problem, refusal.detail, effect)
            }
        }
        Failure::OutcomeUnknown { status, operation } => ProblemParts {
            status,
            operation: Some(operation),
            ..ProblemParts::new(
                Problem::OutcomeUnknown,
                "The write was sent and its answer was lost. Read the operation to learn what became of it; \
                 repeating the request with the same key is safe, a new key is not.",
                Effect::Unknown,
            )
        },
        Failure::LedgerUnavailable => ProblemParts::new(
            Problem::LedgerUnavailable,
            "The ledger cannot take writes. Nothing was sent; repeat with the same key.",
            Effect::None,
        )
        .retry_after(Duration::from_secs(1)),
    }
}

fn not_passable(status: StatusCode, effect: Effect) -> ProblemParts {
    let detail = format!(
        "The service answered {}, and its answer cannot be passed on: its header fields are malformed, or more than this proxy \
         accepts. Read the operation for the outcome; do not repeat the write with a new key.",
        status.as_u16()
    );
    ProblemParts::new(Problem::UpstreamError, detail, effect)
}

const fn effect(sent: Sent) -> Effect {
    match sent {
        Sent::No => Effect::None,
        Sent::Maybe => Effect::Unknown,
    }
}

fn attempt(error: &AttemptError) -> ProblemParts {
    let effect = effect(error.sent);
    match error.cause {
        Cause::Connect | Cause::Tls | Cause::Refused => {
            let detail = match error.sent {
                Sent::No => "The request was not taken by the service.",
                Sent::Maybe => "The last attempt was not taken by the service; an earlier one may have been.",
            };
            ProblemParts::new(Problem::UpstreamUnreachable, detail, effect)
        }
        Cause::Reset => {
            ProblemParts::new(Problem::UpstreamError, "The connection ended before a complete answer.", effect)
        }
        Cause::Malformed => {
            ProblemParts::new(Problem::UpstreamError, "The service's answer is not valid HTTP.", effect)
        }
        Cause::RequestBody if is_stalled(error) => ProblemParts {
            status: StatusCode::REQUEST_TIMEOUT,
            ..ProblemParts::new(
                Problem::BadRequest,
                "The request's body stalled: nothing of it came for as long as timeout.idle allows. Send it without pauses.",
                effect,
            )
        },
        Cause::RequestBody => ProblemParts::new(
            Problem::BadRequest,
            "The request's body broke off, or is malformed, before it was complete.",
            effect,
        ),
        Cause::AttemptTimeout => {
            ProblemParts::new(Problem::Timeout, "The service did not answer within the time for one attempt.", effect)
        }
        Cause::TotalTimeout => {
            ProblemParts::new(Problem::Timeout, "The service did not answer within the total time.", effect)
        }
        Cause::Drain => {
            ProblemParts::new(Problem::Timeout, "This proxy ended before the service had answered.", effect)
        }
    }
}

/// Whether a request's body ended because its client sent nothing for too long.
fn is_stalled(error: &AttemptError) -> bool {
    iter::successors(error.source(), |error| (*error).source()).any(<dyn Error>::is::<IdleTimeout>)
}

/// Adds the address of the operation.
pub(crate) fn locate(headers: &mut HeaderMap, prefix: &str, operation: OperationId) {
    if let Ok(location) = HeaderValue::from_str(&format!("{prefix}/operations/{operation}")) {
        headers.insert(OPERATION_LOCATION, location);
    }
}

/// Says how the write stands, and when there is more to say; a time that the service has named stays.
pub(crate) fn stand(headers: &mut HeaderMap, standing: Standing) {
    headers.insert(MAINSTAY_OUTCOME, standing.outcome.value());
    if let Some(wait) = standing.retry_after.filter(|_| !headers.contains_key(RETRY_AFTER)) {
        headers.insert(RETRY_AFTER, HeaderValue::from(retry_after_secs(wait)));
    }
}

/// Adds `x-ratelimit-limit`, `-remaining` and `-reset` (whole seconds).
pub(crate) fn rate_limit_headers(headers: &mut HeaderMap, usage: &Usage) {
    headers.insert(HeaderName::from_static("x-ratelimit-limit"), HeaderValue::from(usage.limit));
    headers.insert(HeaderName::from_static("x-ratelimit-remaining"), HeaderValue::from(usage.remaining));
    let reset = usage.reset.as_secs() + u64::from(usage.reset.subsec_nanos() > 0);
    headers.insert(HeaderName::from_static("x-ratelimit-reset"), HeaderValue::from(reset));
}
