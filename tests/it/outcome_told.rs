//! `Mainstay-Outcome`: how a write stands, on every answer to a keyed one, whatever its status says.

use mainstay_tests::prelude::*;
use serde_json::Value;

const PLAIN: &str = "timeout: 8s, idempotency: { required: true }";

fn write(key: &str) -> Request {
    Request::keyed("/pay", key, "x")
}

fn told(reply: &Reply) -> Option<&str> {
    assert!(reply.headers("mainstay-outcome").len() <= 1, "{reply:#?}");
    reply.header("mainstay-outcome")
}

/// The operation's document, and what was told of it, agree.
async fn agrees(proxy: &Proxy, reply: &Reply) {
    let document = proxy.operation(&reply.operation()).await;
    let state = document["state"].as_str().unwrap();
    assert_eq!(told(reply), Some(if state == "pending" { "in-progress" } else { state }), "{document}");
}

#[tokio::test]
async fn a_first_answer_and_its_replay_say_how_the_write_stands() {
    for (status, outcome, repeat_is) in [
        (201, "succeeded", 201),
        (303, "succeeded", 303),
        (422, "failed", 422),
        (500, "unknown", 500),
        (503, "unknown", 503),
    ] {
        // What a service says of it is not ours.
        let answer = Answer::status(status).header("Mainstay-Outcome", "succeeded").body("own words");
        let upstream = Upstream::answering(answer).await;
        let proxy = Proxy::single(upstream.addr, PLAIN).await;
        for (nth, expected) in [status, repeat_is].into_iter().enumerate() {
            let reply = proxy.send(write("k")).await;
            assert_eq!(
                (reply.status, reply.text(), told(&reply)),
                (expected, "own words".into(), Some(outcome)),
                "{nth}"
            );
            assert_eq!(reply.header("retry-after").is_some(), outcome == "unknown", "{status} {nth}: {reply:#?}");
            agrees(&proxy, &reply).await;
        }
        assert_eq!(upstream.count(), 1);
    }
}

#[tokio::test]
async fn what_frees_the_key_says_so() {
    let upstream = Upstream::answering(Answer::status(429).header("Retry-After", "7")).await;
    let proxy = Proxy::single(upstream.addr, PLAIN).await;
    let reply = proxy.send(write("k")).await;
    assert_eq!((reply.status, told(&reply), reply.header("retry-after")), (429, Some("not_executed"), Some("7")));
    let refusing = Refusing::new();
    let proxy = Proxy::single(refusing.addr, PLAIN).await;
    let reply = proxy.send(write("k")).await;
    reply.expect_problem(502, "upstream-unreachable");
    assert_eq!(told(&reply), Some("not_executed"));
}

#[tokio::test]
async fn a_time_that_the_service_names_stays() {
    let upstream = Upstream::answering(Answer::status(503).header("Retry-After", "17")).await;
    let proxy = Proxy::single(upstream.addr, PLAIN).await;
    let reply = proxy.send(write("k")).await;
    assert_eq!((told(&reply), reply.headers("retry-after")), (Some("unknown"), vec!["17"]));
}

#[tokio::test]
async fn a_lost_answer_says_unknown_and_when_there_is_more_to_tell() {
    let asked = "timeout: 500ms, idempotency: { required: true, status: { request: \"GET /by-ref/{key}\", \
                 schedule: { first: 100s, max: 100s }, rules: [{ status: 201, then: succeeded }] } }";
    for (steps, status) in [(vec![Step::Body, Step::Reset], 502), (vec![Step::Body, Step::Stall], 504)] {
        let upstream = Upstream::start(move |seen| match seen.method.as_str() {
            "POST" => steps.clone(),
            _ => Answer::status(500).steps(),
        })
        .await;
        let proxy = Proxy::single(upstream.addr, asked).await;
        let first = proxy.send(write("k")).await;
        first.expect_problem(status, "outcome-unknown");
        assert_eq!(told(&first), Some("unknown"));
        let wait: u64 = first.header("retry-after").unwrap().parse().unwrap();
        // Up to a tenth less than the schedule says.
        assert!((90..=100).contains(&wait), "{wait}");
        agrees(&proxy, &first).await;
        let repeat = proxy.send(write("k")).await;
        repeat.expect_problem(409, "outcome-unknown");
        assert_eq!((told(&repeat), repeat.header("retry-after").is_some()), (Some("unknown"), true));
    }
}

