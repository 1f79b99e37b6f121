//! Rate limits and concurrency limits.

use futures_util::future::join_all;
use mainstay_tests::prelude::*;
use tokio::time::Instant;

fn admitted(replies: &[Reply]) -> usize {
    for reply in replies {
        assert!(reply.status == 200 || reply.slug().is_some(), "{reply:#?}");
    }
    replies.iter().filter(|reply| reply.status == 200).count()
}

#[tokio::test]
async fn a_burst_is_admitted_to_the_request_and_no_further() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    for (limit, burst) in [("{ requests: 7, unit: 10m }", 7), ("{ requests: 10, unit: 10m, burst: 3 }", 3)] {
        let before = upstream.count();
        let proxy = Proxy::single(upstream.addr, &format!("rate_limit: {limit}")).await;
        let replies = join_all((0..30).map(|_| proxy.get("/"))).await;
        assert_eq!((admitted(&replies), upstream.count() - before), (burst, burst), "{limit}");
        for refused in replies.iter().filter(|reply| reply.status != 200) {
            refused.expect_problem(429, "rate-limited");
            assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
        }
    }
}

#[tokio::test]
async fn the_short_form_is_a_rate() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "rate_limit: 6/m").await;
    assert_eq!(admitted(&join_all((0..12).map(|_| proxy.get("/"))).await), 6);
}

#[tokio::test]
async fn admission_comes_back_at_the_rate() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "rate_limit: { requests: 4, unit: 1s, burst: 1 }").await;
    let began = Instant::now();
    let mut admitted = 0;
    while admitted < 5 {
        if proxy.get("/").await.status == 200 {
            admitted += 1;
        } else {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    // The first at once, four more 250 ms apart.
    let took = began.elapsed();
    assert!((Duration::from_millis(990)..Duration::from_secs(3)).contains(&took), "{took:?}");
}

#[tokio::test]
async fn retry_after_tells_when_a_request_will_be_admitted() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "rate_limit: { requests: 1, unit: 1m }").await;
    proxy.get("/").await.expect_upstream(200);
    let wait: u64 = proxy.get("/").await.header("retry-after").unwrap().parse().unwrap();
    assert!((50..=60).contains(&wait), "{wait}");
}

#[tokio::test]
async fn keys_have_limits_of_their_own() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    for (key, header) in [("principal", "X-Tenant"), ("\"{header.X-User}\"", "X-User")] {
        let config = Config::single(upstream.addr, &format!("rate_limit: {{ requests: 2, unit: 10m, key: {key} }}"));
        let proxy = Proxy::start(config.listener("principal: { header: X-Tenant }")).await;
        for who in ["ann", "bob"] {
            let replies = join_all((0..5).map(|_| proxy.send(Request::get("/").header(header, who)))).await;
            assert_eq!(admitted(&replies), 2, "{key}: {who}");
        }
        let nobody = join_all((0..5).map(|_| proxy.get("/"))).await;
        assert_eq!(admitted(&nobody), 2, "{key}: requests without it share one limit");
    }
}

#[tokio::test]
async fn a_limit_by_client_address_counts_connections_of_one_client_together() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "rate_limit: { requests: 2, unit: 10m, key: client_ip }").await;
    let replies =
        join_all((0..5).map(|n| proxy.send(Request::get("/").header("X-Forwarded-For", &format!("10.0.0.{n}"))))).await;
    assert_eq!(admitted(&replies), 2, "a header cannot change who the client is");
}

#[tokio::test]
async fn ratelimit_headers_are_sent_when_asked_for() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "rate_limit: { requests: 3, unit: 10m, headers: true }").await;
    for remaining in ["2", "1", "0"] {
        let reply = proxy.get("/").await;
        let headers = (reply.header("x-ratelimit-limit"), reply.header("x-ratelimit-remaining"));
        assert_eq!(headers, (Some("3"), Some(remaining)), "{reply:#?}");
        assert!(reply.header("x-ratelimit-reset").unwrap().parse::<u64>().is_ok());
    }
    let refused = proxy.get("/").await;
    assert_eq!((refused.status, refused.header("x-ratelimit-remaining")), (429, Some("0")));
}

#[tokio::test]
async fn ratelimit_headers_are_not_sent_unasked() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "rate_limit: 100/s").await;
    assert_eq!(proxy.get("/").await.header("x-ratelimit-limit"), None);
}

#[tokio::test]
async fn routes_have_limits_of_their_own() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let config = Config::new()
        .upstream("app", upstream.addr, "")
        .policy("p", "rate_limit: { requests: 1, unit: 10m }")
        .route("path: /a", "app", "p")
        .route("path: /b", "app", "p");
    let proxy = Proxy::start(config).await;
    for path in ["/a", "/b"] {
        proxy.get(path).await.expect_upstream(200);
        proxy.get(path).await.expect_problem(429, "rate-limited");
    }
}

