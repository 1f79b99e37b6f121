//! What a caller is told of a write in one word, whatever else it is told: the value of `Mainstay-WriteOutcome`.
//!
//! A status alone does not say it: a service's own 500 may stand for a write that happened. So every answer to a keyed write
//! carries the word, and one that tells of a doubt says when there will be more to tell.

use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::operation::{AttentionReason, Operation, State, UnixMillis};

/// The header that says it.
pub const MAINSTAY_OUTCOME: HeaderName = HeaderName::from_static("mainstay-outcome");

/// How long to wait where a person was called: nothing is likely to change before.
const PERSON: Duration = Duration::from_mins(5);

/// A wait that costs a caller little.
const SOON: Duration = Duration::from_secs(1);

/// What is known of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// It happened.
    Succeeded,
    /// The service decided against it.
    Failed,
    /// The service did nothing, and a repeat executes.
    NotExecuted,
    /// Nobody knows, or what is known contradicts itself.
    Unknown,
    /// It is on its way.
    InProgress,
    /// No record was made of this request.
    None,
}

impl WriteOutcome {
    /// What is known of `operation`. A record that says "it did not happen" and is contradicted says nothing any more.
    pub fn of(operation: &Operation) -> Self {
        let is_contradicted = operation.attention.is_some_and(|flag| flag.reason == AttentionReason::Conflict);
        match operation.state {
            State::Failed | State::NotExecuted if is_contradicted => Self::Unknown,
            state => Self::of_state(state),
        }
    }

    /// What a state says that nothing contradicts.
    pub const fn of_state(state: State) -> Self {
        match state {
            State::Pending => Self::InProgress,
            State::Succeeded => Self::Succeeded,
            State::Failed => Self::Failed,
            State::NotExecuted => Self::NotExecuted,
            State::Unknown => Self::Unknown,
        }
    }

    /// The word.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::NotExecuted => "not_executed",
            Self::Unknown => "unknown",
            Self::InProgress => "in-progress",
            Self::None => "none",
        }
    }

    /// The word as a header's value.
    pub const fn value(self) -> HeaderValue {
        HeaderValue::from_static(self.label())
    }
}

/// How a write stands, for the caller of one request about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What is known.
    pub outcome: WriteOutcome,
    /// When to ask again, where it is [unknown](WriteOutcome::Unknown).
    pub retry_after: Option<Duration>,
}

impl Standing {
    /// Of a request of which no record was made.
    pub const NO_RECORD: Self = Self { outcome: WriteOutcome::None, retry_after: None };

    /// Of a request whose key others hold at this moment.
    pub const IN_PROGRESS: Self = Self { outcome: WriteOutcome::InProgress, retry_after: None };

    /// Of a write that was begun and whose record cannot be read.
    pub const LOST: Self = Self { outcome: WriteOutcome::Unknown, retry_after: Some(SOON) };

    /// How `operation` stands at `now`.
    pub fn of(operation: &Operation, now: UnixMillis) -> Self {
        let outcome = WriteOutcome::of(operation);
        Self { outcome, retry_after: (outcome == WriteOutcome::Unknown).then(|| until_due(operation, now)) }
    }
}

/// How long to wait before an open operation is worth another look: until it is looked at next, a second at least. Where a
/// person was called, or nobody will look, five minutes. What is in flight may end at any time: a minute at most.
pub fn until_due(operation: &Operation, now: UnixMillis) -> Duration {
    let due = operation.next_check_at.filter(|_| operation.attention.is_none());
    let longest = if operation.state == State::Pending { Duration::from_mins(1) } else { Duration::MAX };
    due.map_or(PERSON, |due| Duration::from_millis(due.saturating_sub(now)).clamp(SOON, longest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        idempotency::test_kit::{NOW, operation},
        operation::Attention,
    };

    #[test]
    fn the_word_follows_the_state_and_what_speaks_against_it() {
        let with = |state, reason: Option<AttentionReason>| {
            let attention = reason.map(|reason| Attention::new(NOW, reason));
            WriteOutcome::of(&Operation { state, attention, ..operation() }).label()
        };
        for (state, plain, contradicted) in [
            (State::Succeeded, "succeeded", "succeeded"),
            (State::Failed, "failed", "unknown"),
            (State::NotExecuted, "not_executed", "unknown"),
        ] {
            assert_eq!(with(state, None), plain);
            assert_eq!(with(state, Some(AttentionReason::Conflict)), contradicted);
        }
        assert_eq!(with(State::Pending, None), "in-progress");
        assert_eq!(with(State::Unknown, Some(AttentionReason::ResolveExhausted)), "unknown");
    }

    #[test]
    fn a_doubt_says_when_there_will_be_more_to_tell() {
        let unknown = |next_check_at, attention| {
            let operation = Operation { state: State::Unknown, next_check_at, attention, ..operation() };
            Standing::of(&operation, NOW).retry_after
        };
        let flag = Attention::new(NOW, AttentionReason::ResolveExhausted);
        for (due, attention, seconds) in [
            (Some(NOW + 7_000), None, 7),
            (Some(NOW + 3_600_000), None, 3600),
            (Some(NOW - 7_000), None, 1),
            (None, None, 300),
            (Some(NOW + 7_000), Some(flag), 300),
        ] {
            assert_eq!(unknown(due, attention), Some(Duration::from_secs(seconds)), "{due:?}");
        }
        assert_eq!(Standing::of(&operation(), NOW).retry_after, None, "only a doubt");
    }
}
