//! What a start does with the operations that the last process left open.

use mainstay_policies::operation::{
    InstanceId, Operation, State, UnixMillis,
    step::{Event, StepPolicy, step},
};

use super::sql::{self, Db, STATES, SqlError};
use crate::ledger::record::state_number;

/// Why an operation is unknown after its process died.
pub(super) const RESTART: &str = "restart";

/// Makes every open operation this instance's, in one transaction; those in flight become unknown. Returns them all.
///
/// What follows from a lost owner does so without the route's policy: it is due at once, and whoever meets it then knows the
/// policy. No late answer can come, for the connection that it would have come on died with the process.
pub(super) fn take_over(db: &Db, instance: InstanceId, now: UnixMillis) -> Result<Vec<Operation>, SqlError> {
    let mut open = sql::open(db)?;
    let transaction = db.unchecked_transaction()?;
    let mut moved = 0;
    for operation in &mut open {
        let retained = operation.retained.clone();
        if operation.state == State::Pending {
            *operation = lost(operation, now);
            moved += 1;
        }
        // What is unknown may wait for something that died with the process.
        (*operation, _) = step(operation, Event::DueBy { at: now }, &StepPolicy::NONE, now);
        operation.owner = instance;
        operation.epoch += 1;
        operation.revision += 1;
        sql::replace(db, operation, &retained)?;
    }
    if moved > 0 {
        for (state, count) in [(State::Pending, 0), (State::Unknown, moved)] {
            let label = STATES[usize::from(state_number(state))].label();
            let before = if state == State::Unknown { sql::counter(&transaction, label)? } else { 0 };
            sql::set_counter(&transaction, label, before + count)?;
        }
    }
    transaction.commit()?;
    Ok(open)
}

/// An operation that was in flight. When it was sent was noted in memory only, so it counts as sent just now: the wait
/// before `not_found` proves anything must not be too short.
fn lost(operation: &Operation, now: UnixMillis) -> Operation {
    let (mut next, _) = step(operation, Event::OwnerLost { reason: RESTART }, &StepPolicy::NONE, now);
    next.attempts = next.attempts.max(1);
    next.dispatched_at = Some(next.dispatched_at.unwrap_or(0).max(now));
    next
}
