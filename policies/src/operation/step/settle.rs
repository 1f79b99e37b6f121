//! What proof makes of an operation, and what the lack of it.

use std::sync::Arc;

use super::schedule::reschedule;
use crate::{
    clock::UnixMillis,
    evidence::Evidence,
    operation::{
        Attention, AttentionReason, Contradiction, KeptRequest, Operation, Retained, Source, State, policy::StepPolicy,
    },
};

/// Evidence about an operation that is already settled.
pub(super) fn compare(operation: &mut Operation, heard: Contradiction, now: UnixMillis) {
    let evidence = heard.evidence;
    let against = match proven_state(evidence) {
        Some(state) => state != operation.state,
        // "Still at it" contradicts "did not do it"; after a success it is only an old view.
        None => evidence == Evidence::Ongoing && operation.state != State::Succeeded,
    };
    if against {
        operation.last_evidence = Some(evidence);
        if operation.attention.is_none() {
            let flag = Attention::new(now, AttentionReason::Conflict);
            operation.attention = Some(Attention { heard: Some(heard), ..flag });
        }
    }
}

pub(super) fn settle(
    operation: &mut Operation,
    state: State,
    evidence: Evidence,
    source: Source,
    reason: Arc<str>,
    retained: Retained,
    now: UnixMillis,
) {
    operation.state = state;
    operation.reason = reason;
    operation.source = Some(source);
    operation.settled_at = Some(now);
    operation.next_check_at = None;
    operation.attention = None;
    operation.last_evidence = Some(evidence);
    operation.request = KeptRequest::None;
    // Whatever an unknown operation kept (the upstream's own 5xx) is not the answer of a settled one.
    operation.retained = if state == State::NotExecuted { Retained::None } else { retained };
}

/// From pending to unknown.
pub(super) fn doubt(operation: &mut Operation, reason: Arc<str>, policy: &StepPolicy, now: UnixMillis) {
    operation.state = State::Unknown;
    operation.reason = reason;
    operation.last_evidence.get_or_insert(Evidence::Ambiguous);
    reschedule(operation, None, policy, now);
}

pub(super) const fn proven_state(evidence: Evidence) -> Option<State> {
    match evidence {
        Evidence::NotExecuted => Some(State::NotExecuted),
        Evidence::Succeeded => Some(State::Succeeded),
        Evidence::Failed => Some(State::Failed),
        Evidence::Ongoing | Evidence::Ambiguous => None,
    }
}
