use std::time::Duration;

use http::StatusCode;

use super::*;
use crate::{
    idempotency::{AnswerKind, Begin, Idempotency, Outcomes, Rule, Verdict, test_kit::Kit},
    operation::{UnixMillis, ledger::Ledger, step::step},
};

fn response(evidence: Evidence, status: u16) -> Settlement {
    let status = StatusCode::from_u16(status).unwrap();
    let of_state = status == StatusCode::CONFLICT;
    Settlement::Response { evidence, status, code: None, retained: Retained::StatusOnly, of_state }
}

const TIMEOUT: Settlement = Settlement::Ambiguous { reason: "attempt_timeout", status: None, stored: None };
const REFUSED: Settlement = Settlement::NotExecuted { reason: "connect_error" };

#[tokio::test]
async fn an_execution_is_counted_and_settled() {
    let kit = Kit::new(Idempotency::default());
    let mut claim = kit.claim("k").await;
    claim.dispatched().await.unwrap();
    kit.clock.advance(Duration::from_millis(7));
    claim.settle(response(Evidence::Succeeded, 201), Source::Response).await.unwrap();
    let operation = kit.read(claim.id()).await;
    assert_eq!((operation.state, &*operation.reason, operation.attempts), (State::Succeeded, "http_201", 1));
    let since = |at: Option<UnixMillis>| at.map(|at| at - operation.created_at);
    assert_eq!((since(operation.dispatched_at), since(operation.settled_at)), (Some(0), Some(7)));
    assert_eq!(&operation, claim.operation());
}

#[tokio::test]
async fn what_was_never_sent_frees_the_key() {
    let kit = Kit::new(Idempotency::default());
    let mut claim = kit.claim("k").await;
    let first = claim.id();
    claim.dispatched().await.unwrap();
    assert_eq!(claim.settle(REFUSED, Source::Response).await.unwrap().state, State::NotExecuted);
    assert_ne!(kit.claim("k").await.id(), first);
    assert_eq!(kit.read(first).await.state, State::NotExecuted);
}

/// powertools-python#8049: a timeout frees the key.
#[tokio::test]
async fn a_timeout_never_frees_the_key() {
    let kit = Kit::new(Idempotency::default());
    let mut claim = kit.claim("k").await;
    claim.dispatched().await.unwrap();
    assert_eq!(claim.settle(TIMEOUT, Source::Response).await.unwrap().state, State::Unknown);
    drop(claim);
    kit.clock.advance(Duration::from_hours(10_000));
    assert_eq!(kit.repeat("k").await.operation.state, State::Unknown);
}

#[tokio::test]
async fn a_late_answer_settles_what_was_unknown() {
    for (evidence, status, expected) in [
        (Evidence::Succeeded, 201, State::Succeeded),
        (Evidence::Failed, 422, State::Failed),
        (Evidence::NotExecuted, 429, State::NotExecuted),
    ] {
        let kit = Kit::new(Idempotency::default());
        let mut claim = kit.claim("k").await;
        claim.settle(TIMEOUT, Source::Response).await.unwrap();
        let operation = claim.settle(response(evidence, status), Source::LateResponse).await.unwrap();
        assert_eq!((operation.state, operation.source), (expected, Some(Source::LateResponse)));
    }
}

#[tokio::test]
async fn a_claim_that_is_dropped_leaves_its_operation_unknown_and_its_key_taken() {
    let kit = Kit::new(Idempotency::default());
    let claim = kit.claim("k").await;
    let id = claim.id();
    drop(claim);
    let operation = kit.read(id).await;
    assert_eq!((operation.state, &*operation.reason), (State::Unknown, "abandoned"));
    assert_eq!(kit.repeat("k").await.operation.id, id);
}

#[tokio::test]
async fn a_task_that_panics_leaves_its_operation_unknown() {
    let kit = Kit::new(Idempotency::default());
    let claim = kit.claim("k").await;
    let id = claim.id();
    let task = tokio::spawn(async move {
        let _held = claim;
        panic!("on purpose");
    });
    assert!(task.await.unwrap_err().is_panic());
    assert_eq!(kit.read(id).await.state, State::Unknown);
}

