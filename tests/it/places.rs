//! The concurrency limit against those who would keep a place, or lose one: a place is held exactly as long as it is used.

use futures_util::future::join_all;
use mainstay_tests::{
    h2c::{H2Client, full},
    prelude::*,
};
use tokio::time::Instant;

const ONE: &str = "timeout: 9s, concurrency_limit: { max_concurrent: 1, max_wait: 5s, max_queue: 4 }";

/// Holds requests under `/held` until the gate opens; under `/body` it holds the second half of the body, under `/dies` it breaks
/// off inside the body, in as many ways as there are.
async fn service() -> (Upstream, Gate) {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |seen| {
        let half = Step::Send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf".into());
        match seen.target.as_str() {
            "/held" => Answer::ok("ok").behind(&held),
            "/body" => vec![half, Step::Gate(held.clone()), Step::Send("half".into())],
            "/dies/close" => vec![half, Step::Close],
            "/dies/reset" => vec![half, Step::Reset],
            "/dies/chunked" => {
                vec![
                    Step::Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz".into()),
                    Step::Close,
                ]
            }
            "/dies/silent" => vec![half, Step::Stall],
            "/dies/head" => vec![Step::Body, Step::Reset],
            _ => Answer::ok("ok").steps(),
        }
    })
    .await;
    (upstream, gate)
}

/// Waits until the proxy says that so many hold a place, and so many requests are with it at all.
async fn counts(proxy: &Proxy, places: f64, requests: f64) {
    eventually(&format!("{places} places taken by {requests} requests"), || async {
        let metrics = proxy.probe("/metrics").await.text();
        let read = |name| mainstay_tests::proxy::metric_in(&metrics, name, &[]).unwrap_or_default();
        let now = (read("mainstay_concurrency_in_flight"), read("mainstay_requests_in_flight"));
        (now == (places, requests)).then_some(())
    })
    .await;
}

async fn sends(proxy: &Proxy, target: &str) -> Client {
    let mut client = proxy.connect().await;
    client.write(&Request::get(target).bytes()).await;
    client
}

#[tokio::test]
async fn a_place_is_free_again_however_the_upstream_dies_in_the_body() {
    let (upstream, _gate) = service().await;
    let policy = "timeout: { total: 9s, idle: 300ms }, concurrency_limit: { max_concurrent: 1 }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    for target in ["/dies/close", "/dies/reset", "/dies/chunked", "/dies/silent", "/dies/head"] {
        let reply = proxy.get(target).await;
        assert!(reply.status == 502 || (reply.status == 200 && !reply.body.complete), "{target}: {reply:#?}");
        counts(&proxy, 0.0, 0.0).await;
        proxy.get("/").await.expect_upstream(200);
    }
}

#[tokio::test]
async fn who_leaves_the_queue_takes_no_place_and_blocks_nobody() {
    let (upstream, gate) = service().await;
    let proxy = Proxy::single(upstream.addr, ONE).await;
    let mut holder = sends(&proxy, "/held").await;
    upstream.wait_requests(1).await;
    let leavers = [sends(&proxy, "/left").await, sends(&proxy, "/left").await];
    counts(&proxy, 1.0, 3.0).await;
    let mut patient = sends(&proxy, "/patient").await;
    counts(&proxy, 1.0, 4.0).await;
    for leaver in leavers {
        leaver.reset();
    }
    counts(&proxy, 1.0, 2.0).await;
    gate.open();
    holder.reply().await.expect_upstream(200);
    patient.reply().await.expect_upstream(200);
    counts(&proxy, 0.0, 0.0).await;
    assert!(upstream.requests().iter().all(|seen| seen.target != "/left"), "who left was sent all the same");
}

