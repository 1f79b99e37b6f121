//! When, how often and how soon a failed attempt is tried again.

use futures_util::future::join_all;
use mainstay_tests::prelude::*;
use tokio::time::Instant;

/// Fails `n` times in one way, then answers.
async fn failing(n: usize, steps: Vec<Step>) -> Upstream {
    Upstream::start(move |seen| if seen.index < n { steps.clone() } else { Answer::ok("at last").steps() }).await
}

fn status(code: u16) -> Vec<Step> {
    Answer::status(code).body(format!("failure {code}")).steps()
}

#[tokio::test]
async fn a_get_is_retried_after_a_reset_a_close_and_a_503() {
    for steps in [vec![Step::Reset], vec![Step::Close], status(503)] {
        let name = format!("{steps:?}");
        let upstream = failing(2, steps).await;
        let proxy = Proxy::single(upstream.addr, "timeout: 5s, retry: 3").await;
        let reply = proxy.get("/").await;
        assert_eq!(reply.expect_upstream(200).text(), "at last", "{name}");
        assert_eq!((reply.header("mainstay-attempts"), upstream.count()), (Some("3"), 3), "{name}");
    }
}

#[tokio::test]
async fn one_attempt_carries_no_attempts_header() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s, retry: 3").await;
    assert_eq!(proxy.get("/").await.header("mainstay-attempts"), None);
}

