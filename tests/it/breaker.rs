//! The circuit breaker: when it opens, what it lets through, and how it closes.

use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering},
};

use mainstay_tests::prelude::*;

/// An upstream whose status the test chooses.
async fn steered(status: u16) -> (Upstream, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(status));
    let chosen = Arc::clone(&status);
    let upstream = Upstream::start(move |_| match chosen.load(Ordering::SeqCst) {
        0 => vec![Step::Reset],
        1 => vec![Step::Stall],
        status => Answer::status(status).body("x").steps(),
    })
    .await;
    (upstream, status)
}

/// How many of `n` sequential requests reached the upstream.
async fn let_through(proxy: &Proxy, upstream: &Upstream, n: usize) -> usize {
    let before = upstream.count();
    for _ in 0..n {
        let reply = proxy.get("/").await;
        if reply.status == 503 {
            reply.expect_problem(503, "circuit-open");
        }
    }
    upstream.count() - before
}

#[tokio::test]
async fn errors_in_a_row_open_it() {
    for failure in [500, 502, 599, 0] {
        let (upstream, _) = steered(failure).await;
        let proxy =
            Proxy::single(upstream.addr, "circuit_breaker: { consecutive_errors: 3, open_duration: 60s }").await;
        assert_eq!(let_through(&proxy, &upstream, 10).await, 3, "failure {failure}");
    }
}

#[tokio::test]
async fn a_success_resets_the_row() {
    let (upstream, status) = steered(500).await;
    let proxy = Proxy::single(upstream.addr, "circuit_breaker: { consecutive_errors: 3, open_duration: 60s }").await;
    for _ in 0..4 {
        status.store(500, Ordering::SeqCst);
        assert_eq!(let_through(&proxy, &upstream, 2).await, 2);
        status.store(200, Ordering::SeqCst);
        assert_eq!(let_through(&proxy, &upstream, 1).await, 1);
    }
}

#[tokio::test]
async fn an_error_ratio_opens_it_once_min_requests_are_there() {
    let (upstream, status) = steered(500).await;
    let policy = "circuit_breaker: { error_ratio: 0.5, min_requests: 8, window: 60s, open_duration: 60s }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    assert_eq!(let_through(&proxy, &upstream, 4).await, 4, "four errors are below min_requests");
    status.store(200, Ordering::SeqCst);
    assert_eq!(let_through(&proxy, &upstream, 10).await, 4, "the success that reaches min_requests trips it at 4 of 8");
}

#[tokio::test]
async fn a_ratio_below_the_threshold_leaves_it_closed() {
    let (upstream, status) = steered(200).await;
    let policy = "circuit_breaker: { error_ratio: 0.5, min_requests: 4, window: 60s, open_duration: 60s }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    assert_eq!(let_through(&proxy, &upstream, 6).await, 6);
    status.store(500, Ordering::SeqCst);
    assert_eq!(let_through(&proxy, &upstream, 5).await, 5, "5 of 11 is below a half");
    assert_eq!(let_through(&proxy, &upstream, 5).await, 1, "6 of 12 is a half");
}

#[tokio::test]
async fn the_short_form_in_the_example_works() {
    let (upstream, _) = steered(500).await;
    let proxy = Proxy::single(upstream.addr, "circuit_breaker: { error_ratio: 0.5 }").await;
    assert_eq!(let_through(&proxy, &upstream, 12).await, 5, "min_requests is 5 by default");
}

#[tokio::test]
async fn client_errors_are_no_errors() {
    for code in [400, 404, 409, 429] {
        let (upstream, _) = steered(code).await;
        let proxy =
            Proxy::single(upstream.addr, "circuit_breaker: { consecutive_errors: 2, open_duration: 60s }").await;
        assert_eq!(let_through(&proxy, &upstream, 6).await, 6, "{code}");
    }
}

#[tokio::test]
async fn attempt_and_total_timeouts_are_errors() {
    for timeout in ["timeout: 100ms", "timeout: { total: 5s, attempt: 100ms }"] {
        let (upstream, _) = steered(1).await;
        let policy = format!("{timeout}, circuit_breaker: {{ consecutive_errors: 2, open_duration: 60s }}");
        let proxy = Proxy::single(upstream.addr, &policy).await;
        assert_eq!(let_through(&proxy, &upstream, 5).await, 2, "{timeout}");
    }
}

#[tokio::test]
async fn refused_connections_are_errors() {
    let refusing = Refusing::new();
    let proxy = Proxy::single(refusing.addr, "circuit_breaker: { consecutive_errors: 2, open_duration: 60s }").await;
    for _ in 0..2 {
        proxy.get("/").await.expect_problem(502, "upstream-unreachable");
    }
    proxy.get("/").await.expect_problem(503, "circuit-open");
}

#[tokio::test]
async fn a_client_that_leaves_is_no_sample() {
    let (upstream, status) = steered(1).await;
    let proxy =
        Proxy::single(upstream.addr, "timeout: 60s, circuit_breaker: { consecutive_errors: 2, open_duration: 60s }")
            .await;
    for n in 1..=4 {
        let mut client = proxy.connect().await;
        client.write(&Request::get("/").bytes()).await;
        upstream.wait_requests(n).await;
        client.reset();
        upstream.wait("the attempt is cancelled", |log| log.peer_closed == n).await;
    }
    status.store(200, Ordering::SeqCst);
    assert_eq!(let_through(&proxy, &upstream, 1).await, 1);
}