#[tokio::test]
async fn a_settled_claim_changes_nothing_when_dropped() {
    let kit = Kit::new(Idempotency::default());
    let mut claim = kit.claim("k").await;
    let settled = claim.settle(response(Evidence::Failed, 404), Source::Response).await.unwrap().clone();
    drop(claim);
    assert_eq!(kit.read(settled.id).await, settled);
}

#[tokio::test]
async fn no_attempt_is_sent_for_an_operation_that_is_settled() {
    let kit = Kit::new(Idempotency::default());
    let mut claim = kit.claim("k").await;
    claim.settle(response(Evidence::Succeeded, 200), Source::Response).await.unwrap();
    assert!(matches!(claim.dispatched().await, Err(LedgerError::Stale(_))));
}

#[tokio::test]
async fn a_change_by_another_is_built_upon_and_not_overwritten() {
    let kit = Kit::new(Idempotency::default());
    let mut claim = kit.claim("k").await;
    let due = claim.operation().next_check_at.unwrap();
    let overdue = step(claim.operation(), Event::Due, kit.protection.step_policy(), due).0;
    kit.ledger.update(overdue).await.unwrap();
    claim.dispatched().await.unwrap();
    assert_eq!((claim.operation().state, claim.operation().attempts), (State::Unknown, 1));
    let settled = claim.settle(response(Evidence::Succeeded, 200), Source::Response).await.unwrap();
    assert_eq!((settled.state, settled.attempts), (State::Succeeded, 1));
}

#[tokio::test]
async fn a_later_attempt_does_not_speak_for_one_left_in_doubt() {
    for (what, expected) in [
        (REFUSED, State::Unknown),
        (response(Evidence::NotExecuted, 429), State::Unknown),
        (response(Evidence::Failed, 409), State::Unknown),
        (response(Evidence::Failed, 422), State::Failed),
        (response(Evidence::Succeeded, 200), State::Succeeded),
    ] {
        let kit = Kit::new(Idempotency::default());
        let mut claim = kit.claim("k").await;
        claim.dispatched().await.unwrap();
        claim.leave_in_doubt();
        claim.dispatched().await.unwrap();
        let operation = claim.settle(what.clone(), Source::Response).await.unwrap();
        assert_eq!((operation.state, operation.attempts), (expected, 2), "{what:?}");
    }
}

#[tokio::test]
async fn one_late_refusal_of_two_attempts_in_doubt_does_not_free_the_key() {
    let kit = Kit::new(Idempotency::default());
    let mut claim = kit.claim("k").await;
    claim.leave_in_doubt();
    claim.settle(TIMEOUT, Source::Response).await.unwrap();
    let operation = claim.settle(response(Evidence::NotExecuted, 429), Source::LateResponse).await.unwrap();
    assert_eq!(operation.state, State::Unknown);
}

/// With an attempt in doubt, "exists already" and its like may tell of that attempt's success.
#[tokio::test]
async fn a_failure_that_may_tell_of_another_attempt_is_none_unless_the_policy_calls_it_one() {
    let rule =
        Rule { status: Some(StatusCode::CONFLICT.into()), json: Vec::new(), then: Verdict::Evidence(Evidence::Failed) };
    let listed = Outcomes { failed: vec![StatusCode::CONFLICT.into()], ..Outcomes::default() };
    let ruled = Outcomes { rules: vec![rule], ..Outcomes::default() };
    let said = |outcome| Idempotency { outcome, ..Idempotency::default() };
    for (params, status, expected) in [
        (Idempotency::default(), 409, State::Unknown),
        (Idempotency::default(), 404, State::Failed),
        (Idempotency::default(), 422, State::Failed),
        (said(listed), 409, State::Failed),
        (said(ruled), 409, State::Failed),
    ] {
        let kit = Kit::new(params);
        let mut claim = kit.claim("k").await;
        claim.leave_in_doubt();
        let status = StatusCode::from_u16(status).unwrap();
        let answer = kit.protection.settlement(status, &http::HeaderMap::new(), Some(bytes::Bytes::new()));
        assert_eq!(claim.settle(answer, Source::Response).await.unwrap().state, expected, "{status}");
    }
}

