//! What the traffic policies keep across a reload, and their decisions over real time, counted.

use futures_util::future::join_all;
use mainstay_tests::{
    h2_upstream::{H2Step, H2Upstream},
    h2c::{H2Client, full},
    prelude::*,
};
use tokio::time::{Instant, sleep_until};

fn admitted(replies: &[Reply]) -> usize {
    replies.iter().filter(|reply| reply.status == 200).count()
}

/// `upstream` under one policy, with a second route that shows which configuration is in force.
fn config(upstream: &Upstream, policy: &str, marker: &str) -> Config {
    Config::new()
        .upstream("app", upstream.addr, "")
        .policy("p", policy)
        .policy("marker", marker)
        .route("path: /marker", "app", "marker")
        .route("path: /**", "app", "p")
}

/// Brings `next` into force.
async fn reload(proxy: &mut Proxy, mut next: Config) {
    (next.data, next.probes) = (proxy.config.data, proxy.config.probes);
    proxy.reload(next);
    eventually("the reload is in effect", || async { (proxy.get("/marker").await.status == 403).then_some(()) }).await;
}

/// A policy under which no request is answered with a status of the upstream.
const MARKED: &str = "access: { deny: [{ path: /** }] }";

#[tokio::test]
async fn a_changed_number_hands_out_no_fresh_burst() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    for changed in
        ["{ requests: 50, unit: 10m }", "{ requests: 5, unit: 10m, burst: 100 }", "{ requests: 5, unit: 60m }"]
    {
        let mut proxy = Proxy::start(config(&upstream, "rate_limit: { requests: 5, unit: 10m }", "timeout: 5s")).await;
        assert_eq!(admitted(&join_all((0..9).map(|_| proxy.get("/"))).await), 5);
        reload(&mut proxy, config(&upstream, &format!("rate_limit: {changed}"), MARKED)).await;
        assert_eq!(admitted(&join_all((0..9).map(|_| proxy.get("/"))).await), 0, "{changed}");
    }
}

#[tokio::test]
async fn an_endpoint_keeps_its_breaker_wherever_it_stands_in_the_list() {
    let bad = Upstream::answering(Answer::status(500)).await;
    let good = Upstream::answering(Answer::ok("ok")).await;
    let third = Upstream::answering(Answer::ok("ok")).await;
    let breaker = "circuit_breaker: { consecutive_errors: 2, open_duration: 10m, scope: endpoint }";
    let config = |endpoints: &[std::net::SocketAddr], marker: &str| {
        Config::new()
            .endpoints("app", endpoints, "")
            .policy("p", breaker)
            .policy("marker", marker)
            .route("path: /marker", "app", "marker")
            .route("path: /**", "app", "p")
    };
    let mut proxy = Proxy::start(config(&[bad.addr, good.addr], "timeout: 5s")).await;
    for _ in 0..60 {
        proxy.get("/").await;
    }
    assert_eq!(bad.count(), 2, "then it was out");
    reload(&mut proxy, config(&[third.addr, good.addr, bad.addr], MARKED)).await;
    let before = bad.count();
    for _ in 0..60 {
        proxy.get("/").await.expect_upstream(200);
    }
    assert_eq!(bad.count(), before, "it is still out");
}

#[tokio::test]
async fn at_most_a_share_of_the_endpoints_is_taken_out() {
    let mut upstreams = Vec::new();
    for _ in 0..4 {
        upstreams.push(Upstream::answering(Answer::status(500)).await);
    }
    let addresses: Vec<_> = upstreams.iter().map(|upstream| upstream.addr).collect();
    let breaker = "circuit_breaker: { consecutive_errors: 2, open_duration: 10m, scope: endpoint, \
                   max_ejection_percent: 50 }";
    let config = Config::new().endpoints("app", &addresses, "").policy("p", breaker).route("path: /**", "app", "p");
    let proxy = Proxy::start(config).await;
    for _ in 0..100 {
        proxy.get("/").await.expect_upstream(500);
    }
    let out = upstreams.iter().filter(|upstream| upstream.count() == 2).count();
    assert_eq!(out, 2, "two of four are out, the others still get the calls");
}

#[tokio::test]
async fn a_queue_paces_to_the_rate_and_refuses_what_would_wait_too_long() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let policy = "rate_limit: { requests: 50, unit: 1s, behavior: queue, queue: { max_wait: 400ms } }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    let began = Instant::now();
    let replies = join_all((0..40).map(|_| proxy.get("/"))).await;
    // Slots every 20 ms: one at once, twenty within 400 ms; arrivals take some time of their own.
    let admitted = admitted(&replies);
    assert!((21..=26).contains(&admitted), "{admitted} admitted in {:?}", began.elapsed());
    assert!(began.elapsed() >= Duration::from_millis(390), "{:?}", began.elapsed());
    for refused in replies.iter().filter(|reply| reply.status != 200) {
        refused.expect_problem(429, "rate-limited");
        assert_eq!(refused.header("retry-after"), Some("1"));
    }
}