#[tokio::test]
async fn nothing_is_retried_by_default() {
    let upstream = failing(1, vec![Step::Reset]).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    proxy.get("/").await.expect_problem(502, "upstream-error");
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn only_listed_statuses_are_retried() {
    for (on, code, retried) in [
        ("", 503, true),
        ("", 500, false),
        ("", 502, false),
        ("", 504, false),
        ("", 429, false),
        (", on: [502, 429]", 502, true),
        (", on: [502, 429]", 429, true),
        (", on: [502, 429]", 503, false),
    ] {
        let upstream = failing(1, status(code)).await;
        let proxy = Proxy::single(upstream.addr, &format!("timeout: 5s, retry: {{ max_retries: 1{on} }}")).await;
        let reply = proxy.get("/").await;
        let expected = if retried { (200, 2) } else { (code, 1) };
        assert_eq!((reply.status, upstream.count()), expected, "{code} with {on:?}");
    }
}

#[tokio::test]
async fn transport_failures_not_listed_are_not_retried() {
    let upstream = failing(1, vec![Step::Reset]).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s, retry: { max_retries: 3, on: [503] }").await;
    proxy.get("/").await.expect_problem(502, "upstream-error");
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn the_last_response_is_returned_as_it_came() {
    let upstream = Upstream::start(|seen| {
        Answer::status(503).header("X-Try", &seen.index.to_string()).body(format!("try {}", seen.index)).steps()
    })
    .await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s, retry: 2").await;
    let reply = proxy.get("/").await;
    assert_eq!(reply.expect_upstream(503).text(), "try 2");
    assert_eq!((reply.header("x-try"), reply.header("mainstay-attempts"), upstream.count()), (Some("2"), Some("3"), 3));
}

#[tokio::test]
async fn a_transport_failure_that_outlasts_the_retries_is_a_502() {
    let upstream = failing(9, vec![Step::Reset]).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s, retry: 2").await;
    let reply = proxy.get("/").await;
    reply.expect_problem(502, "upstream-error");
    assert_eq!((reply.header("mainstay-attempts"), upstream.count()), (Some("3"), 3));
}

#[tokio::test]
async fn a_refused_connection_is_retried_and_then_a_502_without_effect() {
    let refusing = Refusing::new();
    let proxy = Proxy::single(refusing.addr, "timeout: 5s, retry: 2").await;
    let reply = proxy.send(Request::post("/", "x")).await;
    assert_eq!(reply.expect_problem(502, "upstream-unreachable")["effect"], "none");
    assert_eq!(reply.header("mainstay-attempts"), Some("3"));
}

#[tokio::test]
async fn retry_after_is_the_least_wait() {
    let upstream = failing(1, Answer::status(503).header("Retry-After", "1").steps()).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s, retry: 1").await;
    let began = Instant::now();
    proxy.get("/").await.expect_upstream(200);
    assert!(began.elapsed() >= Duration::from_millis(990), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_wait_that_outlasts_the_total_is_not_begun() {
    let failure = Answer::status(503).header("Retry-After", "30").header("X-Own", "1").body("busy");
    let upstream = failing(1, failure.steps()).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s, retry: 3").await;
    let began = Instant::now();
    let reply = proxy.get("/").await;
    assert!(began.elapsed() < Duration::from_secs(2), "it waited {:?}", began.elapsed());
    assert_eq!(reply.expect_upstream(503).text(), "busy");
    assert_eq!((reply.header("retry-after"), reply.header("x-own"), upstream.count()), (Some("30"), Some("1"), 1));
}

#[tokio::test]
async fn waits_grow_as_configured() {
    for (rule, least_ms) in [
        ("backoff: { base: 100ms, multiplier: 2, max: 10s, jitter: none }", 300),
        ("backoff: { base: 200ms, multiplier: 4, max: 200ms, jitter: none }", 400),
        ("schedule: [50ms, 300ms]", 350),
    ] {
        let upstream = failing(2, status(503)).await;
        let proxy = Proxy::single(upstream.addr, &format!("timeout: 9s, retry: {{ max_retries: 2, {rule} }}")).await;
        let began = Instant::now();
        proxy.get("/").await.expect_upstream(200);
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(least_ms), "{rule}: {took:?}");
        assert!(took < Duration::from_millis(least_ms + 1500), "{rule}: {took:?}");
    }
}

#[tokio::test]
async fn a_body_up_to_max_body_is_replayed_whole_and_a_larger_one_is_not_retried() {
    for (size, attempts) in [(60 * 1024, 2), (70 * 1024, 1)] {
        let body: String = (0..size).map(|i| char::from(b'a' + (i % 26) as u8)).collect();
        let upstream = failing(1, status(503)).await;
        let proxy = Proxy::single(upstream.addr, "timeout: 5s, retry: 1").await;
        proxy.send(Request::new("PUT", "/").body(body.clone())).await;
        let seen = upstream.requests();
        assert_eq!(seen.len(), attempts, "{size} bytes");
        assert!(seen.iter().all(|request| request.text() == body), "{size} bytes: a body was changed");
    }
}

#[tokio::test]
async fn retries_are_the_same_request() {
    let upstream = failing(1, status(503)).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s, retry: 1").await;
    proxy.send(Request::new("PUT", "/a%20b?c").body("same").header("X-Own", "1")).await.expect_upstream(200);
    let [first, second] = &upstream.requests()[..] else { panic!("two attempts") };
    assert_eq!((&first.method, &first.target, first.text()), (&second.method, &second.target, second.text()));
    // What may differ: the time that is left, and the span of each attempt.
    let stable = |seen: &Seen| {
        let mut fields: Vec<_> = seen.head.headers.0.iter().map(|(n, v)| (n.to_lowercase(), v.clone())).collect();
        fields.retain(|(n, _)| !matches!(n.as_str(), "mainstay-deadline-ms" | "traceparent" | "b3" | "uber-trace-id"));
        fields.retain(|(n, _)| !n.starts_with("x-b3-"));
        fields
    };
    assert_eq!(stable(first), stable(second));
}

#[tokio::test]
async fn the_budget_bounds_the_load_on_a_failing_upstream() {
    let upstream = failing(usize::MAX, status(503)).await;
    let retry =
        "retry: { max_retries: 3, backoff: { base: 1ms }, budget: { percent: 20, min_retries_per_sec: 1, ttl: 10s } }";
    let proxy = Proxy::single(upstream.addr, &format!("timeout: 5s, {retry}")).await;
    for _ in 0..10 {
        for reply in join_all((0..10).map(|_| proxy.get("/"))).await {
            reply.expect_upstream(503);
        }
    }
    let attempts = upstream.count();
    // 100 originals, 20 % of them, and a floor of 1/s over 10 s (which refills while the test runs).
    assert!(attempts <= 100 + 20 + 10 + 10, "{attempts} attempts");
    assert!(attempts >= 100 + 20, "{attempts} attempts: the budget was not used");
}

#[tokio::test]
async fn without_a_budget_every_retry_is_made() {
    let upstream = failing(usize::MAX, status(503)).await;
    let proxy =
        Proxy::single(upstream.addr, "timeout: 5s, retry: { max_retries: 3, backoff: { base: 1ms }, budget: none }")
            .await;
    for _ in 0..20 {
        proxy.get("/").await.expect_upstream(503);
    }
    assert_eq!(upstream.count(), 80);
}

#[tokio::test]
async fn a_budget_of_zero_allows_no_retry() {
    let upstream = failing(1, status(503)).await;
    let proxy =
        Proxy::single(upstream.addr, "retry: { max_retries: 3, budget: { percent: 0, min_retries_per_sec: 0 } }").await;
    proxy.get("/").await.expect_upstream(503);
    assert_eq!(upstream.count(), 1);
}
