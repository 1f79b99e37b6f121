//! The breaker's other conditions, its scopes, and probes that bring no verdict.

use futures_util::future::join_all;
use mainstay_tests::prelude::*;
use tokio::time::{Instant, sleep};

/// Sends one after the other until one is refused by the breaker; how many reached the service.
async fn until_open(proxy: &Proxy, target: &str, most: usize) -> usize {
    for n in 0..most {
        if proxy.get(target).await.slug() == Some("circuit-open") {
            return n;
        }
    }
    most
}

/// `/slow` takes 150 ms, `/bad` is a 500, `/stall` gets no answer.
async fn service() -> Upstream {
    Upstream::start(|seen| match seen.target.as_str() {
        "/slow" => Answer::ok("slow").after(Duration::from_millis(150)),
        "/bad" => Answer::status(500).steps(),
        "/stall" => vec![Step::Body, Step::Stall],
        _ => Answer::ok("ok").steps(),
    })
    .await
}

#[tokio::test]
async fn slow_calls_open_it_at_their_share_and_not_before() {
    let upstream = service().await;
    let policy = "circuit_breaker: { slow_call: { duration: 100ms, ratio: 0.5 }, min_requests: 6, window: 60s, \
                  open_duration: 60s }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    for target in ["/", "/", "/", "/slow", "/slow"] {
        proxy.get(target).await.expect_upstream(200);
    }
    // The sixth completion is there, and three of six are slow.
    proxy.get("/slow").await.expect_upstream(200);
    proxy.get("/").await.expect_problem(503, "circuit-open");
}

#[tokio::test]
async fn a_count_of_errors_opens_it_on_the_last_of_them_whatever_succeeds_between() {
    let upstream = service().await;
    let policy = "circuit_breaker: { error_count: 3, min_requests: 1, window: 60s, open_duration: 60s }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    for target in ["/bad", "/", "/", "/bad", "/", "/", "/"] {
        assert!(proxy.get(target).await.slug().is_none(), "{target}");
    }
    assert_eq!(proxy.get("/bad").await.status, 500);
    proxy.get("/").await.expect_problem(503, "circuit-open");
    assert_eq!(upstream.count(), 8);
}

#[tokio::test]
async fn a_probe_whose_client_leaves_gives_its_place_to_the_next() {
    let upstream = service().await;
    let policy = "timeout: 60s, circuit_breaker: { consecutive_errors: 1, open_duration: 300ms, \
                  half_open: { probes: 1, timeout: 60s } }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    assert_eq!(proxy.get("/bad").await.status, 500);
    for n in 1..=3 {
        // The first that gets through is the probe; it brings no verdict.
        let probe = eventually("a probe is out", || async {
            let mut client = proxy.connect().await;
            client.write(&Request::get("/stall").bytes()).await;
            tokio::select! {
                _ = client.try_reply() => None,
                () = upstream.wait_requests(1 + n) => Some(client),
            }
        })
        .await;
        proxy.get("/").await.expect_problem(503, "circuit-open");
        probe.reset();
        upstream.wait("the probe is cancelled", |log| log.peer_closed >= n).await;
    }
    eventually("the next probe decides", || async { (proxy.get("/").await.status == 200).then_some(()) }).await;
    proxy.get("/").await.expect_upstream(200);
}

#[tokio::test]
async fn a_probe_without_a_verdict_reopens_after_its_time_and_the_next_one_may_close() {
    let upstream = service().await;
    let policy = "timeout: 60s, circuit_breaker: { consecutive_errors: 1, open_duration: 200ms, \
                  half_open: { probes: 1, timeout: 500ms } }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    assert_eq!(proxy.get("/bad").await.status, 500);
    sleep(Duration::from_millis(250)).await;
    let mut probe = proxy.connect().await;
    probe.write(&Request::get("/stall").bytes()).await;
    upstream.wait_requests(2).await;
    let began = Instant::now();
    eventually("it is probed again", || async { (proxy.get("/").await.status == 200).then_some(()) }).await;
    // The probe's time, then a full period.
    assert!(began.elapsed() >= Duration::from_millis(650), "{:?}", began.elapsed());
    // What comes of the old probe is of another epoch.
    probe.reset();
    for _ in 0..5 {
        proxy.get("/").await.expect_upstream(200);
    }
}