#[tokio::test]
async fn a_repeat_in_flight_says_in_progress() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Answer::status(201).behind(&held)).await;
    let proxy = Proxy::single(upstream.addr, PLAIN).await;
    let mut client = proxy.connect().await;
    client.write(&write("k").bytes()).await;
    upstream.wait_completed(1).await;
    let repeat = proxy.send(write("k")).await;
    repeat.expect_problem(409, "in-progress");
    agrees(&proxy, &repeat).await;
    gate.open();
    assert_eq!(told(&client.reply().await), Some("succeeded"));
}

#[tokio::test]
async fn of_what_was_refused_no_record_was_made() {
    let upstream = Upstream::answering(Answer::status(201)).await;
    let policy = "idempotency: { required: true, max_body: 8B }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    let first = proxy.send(write("k")).await;
    for (request, status, slug) in [
        (Request::post("/pay", "x"), 400, "key-missing"),
        (Request::keyed("/pay", "\"open", "x"), 400, "key-invalid"),
        (Request::keyed("/pay", "big", "x".repeat(9)), 413, "body-too-large"),
        (Request::keyed("/pay", "k", "y"), 422, "key-reused"),
    ] {
        let reply = proxy.send(request).await;
        reply.expect_problem(status, slug);
        assert_eq!(told(&reply), Some("none"), "{slug}");
        if slug == "key-reused" {
            assert_eq!(reply.operation(), first.operation(), "the operation that holds the key");
        }
    }
    assert_eq!(told(&proxy.get("/pay").await), None, "no keyed write");
}

#[tokio::test]
async fn a_keyed_write_that_a_limit_refuses_says_that_no_record_was_made() {
    let upstream = Upstream::answering(Answer::status(201)).await;
    let policy = "rate_limit: { requests: 1, unit: 10m }, idempotency: { required: false }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    proxy.send(write("k")).await.expect_upstream(201);
    for (request, expected) in
        [(write("l"), Some("none")), (Request::post("/pay", "x"), None), (Request::get("/"), None)]
    {
        let reply = proxy.send(request).await;
        reply.expect_problem(429, "rate-limited");
        assert_eq!(told(&reply), expected);
    }
}

#[tokio::test]
async fn a_service_that_names_an_outcome_is_not_believed() {
    let answer = Answer::ok("x").header("Mainstay-Outcome", "failed").header("Mainstay-Resolved", "status-query");
    let upstream = Upstream::answering(answer).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 8s").await;
    for request in [Request::get("/"), write("k")] {
        let reply = proxy.send(request).await;
        assert_eq!((reply.status, told(&reply), reply.header("mainstay-resolved")), (200, None, None));
    }
}

/// The outcome of each request on that path, as the log tells.
async fn logged(proxy: &Proxy, expected: &[&str]) {
    let outcomes = || -> Vec<String> {
        let log = proxy.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let lines = lines.filter(|line| line["path"] == "/pay");
        lines.map(|line| line["outcome"].as_str().unwrap().to_owned()).collect()
    };
    eventually(&format!("the log has {expected:?}"), || async { (outcomes().len() >= expected.len()).then_some(()) })
        .await;
    assert_eq!(outcomes(), expected);
}

#[tokio::test]
async fn the_access_log_never_calls_a_write_in_doubt_ok() {
    for (status, first, repeat) in
        [(201, "succeeded", "replayed"), (422, "failed", "replayed"), (500, "unknown", "unknown")]
    {
        let upstream = Upstream::answering(Answer::status(status)).await;
        let proxy = Proxy::single(upstream.addr, PLAIN).await;
        proxy.send(write("k")).await.expect_upstream(status);
        proxy.send(write("k")).await.expect_upstream(status);
        logged(&proxy, &[first, repeat]).await;
    }
}

/// A stream's head comes before its outcome is known, and its line in the log after.
#[tokio::test]
async fn a_streamed_answer_is_in_progress_at_its_head_and_logged_as_it_ended() {
    let event = Answer::ok("data: 1\n\n").header("Content-Type", "text/event-stream").chunked();
    let upstream = Upstream::answering(event).await;
    let proxy = Proxy::single(upstream.addr, PLAIN).await;
    let reply = proxy.send(write("k")).await;
    assert_eq!((reply.expect_upstream(200).text(), told(&reply)), ("data: 1\n\n".into(), Some("in-progress")));
    logged(&proxy, &["succeeded"]).await;
}

