//! Hedging: a rival for a slow attempt, within the budget, and only where both may be processed.

use futures_util::future::join_all;
use mainstay_tests::prelude::*;
use tokio::time::Instant;

/// The request numbered `slow` hangs; every other one is answered at once.
async fn slow(slow: usize) -> Upstream {
    Upstream::start(
        move |seen| {
            if seen.index == slow { vec![Step::Body, Step::Stall] } else { Answer::ok("fast").steps() }
        },
    )
    .await
}

#[tokio::test]
async fn a_slow_attempt_gets_a_rival_and_the_first_good_answer_wins() {
    let upstream = slow(0).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 8s, retry: { hedge: { after: 60ms } }").await;
    let began = Instant::now();
    let reply = proxy.get("/").await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!((reply.expect_upstream(200).text(), reply.header("mainstay-attempts")), ("fast".into(), Some("2")));
    upstream.wait("the loser is cancelled", |log| log.peer_closed == 1).await;
    assert_eq!(upstream.count(), 2);
}

#[tokio::test]
async fn a_fast_answer_has_no_rival() {
    let upstream = Upstream::answering(Answer::ok("x")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 8s, retry: { hedge: { after: 5s, max: 3 } }").await;
    assert_eq!(proxy.get("/").await.header("mainstay-attempts"), None);
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn a_failed_rival_does_not_stand_before_a_good_answer() {
    let upstream = Upstream::start(|seen| match seen.index {
        0 => Answer::ok("slow and good").after(Duration::from_millis(600)),
        _ => Answer::status(503).steps(),
    })
    .await;
    let proxy = Proxy::single(upstream.addr, "timeout: 8s, retry: { hedge: { after: 50ms } }").await;
    assert_eq!(proxy.get("/").await.expect_upstream(200).text(), "slow and good");
    assert_eq!(upstream.count(), 2);
}

#[tokio::test]
async fn only_safe_requests_without_a_body_are_hedged() {
    for request in [
        Request::post("/", "x"),
        Request::new("PUT", "/").body("x"),
        Request::new("DELETE", "/"),
        Request::get("/").body("x"),
    ] {
        let upstream = Upstream::answering(Answer::ok("x")).await;
        let slow = Upstream::start(|_| Answer::ok("x").after(Duration::from_millis(300))).await;
        let proxy = Proxy::single(slow.addr, "timeout: 8s, retry: { hedge: { after: 20ms, max: 2 } }").await;
        proxy.send(request).await.expect_upstream(200);
        assert_eq!((slow.count(), upstream.count()), (1, 0));
    }
}

#[tokio::test]
async fn the_budget_pays_for_hedges() {
    let upstream = Upstream::start(|_| Answer::ok("x").after(Duration::from_millis(400))).await;
    let budget = "budget: { percent: 10, min_retries_per_sec: 0, ttl: 1m }";
    let policy = format!("timeout: 8s, retry: {{ hedge: {{ after: 20ms, max: 2 }}, {budget} }}");
    let proxy = Proxy::single(upstream.addr, &policy).await;
    for reply in join_all((0..50).map(|_| proxy.get("/"))).await {
        reply.expect_upstream(200);
    }
    let attempts = upstream.count();
    assert!((51..=55).contains(&attempts), "{attempts} attempts for 50 requests at 10 %");
}

#[tokio::test]
async fn a_percentile_is_learned_from_the_route_itself() {
    let upstream = Upstream::start(|seen| {
        let delay = if seen.target == "/slow" { 2000 } else { 5 };
        Answer::ok("x").after(Duration::from_millis(delay))
    })
    .await;
    let proxy = Proxy::single(upstream.addr, "timeout: 8s, retry: { hedge: { after: p95, max: 1 } }").await;
    assert_eq!(proxy.get("/slow").await.header("mainstay-attempts"), None, "nothing is known yet");
    for _ in 0..40 {
        proxy.get("/").await;
    }
    assert_eq!(proxy.get("/slow").await.header("mainstay-attempts"), Some("2"));
}
