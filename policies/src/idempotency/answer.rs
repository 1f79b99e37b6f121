//! What a repeat gets.

use std::{sync::Arc, time::Duration};

use super::{
    Idempotency, ResolvedResponse,
    refusal::{Refusal, SOON},
};
use crate::{
    operation::{Operation, Retained, State, StoredResponse, UnixMillis},
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
    /// The write happened; this stands for the answer, which nobody has. Sent as `application/json`.
    Resolved(ResolvedResponse),
    /// 303 to the operation: it is settled, its answer was never seen.
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
        State::Succeeded | State::Failed => match (&operation.retained, &params.resolved_response) {
            (Retained::Stored(stored), _) => AnswerKind::Replay(Arc::clone(stored)),
            (Retained::StatusOnly, _) => AnswerKind::Refused(not_retained(operation)),
            // It tells of a write that was done; a failed one has only its operation to show.
            (Retained::None, Some(response)) if operation.state == State::Succeeded => {
                AnswerKind::Resolved(response.clone())
            }
            (Retained::None, _) => AnswerKind::SeeOther,
        },
    }
}

fn in_progress(operation: &Operation) -> Refusal {
    let detail =
        "The first request with this key is still in flight. Repeat later with the same key, or read the operation.";
    Refusal::new(Problem::InProgress, detail).about(operation).after(SOON)
}

fn expired(operation: &Operation) -> Refusal {
    let detail = format!(
        "This key was used for a write that {}; its answer is no longer kept. Use a fresh key for a new write.",
        operation.state.label()
    );
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
