//! What happens to an operation, and what is to be done then.

use std::{sync::Arc, time::Duration};

use http::StatusCode;

use super::{AttentionReason, Operation, Retained, Source, StoredResponse};
use crate::{
    clock::UnixMillis,
    evidence::{Evidence, Verdict},
};

/// Why an operation stands where it stands after [`Event::Unreadable`].
pub const UNREADABLE: &str = "request_unreadable";

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// An attempt is about to be sent.
    Dispatched,
    /// An attempt is about to be sent again, without its caller.
    Redispatched,
    /// An attempt ended, now or late.
    Observed(Observation),
    /// The status endpoint was asked.
    Queried {
        /// What the matching rule says; `None` is no evidence.
        verdict: Option<Verdict>,
        /// It said that it does not know the write, at a time when that proves nothing: what may still be on its way is not
        /// there yet. Then there is no verdict.
        too_early: bool,
        /// The status by which it answered, if it did.
        http_status: Option<StatusCode>,
        /// When it was asked: the answer speaks of no later time, however slowly it came.
        asked_at: UnixMillis,
        /// What the endpoint asked for by `Retry-After`.
        retry_after: Option<Duration>,
        /// Its answer, as repeats are to get it: of a write that was done, where that is wanted.
        answer: Option<Arc<StoredResponse>>,
    },
    /// Nobody will report on a pending operation any more: its process died or dropped it.
    OwnerLost {
        /// A short fixed phrase: `restart`, `abandoned`.
        reason: &'static str,
    },
    /// The due time has come.
    Due,
    /// Nothing can be done about an open operation before this time.
    PutOff {
        /// The time.
        until: UnixMillis,
    },
    /// An open operation is to be looked at by this time, if it is not due earlier.
    DueBy {
        /// The time.
        at: UnixMillis,
    },
    /// The wall clock was put forward: this much of the time since has not passed.
    ClockPutForward {
        /// By how much.
        by: Duration,
    },
    /// The request that was kept cannot be read, so it cannot be dispatched again.
    Unreadable,
    /// A person decided. Only [`Evidence::Succeeded`], [`Evidence::Failed`] and [`Evidence::NotExecuted`] decide anything.
    Resolved {
        /// What became of the write.
        evidence: Evidence,
        /// Why the person says so.
        reason: Arc<str>,
    },
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// What it proved, about the whole operation.
    pub evidence: Evidence,
    /// What told us.
    pub source: Source,
    /// A short fixed phrase, such as `attempt_timeout` or `http_200`.
    pub reason: Arc<str>,
    /// The upstream's status, where there was one.
    pub status: Option<StatusCode>,
    /// What is kept of the answer.
    pub retained: Retained,
}

/// What is to be done after a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The record changed: write it.
    Record,
    /// Ask the status endpoint.
    Ask,
    /// Dispatch the kept request again; [`Event::Redispatched`] comes first, and is durable before a byte is sent.
    Dispatch,
    /// Call a person.
    Alert(AttentionReason),
}

/// Whether a person is to be called who was not before, or for another reason.
pub(super) fn alerts(before: &Operation, after: &Operation) -> Option<Action> {
    let reason = after.attention?.reason;
    (before.attention.map(|flag| flag.reason) != Some(reason)).then_some(Action::Alert(reason))
}
