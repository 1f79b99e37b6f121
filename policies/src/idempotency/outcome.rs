//! A status and a body, weighed by the policy: the evidence of a complete response.

use http::{HeaderMap, StatusCode, header::CONTENT_ENCODING};
use serde_json::Value;

use super::{Outcomes, ResponseStatus, Verdict, rules};
use crate::{
    evidence::Evidence,
    grpc::Code,
    operation::{Operation, State},
};

/// The evidence of a complete response. `body` is `None` where it was not kept, because it was streamed or too large.
///
/// Rules come first, then the lists of statuses, then their defaults: 2xx and 3xx succeeded, unless a list says which do; any
/// other 4xx failed. A 5xx proves nothing, because a service may fail after it has acted; a 408 proves nothing, because
/// intermediaries send it too.
pub fn classify(outcomes: &Outcomes, status: StatusCode, headers: &HeaderMap, body: Option<&[u8]>) -> Evidence {
    by_rule(outcomes, status, headers, body).unwrap_or_else(|| by_status(outcomes, status.into()))
}

/// The evidence of a complete gRPC answer by its code, as if it were the [twin](Code::twin) of HTTP; what the policy says of the
/// code itself comes first. Conditions on a body hold on none of its messages: they are not JSON.
pub fn classify_grpc(outcomes: &Outcomes, code: Code) -> Evidence {
    let by_rule = rules::first_match(&outcomes.rules, code, None).map(evidence_of);
    by_rule.unwrap_or_else(|| by_status(outcomes, code.into()))
}

/// Whether a failure by this response may only say how another attempt of the same write has left things: "in progress",
/// "exists already". Where the policy itself calls it a failure, it is one. Any other 4xx speaks for all attempts: they go
/// only to services that honour keys, where it is the answer to the key.
pub fn speaks_of_state(outcomes: &Outcomes, status: StatusCode, headers: &HeaderMap, body: Option<&[u8]>) -> bool {
    status == StatusCode::CONFLICT
        && listed(outcomes, status.into()).is_none()
        && by_rule(outcomes, status, headers, body).is_none()
}

/// The same of a gRPC answer.
pub fn grpc_speaks_of_state(outcomes: &Outcomes, code: Code) -> bool {
    code == Code::AlreadyExists
        && listed(outcomes, code.into()).is_none()
        && rules::first_match(&outcomes.rules, code, None).is_none()
}

/// What a rule says; `None` if none matches.
fn by_rule(outcomes: &Outcomes, status: StatusCode, headers: &HeaderMap, body: Option<&[u8]>) -> Option<Evidence> {
    if !rules::depend_on_body(&outcomes.rules, status) {
        return rules::first_match(&outcomes.rules, status, None).map(evidence_of);
    }
    // The policy says that the body decides, and it cannot be seen.
    let Some(body) = body.filter(|_| is_identity(headers)) else { return Some(Evidence::Ambiguous) };
    let json = rules::read_json(body);
    if json.is_none() && serde_json::from_slice::<Value>(body).is_ok() {
        // It can be read in two ways, and each reader would decide otherwise.
        return Some(Evidence::Ambiguous);
    }
    rules::first_match(&outcomes.rules, status, json.as_ref()).map(evidence_of)
}

/// Whether the upstream's response may be passed to its caller, given what was recorded of it. A status that claims an
/// outcome must not stand beside a record that knows none, or another one; a 5xx and a "still at it" claim none. `says` is
/// what the response proves by itself.
pub fn may_pass(recorded: &Operation, status: StatusCode, says: Evidence) -> bool {
    let claims_none = status.is_server_error() || matches!(says, Evidence::Ongoing | Evidence::Ambiguous);
    match recorded.state {
        State::Pending => true,
        State::Unknown => status.is_server_error() || recorded.last_evidence == Some(Evidence::Ongoing),
        State::Succeeded => claims_none || says == Evidence::Succeeded,
        State::Failed => claims_none || says == Evidence::Failed,
        State::NotExecuted => claims_none || says == Evidence::NotExecuted,
    }
}

fn by_status(outcomes: &Outcomes, status: ResponseStatus) -> Evidence {
    listed(outcomes, status).unwrap_or_else(|| by_default(outcomes, status))
}

/// What the lists say of a status itself, or else of its twin.
fn listed(outcomes: &Outcomes, status: ResponseStatus) -> Option<Evidence> {
    let twin = status.twin().map(ResponseStatus::Http);
    [Some(status), twin].into_iter().flatten().find_map(|status| {
        let lists = [
            (&outcomes.ongoing, Evidence::Ongoing),
            (&outcomes.not_executed, Evidence::NotExecuted),
            (&outcomes.succeeded, Evidence::Succeeded),
            (&outcomes.failed, Evidence::Failed),
        ];
        lists.into_iter().find(|(list, _)| list.contains(&status)).map(|(_, evidence)| evidence)
    })
}

fn by_default(outcomes: &Outcomes, status: ResponseStatus) -> Evidence {
    // There is one success in gRPC, so a list of those of HTTP is not about it.
    let names_successes = outcomes.succeeded.iter().any(|status| matches!(status, ResponseStatus::Http(_)));
    let is_success = |status: StatusCode| (status.is_success() || status.is_redirection()) && !names_successes;
    match status.twin() {
        _ if status == ResponseStatus::Grpc(Code::Ok) => Evidence::Succeeded,
        Some(status) if is_success(status) => Evidence::Succeeded,
        Some(status) if status.is_client_error() && status != StatusCode::REQUEST_TIMEOUT => Evidence::Failed,
        Some(_) | None => Evidence::Ambiguous,
    }
}

/// A service that answers a write with "not found" has not said that the write cannot have happened.
const fn evidence_of(verdict: Verdict) -> Evidence {
    match verdict {
        Verdict::Evidence(evidence) => evidence,
        Verdict::NotFound => Evidence::Ambiguous,
    }
}

fn is_identity(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().all(|value| value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

#[cfg(test)]
mod tests;