#[tokio::test]
async fn after_open_duration_one_good_probe_closes_it() {
    let (upstream, status) = steered(500).await;
    let proxy = Proxy::single(upstream.addr, "circuit_breaker: { consecutive_errors: 2, open_duration: 700ms }").await;
    assert_eq!(let_through(&proxy, &upstream, 5).await, 2);
    status.store(200, Ordering::SeqCst);
    eventually("a probe goes through", || async { (proxy.get("/").await.status == 200).then_some(()) }).await;
    assert_eq!(let_through(&proxy, &upstream, 10).await, 10, "closed again");
}

#[tokio::test]
async fn a_bad_probe_reopens_for_a_full_period() {
    let (upstream, _) = steered(500).await;
    let proxy = Proxy::single(upstream.addr, "circuit_breaker: { consecutive_errors: 2, open_duration: 700ms }").await;
    assert_eq!(let_through(&proxy, &upstream, 5).await, 2);
    let opened = tokio::time::Instant::now();
    for n in 3..=4 {
        eventually("a probe goes through", || async { (proxy.get("/").await.status == 500).then_some(()) }).await;
        assert_eq!(upstream.count(), n, "one probe, no more");
    }
    assert!(opened.elapsed() >= Duration::from_millis(1300), "two full periods: {:?}", opened.elapsed());
}

#[tokio::test]
async fn half_open_admits_as_many_probes_as_configured() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream =
        Upstream::start(
            move |seen| {
                if seen.index < 2 { Answer::status(500).steps() } else { Answer::ok("good").behind(&held) }
            },
        )
        .await;
    let policy =
        "timeout: 9s, circuit_breaker: { consecutive_errors: 2, open_duration: 300ms, half_open: { probes: 2 } }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    assert_eq!(let_through(&proxy, &upstream, 4).await, 2);
    tokio::time::sleep(Duration::from_millis(400)).await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = proxy.connect().await;
        client.write(&Request::get("/").bytes()).await;
        clients.push(client);
    }
    upstream.wait_requests(4).await;
    // The other four are refused while the two probes are out.
    let refused = async {
        let calls = clients.iter_mut().map(|c| tokio::time::timeout(Duration::from_secs(2), c.try_reply()));
        futures_util::future::join_all(calls).await
    };
    let answered: Vec<_> = refused.await.into_iter().flatten().flatten().collect();
    assert_eq!(answered.len(), 4);
    for reply in answered {
        reply.expect_problem(503, "circuit-open");
    }
    assert_eq!(upstream.count(), 4);
    gate.open();
    eventually("two good probes close it", || async { (proxy.get("/").await.status == 200).then_some(()) }).await;
}

#[tokio::test]
async fn it_counts_attempts_and_not_requests() {
    let (upstream, _) = steered(503).await;
    let policy = "retry: { max_retries: 9, backoff: { base: 1ms }, budget: none }, \
                  circuit_breaker: { consecutive_errors: 4, open_duration: 60s }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    proxy.get("/").await;
    assert_eq!(upstream.count(), 4, "one request's retries open it");
}

#[tokio::test]
async fn a_replay_is_answered_while_it_is_open() {
    let (upstream, status) = steered(201).await;
    let policy = "idempotency: { required: false }, circuit_breaker: { consecutive_errors: 1, open_duration: 60s }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    proxy.send(Request::keyed("/", "k", "x")).await.expect_upstream(201);
    status.store(500, Ordering::SeqCst);
    proxy.get("/").await.expect_upstream(500);
    proxy.get("/").await.expect_problem(503, "circuit-open");
    let replay = proxy.send(Request::keyed("/", "k", "x")).await;
    assert_eq!((replay.status, replay.header("idempotent-replayed")), (201, Some("true")));
}

#[tokio::test]
async fn a_keyed_write_refused_by_it_leaves_the_key_free() {
    let (upstream, status) = steered(500).await;
    let policy = "idempotency: { required: false }, circuit_breaker: { consecutive_errors: 1, open_duration: 500ms }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    proxy.get("/").await.expect_upstream(500);
    let document = proxy.send(Request::keyed("/", "k", "x")).await.expect_problem(503, "circuit-open");
    assert_eq!(document["effect"], "none");
    status.store(201, Ordering::SeqCst);
    eventually("the write goes through", || async {
        let reply = proxy.send(Request::keyed("/", "k", "x")).await;
        (reply.status == 201).then(|| assert_eq!(reply.header("idempotent-replayed"), None))
    })
    .await;
    assert_eq!(upstream.effects("k"), 1);
}

#[tokio::test]
async fn listed_statuses_replace_the_default_errors() {
    let (upstream, _) = steered(404).await;
    let policy = "circuit_breaker: { consecutive_errors: 2, open_duration: 60s, errors: [404] }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    assert_eq!(let_through(&proxy, &upstream, 5).await, 2);
}
