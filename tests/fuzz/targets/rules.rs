//! Status rules over what an upstream answers. Whatever the body: nothing that the design calls ambiguous becomes
//! evidence without a rule that says so, and "not found" never frees a key by itself.
//!
//! The input is a status (two octets), then lines: JSON Pointer, expected value, body.

#![no_main]

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};
use libfuzzer_sys::fuzz_target;
use mainstay_policies::{
    evidence::Evidence,
    idempotency::{
        JsonCondition, JsonExpect, Outcomes, QuerySchedule, Rule, StatusQuery, Verdict, outcome, query, rules,
    },
};

fuzz_target!(|data: &[u8]| {
    let [high, low, rest @ ..] = data else { return };
    let Ok(status) = StatusCode::from_u16(100 + u16::from_be_bytes([*high, *low]) % 500) else { return };
    let mut lines = rest.splitn(3, |byte| *byte == b'\n');
    let (Some(pointer), Some(expected), Some(body)) = (lines.next(), lines.next(), lines.next()) else { return };
    let expect = match serde_json::from_slice(expected) {
        Ok(value) => JsonExpect::OneOf(vec![value]),
        Err(_) => JsonExpect::Exists(expected.is_empty()),
    };
    let condition = JsonCondition { pointer: String::from_utf8_lossy(pointer).into_owned(), expect };
    let rule = |then| Rule { status: None, json: vec![condition.clone()], then };

    // A rule that matches decides; one that does not leaves the statuses to decide.
    let json = rules::read_json(body);
    // A body that can be read in two ways decides nothing, and is no body that decides nothing either.
    let says_two_things = json.is_none() && serde_json::from_slice::<serde_json::Value>(body).is_ok();
    let matched = rules::first_match(&[rule(Verdict::NotFound)], status, json.as_ref()).is_some();
    if matched {
        assert!(json.is_some(), "a condition holds on a body that is not JSON");
    }
    let headers = HeaderMap::new();
    let plain = outcome::classify(&Outcomes::default(), status, &headers, Some(body));
    if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT {
        assert_eq!(plain, Evidence::Ambiguous);
    }
    let undecided = if says_two_things { Evidence::Ambiguous } else { plain };
    let with = |then, body| {
        let outcomes = Outcomes { rules: vec![rule(then)], ..Outcomes::default() };
        outcome::classify(&outcomes, status, &headers, body)
    };
    assert_eq!(with(Verdict::Evidence(Evidence::Failed), None), Evidence::Ambiguous, "the body was not seen");
    let decided = with(Verdict::Evidence(Evidence::Succeeded), Some(body));
    assert_eq!(decided, if matched { Evidence::Succeeded } else { undecided });
    let not_found = with(Verdict::NotFound, Some(body));
    assert_eq!(not_found, if matched { Evidence::Ambiguous } else { undecided });

    // The status endpoint speaks of the write only where the design lets it.
    let status_query = StatusQuery {
        method: Method::GET,
        path: "/by-ref/{key}".into(),
        rules: vec![rule(Verdict::Evidence(Evidence::Succeeded)), Rule { json: Vec::new(), ..rule(Verdict::NotFound) }],
        settle_after: std::time::Duration::from_secs(60),
        fenced: false,
        shared: false,
        schedule: QuerySchedule::default(),
        rate_per_sec: 20.0,
    };
    let mut response = Response::new(Bytes::copy_from_slice(body));
    *response.status_mut() = status;
    let heard = query::judge(&status_query, &response, 0).verdict;
    let silent = status.is_server_error() || status.is_redirection() || matches!(status.as_u16(), 401 | 403);
    if silent || (json.is_none() && !body.is_empty()) {
        assert_eq!(heard, None);
    }
    if heard == Some(Verdict::Evidence(Evidence::Succeeded)) {
        assert!(matched);
    }
});
