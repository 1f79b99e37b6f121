//! An attempt: sent, sent again, and how it ended.

use super::{
    schedule::{after, asking, reschedule},
    settle::{compare, doubt, proven_state, settle},
};
use crate::{
    clock::UnixMillis,
    faults::{Safeguard, is_off},
    operation::{Contradiction, Operation, Retained, Source, State, event::Observation, policy::StepPolicy},
};

pub(super) fn dispatch(operation: &mut Operation, now: UnixMillis) {
    if !operation.state.is_terminal() {
        operation.attempts = operation.attempts.saturating_add(1);
        operation.dispatched_at = Some(now);
    }
}

/// Counted whoever ordered it: a person may go beyond what the policy allows.
pub(super) fn redispatch(operation: &mut Operation, policy: &StepPolicy, now: UnixMillis) {
    if operation.state == State::Unknown {
        dispatch(operation, now);
        operation.redispatches = operation.redispatches.saturating_add(1);
        if operation.attention.is_none() && asking(operation, policy).is_none() {
            // Its end gives it a nearer one.
            operation.next_check_at = Some(after(now, policy.patience));
        }
    }
}

pub(super) fn observe(operation: &mut Operation, seen: Observation, policy: &StepPolicy, now: UnixMillis) {
    if operation.state.is_terminal() && !is_off(Safeguard::StickyStates) {
        if proven_state(seen.evidence) == Some(operation.state) && operation.retained == Retained::None {
            // A status query was quicker than the answer itself; the answer is still worth replaying.
            operation.retained = seen.retained;
            operation.http_status = seen.status.or(operation.http_status);
        }
        let heard = Contradiction { evidence: seen.evidence, source: seen.source, status: seen.status };
        return compare(operation, heard, now);
    }
    if let Some(state) = proven_state(seen.evidence) {
        operation.http_status = seen.status.or(operation.http_status);
        return settle(operation, state, seen.evidence, seen.source, seen.reason, seen.retained, now);
    }
    if seen.status.is_some() {
        operation.http_status = seen.status;
        operation.source = Some(seen.source);
    }
    if seen.retained != Retained::None {
        operation.retained = seen.retained;
    }
    operation.last_evidence = Some(seen.evidence);
    if operation.state == State::Pending {
        doubt(operation, seen.reason, policy, now);
    } else if seen.source == Source::Redispatch && operation.attention.is_none() {
        reschedule(operation, None, policy, now);
    }
}
