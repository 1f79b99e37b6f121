//! The document of one operation.

use http::header::CONTENT_TYPE;
use jiff::Timestamp;
use mainstay_policies::{
    evidence::Evidence,
    idempotency::WriteOutcome,
    operation::{Attention, KeyHash, Operation, Retained, Source, State, UnixMillis},
    problem::Problem,
};
use serde_json::{Value, json};

use crate::respond::explain::explain;

/// The document of an operation: no bodies, no raw key.
pub(crate) fn of_operation(operation: &Operation) -> Value {
    json!({
        "id": operation.id.to_string(),
        "key_hash": operation.key_hash.to_string(),
        "route": &*operation.route,
        "state": operation.state.label(),
        "reason": &*operation.reason,
        "source": operation.source.map(Source::label),
        "http_status": operation.http_status.map(|status| status.as_u16()),
        "attempts": operation.attempts,
        "created_at": time(operation.created_at),
        "dispatched_at": operation.dispatched_at.map(time),
        "settled_at": operation.settled_at.map(time),
        "next_check_at": operation.next_check_at.map(time),
        "expires_at": operation.expires_at().map(time),
        "attention": operation.attention.map(|attention| of_attention(operation, attention)),
        "safe_to_use_new_key": is_safe_to_use_new_key(operation),
        "last_evidence": operation.last_evidence.map(Evidence::label),
        "final": operation.state.is_terminal(),
        "effect": effect(WriteOutcome::of(operation)),
        "advice": advice(WriteOutcome::of(operation), matches!(operation.retained, Retained::Stored(_))),
        "result": result(operation),
    })
}

/// Says in the document of a write that was not executed that its key has been used again since: what is true of this operation
/// says nothing of that one, and whoever holds only this address would take the whole for undone. `address`: of that operation,
/// for who may see it.
pub(crate) fn supersede(document: &mut Value, address: Option<String>) {
    document["safe_to_use_new_key"] = false.into();
    document["advice"] = match address {
        Some(address) => {
            document["superseded_by"] = address.into();
            "This attempt did nothing, but its key was used again since: read that operation.".into()
        }
        None => SUPERSEDED_BY_ANOTHER.into(),
    };
}

/// Of a write that was not executed, whose key somebody with other credentials has used since.
pub(crate) const SUPERSEDED_BY_ANOTHER: &str = "This attempt did nothing, but its key was used again since, with other credentials: ask with those, or ask the service, what came \
     of that.";

/// Why a person is needed. A contradiction has two sides, and both are told.
fn of_attention(operation: &Operation, attention: Attention) -> Value {
    let mut document = json!({ "since": time(attention.since), "reason": attention.reason.label() });
    if let Some(heard) = attention.heard {
        document["settled_as"] = operation.state.label().into();
        document["settled_by"] = operation.source.map(Source::label).into();
        document["settled_at"] = operation.settled_at.map(time).into();
        document["heard"] = heard.evidence.label().into();
        document["contradicted_by"] = heard.source.label().into();
        document["contradicted_at"] = time(attention.since).into();
        document["http_status"] = heard.status.map(|status| status.as_u16()).into();
    }
    document
}

/// The document of a write that only the upstream knows of.
pub(crate) fn of_upstream(
    key_hash: KeyHash,
    route: &str,
    state: State,
    reason: &str,
    evidence: Option<Evidence>,
) -> Value {
    json!({
        "id": null,
        "key_hash": key_hash.to_string(),
        "route": route,
        "state": state.label(),
        "reason": reason,
        "source": "upstream",
        "http_status": null,
        "attempts": 0,
        "created_at": null,
        "dispatched_at": null,
        "settled_at": null,
        "next_check_at": null,
        "expires_at": null,
        "attention": null,
        "safe_to_use_new_key": matches!(state, State::Failed | State::NotExecuted),
        "last_evidence": evidence.map(Evidence::label),
        "final": state.is_terminal(),
        "effect": effect(WriteOutcome::of_state(state)),
        "advice": advice(WriteOutcome::of_state(state), false),
        "result": null,
    })
}

/// What is kept of the answer, in short; its body has an address of its own.
fn result(operation: &Operation) -> Option<Value> {
    let Retained::Stored(stored) = &operation.retained else { return None };
    let media_type = stored.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    operation.state.is_terminal().then(|| json!({ "content_type": media_type, "bytes": stored.body.len() }))
}

/// What the write did, as far as that is known.
const fn effect(outcome: WriteOutcome) -> &'static str {
    match outcome {
        WriteOutcome::Succeeded => "happened",
        WriteOutcome::Failed | WriteOutcome::NotExecuted | WriteOutcome::None => "none",
        WriteOutcome::Unknown | WriteOutcome::InProgress => "unknown",
    }
}

/// What its caller should do: where a problem tells of it, in the words of the problem's page.
const fn advice(outcome: WriteOutcome, is_answer_kept: bool) -> &'static str {
    match outcome {
        WriteOutcome::Succeeded if is_answer_kept => {
            "The write happened: repeat it with the same key to get its answer."
        }
        WriteOutcome::Succeeded => {
            "The write happened: do not send it again. Its answer is not kept here; the service has what it did."
        }
        WriteOutcome::NotExecuted | WriteOutcome::None => {
            "Nothing was done: repeat the write with the same key, and it is sent to the service."
        }
        WriteOutcome::Failed => explain(Problem::WriteFailed).1,
        WriteOutcome::InProgress => explain(Problem::InProgress).1,
        WriteOutcome::Unknown => explain(Problem::OutcomeUnknown).1,
    }
}

/// Only a write that is proven not to have happened, with nothing against it, may be tried under another key.
fn is_safe_to_use_new_key(operation: &Operation) -> bool {
    matches!(operation.state, State::Failed | State::NotExecuted) && operation.attention.is_none()
}

/// RFC 3339, in UTC, with milliseconds where there are any.
pub(crate) fn time(at: UnixMillis) -> String {
    let at = i64::try_from(at).ok().and_then(|at| Timestamp::from_millisecond(at).ok());
    at.unwrap_or(Timestamp::MAX).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(time(0), "1970-01-01T00:00:00Z");
        assert_eq!(time(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(time(u64::MAX), Timestamp::MAX.to_string());
    }
}
