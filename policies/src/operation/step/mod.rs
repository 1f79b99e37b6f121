//! What may become of an operation, as one pure function.
//!
//! ```text
//! pending ─┬─► succeeded | failed | not_executed      proven by an answer
//!          └─► unknown ──► succeeded | failed | not_executed
//!                          proven by a late answer, a status query, another dispatch, or a person
//! ```
//!
//! Three rules hold for every sequence of events, and are tested as such:
//!
//! 1. A terminal state never changes. Evidence against it raises `attention: conflict`.
//! 2. Only proof settles. Ambiguous evidence, lost owners, elapsed time and unreadable queries never make a write
//!    `failed`, and never free its key.
//! 3. Every operation is terminal, flagged for a person, or has exactly one due time. One that is flagged has one, too, where
//!    the service can be asked on.

mod attempt;
mod person;
mod query;
mod schedule;
mod settle;

use self::{
    attempt::{dispatch, observe, redispatch},
    person::{miss_request, resolve},
    query::{Heard, fall_due, hear},
    schedule::{put_off, translate},
    settle::doubt,
};
pub use self::{
    person::{agrees, may_be_resolved},
    schedule::after,
};
use super::{Operation, State, UnixMillis, event::alerts, history::tell};
pub use super::{
    event::{Action, Event, Observation, UNREADABLE},
    policy::{Asking, StepPolicy},
};

/// The operation after `event`, and what is to be done about it.
///
/// `revision`, `owner` and `epoch` are the ledger's and stay as they are.
pub fn step(operation: &Operation, event: Event, policy: &StepPolicy, now: UnixMillis) -> (Operation, Vec<Action>) {
    let mut next = operation.clone();
    let mut todo = None;
    let told = event.clone();
    match event {
        Event::Dispatched => dispatch(&mut next, now),
        Event::Redispatched => redispatch(&mut next, policy, now),
        Event::Observed(observation) => observe(&mut next, observation, policy, now),
        Event::Queried { verdict, asked_at, retry_after, answer, .. } => {
            let heard = Heard { verdict, asked_at: asked_at.min(now), retry_after, answer };
            todo = hear(&mut next, heard, policy, now);
        }
        Event::OwnerLost { reason } => {
            if next.state == State::Pending {
                doubt(&mut next, reason.into(), policy, now);
            }
        }
        Event::Due => todo = fall_due(&mut next, policy, now),
        Event::PutOff { until } => put_off(&mut next, until),
        Event::DueBy { at } => {
            if !next.state.is_terminal() {
                next.next_check_at = Some(next.next_check_at.map_or(at, |due| due.min(at)));
            }
        }
        Event::ClockPutForward { by } => translate(&mut next, by),
        Event::Unreadable => miss_request(&mut next, policy, now),
        Event::Resolved { evidence, reason } => resolve(&mut next, evidence, reason, now),
    }
    tell(operation, &mut next, &told, policy, now);
    let mut actions = Vec::new();
    if next != *operation {
        actions.push(Action::Record);
    }
    actions.extend(alerts(operation, &next));
    actions.extend(todo);
    (next, actions)
}

#[cfg(test)]
mod tests;
