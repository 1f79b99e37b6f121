use serde_json::json;

use super::*;
use crate::idempotency::{JsonCondition, JsonExpect, Rule, test_kit::operation};

fn evidence(outcomes: &Outcomes, status: u16, body: Option<&str>) -> Evidence {
    classify(outcomes, StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.map(str::as_bytes))
}

#[test]
fn statuses_prove_what_the_table_says() {
    let outcomes = Outcomes::default();
    for status in 100..600 {
        let expected = match status {
            401 | 403 | 407 | 425 | 429 => Evidence::NotExecuted,
            408 => Evidence::Ambiguous,
            200..=399 => Evidence::Succeeded,
            400..=499 => Evidence::Failed,
            _ => Evidence::Ambiguous,
        };
        assert_eq!(evidence(&outcomes, status, Some("")), expected, "{status}");
    }
}

#[test]
fn a_list_of_successes_stands_for_2xx_and_3xx_and_one_of_failures_adds_to_4xx() {
    let outcomes = Outcomes {
        succeeded: vec![StatusCode::CREATED.into(), StatusCode::GONE.into()],
        failed: vec![StatusCode::NOT_IMPLEMENTED.into()],
        ongoing: vec![StatusCode::ACCEPTED.into()],
        ..Outcomes::default()
    };
    for (status, expected) in [
        (201, Evidence::Succeeded),
        (200, Evidence::Ambiguous),
        (410, Evidence::Succeeded),
        (202, Evidence::Ongoing),
        (422, Evidence::Failed),
        (501, Evidence::Failed),
        (500, Evidence::Ambiguous),
        (400, Evidence::Failed),
        (408, Evidence::Ambiguous),
        (429, Evidence::NotExecuted),
    ] {
        assert_eq!(evidence(&outcomes, status, Some("")), expected, "{status}");
    }
}

#[test]
fn codes_prove_what_their_twins_do_and_aborted_nothing() {
    let outcomes = Outcomes::default();
    for code in Code::ALL {
        let expected = match code {
            Code::Ok => Evidence::Succeeded,
            Code::Unauthenticated | Code::PermissionDenied | Code::ResourceExhausted => Evidence::NotExecuted,
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented => Evidence::Failed,
            _ => Evidence::Ambiguous,
        };
        assert_eq!(classify_grpc(&outcomes, code), expected, "{code:?}");
        assert_eq!(grpc_speaks_of_state(&outcomes, code), code == Code::AlreadyExists, "{code:?}");
    }
}

#[test]
fn a_code_that_a_list_or_a_rule_names_proves_what_that_says() {
    let outcomes = Outcomes {
        not_executed: vec![StatusCode::UNAUTHORIZED.into(), Code::Aborted.into()],
        succeeded: vec![StatusCode::CREATED.into(), Code::AlreadyExists.into()],
        failed: vec![StatusCode::TOO_MANY_REQUESTS.into(), Code::Unavailable.into()],
        rules: vec![
            Rule { status: Some(Code::DataLoss.into()), json: Vec::new(), then: Verdict::Evidence(Evidence::Ongoing) },
            by_state().rules.remove(0),
        ],
        ..Outcomes::default()
    };
    for (code, expected) in [
        (Code::Aborted, Evidence::NotExecuted),
        (Code::Unauthenticated, Evidence::NotExecuted),
        // 403 is not in the list any more, and neither is its twin.
        (Code::PermissionDenied, Evidence::Failed),
        (Code::ResourceExhausted, Evidence::Failed),
        (Code::AlreadyExists, Evidence::Succeeded),
        (Code::Unavailable, Evidence::Failed),
        (Code::DataLoss, Evidence::Ongoing),
        // The one success of gRPC: neither a list of those of HTTP nor a rule on a JSON body is about it.
        (Code::Ok, Evidence::Succeeded),
    ] {
        assert_eq!(classify_grpc(&outcomes, code), expected, "{code:?}");
    }
    assert!(!grpc_speaks_of_state(&outcomes, Code::AlreadyExists));
    assert_eq!(evidence(&outcomes, 503, None), Evidence::Ambiguous, "a code says nothing of HTTP");
    assert_eq!(
        evidence(&Outcomes { succeeded: vec![Code::Ok.into()], ..Outcomes::default() }, 200, None),
        Evidence::Succeeded
    );
}

