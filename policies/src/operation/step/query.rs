//! Status queries: when one is due, and what the answer proves.

use std::{sync::Arc, time::Duration};

use super::{
    schedule::{after, asking, give_up, last_sent, query_wait, redispatch_wait, reschedule, settled_by},
    settle::{compare, doubt, proven_state, settle},
};
use crate::{
    clock::UnixMillis,
    evidence::{Evidence, Verdict},
    operation::{Contradiction, Operation, Retained, Source, State, StoredResponse, event::Action, policy::StepPolicy},
};

/// What the status endpoint said, if it said anything.
pub(super) struct Heard {
    pub(super) verdict: Option<Verdict>,
    pub(super) asked_at: UnixMillis,
    pub(super) retry_after: Option<Duration>,
    pub(super) answer: Option<Arc<StoredResponse>>,
}

/// The status endpoint answered, or did not. Returns whether the request is to be dispatched again: a question comes first,
/// and what the service is still at needs no second push.
pub(super) fn hear(operation: &mut Operation, heard: Heard, policy: &StepPolicy, now: UnixMillis) -> Option<Action> {
    let Heard { verdict, asked_at, retry_after, answer } = heard;
    match operation.state {
        // The attempt is in flight: only what it has already done can be proven.
        State::Pending => {
            if let Some(Verdict::Evidence(evidence @ (Evidence::Succeeded | Evidence::Failed))) = verdict {
                settle_by_query(operation, evidence, answer, now);
            }
        }
        State::Unknown => {
            operation.checks = operation.checks.saturating_add(1);
            match verdict.and_then(|verdict| weigh(operation, verdict, policy, asked_at)) {
                Some(evidence) if proven_state(evidence).is_some() => settle_by_query(operation, evidence, answer, now),
                evidence => {
                    operation.last_evidence = evidence.or(operation.last_evidence);
                    if operation.attention.is_some() {
                        give_up(operation, policy, now);
                        let named = after(now, retry_after.unwrap_or_default());
                        operation.next_check_at = operation.next_check_at.map(|seldom| seldom.max(named));
                    } else {
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
                compare(operation, Contradiction { evidence, source: Source::StatusQuery, status: None }, now);
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

/// What the endpoint answered is the result of a write that was done: nobody has seen another.
fn settle_by_query(
    operation: &mut Operation,
    evidence: Evidence,
    answer: Option<Arc<StoredResponse>>,
    now: UnixMillis,
) {
    if let Some(state) = proven_state(evidence) {
        let retained = answer.filter(|_| state == State::Succeeded).map_or(Retained::None, Retained::Stored);
        settle(operation, state, evidence, Source::StatusQuery, "status_query".into(), retained, now);
    }
}

/// Returns what is to be done. It is due again some time later, so that an end which never comes stalls nothing.
pub(super) fn fall_due(operation: &mut Operation, policy: &StepPolicy, now: UnixMillis) -> Option<Action> {
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
            // It is a person's, and nobody can be asked.
            if operation.attention.is_some() {
                operation.next_check_at = None;
                return None;
            }
            if redispatch_wait(operation, policy).is_some() {
                operation.next_check_at = Some(after(now, policy.patience));
                return Some(Action::Dispatch);
            }
            give_up(operation, policy, now);
            None
        }
        State::Succeeded | State::Failed | State::NotExecuted => None,
    }
}
