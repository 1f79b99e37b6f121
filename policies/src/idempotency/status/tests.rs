use http::Method;

use super::*;
use crate::{
    evidence::Evidence,
    idempotency::test_kit::{Endpoint, NOW, asking},
};

fn query() -> StatusQuery {
    asking(false).status.unwrap()
}

fn response(status: u16, media_type: Option<&str>, body: &'static str) -> Response<Bytes> {
    let mut response = Response::builder().status(status);
    if let Some(media_type) = media_type {
        response = response.header("content-type", media_type);
    }
    response.body(Bytes::from_static(body.as_bytes())).unwrap()
}

fn verdict(query: &StatusQuery, status: u16, media_type: Option<&str>, body: &'static str) -> Option<Verdict> {
    judge(query, &response(status, media_type, body), NOW).verdict
}

const JSON: Option<&str> = Some("application/json");

#[test]
fn rules_decide_what_an_answer_says() {
    let proven = |evidence| Some(Verdict::Evidence(evidence));
    for (status, media_type, body, expected) in [
        (200, JSON, r#"{"state":"SUCCESS"}"#, proven(Evidence::Succeeded)),
        (200, JSON, r#"{"state":"FAILED"}"#, proven(Evidence::Failed)),
        (200, JSON, r#"{"state":"PROCESSING"}"#, proven(Evidence::Ongoing)),
        (200, Some("application/vnd.x+json; v=1"), r#"{"state":"SUCCESS"}"#, proven(Evidence::Succeeded)),
        (200, None, r#"{"state":"SUCCESS"}"#, proven(Evidence::Succeeded)),
        (404, JSON, "{}", Some(Verdict::NotFound)),
        (404, None, "", Some(Verdict::NotFound)),
        (404, Some("text/plain"), "", Some(Verdict::NotFound)),
    ] {
        assert_eq!(verdict(&query(), status, media_type, body), expected, "{status} {body}");
    }
}

#[test]
fn what_does_not_speak_of_the_write_is_no_evidence() {
    let state = r#"{"state":"FAILED"}"#;
    for (status, media_type, body) in [
        (200, JSON, r#"{"state":"NEW"}"#),
        (200, JSON, "{}"),
        (200, JSON, ""),
        (200, JSON, r#"{"state":"FAIL"#),
        (200, JSON, r#"{"state":"FAILED","state":"SUCCESS"}"#),
        (200, Some("text/html"), r#"{"state":"FAILED"}"#),
        (404, Some("text/plain; charset=utf-8"), "404 page not found"),
        (404, JSON, "<html>"),
        (204, None, ""),
    ] {
        assert_eq!(verdict(&query(), status, media_type, body), None, "{status} {body}");
    }
    // Not even a rule that matches every status makes evidence of these.
    let greedy = StatusQuery {
        rules: vec![Rule { status: None, json: Vec::new(), then: Verdict::Evidence(Evidence::Failed) }],
        ..query()
    };
    for status in [301, 302, 307, 401, 403, 407, 408, 425, 429, 500, 502, 503, 504] {
        assert_eq!(verdict(&greedy, status, JSON, state), None, "{status}");
    }
}

use crate::idempotency::Rule;

#[test]
fn retry_after_is_read_in_both_forms() {
    let date = httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_millis(NOW) + Duration::from_secs(30));
    for (value, seconds) in [("7", Some(7)), (date.as_str(), Some(30)), ("soon", None), ("-1", None)] {
        let mut response = response(503, None, "");
        response.headers_mut().insert("retry-after", value.parse().unwrap());
        let heard = judge(&query(), &response, NOW);
        let status = Some(http::StatusCode::SERVICE_UNAVAILABLE);
        let retry_after = seconds.map(Duration::from_secs);
        assert_eq!(heard, Heard { status, retry_after, ..Heard::default() }, "{value}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_that_fails_or_hangs_is_no_evidence() {
    let failing = Endpoint { answer: None, ..Endpoint::json(200, "") };
    assert_eq!(ask(&failing, "app", &query(), "/x", None, NOW).await, Heard::default());
    let hanging = Endpoint { after: Duration::from_hours(1), ..Endpoint::json(200, r#"{"state":"FAILED"}"#) };
    let started = Instant::now();
    assert_eq!(ask(&hanging, "app", &query(), "/x", None, NOW).await, Heard::default());
    assert_eq!(started.elapsed(), QUERY_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn the_request_names_the_operation() {
    let endpoint = Endpoint::json(200, "{}");
    let query = StatusQuery { method: Method::POST, ..query() };
    let id = OperationId { seq: 1, tag: 2 };
    ask(&endpoint, "app", &query, "/ops/{operation}?x=1", Some(id), NOW).await;
    assert_eq!(*endpoint.targets.lock(), ["POST /ops/00000000000000010000000000000002?x=1"]);
}

fn id(seq: u64) -> OperationId {
    OperationId { seq, tag: 0 }
}

#[tokio::test(start_paused = true)]
async fn one_query_per_operation_is_in_flight() {
    let (gate, app) = (QueryGate::default(), Arc::from("app"));
    let enter = |operation| gate.enter(operation, &app, 20.0, TURN_WITHIN);
    let permit = enter(id(1)).unwrap();
    assert_eq!(enter(id(1)).unwrap_err(), Held::InFlight);
    enter(id(2)).unwrap();
    drop(permit);
    enter(id(1)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn queries_to_one_upstream_are_evenly_spaced() {
    let gate = QueryGate::default();
    let (app, other) = (Arc::from("app"), Arc::from("other"));
    let started = Instant::now();
    let admitted =
        |upstream| (0..100).filter_map(|n| gate.enter(id(n), upstream, 20.0, TURN_WITHIN).ok()).collect::<Vec<_>>();
    let permits = admitted(&app);
    assert_eq!(permits.len(), 21, "now, and every 50 ms of one second");
    for (n, permit) in (0_u32..).zip(&permits) {
        permit.turn().await;
        assert_eq!(started.elapsed(), Duration::from_millis(50) * n);
    }
    drop(permits);
    assert_eq!(admitted(&other).len(), 21, "each upstream has its own");
    assert_eq!(gate.enter(id(1), &app, 20.0, Duration::ZERO).unwrap_err(), Held::Rate, "the next one is 50 ms away");
    tokio::time::advance(Duration::from_millis(50)).await;
    gate.enter(id(1), &app, 20.0, Duration::ZERO).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_rate_below_one_per_second_still_asks() {
    let (gate, app) = (QueryGate::default(), Arc::from("app"));
    gate.enter_unnamed(&app, 0.5).await.unwrap();
    assert_eq!(gate.enter_unnamed(&app, 0.5).await, Err(Held::Rate));
    tokio::time::advance(Duration::from_secs(2)).await;
    gate.enter_unnamed(&app, 0.5).await.unwrap();
}

#[test]
fn no_operation_has_two_attempts_in_flight() {
    let gate = QueryGate::default();
    let guard = gate.attempt(id(1)).unwrap();
    assert!(gate.is_attempted(id(1)) && gate.attempt(id(1)).is_none() && gate.attempt(id(2)).is_some());
    drop(guard);
    assert!(!gate.is_attempted(id(1)) && gate.attempt(id(1)).is_some());
}

#[test]
fn an_operation_is_open_as_long_as_any_attempt_of_it_may_be_answered() {
    let gate = QueryGate::default();
    let attempt = gate.attempt(id(1)).unwrap();
    assert!(gate.is_open(id(1)) && !gate.is_open(id(2)));
    let given_up = [gate.give_up(id(1)), gate.give_up(id(1))];
    drop(attempt);
    assert!(gate.is_open(id(1)) && !gate.is_attempted(id(1)), "another attempt may be made");
    let [first, second] = given_up;
    drop(first);
    assert!(gate.is_open(id(1)));
    drop(second);
    assert!(!gate.is_open(id(1)));
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_put_forward_is_noticed_until_it_is_agreed_with() {
    let gate = QueryGate::default();
    assert_eq!(gate.put_forward(NOW), None);
    gate.clock_starts(NOW);
    gate.clock_starts(NOW + 3_600_000);
    tokio::time::advance(Duration::from_mins(1)).await;
    for (read, by) in [(60_000, None), (60_900, None), (0, None), (3_660_000, Some(Duration::from_hours(1)))] {
        assert_eq!(gate.put_forward(NOW + read), by, "{read}");
    }
    assert_eq!(gate.put_forward(NOW - 3_600_000), None, "put back, everything only lasts longer");
    assert!(gate.was_put_back(NOW - 3_600_000) && gate.was_put_back(NOW + 58_900));
    assert!(!gate.was_put_back(NOW + 59_100) && !gate.was_put_back(NOW + 3_660_000));
    gate.clock_agrees(NOW + 3_660_000);
    assert_eq!(gate.put_forward(NOW + 3_660_000), None);
}

/// Others keep the times of what they own, and see the jump a heartbeat later.
#[tokio::test(start_paused = true)]
async fn others_may_lag_behind_a_clock_that_was_put_forward_for_a_while() {
    let gate = QueryGate::default();
    assert!(!gate.others_may_lag());
    gate.clock_jumped();
    gate.clock_agrees(NOW);
    assert!(gate.others_may_lag());
    tokio::time::advance(OTHERS_FOLLOW_WITHIN).await;
    assert!(!gate.others_may_lag());
}
