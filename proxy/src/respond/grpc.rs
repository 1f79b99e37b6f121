//! What Mainstay itself answers to a gRPC call: HTTP 200 and nothing but a head ("trailers-only"), with a code that its client
//! reads as what happened.
//!
//! A bare HTTP 502, 503 or 504 is UNAVAILABLE to every gRPC client, and a usual retry policy sends the call again at once. So
//! UNAVAILABLE and `RESOURCE_EXHAUSTED` are said only where nothing was sent. `grpc-retry-pushback-ms` (gRPC proposal A6) tells
//! the client's own retries how long to wait, and not to try at all where nothing makes a repeat safe.

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use mainstay_policies::{
    grpc::{Code, Dialect, GRPC_MESSAGE, GRPC_STATUS, encoded},
    idempotency::{MAINSTAY_OUTCOME, WriteOutcome},
    operation::OperationId,
    problem::{Effect, Problem},
    rate_limit::retry_after_secs,
};

use super::{MAINSTAY_ERROR, ProblemContext, ProblemParts, failure::Failure, locate, say};
use crate::wire::body::ProxyBody;

const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// The code by which a problem is told. `status` is what HTTP would have said.
const fn code(problem: Problem, status: StatusCode, effect: Effect) -> Code {
    let nothing_was_sent = matches!(effect, Effect::None);
    match problem {
        Problem::Timeout => Code::DeadlineExceeded,
        Problem::OutcomeUnknown => match status.as_u16() {
            504 => Code::DeadlineExceeded,
            409 => Code::Aborted,
            _ => Code::Unknown,
        },
        Problem::InProgress => Code::Aborted,
        Problem::KeyMissing
        | Problem::KeyInvalid
        | Problem::KeyReused
        | Problem::BadRequest
        | Problem::BodyTooLarge => Code::InvalidArgument,
        Problem::RateLimited if nothing_was_sent => Code::ResourceExhausted,
        Problem::Overloaded
        | Problem::CircuitOpen
        | Problem::Draining
        | Problem::UpstreamUnreachable
        | Problem::LedgerUnavailable
            if nothing_was_sent =>
        {
            Code::Unavailable
        }
        Problem::Forbidden | Problem::EgressDenied => Code::PermissionDenied,
        Problem::PrincipalMissing => Code::Unauthenticated,
        Problem::NoRoute => Code::Unimplemented,
        Problem::WriteFailed
        | Problem::CallerDiffers
        | Problem::KeyExpired
        | Problem::KeyAmbiguous
        | Problem::ResponseNotRetained => Code::FailedPrecondition,
        Problem::Loop
        | Problem::UpstreamError
        | Problem::RateLimited
        | Problem::Overloaded
        | Problem::CircuitOpen
        | Problem::Draining
        | Problem::UpstreamUnreachable
        | Problem::LedgerUnavailable
        | Problem::OperationNotFound
        | Problem::MethodNotAllowed
        | Problem::UnsupportedMediaType => Code::Unknown,
    }
}

/// The answer to a call of this dialect; its problem is marked by the caller.
pub(super) fn response(dialect: Dialect, said: &ProblemParts, operation: Option<OperationId>) -> Response<ProxyBody> {
    let mut response = trailers_only(dialect, code(said.problem, said.status, said.effect), &said.detail);
    let pushback = match (said.effect, operation, said.retry_after) {
        // No key makes a repeat of it safe: the client's own retries are called off.
        (Effect::Unknown, None, _) => Some(HeaderValue::from_static("-1")),
        (_, _, Some(wait)) => Some(HeaderValue::from(retry_after_secs(wait).saturating_mul(1000))),
        (_, _, None) => None,
    };
    response.headers_mut().extend(pushback.map(|wait| (PUSHBACK, wait)));
    response
}

/// The answer to the repeat of a write that happened, and whose answer is not kept.
pub(crate) fn happened(dialect: Dialect) -> Response<ProxyBody> {
    let words = "This write happened; its answer is not kept here. Read the operation for what is known of it.";
    let mut response = trailers_only(dialect, Code::AlreadyExists, words);
    response.headers_mut().insert(MAINSTAY_OUTCOME, WriteOutcome::Succeeded.value());
    response
}

/// The end of an answer to a keyed write that has begun, and that must not end as the service ended it.
pub(crate) fn trailers(voice: &ProblemContext<'_>, failure: Failure) -> HeaderMap {
    let said = say(failure);
    let mut fields = HeaderMap::new();
    tell(&mut fields, code(said.problem, said.status, said.effect), &said.detail);
    fields.insert(MAINSTAY_ERROR, HeaderValue::from_static(said.problem.slug()));
    fields.insert(MAINSTAY_OUTCOME, WriteOutcome::Unknown.value());
    if let Some(operation) = said.operation.or(voice.operation) {
        locate(&mut fields, voice.prefix, operation);
    }
    fields
}

fn trailers_only(dialect: Dialect, code: Code, message: &str) -> Response<ProxyBody> {
    let mut response = Response::new(ProxyBody::Empty);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(dialect.media_type()));
    tell(headers, code, message);
    response
}

fn tell(fields: &mut HeaderMap, code: Code, message: &str) {
    fields.insert(GRPC_STATUS, code.value());
    let message = HeaderValue::from_str(&encoded(message)).expect("what is percent-encoded is printable ASCII");
    fields.insert(GRPC_MESSAGE, message);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_repeats_by_itself_is_said_only_where_nothing_was_sent() {
        for problem in Problem::ALL.iter().copied() {
            let told = code(problem, problem.status(), Effect::Unknown);
            assert!(!matches!(told, Code::Unavailable | Code::ResourceExhausted | Code::Ok), "{problem:?} is {told:?}");
            assert_ne!(code(problem, problem.status(), Effect::None), Code::Ok, "{problem:?}");
        }
    }

    #[test]
    fn each_problem_has_the_code_of_the_contract() {
        for (code_number, slugs) in [
            (3, &["key-missing", "key-invalid", "key-reused", "bad-request", "body-too-large"][..]),
            (4, &["timeout", "outcome-unknown"]),
            (7, &["forbidden", "egress-denied"]),
            (8, &["rate-limited"]),
            (9, &["write-failed", "caller-differs", "key-expired", "key-ambiguous", "response-not-retained"]),
            (10, &["in-progress"]),
            (12, &["no-route"]),
            (14, &["overloaded", "circuit-open", "draining", "upstream-unreachable", "ledger-unavailable"]),
            (16, &["principal-missing"]),
            (2, &["upstream-error"]),
        ] {
            for slug in slugs {
                let problem = Problem::from_slug(slug).unwrap();
                assert_eq!(code(problem, problem.status(), Effect::None) as u16, code_number, "{slug}");
            }
        }
    }

    #[test]
    fn an_unknown_outcome_says_how_it_became_so() {
        for (status, expected) in [
            (StatusCode::GATEWAY_TIMEOUT, Code::DeadlineExceeded),
            (StatusCode::BAD_GATEWAY, Code::Unknown),
            (StatusCode::CONFLICT, Code::Aborted),
        ] {
            assert_eq!(code(Problem::OutcomeUnknown, status, Effect::Unknown), expected, "{status}");
        }
    }
}
