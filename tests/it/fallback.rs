//! Fallbacks: what a caller gets instead of a failure, and never instead of a write that may have happened.

use mainstay_tests::prelude::*;

const FIXED: &str = "fallback: { status: 203, headers: { x-from: cache }, body: { items: [] } }";

/// Expects the fixed answer, marked with its reason.
#[track_caller]
fn expect_fixed(reply: &Reply, reason: &str) {
    assert_eq!((reply.status, reply.header("mainstay-fallback")), (203, Some(reason)), "{reply:#?}");
    assert_eq!((reply.text(), reply.header("x-from")), (r#"{"items":[]}"#.into(), Some("cache")));
    assert_eq!((reply.header("content-type"), reply.slug()), (Some("application/json"), None));
}

#[tokio::test]
async fn each_failure_of_a_read_gets_the_fixed_answer() {
    let slow = || vec![Step::Body, Step::Stall];
    for (policy, steps, first, reason) in [
        ("timeout: 5s", Answer::status(503).steps(), false, "5xx"),
        ("timeout: 5s", vec![Step::Body, Step::Reset], false, "5xx"),
        ("timeout: 200ms", slow(), false, "timeout"),
        ("rate_limit: { requests: 1, unit: 10m }", Answer::ok("x").steps(), true, "rate-limited"),
        (
            "circuit_breaker: { consecutive_errors: 1, open_duration: 1m }",
            Answer::status(500).steps(),
            true,
            "circuit-open",
        ),
    ] {
        let upstream = Upstream::start(move |_| steps.clone()).await;
        let proxy = Proxy::single(upstream.addr, &format!("{policy}, {FIXED}")).await;
        if first {
            proxy.get("/").await;
        }
        expect_fixed(&proxy.get("/").await, reason);
    }
    let refusing = Refusing::new();
    let proxy = Proxy::single(refusing.addr, FIXED).await;
    expect_fixed(&proxy.get("/").await, "5xx");
    expect_fixed(&proxy.send(Request::post("/", "x")).await, "5xx");
}

#[tokio::test]
async fn a_write_that_may_have_happened_keeps_its_failure() {
    let status = Upstream::answering(Answer::status(503)).await;
    let reset = Upstream::start(|_| vec![Step::Body, Step::Reset]).await;
    let stall = Upstream::start(|_| vec![Step::Body, Step::Stall]).await;
    for (upstream, plain, keyed) in [(&status, 503, 503), (&reset, 502, 502), (&stall, 504, 504)] {
        let policy = format!("timeout: 300ms, idempotency: {{ required: false }}, {FIXED}");
        let proxy = Proxy::single(upstream.addr, &policy).await;
        for (request, expected) in [(Request::post("/", "x"), plain), (Request::keyed("/", "k", "x"), keyed)] {
            let reply = proxy.send(request).await;
            assert_eq!((reply.status, reply.header("mainstay-fallback")), (expected, None), "{reply:#?}");
        }
    }
}

#[tokio::test]
async fn a_keyed_write_of_which_nothing_was_sent_gets_it_and_keeps_its_key() {
    let refusing = Refusing::new();
    let policy = format!("idempotency: {{ required: true }}, {}", FIXED.replace("203", "503"));
    let proxy = Proxy::single(refusing.addr, &policy).await;
    for _ in 0..2 {
        let reply = proxy.send(Request::keyed("/", "k", "x")).await;
        assert_eq!((reply.status, reply.header("mainstay-fallback")), (503, Some("5xx")), "{reply:#?}");
        assert_eq!(proxy.operation_in(&reply.operation(), "not_executed").await["state"], "not_executed");
    }
}

#[tokio::test]
async fn what_is_not_listed_stands() {
    let upstream = Upstream::answering(Answer::status(500)).await;
    let proxy = Proxy::single(upstream.addr, "fallback: { on: [circuit-open, timeout], status: 200 }").await;
    assert_eq!(proxy.get("/").await.expect_upstream(500).header("mainstay-fallback"), None);
}

#[tokio::test]
async fn the_upstream_cannot_claim_a_fallback() {
    let upstream = Upstream::answering(Answer::ok("x").header("Mainstay-Fallback", "5xx")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    assert_eq!(proxy.get("/").await.header("mainstay-fallback"), None);
}

fn two(main: &Upstream, other: &Upstream, policy: &str) -> Config {
    Config::new()
        .upstream("app", main.addr, "")
        .upstream("other", other.addr, "")
        .policy("p", &format!("{policy}, fallback: {{ upstream: other }}"))
        .route("path: /**", "app", "p")
}

#[tokio::test]
async fn another_upstream_answers_instead() {
    let other = Upstream::answering(Answer::ok("other").header("X-Own", "1")).await;
    for (policy, steps, reason) in [
        ("timeout: 5s", Answer::status(502).steps(), "5xx"),
        ("timeout: 5s, retry: 1", vec![Step::Body, Step::Reset], "5xx"),
        ("timeout: { total: 5s, attempt: 150ms }", vec![Step::Body, Step::Stall], "timeout"),
    ] {
        let main = Upstream::start(move |_| steps.clone()).await;
        let proxy = Proxy::start(two(&main, &other, policy)).await;
        for request in [Request::get("/a?b"), Request::get("/a?b").body("held")] {
            let reply = proxy.send(request).await;
            assert_eq!((reply.expect_upstream(200).text(), reply.header("x-own")), ("other".into(), Some("1")));
            assert_eq!(reply.header("mainstay-fallback"), Some(reason));
            assert_eq!(other.requests().last().unwrap().target, "/a?b");
        }
        assert_eq!(other.requests().last().unwrap().text(), "held", "the body was kept");
    }
}

#[tokio::test]
async fn a_refused_read_goes_to_the_other_upstream_and_a_lost_write_does_not() {
    let main =
        Upstream::start(
            |seen| {
                if seen.method == "GET" { Answer::ok("main").steps() } else { vec![Step::Body, Step::Reset] }
            },
        )
        .await;
    let other = Upstream::answering(Answer::ok("other")).await;
    let proxy = Proxy::start(two(&main, &other, "rate_limit: { requests: 2, unit: 10m }")).await;
    assert_eq!(proxy.get("/").await.text(), "main");
    proxy.send(Request::post("/", "x")).await.expect_problem(502, "upstream-error");
    assert_eq!(other.count(), 0, "it may have happened");
    let reply = proxy.get("/").await;
    assert_eq!((reply.text(), reply.header("mainstay-fallback")), ("other".into(), Some("rate-limited")));
    let reply = proxy.send(Request::post("/", "x")).await;
    assert_eq!((reply.text(), reply.header("mainstay-fallback")), ("other".into(), Some("rate-limited")));
}

#[tokio::test]
async fn if_the_other_fails_as_well_the_first_failure_stands() {
    let main = Upstream::answering(Answer::status(503).body("main")).await;
    let other = Upstream::start(|_| vec![Step::Body, Step::Reset]).await;
    let proxy = Proxy::start(two(&main, &other, "timeout: 5s")).await;
    let reply = proxy.get("/").await;
    assert_eq!((reply.expect_upstream(503).text(), reply.header("mainstay-fallback")), ("main".into(), None));
}

#[tokio::test]
async fn a_refused_repeat_of_a_keyed_write_is_not_answered_otherwise() {
    for (steps, first) in
        [(Answer::status(201).steps(), 201), (vec![Step::Body, Step::Reset], 502), (Answer::status(422).steps(), 422)]
    {
        let upstream = Upstream::start(move |_| steps.clone()).await;
        let limit = "rate_limit: { requests: 1, unit: 10m }";
        let proxy =
            Proxy::single(upstream.addr, &format!("{limit}, idempotency: {{ required: false }}, {FIXED}")).await;
        assert_eq!(proxy.send(Request::keyed("/", "k", "x")).await.status, first);
        let repeat = proxy.send(Request::keyed("/", "k", "x")).await;
        repeat.expect_problem(429, "rate-limited");
        // Of these nothing was ever sent; of a keyed write no success is told all the same.
        proxy.send(Request::keyed("/", "new", "x")).await.expect_problem(429, "rate-limited");
        expect_fixed(&proxy.send(Request::post("/", "x")).await, "rate-limited");
    }
}

#[tokio::test]
async fn a_refused_write_whose_key_is_made_of_its_body_is_not_answered_otherwise() {
    let upstream = Upstream::answering(Answer::status(201)).await;
    let policy = format!(
        "rate_limit: {{ requests: 1, unit: 10m }}, {FIXED}, \
         idempotency: {{ required: true, key: {{ from: fingerprint, window: 10s }} }}"
    );
    let proxy = Proxy::single(upstream.addr, &policy).await;
    assert_eq!(proxy.send(Request::post("/", "x")).await.status, 201);
    proxy.send(Request::post("/", "x")).await.expect_problem(429, "rate-limited");
}

#[tokio::test]
async fn what_the_other_upstream_may_have_done_is_told() {
    let main = Refusing::new();
    let other = Upstream::start(|_| vec![Step::Body, Step::Reset]).await;
    let config = Config::new()
        .upstream("app", main.addr, "")
        .upstream("other", other.addr, "")
        .policy("p", "timeout: 5s, fallback: { upstream: other }")
        .route("path: /**", "app", "p");
    let proxy = Proxy::start(config).await;
    let write = proxy.send(Request::post("/", "x")).await;
    assert_eq!(write.expect_problem(502, "upstream-error")["effect"], "unknown", "{write:#?}");
    let read = proxy.get("/").await;
    assert_eq!(read.expect_problem(502, "upstream-unreachable")["effect"], "none", "{read:#?}");
    assert_eq!(other.count(), 2);
}
