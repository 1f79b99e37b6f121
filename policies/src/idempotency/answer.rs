//! What a repeat gets.

use std::{sync::Arc, time::Duration};

use super::{
    Idempotency, ResolvedResponse, ResolvedResponses,
    refusal::{Refusal, SOON},
    standing::WriteOutcome,
};
use crate::{
    operation::{Operation, Retained, Source, State, StoredResponse, UnixMillis},
    problem::Problem,
};

/// The answer to a repeat.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The operation as it stands; its id goes into `Operation-Location`.
    pub operation: Operation,
    /// What the caller gets.
    pub kind: AnswerKind,
    /// The caller's `Prefer: wait` as it was honoured, for `Preference-Applied`.
    pub preference_applied: Option<Duration>,
}

/// What the caller of a repeat gets.
#[derive(Clone, Debug, PartialEq)]
pub enum AnswerKind {
    /// The first answer again, with `Idempotent-Replayed: true`.
    Replay(Arc<StoredResponse>),
    /// This stands for the answer, which nobody has. Sent as `application/json`.
    Resolved(ResolvedResponse),
    /// The write happened, and there is nothing to show of it but its operation: 200 with its document.
    Document,
    /// The write happened: 303 to its operation, as the policy wants it.
    SeeOther,
    /// The key is free: begin again, the repeat executes.
    Freed,
    /// A problem document.
    Refused(Refusal),
}

/// What a repeat of `operation` gets now.
pub fn answer(operation: &Operation, now: UnixMillis, params: &Idempotency) -> AnswerKind {
    match operation.state {
        State::Pending => AnswerKind::Refused(in_progress(operation)),
        State::Unknown => match &operation.retained {
            // The upstream's own words about it: the first caller got them too.
            Retained::Stored(stored) => AnswerKind::Replay(Arc::clone(stored)),
            Retained::None | Retained::StatusOnly => AnswerKind::Refused(Refusal::outcome_unknown(operation, now)),
        },
        State::NotExecuted if operation.frees_key() => AnswerKind::Freed,
        // Something contradicts that nothing was done; it is for a person to say.
        State::NotExecuted => AnswerKind::Refused(Refusal::outcome_unknown(operation, now)),
        State::Succeeded | State::Failed if operation.expires_at().is_some_and(|at| at <= now) => {
            AnswerKind::Refused(expired(operation))
        }
        State::Succeeded | State::Failed => match &operation.retained {
            Retained::Stored(stored) => AnswerKind::Replay(Arc::clone(stored)),
            // Of a status query nothing else was ever there.
            Retained::StatusOnly if operation.source != Some(Source::StatusQuery) => {
                AnswerKind::Refused(not_retained(operation))
            }
            Retained::StatusOnly | Retained::None => unseen(operation, now, params),
        },
    }
}

/// What stands for an answer that was never seen: a 2xx only if the write happened.
fn unseen(operation: &Operation, now: UnixMillis, params: &Idempotency) -> AnswerKind {
    let ResolvedResponses { succeeded, failed, .. } = &params.resolved_response;
    let given = if operation.state == State::Succeeded { succeeded } else { failed };
    match (WriteOutcome::of(operation), given) {
        (WriteOutcome::Succeeded | WriteOutcome::Failed, Some(response)) => AnswerKind::Resolved(response.clone()),
        (WriteOutcome::Succeeded, None) if params.redirect => AnswerKind::SeeOther,
        (WriteOutcome::Succeeded, None) => AnswerKind::Document,
        (WriteOutcome::Failed, None) => AnswerKind::Refused(Refusal::write_failed(operation)),
        // Something contradicts that it failed; it is for a person to say.
        _ => AnswerKind::Refused(Refusal::outcome_unknown(operation, now)),
    }
}

fn in_progress(operation: &Operation) -> Refusal {
    let detail =
        "The first request with this key is still in flight. Repeat later with the same key, or read the operation.";
    Refusal::new(Problem::InProgress, detail).about(operation).after(SOON)
}

fn expired(operation: &Operation) -> Refusal {
    let then = match operation.state {
        State::Failed => "Use a fresh key for a new attempt.",
        _ => "Do not send that write again; a fresh key is for another one.",
    };
    let state = operation.state.label();
    let detail =
        format!("This key was used for a write that {state}; its answer is no longer kept. Nothing was sent. {then}");
    Refusal::new(Problem::KeyExpired, detail).about(operation)
}

fn not_retained(operation: &Operation) -> Refusal {
    let status = operation.http_status.map_or_else(|| "a status".to_owned(), |status| status.as_u16().to_string());
    let detail = format!(
        "This write {}: the first answer had status {status} and was not kept, for it was streamed or too large. \
         Do not repeat it with a new key.",
        operation.state.label()
    );
    Refusal::new(Problem::ResponseNotRetained, detail).about(operation)
}

#[cfg(test)]
mod tests;
