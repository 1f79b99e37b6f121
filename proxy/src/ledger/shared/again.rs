//! What is asked of a store again because no answer came, and what was left behind by what nobody asks again.
//!
//! An operation has its number before the first try, so what an earlier try has done is known when it is met.

use mainstay_policies::{
    evidence::Evidence,
    operation::{KeptRequest, Operation, State, UnixMillis},
};

/// Whether what holds the key is this very begin, of an earlier try.
pub(in crate::ledger) fn is_same_begin(known: &Operation, draft: &Operation) -> bool {
    known.id == draft.id && known.owner == draft.owner && known.epoch == 1 && known.state == State::Pending
}

/// Whether what stands on record is this very change, of an earlier try.
pub(in crate::ledger) fn is_same_change(current: &Operation, next: &Operation) -> bool {
    (current.owner, current.epoch, current.state) == (next.owner, next.epoch, next.state)
        && current.revision == next.revision + 1
}

/// An operation that was begun and that nobody took, as it ends: nothing was sent of it.
pub(in crate::ledger) fn abandoned(operation: Operation, now: UnixMillis) -> Operation {
    Operation {
        state: State::NotExecuted,
        reason: "abandoned".into(),
        last_evidence: Some(Evidence::NotExecuted),
        settled_at: Some(now),
        next_check_at: None,
        request: KeptRequest::None,
        ..operation
    }
}