#[tokio::test]
async fn a_stream_that_is_reset_in_the_queue_or_in_the_body_frees_what_it_had() {
    let (upstream, gate) = service().await;
    let proxy = Proxy::single(upstream.addr, ONE).await;
    let client = H2Client::connect(proxy.addr).await;
    let get = |target: &str| client.request("GET", target).body(full("")).unwrap();
    let in_body = client.start(get("/body")).await.expect("a head");
    let queued = tokio::spawn(client.sender().send_request(get("/left")));
    counts(&proxy, 1.0, 2.0).await;
    queued.abort();
    counts(&proxy, 1.0, 1.0).await;
    drop(in_body);
    counts(&proxy, 0.0, 0.0).await;
    gate.open();
    proxy.get("/").await.expect_upstream(200);
    assert!(upstream.requests().iter().all(|seen| seen.target != "/left"), "who left was sent all the same");
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_exactly() {
    let (upstream, gate) = service().await;
    let proxy = Proxy::single(upstream.addr, ONE).await;
    let mut holder = sends(&proxy, "/held").await;
    upstream.wait_requests(1).await;
    let began = Instant::now();
    let waiting: Vec<_> = (0..12).map(|_| proxy.get("/")).collect();
    let (replies, ()) = tokio::join!(join_all(waiting), async {
        eventually("eight are refused", || async {
            (proxy.metric("mainstay_overloaded_total", &[]).await == Some(8.0)).then_some(())
        })
        .await;
        counts(&proxy, 1.0, 5.0).await;
        gate.open();
    });
    let refused = replies.iter().filter(|reply| reply.slug() == Some("overloaded")).count();
    let served = replies.iter().filter(|reply| reply.status == 200).count();
    assert_eq!((refused, served), (8, 4), "a queue of 4 and 12 who want to wait");
    assert!(began.elapsed() < Duration::from_secs(5), "nobody waited for max_wait");
    holder.reply().await.expect_upstream(200);
    assert_eq!(proxy.metric("mainstay_overloaded_total", &[]).await, Some(8.0));
}

#[tokio::test]
async fn without_a_wait_a_queue_is_none() {
    let (upstream, gate) = service().await;
    let policy = "timeout: 9s, concurrency_limit: { max_concurrent: 1, max_wait: 0s, max_queue: 100 }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    let mut holder = sends(&proxy, "/held").await;
    upstream.wait_requests(1).await;
    for reply in join_all((0..20).map(|_| proxy.get("/"))).await {
        reply.expect_problem(503, "overloaded");
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
    gate.open();
    holder.reply().await.expect_upstream(200);
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn a_reload_lets_in_who_waits_and_a_smaller_limit_drives_nobody_out() {
    let (upstream, gate) = service().await;
    let mut proxy = Proxy::single(upstream.addr, ONE).await;
    let mut clients = vec![sends(&proxy, "/held").await];
    upstream.wait_requests(1).await;
    for waiting in 1..=2 {
        clients.push(sends(&proxy, "/held").await);
        counts(&proxy, 1.0, f64::from(waiting + 1)).await;
    }
    for (limit, places) in [(2, 2.0), (3, 3.0), (1, 3.0)] {
        let policy = ONE.replace("max_concurrent: 1", &format!("max_concurrent: {limit}"));
        let mut next = Config::single(upstream.addr, &policy);
        (next.data, next.probes) = (proxy.config.data, proxy.config.probes);
        let reloads = proxy.metric("mainstay_config_reloads_total", &[]).await;
        proxy.reload(next);
        eventually("the reload is done", || async {
            (proxy.metric("mainstay_config_reloads_total", &[]).await != reloads).then_some(())
        })
        .await;
        counts(&proxy, places, 3.0).await;
    }
    gate.open();
    for client in &mut clients {
        client.reply().await.expect_upstream(200);
    }
    counts(&proxy, 0.0, 0.0).await;
}

#[tokio::test]
async fn no_place_is_lost_in_a_crowd_that_comes_and_goes() {
    let (upstream, _gate) = service().await;
    let policy = "timeout: { total: 2s, attempt: 200ms, idle: 300ms }, \
                  concurrency_limit: { max_concurrent: 3, max_wait: 50ms, max_queue: 5 }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    let targets = ["/", "/held", "/body", "/dies/close", "/dies/reset", "/dies/silent", "/dies/head"];
    join_all((0..24_u64).map(|number| {
        let proxy = &proxy;
        async move {
            let mut rng = fastrand::Rng::with_seed(number);
            for _ in 0..12 {
                let mut client = sends(proxy, targets[rng.usize(..targets.len())]).await;
                let patience = Duration::from_millis(rng.u64(..120));
                if rng.bool() {
                    tokio::time::timeout(patience, client.try_reply()).await.ok();
                    client.reset();
                } else {
                    client.try_reply().await.ok();
                }
            }
        }
    }))
    .await;
    counts(&proxy, 0.0, 0.0).await;
    // All three are still there: a third that had to wait would be refused before the first two run out of time.
    let before = upstream.count();
    let holders = [sends(&proxy, "/held").await, sends(&proxy, "/held").await, sends(&proxy, "/held").await];
    upstream.wait_requests(before + 3).await;
    drop(holders);
}

#[tokio::test]
async fn a_client_that_closes_its_connection_has_left() {
    let (upstream, _gate) = service().await;
    let proxy = Proxy::single(upstream.addr, "timeout: 9s, concurrency_limit: { max_concurrent: 1 }").await;
    let holder = sends(&proxy, "/held").await;
    upstream.wait_requests(1).await;
    let left = Instant::now();
    // By FIN, which half-closing begins with, too.
    drop(holder);
    counts(&proxy, 0.0, 0.0).await;
    assert!(left.elapsed() < Duration::from_millis(700), "{:?}: its place was kept for nobody", left.elapsed());
    proxy.get("/").await.expect_upstream(200);
}

#[tokio::test]
async fn a_client_that_closes_its_connection_while_it_waits_gives_its_slot_to_the_next() {
    let (upstream, _gate) = service().await;
    let policy = "timeout: 9s, rate_limit: { requests: 1, unit: 1s, behavior: queue, queue: { max_wait: 9s } }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    proxy.get("/first").await.expect_upstream(200);
    let began = Instant::now();
    drop(sends(&proxy, "/left").await);
    eventually("the waiter has come and left", || async {
        let requests = proxy.metric("mainstay_requests_in_flight", &[]).await;
        (requests == Some(0.0)).then_some(())
    })
    .await;
    proxy.get("/next").await.expect_upstream(200);
    assert!(began.elapsed() < Duration::from_millis(1600), "{:?}: the slot after the one left", began.elapsed());
    assert_eq!(upstream.requests().iter().map(|seen| seen.target.as_str()).collect::<Vec<_>>(), ["/first", "/next"]);
}

#[tokio::test]
async fn an_adaptive_limit_learns_from_the_service_and_not_from_its_own_queue() {
    let upstream = Upstream::start(|seen| match seen.target.as_str() {
        "/busy" => Answer::status(503).steps(),
        _ => Answer::ok("ok").after(Duration::from_millis(50)),
    })
    .await;
    let policy = "timeout: 9s, concurrency_limit: { max_concurrent: 2, max_wait: 9s, max_queue: 20, adaptive: aimd, min: 1, \
                  max: 2, threshold: 400ms }";
    let proxy = Proxy::start(Config::single(upstream.addr, policy).admin()).await;
    // The last ones wait for half a second, and are answered as fast as the first ones.
    for reply in join_all((0..22).map(|_| proxy.get("/"))).await {
        reply.expect_upstream(200);
    }
    let limit = || async {
        proxy.operate(Request::get("/limits")).await.json()["routes"][0]["concurrency_limit"]["limit"].clone()
    };
    assert_eq!(limit().await, 2);
    proxy.get("/busy").await.expect_upstream(503);
    assert_eq!(limit().await, 1, "the service said that it is overloaded");
}
