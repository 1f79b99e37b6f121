use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::*;
use crate::{
    idempotency::test_kit::{NOW, operation},
    operation::{Attention, AttentionReason, Source},
};

fn stored(status: u16) -> Retained {
    let status = StatusCode::from_u16(status).unwrap();
    Retained::Stored(Arc::new(StoredResponse { status, headers: HeaderMap::new(), body: Bytes::from_static(b"b") }))
}

fn in_state(state: State) -> Operation {
    let settled_at = state.is_terminal().then_some(NOW);
    let next_check_at = (!state.is_terminal()).then_some(NOW + 5_000);
    Operation { state, settled_at, next_check_at, ..operation() }
}

/// What the answer is, in one word, with its status where Mainstay makes it.
fn word(operation: &Operation, now: UnixMillis, params: &Idempotency) -> String {
    match answer(operation, now, params) {
        AnswerKind::Replay(stored) => format!("replay {}", stored.status.as_u16()),
        AnswerKind::Resolved(response) => format!("resolved {}", response.status.as_u16()),
        AnswerKind::Document => "document".into(),
        AnswerKind::SeeOther => "see other".into(),
        AnswerKind::Freed => "freed".into(),
        AnswerKind::Refused(refusal) => {
            assert_eq!(refusal.operation, Some(operation.id), "every refusal names the operation");
            format!("{} {}", refusal.status.as_u16(), refusal.problem.slug())
        }
    }
}

#[test]
fn the_answers_are_those_of_the_table() {
    let params = Idempotency::default();
    let resolved = Idempotency {
        resolved_response: ResolvedResponses {
            succeeded: Some(ResolvedResponse { status: StatusCode::OK, body: "{}".into() }),
            failed: Some(ResolvedResponse { status: StatusCode::PAYMENT_REQUIRED, body: "{}".into() }),
            ..ResolvedResponses::default()
        },
        ..Idempotency::default()
    };
    let redirect = Idempotency { redirect: true, ..Idempotency::default() };
    let asked = |retained| {
        let source = Some(Source::StatusQuery);
        Operation { source, retained, ..in_state(State::Succeeded) }
    };
    let with = |state, retained| Operation { retained, ..in_state(state) };
    let conflict = Some(Attention::new(NOW, AttentionReason::Conflict));
    let day_later = NOW + params.retention.as_millis() as u64;
    for (operation, params, now, expected) in [
        (in_state(State::Pending), &params, NOW, "409 in-progress"),
        (with(State::Succeeded, stored(201)), &params, NOW, "replay 201"),
        (with(State::Failed, stored(422)), &params, NOW, "replay 422"),
        (with(State::Succeeded, stored(201)), &params, day_later - 1, "replay 201"),
        (with(State::Succeeded, stored(201)), &params, day_later, "409 key-expired"),
        (with(State::Failed, Retained::StatusOnly), &params, day_later, "409 key-expired"),
        (in_state(State::Succeeded), &params, day_later, "409 key-expired"),
        (with(State::Succeeded, Retained::StatusOnly), &params, NOW, "409 response-not-retained"),
        (in_state(State::Succeeded), &params, NOW, "document"),
        (in_state(State::Failed), &params, NOW, "422 write-failed"),
        (in_state(State::Succeeded), &resolved, NOW, "resolved 200"),
        (in_state(State::Failed), &resolved, NOW, "resolved 402"),
        (in_state(State::Succeeded), &redirect, NOW, "see other"),
        (in_state(State::Failed), &redirect, NOW, "422 write-failed"),
        (asked(Retained::StatusOnly), &params, NOW, "document"),
        (asked(stored(200)), &params, NOW, "replay 200"),
        (with(State::Succeeded, stored(201)), &resolved, NOW, "replay 201"),
        (in_state(State::Unknown), &params, NOW, "409 outcome-unknown"),
        (in_state(State::Unknown), &params, day_later * 9, "409 outcome-unknown"),
        (with(State::Unknown, stored(500)), &params, NOW, "replay 500"),
        (in_state(State::NotExecuted), &params, NOW, "freed"),
        (Operation { attention: conflict, ..in_state(State::NotExecuted) }, &params, NOW, "409 outcome-unknown"),
        (Operation { attention: conflict, ..with(State::Succeeded, stored(201)) }, &params, NOW, "replay 201"),
        (Operation { attention: conflict, ..in_state(State::Failed) }, &params, NOW, "409 outcome-unknown"),
        (Operation { attention: conflict, ..in_state(State::Failed) }, &resolved, NOW, "409 outcome-unknown"),
    ] {
        assert_eq!(word(&operation, now, params), expected, "{operation:?}");
    }
}

#[test]
fn an_answer_that_was_not_kept_names_its_status() {
    let operation = Operation {
        retained: Retained::StatusOnly,
        http_status: Some(StatusCode::ACCEPTED),
        source: Some(Source::Response),
        ..in_state(State::Succeeded)
    };
    let AnswerKind::Refused(refusal) = answer(&operation, NOW, &Idempotency::default()) else { panic!("refused") };
    assert!(refusal.detail.contains("202"), "{}", refusal.detail);
}

#[test]
fn an_open_operation_says_when_to_come_back() {
    for (state, seconds) in [(State::Pending, 1), (State::Unknown, 5)] {
        let AnswerKind::Refused(refusal) = answer(&in_state(state), NOW, &Idempotency::default()) else {
            panic!("refused")
        };
        assert_eq!(refusal.retry_after, Some(Duration::from_secs(seconds)), "{state:?}");
    }
}