/// powertools-typescript#5675: a rejected duplicate deletes the live claim.
#[tokio::test]
async fn a_rejected_repeat_leaves_the_claim_alone() {
    let kit = Kit::new(Idempotency::default());
    let mut claim = kit.claim("k").await;
    let before = kit.read(claim.id()).await;
    let answer = kit.protection.resolve_repeat(kit.repeat("k").await, None, None).await;
    assert!(matches!(answer.kind, AnswerKind::Refused(_)));
    assert!(matches!(kit.begin("k", "another body").await, Begin::Refused(_)));
    assert_eq!(kit.read(claim.id()).await, before);
    claim.settle(response(Evidence::Succeeded, 200), Source::Response).await.unwrap();
}

#[tokio::test]
async fn a_claim_is_in_doubt_from_the_first_attempt_that_may_have_acted() {
    let kit = Kit::new(Idempotency::default());
    let mut claim = kit.claim("k").await;
    claim.dispatched().await.unwrap();
    claim.settle(REFUSED, Source::Response).await.unwrap();
    assert!(!claim.is_in_doubt(), "what was never sent is in no doubt");
    let mut claim = kit.claim("k").await;
    assert!(!claim.is_in_doubt());
    claim.settle(TIMEOUT, Source::Response).await.unwrap();
    assert!(claim.is_in_doubt());
    let claim = kit.protection.take_up(kit.read(claim.id()).await);
    assert!(claim.is_none(), "an attempt of it is held still");
}

/// Takes an operation from its owner, as another process does with what is pending.
async fn take_over(kit: &Kit, id: crate::operation::OperationId) -> Operation {
    let lost = step(&kit.read(id).await, Event::OwnerLost { reason: "owner_lost" }, kit.protection.step_policy(), 0).0;
    kit.ledger.take_over(lost)
}

#[tokio::test]
async fn nothing_is_sent_of_an_operation_that_somebody_else_took_over() {
    let kit = Kit::new(Idempotency::default());
    let mut claim = kit.claim("k").await;
    assert!(claim.may_send().is_ok());
    take_over(&kit, claim.id()).await;
    assert!(matches!(claim.dispatched().await, Err(LedgerError::Fenced)));
    assert!(matches!(claim.may_send(), Err(LedgerError::Fenced)));
}

/// The owner's word counts for less once another process acts, too: that may have sent.
#[tokio::test]
async fn after_a_takeover_only_a_complete_answer_or_a_check_that_nothing_passed_is_proof() {
    for (was_allowed, redispatches, what, expected) in [
        (false, 1, REFUSED, State::Unknown),
        (true, 1, response(Evidence::NotExecuted, 429), State::Unknown),
        (true, 1, response(Evidence::Failed, 409), State::Unknown),
        (true, 1, response(Evidence::Failed, 422), State::Failed),
        (false, 0, REFUSED, State::NotExecuted),
        (true, 0, REFUSED, State::Unknown),
        (true, 0, response(Evidence::NotExecuted, 429), State::NotExecuted),
        (true, 0, response(Evidence::Failed, 422), State::Failed),
        (true, 0, response(Evidence::Succeeded, 201), State::Succeeded),
        (true, 0, TIMEOUT, State::Unknown),
    ] {
        let kit = Kit::new(Idempotency::default());
        let mut claim = kit.claim("k").await;
        if was_allowed {
            claim.dispatched().await.unwrap();
        }
        let taken = take_over(&kit, claim.id()).await;
        let taken = kit.ledger.update(Operation { redispatches, ..taken }).await.unwrap();
        let after = claim.settle(what.clone(), Source::Response).await.unwrap().clone();
        assert_eq!((after.state, after.epoch, after.owner), (expected, taken.epoch, taken.owner), "{what:?}");
        assert_eq!(kit.read(after.id).await, after);
    }
}
