use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::*;
use crate::{
    idempotency::{
        AnswerKind, Begin, Claim, Idempotency, Settlement,
        test_kit::{Endpoint, Kit, asking},
    },
    operation::Source,
};

async fn settle_after(kit: &Kit, mut claim: Claim, wait: Duration, status: StatusCode) {
    tokio::time::sleep(wait).await;
    let settlement = kit.protection.settlement(status, &HeaderMap::new(), Some(Bytes::new()));
    claim.settle(settlement, Source::Response).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_repeat_waits_for_the_first_as_long_as_it_may() {
    let second = Duration::from_secs(1);
    let waiting = Idempotency { on_concurrent: OnConcurrent::Wait(2 * second), ..Idempotency::default() };
    for (params, prefer, settled_after, replayed) in [
        (Idempotency::default(), None, second, false),
        (waiting.clone(), None, second, true),
        (waiting.clone(), None, 3 * second, false),
        (waiting, Some(4 * second), 3 * second, true),
        (Idempotency::default(), Some(4 * second), 3 * second, true),
        (Idempotency::default(), Some(4 * second), 5 * second, false),
        (Idempotency::default(), Some(Duration::MAX), 31 * second, false),
    ] {
        let kit = Kit::new(params);
        let claim = kit.claim("k").await;
        let repeat = kit.repeat("k").await;
        let (answer, ()) = tokio::join!(
            kit.protection.resolve_repeat(repeat, prefer, None),
            settle_after(&kit, claim, settled_after, StatusCode::OK),
        );
        assert_eq!(matches!(answer.kind, AnswerKind::Replay(_)), replayed, "{prefer:?} {settled_after:?}");
        assert_eq!(answer.preference_applied, prefer.map(|wait| wait.min(MAX_PREFER_WAIT)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiting_repeat_executes_if_the_first_was_not_executed() {
    let kit = Kit::new(Idempotency::default());
    let claim = kit.claim("k").await;
    let repeat = kit.repeat("k").await;
    let (answer, ()) = tokio::join!(
        kit.protection.resolve_repeat(repeat, Some(Duration::from_secs(5)), None),
        settle_after(&kit, claim, Duration::from_secs(1), StatusCode::TOO_MANY_REQUESTS),
    );
    assert_eq!(answer.kind, AnswerKind::Freed);
    kit.claim("k").await;
}

/// The key `k`, with an outcome that is unknown.
async fn unknown(kit: &Kit) -> Repeat {
    let mut claim = kit.claim("k").await;
    claim.dispatched().await.unwrap();
    claim
        .settle(Settlement::Ambiguous { reason: "reset", status: None, stored: None }, Source::Response)
        .await
        .unwrap();
    drop(claim);
    kit.repeat("k").await
}

#[tokio::test]
async fn a_write_that_is_pending_for_too_long_is_unknown_to_its_repeats() {
    let kit = Kit::new(Idempotency::default());
    let claim = kit.claim("k").await;
    let answer = async || kit.protection.resolve_repeat(kit.repeat("k").await, None, None).await.operation;
    kit.clock.advance(Duration::from_secs(15 + 30 + 60) - Duration::from_millis(1));
    assert_eq!(answer().await.state, State::Pending);
    kit.clock.advance(Duration::from_millis(1));
    assert_eq!((answer().await.state, answer().await.attention), (State::Unknown, None));
    kit.clock.advance(Duration::from_secs(30));
    assert!(answer().await.attention.is_some(), "no late answer can come, and there is nobody to ask");
    drop(claim);
}

#[tokio::test(start_paused = true)]
async fn a_repeat_of_an_unknown_write_asks_the_upstream_once() {
    for (fenced, status, body, expected) in [
        (false, 200, r#"{"state":"SUCCESS"}"#, State::Succeeded),
        (false, 200, r#"{"state":"FAILED"}"#, State::Failed),
        (false, 200, r#"{"state":"PROCESSING"}"#, State::Unknown),
        (false, 404, "", State::Unknown),
        (true, 404, "", State::NotExecuted),
        (false, 500, r#"{"state":"FAILED"}"#, State::Unknown),
        (false, 401, "", State::Unknown),
        (false, 200, "garbage", State::Unknown),
    ] {
        let kit = Kit::new(asking(fenced));
        let repeat = unknown(&kit).await;
        let endpoint = Endpoint::json(status, body);
        let answer = kit.protection.resolve_repeat(repeat, None, Some(&endpoint)).await;
        assert_eq!(answer.operation.state, expected, "{status} {body}");
        assert_eq!((endpoint.asked(), answer.operation.checks), (1, 1));
        match expected {
            State::NotExecuted => assert_eq!(answer.kind, AnswerKind::Freed),
            State::Unknown => assert!(matches!(answer.kind, AnswerKind::Refused(refusal) if refusal.status == 409)),
            State::Failed => {
                assert!(matches!(&answer.kind, AnswerKind::Refused(refusal) if refusal.status == 422));
                assert_eq!(answer.operation.source, Some(Source::StatusQuery));
            }
            _ => {
                let AnswerKind::Replay(kept) = &answer.kind else { panic!("{:?}", answer.kind) };
                assert_eq!((kept.status, &kept.body[..]), (StatusCode::OK, body.as_bytes()));
                assert_eq!(kept.headers["mainstay-resolved"], "status-query");
                assert_eq!(answer.operation.source, Some(Source::StatusQuery));
            }
        }
        assert_eq!(*endpoint.targets.lock(), ["GET /by-ref/k"]);
    }
}

#[tokio::test(start_paused = true)]
async fn not_found_frees_the_key_once_the_write_cannot_arrive_any_more() {
    let kit = Kit::new(asking(false));
    let repeat = unknown(&kit).await;
    kit.clock.advance(Duration::from_mins(1));
    let endpoint = Endpoint::json(404, "");
    let answer = kit.protection.resolve_repeat(repeat, None, Some(&endpoint)).await;
    assert_eq!(answer.kind, AnswerKind::Freed);
    kit.claim("k").await;
}

#[tokio::test(start_paused = true)]
async fn a_repeat_in_doubt_waits_for_what_others_hear_as_long_as_its_caller_wants() {
    for (prefer, heard_after, settled) in [(Some(5), 3, true), (Some(5), 6, false), (None, 0, false)] {
        let kit = Kit::new(asking(false));
        let repeat = unknown(&kit).await;
        let operation = repeat.operation.clone();
        let nothing = Endpoint::json(200, r#"{"state":"NEW"}"#);
        let prefer = prefer.map(Duration::from_secs);
        let resolver = async {
            tokio::time::sleep(Duration::from_secs(heard_after)).await;
            let done = Endpoint::json(200, r#"{"state":"SUCCESS"}"#);
            kit.protection.ask(kit.read(operation.id).await, &done).await.unwrap();
        };
        let asks = kit.protection.resolve_repeat(repeat, prefer, Some(&nothing));
        let answer = if prefer.is_some() { tokio::join!(asks, resolver).0 } else { asks.await };
        assert_eq!(answer.operation.state == State::Succeeded, settled, "{prefer:?} {heard_after}");
        assert_eq!(answer.preference_applied, prefer);
    }
}

/// We know better than a service that does not know the write: we are still sending it, or waiting for its answer.
#[tokio::test(start_paused = true)]
async fn not_found_proves_nothing_while_an_attempt_is_open_here_unless_the_endpoint_is_fenced() {
    for (fenced, is_given_up) in [(false, false), (false, true), (true, false)] {
        let kit = Kit::new(asking(fenced));
        let mut claim = kit.claim("k").await;
        claim.dispatched().await.unwrap();
        let lost = Settlement::Ambiguous { reason: "attempt_timeout", status: None, stored: None };
        claim.settle(lost, Source::Response).await.unwrap();
        let given_up = is_given_up.then(|| kit.protection.give_up(claim.id()));
        let claim = Some(claim).filter(|_| !is_given_up);
        kit.clock.advance(Duration::from_hours(1));
        let endpoint = Endpoint::json(404, "");
        let state = async || {
            let repeat = kit.repeat("k").await;
            kit.protection.resolve_repeat(repeat, None, Some(&endpoint)).await.operation.state
        };
        let expected = if fenced { State::NotExecuted } else { State::Unknown };
        assert_eq!(state().await, expected, "{fenced} {is_given_up}");
        drop((claim, given_up));
        if !fenced {
            assert_eq!(state().await, State::NotExecuted, "no answer can come any more");
        }
        assert!(endpoint.asked() >= 1);
    }
}

#[tokio::test(start_paused = true)]
async fn concurrent_repeats_share_one_query() {
    let kit = Kit::new(asking(false));
    let repeat = unknown(&kit).await;
    let endpoint = Endpoint { after: Duration::from_secs(1), ..Endpoint::json(200, r#"{"state":"SUCCESS"}"#) };
    let repeats = (0..20).map(|_| kit.protection.resolve_repeat(repeat.clone(), None, Some(&endpoint)));
    let answers = futures_util::future::join_all(repeats).await;
    assert_eq!(endpoint.asked(), 1);
    assert!(answers.iter().all(|answer| answer.operation.state == State::Succeeded));
}

#[tokio::test]
async fn without_a_status_endpoint_nothing_is_asked() {
    let kit = Kit::new(Idempotency::default());
    let repeat = unknown(&kit).await;
    let endpoint = Endpoint::json(200, r#"{"state":"SUCCESS"}"#);
    kit.protection.resolve_repeat(repeat, None, Some(&endpoint)).await;
    assert_eq!(endpoint.asked(), 0);
}

#[tokio::test]
async fn a_key_that_would_climb_the_status_path_is_never_asked_about() {
    let kit = Kit::new(asking(false));
    let Begin::Execute(claim) = kit.begin("..", "").await else { panic!("executes") };
    assert_eq!(claim.operation().status_target, None);
}
