//! A person: who may decide, what that changes, and when one is needed because nothing else can be done.

use std::sync::Arc;

use super::{
    schedule::{asking, give_up},
    settle::{compare, proven_state, settle},
};
use crate::{
    clock::UnixMillis,
    evidence::Evidence,
    operation::{Contradiction, Operation, Retained, Source, State, event::UNREADABLE, policy::StepPolicy},
};

/// Whether a person's word changes anything; if not, why.
///
/// # Errors
/// Its attempt is in flight, or it is settled and nothing speaks against that.
pub fn may_be_resolved(operation: &Operation) -> Result<(), &'static str> {
    match operation.state {
        State::Pending => {
            Err("Its attempt is in flight, and will say more than a person can: wait until it is unknown.")
        }
        State::Unknown => Ok(()),
        State::Succeeded | State::Failed | State::NotExecuted if operation.attention.is_some() => Ok(()),
        State::Succeeded | State::Failed | State::NotExecuted => {
            Err("It is settled, and nothing speaks against that: a settled state never changes.")
        }
    }
}

/// Whether a person who says `state` leaves a settled operation as it is.
///
/// # Errors
/// It is settled otherwise.
pub fn agrees(operation: &Operation, state: State) -> Result<(), &'static str> {
    if operation.state.is_terminal() && operation.state != state {
        return Err(
            "A settled state never changes: name the state that it has to take the flag away, and put the rest \
                    right in the service.",
        );
    }
    Ok(())
}

pub(super) fn resolve(operation: &mut Operation, evidence: Evidence, reason: Arc<str>, now: UnixMillis) {
    let Some(state) = proven_state(evidence) else { return };
    match operation.state {
        // Its attempt is in flight, and will say more than a person can.
        State::Pending => {}
        State::Unknown => settle(operation, state, evidence, Source::Operator, reason, Retained::None, now),
        // A person who looked and agrees has dealt with the conflict.
        same if same == state => operation.attention = None,
        _ => compare(operation, Contradiction { evidence, source: Source::Operator, status: None }, now),
    }
}

/// A person is called at once if only another dispatch could have settled it; where the service can be asked, it is asked on
/// until it is time to give up.
pub(super) fn miss_request(operation: &mut Operation, policy: &StepPolicy, now: UnixMillis) {
    if operation.state == State::Unknown && operation.attention.is_none() {
        operation.reason = UNREADABLE.into();
        if asking(operation, policy).is_none() {
            give_up(operation, policy, now);
        }
    }
}