#[tokio::test]
async fn a_flood_leaves_no_record() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy =
        Proxy::single(upstream.addr, "rate_limit: { requests: 1, unit: 10m }, idempotency: { required: true }").await;
    proxy.send(Request::keyed("/", "one", "x")).await.expect_upstream(200);
    proxy.send(Request::keyed("/", "two", "x")).await.expect_problem(429, "rate-limited");
    assert_eq!(proxy.get("/_mainstay/operations?key=one").await.status, 200);
    assert_eq!(proxy.get("/_mainstay/operations?key=two").await.status, 404);
}

/// An upstream that holds requests under `/held` until the gate opens.
async fn holding() -> (Upstream, Gate) {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |seen| match seen.target.as_str() {
        "/held" => Answer::ok("ok").behind(&held),
        "/body" => vec![
            Step::Send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf".into()),
            Step::Gate(held.clone()),
            Step::Send("half".into()),
        ],
        _ => Answer::ok("ok").steps(),
    })
    .await;
    (upstream, gate)
}

#[tokio::test]
async fn as_many_as_allowed_are_in_flight() {
    let (upstream, gate) = holding().await;
    let proxy = Proxy::single(upstream.addr, "timeout: 9s, concurrency_limit: { max_concurrent: 3 }").await;
    let mut inside = Vec::new();
    for n in 1..=3 {
        let mut client = proxy.connect().await;
        client.write(&Request::get("/held").bytes()).await;
        upstream.wait_requests(n).await;
        inside.push(client);
    }
    for _ in 0..5 {
        proxy.get("/held").await.expect_problem(503, "overloaded");
    }
    assert_eq!(upstream.count(), 3);
    gate.open();
    for mut client in inside {
        client.reply().await.expect_upstream(200);
    }
    eventually("places are free again", || async { (proxy.get("/").await.status == 200).then_some(()) }).await;
}

#[tokio::test]
async fn a_place_is_held_until_the_body_ends() {
    let (upstream, gate) = holding().await;
    let proxy = Proxy::single(upstream.addr, "timeout: 9s, concurrency_limit: { max_concurrent: 1 }").await;
    let mut client = proxy.connect().await;
    client.write(&Request::get("/body").bytes()).await;
    assert_eq!(client.head().await.status, 200);
    proxy.get("/").await.expect_problem(503, "overloaded");
    gate.open();
    assert!(client.body(Framing::Length(8)).await.complete);
    eventually("the place is free again", || async { (proxy.get("/").await.status == 200).then_some(()) }).await;
}

#[tokio::test]
async fn a_client_that_leaves_gives_its_place_back() {
    let (upstream, _gate) = holding().await;
    let proxy = Proxy::single(upstream.addr, "timeout: 60s, concurrency_limit: { max_concurrent: 1 }").await;
    for target in ["/held", "/body"] {
        let mut client = proxy.connect().await;
        client.write(&Request::get(target).bytes()).await;
        let n = upstream.count() + 1;
        upstream.wait_requests(n).await;
        client.reset();
        eventually("the place is free again", || async { (proxy.get("/").await.status == 200).then_some(()) }).await;
    }
}

#[tokio::test]
async fn a_request_may_wait_for_a_place() {
    let (upstream, gate) = holding().await;
    let policy = "timeout: 9s, concurrency_limit: { max_concurrent: 1, max_wait: 5s, max_queue: 1 }";
    // One worker, so that requests are met in the order in which they are sent.
    let proxy = Proxy::start(Config::single(upstream.addr, policy).top("limits: { workers: 1 }")).await;
    let mut first = proxy.connect().await;
    first.write(&Request::get("/held").bytes()).await;
    upstream.wait_requests(1).await;
    let mut waiting = proxy.connect().await;
    waiting.write(&Request::get("/queued").bytes()).await;
    // Once the queue is full, the next one is refused at once.
    eventually("the queue is full", || async {
        let began = Instant::now();
        let reply = tokio::time::timeout(Duration::from_secs(1), proxy.get("/third")).await.ok()?;
        (reply.slug() == Some("overloaded") && began.elapsed() < Duration::from_secs(1)).then_some(())
    })
    .await;
    gate.open();
    first.reply().await.expect_upstream(200);
    waiting.reply().await.expect_upstream(200);
}

#[tokio::test]
async fn a_wait_ends_after_max_wait() {
    let (upstream, gate) = holding().await;
    let policy = "timeout: 9s, concurrency_limit: { max_concurrent: 1, max_wait: 400ms, max_queue: 10 }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    let mut first = proxy.connect().await;
    first.write(&Request::get("/held").bytes()).await;
    upstream.wait_requests(1).await;
    let began = Instant::now();
    proxy.get("/").await.expect_problem(503, "overloaded");
    let waited = began.elapsed();
    assert!((Duration::from_millis(390)..Duration::from_secs(2)).contains(&waited), "{waited:?}");
    gate.open();
    first.reply().await.expect_upstream(200);
}
