//! When something is done next about an open operation.

use std::time::Duration;

use crate::{
    clock::UnixMillis,
    operation::{
        Attention, AttentionReason, KeptRequest, Operation,
        event::UNREADABLE,
        policy::{Asking, QuerySchedule, Redispatch, StepPolicy},
    },
};

/// Between two questions once a person was called: a service that is back is heard within the hour, and one that never is costs
/// nothing to speak of.
const SELDOM: Duration = Duration::from_hours(1);

/// Gives an unknown operation its next due time, or a person.
pub(super) fn reschedule(
    operation: &mut Operation,
    retry_after: Option<Duration>,
    policy: &StepPolicy,
    now: UnixMillis,
) {
    let Some(asking) = asking(operation, policy) else {
        let wait = redispatch_wait(operation, policy).unwrap_or(policy.late_response);
        operation.next_check_at = Some(after(now, wait));
        return;
    };
    let schedule = asking.schedule;
    let give_up_at = after(last_sent(operation), schedule.give_up);
    if now >= give_up_at {
        return give_up(operation, policy, now);
    }
    let wait = query_wait(operation, schedule).max(retry_after.unwrap_or_default());
    operation.next_check_at = Some(after(now, wait).min(give_up_at));
}

/// The wait before the next query: up to a tenth less than the schedule says, so that operations which came to be in doubt
/// together do not stay together.
pub(super) fn query_wait(operation: &Operation, schedule: QuerySchedule) -> Duration {
    let wait = wait_before(operation.checks, schedule);
    wait.saturating_sub(wait.mul_f64(0.1 * drawn(operation, operation.checks)))
}

/// The wait before the next dispatch, from the end of the last; `None` if there is none.
pub(super) fn redispatch_wait(operation: &Operation, policy: &StepPolicy) -> Option<Duration> {
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

/// Calls a person. Where the service can be asked, it is asked on, seldom: what it says settles the write after all, and takes
/// the flag away.
pub(super) fn give_up(operation: &mut Operation, policy: &StepPolicy, now: UnixMillis) {
    operation.next_check_at = asking(operation, policy).map(|_| after(now, SELDOM));
    operation.attention.get_or_insert(Attention::new(now, AttentionReason::ResolveExhausted));
}

pub(super) fn put_off(operation: &mut Operation, until: UnixMillis) {
    if operation.due_at().is_some() {
        operation.next_check_at = Some(until);
    }
}

/// What was written down before the clock was put forward, as the clock reads now: all waits last as long as they were to.
pub(super) fn translate(operation: &mut Operation, by: Duration) {
    if !operation.state.is_terminal() {
        operation.dispatched_at = operation.dispatched_at.map(|at| after(at, by));
        operation.next_check_at = operation.next_check_at.map(|at| after(at, by));
    }
}

/// `wait` after `start`; the end of time rather than an overflow.
pub fn after(start: UnixMillis, wait: Duration) -> UnixMillis {
    start.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
}

pub(super) fn asking(operation: &Operation, policy: &StepPolicy) -> Option<Asking> {
    policy.asking.filter(|_| operation.status_target.is_some())
}

pub(super) fn last_sent(operation: &Operation) -> UnixMillis {
    operation.dispatched_at.unwrap_or(operation.created_at)
}

/// From when on a request that the service does not know cannot arrive any more.
pub(super) fn settled_by(operation: &Operation, policy: &StepPolicy) -> Option<UnixMillis> {
    policy.asking.map(|asking| after(last_sent(operation), asking.settle_after))
}