fn by_state() -> Outcomes {
    let rule = |state: &str, then| Rule {
        status: Some(StatusCode::OK.into()),
        json: vec![JsonCondition { pointer: "/state".into(), expect: JsonExpect::OneOf(vec![json!(state)]) }],
        then: Verdict::Evidence(then),
    };
    Outcomes {
        rules: vec![rule("DECLINED", Evidence::Failed), rule("QUEUED", Evidence::Ongoing)],
        ..Outcomes::default()
    }
}

#[test]
fn a_body_refines_its_status() {
    for (body, expected) in [
        (r#"{"state":"DECLINED"}"#, Evidence::Failed),
        (r#"{"state":"QUEUED"}"#, Evidence::Ongoing),
        (r#"{"state":"DONE"}"#, Evidence::Succeeded),
        ("done", Evidence::Succeeded),
    ] {
        assert_eq!(evidence(&by_state(), 200, Some(body)), expected, "{body}");
    }
}

#[test]
fn a_deciding_body_that_says_two_things_proves_nothing() {
    let twice = r#"{"state":"DONE","state":"DECLINED"}"#;
    assert_eq!(evidence(&by_state(), 200, Some(twice)), Evidence::Ambiguous);
    assert_eq!(evidence(&by_state(), 201, Some(twice)), Evidence::Succeeded, "no rule looks at this status");
}

#[test]
fn a_deciding_body_that_was_not_seen_proves_nothing() {
    assert_eq!(evidence(&by_state(), 200, None), Evidence::Ambiguous);
    let gzip = HeaderMap::from_iter([(CONTENT_ENCODING, http::HeaderValue::from_static("gzip"))]);
    assert_eq!(classify(&by_state(), StatusCode::OK, &gzip, Some(b"\x1f\x8b")), Evidence::Ambiguous);
    assert_eq!(evidence(&by_state(), 201, None), Evidence::Succeeded, "no rule looks at this status");
}

#[test]
fn a_status_that_claims_an_outcome_is_not_passed_on_beside_a_record_that_knows_none_or_another() {
    let recorded = |state, last_evidence| Operation { state, last_evidence, ..operation() };
    let says = |status| {
        evidence(&Outcomes { ongoing: vec![StatusCode::ACCEPTED.into()], ..Outcomes::default() }, status, None)
    };
    for (operation, status, passes) in [
        (recorded(State::Succeeded, Some(Evidence::Succeeded)), 200, true),
        (recorded(State::NotExecuted, Some(Evidence::NotExecuted)), 429, true),
        (recorded(State::Unknown, Some(Evidence::Ambiguous)), 500, true),
        (recorded(State::Unknown, Some(Evidence::Ongoing)), 202, true),
        (recorded(State::Unknown, Some(Evidence::Ambiguous)), 200, false),
        (recorded(State::Unknown, Some(Evidence::Ambiguous)), 408, false),
        (recorded(State::Unknown, Some(Evidence::Ambiguous)), 429, false),
        (recorded(State::Succeeded, Some(Evidence::Succeeded)), 422, false),
        (recorded(State::Succeeded, Some(Evidence::Succeeded)), 429, false),
        (recorded(State::Succeeded, Some(Evidence::Succeeded)), 503, true),
        (recorded(State::Failed, Some(Evidence::Failed)), 201, false),
        (recorded(State::Failed, Some(Evidence::Failed)), 422, true),
        (recorded(State::NotExecuted, Some(Evidence::NotExecuted)), 201, false),
    ] {
        assert_eq!(may_pass(&operation, StatusCode::from_u16(status).unwrap(), says(status)), passes, "{status}");
    }
}

#[test]
fn not_found_in_answer_to_the_write_itself_proves_nothing() {
    let rules = vec![Rule { status: Some(StatusCode::NOT_FOUND.into()), json: Vec::new(), then: Verdict::NotFound }];
    assert_eq!(evidence(&Outcomes { rules, ..Outcomes::default() }, 404, Some("")), Evidence::Ambiguous);
}