#[tokio::test]
async fn routes_share_a_breaker_by_upstream_and_have_their_own_by_route() {
    for (scope, shared) in [("upstream", true), ("route", false)] {
        let upstream = service().await;
        let policy = format!("circuit_breaker: {{ consecutive_errors: 2, open_duration: 60s, scope: {scope} }}");
        let config = Config::new()
            .upstream("app", upstream.addr, "")
            .policy("p", &policy)
            .route("path: /bad", "app", "p")
            .route("path: /good", "app", "p");
        let proxy = Proxy::start(config).await;
        assert_eq!(until_open(&proxy, "/bad", 9).await, 2);
        let other = proxy.get("/good").await;
        assert_eq!(other.slug() == Some("circuit-open"), shared, "scope: {scope}: {}", other.status);
    }
}

#[tokio::test]
async fn calls_from_before_the_trip_decide_nothing_about_the_probes() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |seen| match seen.target.as_str() {
        "/old" => vec![Step::Body, Step::Gate(held.clone()), Step::Send(Answer::status(500).bytes())],
        "/bad" => Answer::status(500).steps(),
        _ => Answer::ok("ok").steps(),
    })
    .await;
    let policy = "timeout: 60s, circuit_breaker: { consecutive_errors: 3, open_duration: 300ms }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    let mut old = Vec::new();
    for n in 1..=5 {
        let mut client = proxy.connect().await;
        client.write(&Request::get("/old").bytes()).await;
        upstream.wait_requests(n).await;
        old.push(client);
    }
    assert_eq!(until_open(&proxy, "/bad", 9).await, 3);
    eventually("a probe closes it", || async { (proxy.get("/").await.status == 200).then_some(()) }).await;
    gate.open();
    for mut client in old {
        assert_eq!(client.reply().await.status, 500);
    }
    // Five errors of another epoch: it stays closed.
    for reply in join_all((0..5).map(|_| proxy.get("/"))).await {
        reply.expect_upstream(200);
    }
}

#[tokio::test]
async fn an_adaptive_limit_falls_when_the_service_is_slow_and_rises_again() {
    let upstream = service().await;
    let policy = "concurrency_limit: { max_concurrent: 4, adaptive: aimd, min: 1, max: 4, threshold: 100ms }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    for _ in 0..6 {
        proxy.get("/slow").await.expect_upstream(200);
    }
    // 4, 3, 2, 1: one at a time.
    let crowd = join_all((0..4).map(|_| proxy.get("/slow"))).await;
    let served = crowd.iter().filter(|reply| reply.status == 200).count();
    assert_eq!(served, 1, "the limit is down to its minimum");
    for _ in 0..12 {
        proxy.get("/").await.expect_upstream(200);
    }
    let crowd = join_all((0..4).map(|_| proxy.get("/slow"))).await;
    let served = crowd.iter().filter(|reply| reply.status == 200).count();
    assert!(served >= 2, "{served} served: it did not rise again");
}

#[tokio::test]
async fn a_warming_queue_makes_a_crowd_wait_at_the_cold_pace() {
    let upstream = service().await;
    let policy = "timeout: 9s, rate_limit: { requests: 60, unit: 1s, behavior: warm_up_queue, \
                  queue: { max_wait: 400ms }, warm_up: { period: 10s, cold_factor: 3 } }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    let began = Instant::now();
    let replies = join_all((0..30).map(|_| proxy.get("/"))).await;
    let admitted = replies.iter().filter(|reply| reply.status == 200).count();
    // 60/3 a second is a slot every 50 ms: one at once and eight within 400 ms; arrivals take some time of their own.
    assert!((9..=13).contains(&admitted), "{admitted} admitted in {:?}", began.elapsed());
    assert!(began.elapsed() >= Duration::from_millis(390), "{:?}", began.elapsed());
    for refused in replies.iter().filter(|reply| reply.status != 200) {
        refused.expect_problem(429, "rate-limited");
    }
}
