//! What may become of an operation, as one pure function.
//!
//! ```text
//! pending ─┬─► succeeded | failed | not_executed      proven by an answer
//!          └─► unknown ──► succeeded | failed | not_executed
//!                          proven by a late answer, a status query, or a person
//! ```
//!
//! Three rules hold for every sequence of events, and are tested as such:
//!
//! 1. A terminal state never changes. Evidence against it raises `attention: conflict`.
//! 2. Only proof settles. Ambiguous evidence, lost owners, elapsed time and unreadable queries never make a write
//!    `failed`, and never free its key.
//! 3. Every operation is terminal, flagged for a person, or has exactly one due time.

use std::{sync::Arc, time::Duration};

use http::StatusCode;

use super::{Attention, AttentionReason, KeptRequest, Operation, Retained, Source, State, UnixMillis};
use crate::{
    evidence::Evidence,
    faults::{Protection, is_off},
    idempotency::{QuerySchedule, Verdict},
};

/// What the transitions depend on beside the record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepPolicy {
    /// How long an operation may be pending; then it is unknown, whatever became of its owner.
    pub patience: Duration,
    /// How long after it became unknown a late answer may still come; without a status endpoint a person is called then.
    pub late_response: Duration,
    /// How the upstream can be asked, if it can.
    pub asking: Option<Asking>,
}

/// How the upstream can be asked what became of a write.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asking {
    /// `not_found` proves nothing until this long after the last dispatch.
    pub settle_after: Duration,
    /// The endpoint itself bars a late original, so `not_found` proves at once.
    pub fenced: bool,
    /// When the next query is made, and when a person is called.
    pub schedule: QuerySchedule,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// An attempt is about to be sent.
    Dispatched,
    /// An attempt ended, now or late.
    Observed(Observation),
    /// The status endpoint was asked.
    Queried {
        /// What the matching rule says; `None` is no evidence.
        verdict: Option<Verdict>,
        /// What the endpoint asked for by `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// Nobody will report on a pending operation any more: its process died or dropped it.
    OwnerLost {
        /// A short fixed phrase: `restart`, `abandoned`.
        reason: &'static str,
    },
    /// The due time has come.
    Due,
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
    /// Call a person.
    Alert(AttentionReason),
}

/// The operation after `event`, and what is to be done about it.
///
/// `revision`, `owner` and `epoch` are the ledger's and stay as they are.
pub fn step(operation: &Operation, event: Event, policy: &StepPolicy, now: UnixMillis) -> (Operation, Vec<Action>) {
    let mut next = operation.clone();
    let mut ask = false;
    match event {
        Event::Dispatched => dispatch(&mut next, now),
        Event::Observed(observation) => observe(&mut next, observation, policy, now),
        Event::Queried { verdict, retry_after } => hear(&mut next, verdict, retry_after, policy, now),
        Event::OwnerLost { reason } => {
            if next.state == State::Pending {
                doubt(&mut next, reason.into(), policy, now);
            }
        }
        Event::Due => ask = fall_due(&mut next, policy, now),
        Event::Resolved { evidence, reason } => resolve(&mut next, evidence, reason, now),
    }
    let mut actions = Vec::new();
    if next != *operation {
        actions.push(Action::Record);
    }
    if let Some(attention) = next.attention
        && operation.attention.map(|before| before.reason) != Some(attention.reason)
    {
        actions.push(Action::Alert(attention.reason));
    }
    if ask {
        actions.push(Action::Ask);
    }
    (next, actions)
}

fn dispatch(operation: &mut Operation, now: UnixMillis) {
    if !operation.state.is_terminal() {
        operation.attempts = operation.attempts.saturating_add(1);
        operation.dispatched_at = Some(now);
    }
}

fn observe(operation: &mut Operation, seen: Observation, policy: &StepPolicy, now: UnixMillis) {
    if operation.state.is_terminal() && !is_off(Protection::StickyStates) {
        if proven_state(seen.evidence) == Some(operation.state) && operation.retained == Retained::None {
            // A status query was quicker than the answer itself; the answer is still worth replaying.
            operation.retained = seen.retained;
            operation.http_status = seen.status.or(operation.http_status);
        }
        return compare(operation, seen.evidence, now);
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
    }
}

/// Evidence about an operation that is already settled.
fn compare(operation: &mut Operation, evidence: Evidence, now: UnixMillis) {
    let against = match proven_state(evidence) {
        Some(state) => state != operation.state,
        // "Still at it" contradicts "did not do it"; after a success it is only an old view.
        None => evidence == Evidence::Ongoing && operation.state != State::Succeeded,
    };
    if against {
        operation.last_evidence = Some(evidence);
        if operation.attention.is_none() {
            operation.attention = Some(Attention { since: now, reason: AttentionReason::Conflict });
        }
    }
}

