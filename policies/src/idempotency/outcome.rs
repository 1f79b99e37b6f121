//! What a complete response proves about a write.

use http::{HeaderMap, StatusCode, header::CONTENT_ENCODING};
use serde_json::Value;

use super::{Outcomes, Verdict, rules};
use crate::{
    evidence::Evidence,
    operation::{Operation, State},
};

/// The evidence of a complete response. `body` is `None` where it was not kept, because it was streamed or too large.
///
/// Rules come first, then the lists of statuses, then their defaults: 2xx and 3xx succeeded, unless a list says which do; any
/// other 4xx failed. A 5xx proves nothing, because a service may fail after it has acted; a 408 proves nothing, because
/// intermediaries send it too.
pub fn classify(outcomes: &Outcomes, status: StatusCode, headers: &HeaderMap, body: Option<&[u8]>) -> Evidence {
    by_rule(outcomes, status, headers, body).unwrap_or_else(|| by_status(outcomes, status))
}

/// Whether a failure by this response may only say how another attempt of the same write has left things: "in progress",
/// "exists already". Where the policy itself calls it a failure, it is one. Any other 4xx speaks for all attempts: they go
/// only to services that honour keys, where it is the answer to the key.
pub fn speaks_of_state(outcomes: &Outcomes, status: StatusCode, headers: &HeaderMap, body: Option<&[u8]>) -> bool {
    status == StatusCode::CONFLICT
        && !outcomes.failed.contains(&status)
        && by_rule(outcomes, status, headers, body).is_none()
}

/// What a rule says; `None` if none matches.
fn by_rule(outcomes: &Outcomes, status: StatusCode, headers: &HeaderMap, body: Option<&[u8]>) -> Option<Evidence> {
    if !rules::depend_on_body(&outcomes.rules, status) {
        return rules::first_match(&outcomes.rules, status, None).map(evidence_of);
    }
    // The policy says that the body decides, and it cannot be seen.
    let Some(body) = body.filter(|_| is_identity(headers)) else { return Some(Evidence::Ambiguous) };
    let json = rules::read_json(body);
    if json.is_none() && serde_json::from_slice::<Value>(body).is_ok() {
        // It can be read in two ways, and each reader would decide otherwise.
        return Some(Evidence::Ambiguous);
    }
    rules::first_match(&outcomes.rules, status, json.as_ref()).map(evidence_of)
}

/// Whether the upstream's response may be passed to its caller, given what was recorded of it. A status that claims an
/// outcome must not stand beside a record that knows none, or another one; a 5xx and a "still at it" claim none. `says` is
/// what the response proves by itself.
pub fn may_pass(recorded: &Operation, status: StatusCode, says: Evidence) -> bool {
    let claims_none = status.is_server_error() || matches!(says, Evidence::Ongoing | Evidence::Ambiguous);
    match recorded.state {
        State::Pending => true,
        State::Unknown => status.is_server_error() || recorded.last_evidence == Some(Evidence::Ongoing),
        State::Succeeded => claims_none || says == Evidence::Succeeded,
        State::Failed => claims_none || says == Evidence::Failed,
        State::NotExecuted => claims_none || says == Evidence::NotExecuted,
    }
}

fn by_status(outcomes: &Outcomes, status: StatusCode) -> Evidence {
    if outcomes.ongoing.contains(&status) {
        Evidence::Ongoing
    } else if outcomes.not_executed.contains(&status) {
        Evidence::NotExecuted
    } else if outcomes.succeeded.contains(&status) {
        Evidence::Succeeded
    } else if outcomes.failed.contains(&status) {
        Evidence::Failed
    } else if (status.is_success() || status.is_redirection()) && outcomes.succeeded.is_empty() {
        Evidence::Succeeded
    } else if status.is_client_error() && status != StatusCode::REQUEST_TIMEOUT {
        Evidence::Failed
    } else {
        Evidence::Ambiguous
    }
}

/// A service that answers a write with "not found" has not said that the write cannot have happened.
const fn evidence_of(verdict: Verdict) -> Evidence {
    match verdict {
        Verdict::Evidence(evidence) => evidence,
        Verdict::NotFound => Evidence::Ambiguous,
    }
}

fn is_identity(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().all(|value| value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

#[cfg(test)]
mod tests {
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
            succeeded: vec![StatusCode::CREATED, StatusCode::GONE],
            failed: vec![StatusCode::NOT_IMPLEMENTED],
            ongoing: vec![StatusCode::ACCEPTED],
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

    fn by_state() -> Outcomes {
        let rule = |state: &str, then| Rule {
            status: Some(StatusCode::OK),
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
        let says =
            |status| evidence(&Outcomes { ongoing: vec![StatusCode::ACCEPTED], ..Outcomes::default() }, status, None);
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
        let rules = vec![Rule { status: Some(StatusCode::NOT_FOUND), json: Vec::new(), then: Verdict::NotFound }];
        assert_eq!(evidence(&Outcomes { rules, ..Outcomes::default() }, 404, Some("")), Evidence::Ambiguous);
    }
}