#[tokio::test]
async fn the_operation_says_what_the_write_did_and_what_to_do() {
    let upstream = Upstream::start(|seen| match seen.header("idempotency-key").unwrap() {
        "lost" => vec![Step::Body, Step::Reset],
        status => Answer::status(status.parse().unwrap()).steps(),
    })
    .await;
    let proxy = Proxy::single(upstream.addr, PLAIN).await;
    for (body, effect, is_final, advice) in [
        ("201", "happened", true, "repeat it with the same key"),
        ("422", "none", true, "fresh key"),
        ("429", "none", true, "same key"),
        ("lost", "unknown", false, "Do not repeat it with a new key"),
    ] {
        let reply = proxy.send(Request::keyed("/pay", body, body)).await;
        let document = proxy.operation(&reply.operation()).await;
        assert_eq!((&document["effect"], &document["final"]), (&effect.into(), &is_final.into()), "{document}");
        assert!(document["advice"].as_str().unwrap().contains(advice), "{document}");
    }
}

#[tokio::test]
async fn a_repeat_in_doubt_waits_for_the_resolver_if_its_caller_wants_that() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |seen| match (seen.method.as_str(), seen.index) {
        ("POST", _) => vec![Step::Body, Step::Reset],
        // The repeat's own question brings nothing.
        (_, 1) => Answer::status(503).steps(),
        _ => Answer::json(200, "{\"state\":\"SUCCESS\"}").behind(&held),
    })
    .await;
    let policy = "timeout: 8s, idempotency: { required: true, status: { request: \"GET /by-ref/{key}\", rate: 1000/s, \
                  schedule: { first: 700ms, max: 700ms }, rules: [{ status: 200, then: succeeded }] } }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    proxy.send(write("k")).await.expect_problem(502, "outcome-unknown");
    let mut client = proxy.connect().await;
    client.write(&write("k").header("Prefer", "wait=20").bytes()).await;
    upstream.wait_requests(3).await;
    gate.open();
    let reply = client.reply().await;
    assert_eq!((reply.expect_upstream(200).status, told(&reply)), (200, Some("succeeded")));
    assert_eq!(reply.header("preference-applied"), Some("wait=20"));
    let stuck = Upstream::start(|_| vec![Step::Body, Step::Reset]).await;
    let proxy = Proxy::single(stuck.addr, PLAIN).await;
    proxy.send(write("k")).await.expect_problem(502, "outcome-unknown");
    let waited = proxy.send(write("k").header("Prefer", "wait=1")).await;
    waited.expect_problem(409, "outcome-unknown");
    assert_eq!(waited.header("preference-applied"), Some("wait=1"));
}

/// Else a client with its defaults would take a write that was never sent for done.
#[tokio::test]
async fn no_fallback_tells_of_a_keyed_write_as_if_it_were_done() {
    let refusing = Refusing::new();
    for (fallback, fixed) in [(200, false), (303, false), (400, true), (503, true)] {
        let policy = format!("fallback: {{ status: {fallback}, body: instead }}, idempotency: {{ required: false }}");
        let proxy = Proxy::single(refusing.addr, &policy).await;
        let reply = proxy.send(write("k")).await;
        if fixed {
            assert_eq!((reply.status, reply.header("mainstay-fallback")), (fallback, Some("5xx")), "{reply:#?}");
        } else {
            reply.expect_problem(502, "upstream-unreachable");
        }
        assert_eq!(told(&reply), Some("not_executed"));
        // What is no keyed write gets it whatever its status.
        assert_eq!(proxy.send(Request::post("/pay", "x")).await.status, fallback);
    }
}

#[tokio::test]
async fn the_result_of_a_write_is_for_its_caller_alone() {
    let upstream = Upstream::start(|seen| match seen.header("idempotency-key").unwrap() {
        "lost" => vec![Step::Body, Step::Reset],
        _ => Answer::status(201).header("Content-Type", "text/plain").header("Set-Cookie", "a=b").body("made").steps(),
    })
    .await;
    let proxy = Proxy::single(upstream.addr, PLAIN).await;
    let known = |request: Request, who: &str| request.header("Authorization", who);
    let first = proxy.send(known(write("k"), "Bearer ann")).await.expect_upstream(201).operation();
    assert_eq!(
        proxy.operation(&first).await["result"],
        serde_json::json!({ "content_type": "text/plain", "bytes": 4 })
    );
    let read = async |id: &str, who: &str| {
        proxy.send(known(Request::get(&format!("/_mainstay/operations/{id}/result")), who)).await
    };
    let result = read(&first, "Bearer ann").await;
    assert_eq!((result.status, result.text(), result.header("content-type")), (201, "made".into(), Some("text/plain")));
    assert_eq!((told(&result), result.header("set-cookie")), (Some("succeeded"), None));
    read(&first, "Bearer bob").await.expect_problem(404, "operation-not-found");
    let lost = proxy.send(known(write("lost"), "Bearer ann")).await.operation();
    read(&lost, "Bearer ann").await.expect_problem(409, "outcome-unknown");
    read(&"0".repeat(32), "Bearer ann").await.expect_problem(404, "operation-not-found");
}
