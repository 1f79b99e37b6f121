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
//! 3. Every operation is terminal, flagged for a person, or has exactly one due time.

use std::{sync::Arc, time::Duration};

use http::StatusCode;

use super::{Attention, AttentionReason, KeptRequest, Operation, Retained, Source, State, UnixMillis};
use crate::{
    evidence::Evidence,
    faults::{Safeguard, is_off},
    idempotency::{QuerySchedule, Redispatch, Verdict},
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
    /// How often a request may be dispatched again; only for an upstream that honours keys.
    pub redispatch: Option<Redispatch>,
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
        /// When it was asked: the answer speaks of no later time, however slowly it came.
        asked_at: UnixMillis,
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

/// The operation after `event`, and what is to be done about it.
///
/// `revision`, `owner` and `epoch` are the ledger's and stay as they are.
pub fn step(operation: &Operation, event: Event, policy: &StepPolicy, now: UnixMillis) -> (Operation, Vec<Action>) {
    let mut next = operation.clone();
    let mut todo = None;
    match event {
        Event::Dispatched => dispatch(&mut next, now),
        Event::Redispatched => redispatch(&mut next, policy, now),
        Event::Observed(observation) => observe(&mut next, observation, policy, now),
        Event::Queried { verdict, asked_at, retry_after } => {
            todo = hear(&mut next, (verdict, asked_at.min(now)), retry_after, policy, now);
        }
        Event::OwnerLost { reason } => {
            if next.state == State::Pending {
                doubt(&mut next, reason.into(), policy, now);
            }
        }
        Event::Due => todo = fall_due(&mut next, policy, now),
        Event::PutOff { until } => put_off(&mut next, until),
        Event::DueBy { at } => next.next_check_at = next.next_check_at.map(|due| due.min(at)),
        Event::ClockPutForward { by } => translate(&mut next, by),
        Event::Unreadable => miss_request(&mut next, policy, now),
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
    actions.extend(todo);
    (next, actions)
}

fn dispatch(operation: &mut Operation, now: UnixMillis) {
    if !operation.state.is_terminal() {
        operation.attempts = operation.attempts.saturating_add(1);
        operation.dispatched_at = Some(now);
    }
}

/// Counted whoever ordered it: a person may go beyond what the policy allows.
fn redispatch(operation: &mut Operation, policy: &StepPolicy, now: UnixMillis) {
    if operation.state == State::Unknown {
        dispatch(operation, now);
        operation.redispatches = operation.redispatches.saturating_add(1);
        if operation.attention.is_none() && asking(operation, policy).is_none() {
            // Its end gives it a nearer one.
            operation.next_check_at = Some(after(now, policy.patience));
        }
    }
}

fn put_off(operation: &mut Operation, until: UnixMillis) {
    if operation.due_at().is_some() {
        operation.next_check_at = Some(until);
    }
}

/// A person is called at once if only another dispatch could have settled it; where the service can be asked, it is asked on
/// until it is time to give up.
fn miss_request(operation: &mut Operation, policy: &StepPolicy, now: UnixMillis) {
    if operation.state == State::Unknown && operation.attention.is_none() {
        operation.reason = UNREADABLE.into();
        if asking(operation, policy).is_none() {
            give_up(operation, now);
        }
    }
}

/// What was written down before the clock was put forward, as the clock reads now: all waits last as long as they were to.
fn translate(operation: &mut Operation, by: Duration) {
    if !operation.state.is_terminal() {
        operation.dispatched_at = operation.dispatched_at.map(|at| after(at, by));
        operation.next_check_at = operation.next_check_at.map(|at| after(at, by));
    }
}

fn observe(operation: &mut Operation, seen: Observation, policy: &StepPolicy, now: UnixMillis) {
    if operation.state.is_terminal() && !is_off(Safeguard::StickyStates) {
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
    } else if seen.source == Source::Redispatch && operation.attention.is_none() {
        reschedule(operation, None, policy, now);
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

/// The status endpoint answered, or did not. Returns whether the request is to be dispatched again: a question comes first,
/// and what the service is still at needs no second push.
fn hear(
    operation: &mut Operation,
    (verdict, asked_at): (Option<Verdict>, UnixMillis),
    retry_after: Option<Duration>,
    policy: &StepPolicy,
    now: UnixMillis,
) -> Option<Action> {
    match operation.state {
        // The attempt is in flight: only what it has already done can be proven.
        State::Pending => {
            if let Some(Verdict::Evidence(evidence @ (Evidence::Succeeded | Evidence::Failed))) = verdict {
                settle_by_query(operation, evidence, now);
            }
        }
        State::Unknown => {
            operation.checks = operation.checks.saturating_add(1);
            match verdict.and_then(|verdict| weigh(operation, verdict, policy, asked_at)) {
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
                    let may_act = operation.attention.is_none() && evidence != Some(Evidence::Ongoing);
                    let wait = redispatch_wait(operation, policy).filter(|_| may_act);
                    return wait.filter(|wait| now >= after(last_sent(operation), *wait)).map(|_| Action::Dispatch);
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
    None
}

/// What a verdict proves of a write that the service was asked about at `asked_at`.
fn weigh(operation: &Operation, verdict: Verdict, policy: &StepPolicy, asked_at: UnixMillis) -> Option<Evidence> {
    match verdict {
        Verdict::Evidence(evidence) => Some(evidence),
        Verdict::NotFound => {
            let barred = policy.asking.is_some_and(|asking| asking.fenced);
            let settled = settled_by(operation, policy).is_some_and(|at| asked_at >= at);
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

/// Returns what is to be done. It is due again some time later, so that an end which never comes stalls nothing.
fn fall_due(operation: &mut Operation, policy: &StepPolicy, now: UnixMillis) -> Option<Action> {
    if operation.due_at().is_none_or(|due| now < due) {
        return None;
    }
    match operation.state {
        State::Pending => {
            doubt(operation, "overdue".into(), policy, now);
            None
        }
        State::Unknown => {
            if let Some(asking) = asking(operation, policy) {
                // Also when it is time to give up: after a night without a process the last word is the service's.
                operation.next_check_at = Some(after(now, query_wait(operation, asking.schedule)));
                return Some(Action::Ask);
            }
            if redispatch_wait(operation, policy).is_some() {
                operation.next_check_at = Some(after(now, policy.patience));
                return Some(Action::Dispatch);
            }
            give_up(operation, now);
            None
        }
        State::Succeeded | State::Failed | State::NotExecuted => None,
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
        let wait = redispatch_wait(operation, policy).unwrap_or(policy.late_response);
        operation.next_check_at = Some(after(now, wait));
        return;
    };
    let schedule = asking.schedule;
    let give_up_at = after(last_sent(operation), schedule.give_up);
    if now >= give_up_at {
        return give_up(operation, now);
    }
    let wait = query_wait(operation, schedule).max(retry_after.unwrap_or_default());
    operation.next_check_at = Some(after(now, wait).min(give_up_at));
}

/// The wait before the next query: up to a tenth less than the schedule says, so that operations which came to be in doubt
/// together do not stay together.
fn query_wait(operation: &Operation, schedule: QuerySchedule) -> Duration {
    let wait = wait_before(operation.checks, schedule);
    wait.saturating_sub(wait.mul_f64(0.1 * drawn(operation, operation.checks)))
}

/// The wait before the next dispatch, from the end of the last; `None` if there is none.
fn redispatch_wait(operation: &Operation, policy: &StepPolicy) -> Option<Duration> {
    let Redispatch { attempts, backoff } = policy.redispatch?;
    let is_kept = operation.request == KeptRequest::Kept && &*operation.reason != UNREADABLE;
    let may = is_kept && operation.redispatches < attempts;
    may.then(|| backoff.wait_drawn(operation.redispatches.saturating_add(1), drawn(operation, operation.redispatches)))
}

/// A number in `[0, 1)` for the `n`th wait of an operation: drawn once, with its random tag, so that the transition stays a
/// function of the record. The mixing is `SplitMix64`'s (Steele, Lea, Flood, 2014).
fn drawn(operation: &Operation, n: u32) -> f64 {
    let mut mixed = operation.id.tag.wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(u64::from(n) + 1));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
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
pub fn after(start: UnixMillis, wait: Duration) -> UnixMillis {
    start.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