fn settle(
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
fn doubt(operation: &mut Operation, reason: Arc<str>, policy: &StepPolicy, now: UnixMillis) {
    operation.state = State::Unknown;
    operation.reason = reason;
    operation.last_evidence.get_or_insert(Evidence::Ambiguous);
    reschedule(operation, None, policy, now);
}

/// The status endpoint answered, or did not.
fn hear(
    operation: &mut Operation,
    verdict: Option<Verdict>,
    retry_after: Option<Duration>,
    policy: &StepPolicy,
    now: UnixMillis,
) {
    match operation.state {
        // The attempt is in flight: only what it has already done can be proven.
        State::Pending => {
            if let Some(Verdict::Evidence(evidence @ (Evidence::Succeeded | Evidence::Failed))) = verdict {
                settle_by_query(operation, evidence, now);
            }
        }
        State::Unknown => {
            operation.checks = operation.checks.saturating_add(1);
            match verdict.and_then(|verdict| weigh(operation, verdict, policy, now)) {
                Some(evidence) if proven_state(evidence).is_some() => settle_by_query(operation, evidence, now),
                evidence => {
                    operation.last_evidence = evidence.or(operation.last_evidence);
                    if operation.attention.is_none() {
                        let proof_at = (verdict == Some(Verdict::NotFound)).then(|| settled_by(operation, policy));
                        reschedule(operation, retry_after, policy, now);
                        if let (Some(due), Some(proof_at)) = (operation.next_check_at, proof_at.flatten()) {
                            operation.next_check_at = Some(due.min(proof_at.max(now)));
                        }
                    }
                }
            }
        }
        State::Succeeded | State::Failed | State::NotExecuted => {
            // A service may forget what it did; only what it remembers can contradict.
            if let Some(Verdict::Evidence(evidence)) = verdict {
                compare(operation, evidence, now);
            }
        }
    }
}

/// What a verdict proves now.
fn weigh(operation: &Operation, verdict: Verdict, policy: &StepPolicy, now: UnixMillis) -> Option<Evidence> {
    match verdict {
        Verdict::Evidence(evidence) => Some(evidence),
        Verdict::NotFound => {
            let barred = policy.asking.is_some_and(|asking| asking.fenced);
            let settled = settled_by(operation, policy).is_some_and(|at| now >= at);
            (barred || settled).then_some(Evidence::NotExecuted)
        }
    }
}

/// From when on a request that the service does not know cannot arrive any more.
fn settled_by(operation: &Operation, policy: &StepPolicy) -> Option<UnixMillis> {
    policy.asking.map(|asking| after(last_sent(operation), asking.settle_after))
}

fn settle_by_query(operation: &mut Operation, evidence: Evidence, now: UnixMillis) {
    if let Some(state) = proven_state(evidence) {
        settle(operation, state, evidence, Source::StatusQuery, "status_query".into(), Retained::None, now);
    }
}

/// Returns whether the status endpoint is to be asked.
fn fall_due(operation: &mut Operation, policy: &StepPolicy, now: UnixMillis) -> bool {
    if operation.next_check_at.is_none_or(|due| now < due) {
        return false;
    }
    match operation.state {
        State::Pending => {
            doubt(operation, "overdue".into(), policy, now);
            false
        }
        State::Unknown if asking(operation, policy).is_some() => {
            // Due again after the wait, so that an answer which never comes stalls nothing.
            reschedule(operation, None, policy, now);
            operation.attention.is_none()
        }
        State::Unknown => {
            give_up(operation, now);
            false
        }
        State::Succeeded | State::Failed | State::NotExecuted => false,
    }
}

fn resolve(operation: &mut Operation, evidence: Evidence, reason: Arc<str>, now: UnixMillis) {
    let Some(state) = proven_state(evidence) else { return };
    match operation.state {
        // Its attempt is in flight, and will say more than a person can.
        State::Pending => {}
        State::Unknown => settle(operation, state, evidence, Source::Operator, reason, Retained::None, now),
        // A person who looked and agrees has dealt with the conflict.
        same if same == state => operation.attention = None,
        _ => compare(operation, evidence, now),
    }
}

/// Gives an unknown operation its next due time, or a person.
fn reschedule(operation: &mut Operation, retry_after: Option<Duration>, policy: &StepPolicy, now: UnixMillis) {
    let Some(asking) = asking(operation, policy) else {
        operation.next_check_at = Some(after(now, policy.late_response));
        return;
    };
    let schedule = asking.schedule;
    let give_up_at = after(last_sent(operation), schedule.give_up);
    if now >= give_up_at {
        return give_up(operation, now);
    }
    let wait = wait_before(operation.checks, schedule).max(retry_after.unwrap_or_default());
    operation.next_check_at = Some(after(now, wait).min(give_up_at));
}

/// `first · factor^checks`, at most `max`.
fn wait_before(checks: u32, schedule: QuerySchedule) -> Duration {
    // Past 1024 doublings every factor above 1 has long met `max`.
    let grown = schedule.first.as_secs_f64() * schedule.factor.powi(checks.min(1024).cast_signed());
    Duration::try_from_secs_f64(grown).map_or(schedule.max, |wait| wait.min(schedule.max))
}

fn give_up(operation: &mut Operation, now: UnixMillis) {
    operation.next_check_at = None;
    operation.attention = Some(Attention { since: now, reason: AttentionReason::ResolveExhausted });
}

fn asking(operation: &Operation, policy: &StepPolicy) -> Option<Asking> {
    policy.asking.filter(|_| operation.status_target.is_some())
}

fn last_sent(operation: &Operation) -> UnixMillis {
    operation.dispatched_at.unwrap_or(operation.created_at)
}

const fn proven_state(evidence: Evidence) -> Option<State> {
    match evidence {
        Evidence::NotExecuted => Some(State::NotExecuted),
        Evidence::Succeeded => Some(State::Succeeded),
        Evidence::Failed => Some(State::Failed),
        Evidence::Ongoing | Evidence::Ambiguous => None,
    }
}

/// `wait` after `start`; the end of time rather than an overflow.
pub(crate) fn after(start: UnixMillis, wait: Duration) -> UnixMillis {
    start.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