/// Offers one request every 10 ms for so many seconds; the admissions of each second.
async fn offered(proxy: &Proxy, seconds: usize) -> Vec<usize> {
    let began = Instant::now();
    let calls = (0..seconds * 100).map(|n| async move {
        sleep_until(began + Duration::from_millis(n as u64 * 10)).await;
        proxy.get("/").await.status == 200
    });
    let admitted = join_all(calls).await;
    admitted.chunks(100).map(|second| second.iter().filter(|admitted| **admitted).count()).collect()
}

#[tokio::test]
async fn a_warm_up_begins_at_the_cold_rate_and_ends_at_the_full_one() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let policy = "rate_limit: { requests: 60, unit: 1s, behavior: warm_up, warm_up: { period: 2s, cold_factor: 3 } }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    let seconds = offered(&proxy, 5).await;
    // 60/3 in the first second; a bucket may leave the trailing second a twentieth early.
    assert!((19..=22).contains(&seconds[0]), "{seconds:?}");
    assert!((55..=63).contains(&seconds[4]), "{seconds:?}");
    assert!(seconds[1] + 3 >= seconds[0] && seconds[2] > seconds[0], "{seconds:?}");
}

fn grpc(status: &'static str, head: bool) -> H2Step {
    let content = ("content-type", "application/grpc");
    if head {
        H2Step::Answer(200, vec![content, ("grpc-status", status)], "".into(), vec![])
    } else {
        H2Step::Answer(200, vec![content], "".into(), vec![("grpc-status", status)])
    }
}

#[tokio::test]
async fn grpc_errors_are_retried_in_the_head_or_in_trailers_that_follow_no_message() {
    for (keyed, in_head, failures, expected) in
        [(false, true, 1, 2), (false, false, 1, 2), (false, false, 9, 3), (true, false, 1, 2), (true, false, 9, 3)]
    {
        let upstream =
            H2Upstream::start(move |seen| if seen.index < failures { grpc("14", in_head) } else { H2Step::GrpcEcho })
                .await;
        let policy = "timeout: 5s, idempotency: { required: false }, \
                      retry: { max_retries: 2, backoff: { base: 1ms }, on: [\"grpc:unavailable\"] }";
        let config = Config::new()
            .upstream("app", upstream.addr, "protocol: http2, honours_key: true")
            .policy("p", policy)
            .route("path: /**", "app", "p");
        let proxy = Proxy::start(config).await;
        let client = H2Client::connect(proxy.addr).await;
        // Only what may be repeated is: a keyed write, or a method that gRPC itself does not use.
        let method = if keyed { "POST" } else { "PUT" };
        let mut request = client.request(method, "/a.B/C").header("content-type", "application/grpc");
        if keyed {
            request = request.header("idempotency-key", "k");
        }
        let whole = client.call(request.body(full("x")).unwrap()).await;
        assert_eq!((whole.status, upstream.requests().len()), (200, expected), "keyed {keyed}, in head: {in_head}");
        let trailers = whole.trailers.clone().unwrap_or_default();
        let status = trailers.get("grpc-status").or(whole.headers.get("grpc-status")).cloned();
        let expected = if failures > 2 { "14" } else { "0" };
        assert_eq!(status.unwrap(), expected, "the last answer comes with its trailers");
    }
}

#[tokio::test]
async fn a_429_with_a_reset_header_is_waited_for() {
    let upstream = Upstream::start(|seen| {
        if seen.index == 0 {
            Answer::status(429).header("x-ratelimit-reset", "1").steps()
        } else {
            Answer::ok("x").steps()
        }
    })
    .await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s, retry: { max_retries: 1, on: [429] }").await;
    let began = Instant::now();
    proxy.get("/").await.expect_upstream(200);
    assert!(began.elapsed() >= Duration::from_millis(990), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_retry_storm_stays_within_the_budget() {
    let refusing = Refusing::new();
    let upstream = Upstream::start(|_| vec![Step::Body, Step::Reset]).await;
    for (addr, seen) in [(refusing.addr, None), (upstream.addr, Some(&upstream))] {
        let budget = "budget: { percent: 20, min_retries_per_sec: 1, ttl: 10s }";
        let policy = format!("timeout: 5s, retry: {{ max_retries: 5, backoff: {{ base: 1ms, max: 2ms }}, {budget} }}");
        let proxy = Proxy::single(addr, &policy).await;
        let began = Instant::now();
        let clients = join_all((0..50).map(|_| async {
            let mut attempts = 0;
            for _ in 0..8 {
                let reply = proxy.get("/").await;
                assert_eq!(reply.status, 502);
                attempts += reply.header("mainstay-attempts").map_or(1, |n| n.parse::<usize>().unwrap());
            }
            attempts
        }))
        .await;
        let attempts: usize = clients.iter().sum();
        // The floor refills while the test runs.
        let most = 400 + 80 + 10 + began.elapsed().as_secs() as usize + 1;
        assert!(attempts <= most, "{attempts} attempts for 400 originals, at most {most}");
        assert!(attempts >= 480, "{attempts}: the budget was not used");
        assert!(seen.is_none_or(|upstream| upstream.count() == attempts), "the header tells the truth");
    }
}
