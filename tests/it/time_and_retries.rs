//! Where time and retries meet: an attempt's time, the total time, a caller's deadline, and a retry that is made, or is not and
//! says why.

use futures_util::future::join_all;
use mainstay_tests::prelude::*;
use tokio::time::Instant;

/// The reason for which a retry was not made, as it is counted; the test fails where it was left out in silence.
async fn denied(proxy: &Proxy, reason: &str) -> Option<f64> {
    proxy.metric("mainstay_retry_denied_total", &[("reason", reason)]).await
}

/// The first `n` attempts get no answer.
async fn silent(n: usize) -> Upstream {
    Upstream::start(
        move |seen| {
            if seen.index < n { vec![Step::Body, Step::Stall] } else { Answer::ok("at last").steps() }
        },
    )
    .await
}

#[tokio::test]
async fn attempts_that_run_out_of_time_are_repeated_while_the_total_lasts() {
    let upstream = silent(3).await;
    let policy = "timeout: { total: 9s, attempt: 150ms }, \
                  retry: { max_retries: 5, backoff: { base: 1ms, max: 1ms }, budget: none }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    let began = Instant::now();
    let reply = proxy.get("/").await;
    assert_eq!(reply.expect_upstream(200).text(), "at last");
    assert_eq!((reply.header("mainstay-attempts"), upstream.count()), (Some("4"), 4));
    assert!((Duration::from_millis(440)..Duration::from_secs(4)).contains(&began.elapsed()), "{:?}", began.elapsed());
    upstream.wait("each attempt that was given up is closed", |log| log.peer_closed == 3).await;
}

#[tokio::test]
async fn an_attempt_longer_than_what_is_left_is_cut_off_by_the_total() {
    // The second attempt would have 600 ms, and 400 are left.
    for (attempt, attempts) in [("600ms", "2"), ("1s", "1"), ("9s", "1")] {
        let upstream = silent(9).await;
        let policy = format!(
            "timeout: {{ total: 1s, attempt: {attempt} }}, \
             retry: {{ max_retries: 5, backoff: {{ base: 1ms, max: 1ms }}, budget: none }}"
        );
        let proxy = Proxy::single(upstream.addr, &policy).await;
        let began = Instant::now();
        let reply = proxy.get("/").await;
        let took = began.elapsed();
        assert_eq!(reply.expect_problem(504, "timeout")["effect"], "unknown", "attempt: {attempt}");
        assert!((Duration::from_millis(990)..Duration::from_secs(3)).contains(&took), "attempt: {attempt}: {took:?}");
        assert_eq!(upstream.count().to_string(), attempts, "attempt: {attempt}");
        assert_eq!(reply.header("mainstay-attempts").unwrap_or("1"), attempts, "attempt: {attempt}");
    }
}

#[tokio::test]
async fn a_retry_for_which_no_time_is_left_is_counted_and_not_left_out_in_silence() {
    let upstream = Upstream::answering(Answer::status(503).header("Retry-After", "30").body("busy")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 2s, retry: 3").await;
    let began = Instant::now();
    assert_eq!(proxy.get("/").await.expect_upstream(503).text(), "busy");
    assert!(began.elapsed() < Duration::from_secs(1), "the answer at hand is given at once");
    assert_eq!((upstream.count(), denied(&proxy, "no_time").await), (1, Some(1.0)));
}

#[tokio::test]
async fn a_retry_that_would_not_be_safe_is_counted() {
    let upstream = silent(1).await;
    let proxy = Proxy::single(upstream.addr, "timeout: { total: 5s, attempt: 150ms }, retry: 3").await;
    let reply = proxy.send(Request::post("/", "x")).await;
    assert_eq!(reply.expect_problem(504, "timeout")["effect"], "unknown");
    assert_eq!((upstream.count(), denied(&proxy, "unsafe").await), (1, Some(1.0)));
}

#[tokio::test]
async fn a_body_that_is_streamed_on_is_not_repeated_and_that_is_counted() {
    let upstream = silent(1).await;
    let policy = "timeout: { total: 5s, attempt: 300ms }, retry: { max_retries: 3, max_body: 4KiB }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    let reply = proxy.send(Request::new("PUT", "/").body(vec![b'x'; 20_000])).await;
    assert_eq!(reply.expect_problem(504, "timeout")["effect"], "unknown");
    assert_eq!((upstream.count(), denied(&proxy, "body").await), (1, Some(1.0)));
}

#[tokio::test]
async fn a_body_that_has_begun_to_arrive_is_repeated_whole_if_it_was_kept() {
    let upstream = silent(1).await;
    let proxy = Proxy::single(upstream.addr, "timeout: { total: 8s, attempt: 400ms }, retry: 1").await;
    let mut client = proxy.connect().await;
    client.write(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst").await;
    upstream.wait_requests(1).await;
    client.write(b" half").await;
    let reply = client.reply_to("PUT").await;
    assert_eq!(reply.expect_upstream(200).text(), "at last");
    assert_eq!(upstream.requests()[1].text(), "first half");
}

#[tokio::test]
async fn an_answer_that_breaks_off_once_it_has_begun_is_no_failure_to_repeat() {
    let upstream = Upstream::start(|_| Answer::ok("a body of some length").chunked().cut(60)).await;
    let proxy = Proxy::single(upstream.addr, "timeout: { total: 3s, attempt: 1s, idle: 300ms }, retry: 3").await;
    let reply = proxy.get("/").await;
    assert!(reply.status == 200 && !reply.body.complete, "it was begun and cannot be taken back: {reply:#?}");
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn a_callers_deadline_below_the_attempt_ends_the_request_with_one_attempt() {
    let upstream = silent(9).await;
    let policy = "timeout: { total: 9s, attempt: 2s }, retry: { max_retries: 5, budget: none }";
    let proxy = Proxy::start(Config::single(upstream.addr, policy).listener("trust_deadline: true")).await;
    let began = Instant::now();
    let reply = proxy.send(Request::get("/").header("Mainstay-Deadline-Ms", "400")).await;
    reply.expect_problem(504, "timeout");
    let took = began.elapsed();
    assert!((Duration::from_millis(390)..Duration::from_secs(2)).contains(&took), "{took:?}");
    let seen = upstream.only();
    let told: u64 = seen.header("mainstay-deadline-ms").unwrap().parse().unwrap();
    assert!(told <= 400, "the service was told {told} ms");
}

#[tokio::test]
async fn a_callers_deadline_bounds_retries_and_each_attempt_is_told_what_is_left() {
    let upstream = silent(9).await;
    let policy = "timeout: { total: 9s, attempt: 200ms }, \
                  retry: { max_retries: 50, backoff: { base: 1ms, max: 1ms }, budget: none }";
    let proxy = Proxy::start(Config::single(upstream.addr, policy).listener("trust_deadline: true")).await;
    let reply = proxy.send(Request::get("/").header("Mainstay-Deadline-Ms", "700")).await;
    reply.expect_problem(504, "timeout");
    let told: Vec<u64> =
        upstream.requests().iter().map(|seen| seen.header("mainstay-deadline-ms").unwrap().parse().unwrap()).collect();
    assert!((2..=4).contains(&told.len()), "{told:?}");
    assert!(told[0] <= 700 && told.windows(2).all(|pair| pair[1] + 190 <= pair[0]), "{told:?}");
}

#[tokio::test]
async fn a_keyed_write_is_repeated_after_an_attempt_timeout_only_where_keys_are_honoured() {
    for (honours, attempts) in [(true, 2), (false, 1)] {
        let upstream = silent(1).await;
        let config = Config::new()
            .upstream("app", upstream.addr, &format!("honours_key: {honours}"))
            .policy("p", "timeout: { total: 5s, attempt: 250ms }, retry: 2, idempotency: { required: true }")
            .route("path: /**", "app", "p");
        let proxy = Proxy::start(config).await;
        let reply = proxy.send(Request::keyed("/", "k", "x")).await;
        assert_eq!((upstream.count(), upstream.effects("k")), (attempts, attempts), "honours_key: {honours}");
        if honours {
            assert_eq!(reply.expect_upstream(200).text(), "at last");
            assert_eq!(reply.header("mainstay-attempts"), Some("2"));
        } else {
            assert_eq!(reply.expect_problem(504, "outcome-unknown")["effect"], "unknown");
            let again = proxy.send(Request::keyed("/", "k", "x")).await;
            again.expect_problem(409, "outcome-unknown");
            assert_eq!(upstream.count(), 1, "never a second time in silence");
        }
    }
}

#[tokio::test]
async fn a_keyed_write_whose_attempts_all_run_out_of_time_stays_unknown_within_the_total() {
    let upstream = silent(99).await;
    let config = Config::new()
        .upstream("app", upstream.addr, "honours_key: true")
        .policy(
            "p",
            "timeout: { total: 1s, attempt: 300ms }, idempotency: { required: true }, \
             retry: { max_retries: 9, backoff: { base: 1ms, max: 1ms }, budget: none }",
        )
        .route("path: /**", "app", "p");
    let proxy = Proxy::start(config).await;
    let began = Instant::now();
    let reply = proxy.send(Request::keyed("/", "k", "x")).await;
    reply.expect_problem(504, "outcome-unknown");
    assert!((Duration::from_millis(990)..Duration::from_secs(3)).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert!((3..=4).contains(&upstream.count()), "{} attempts", upstream.count());
}

/// Sends `requests` by so many clients at once; the attempts of each.
async fn storm(proxy: &Proxy, clients: usize, requests: usize) -> usize {
    let each = join_all((0..clients).map(|_| async {
        let mut attempts = 0;
        for _ in 0..requests {
            let reply = proxy.get("/").await;
            assert!(reply.status >= 500, "{reply:#?}");
            attempts += reply.header("mainstay-attempts").map_or(1, |n| n.parse::<usize>().unwrap());
        }
        attempts
    }));
    each.await.iter().sum()
}

#[tokio::test]
async fn without_a_floor_a_storm_sends_the_budget_and_not_one_more() {
    let refusing = Refusing::new();
    let dying = Upstream::start(|_| vec![Step::Body, Step::Reset]).await;
    let busy = Upstream::answering(Answer::status(503)).await;
    for (addr, seen) in [(refusing.addr, None), (dying.addr, Some(&dying)), (busy.addr, Some(&busy))] {
        // Nothing earned within the test is forgotten before it ends.
        let budget = "budget: { percent: 25, min_retries_per_sec: 0, ttl: 60s }";
        let policy = format!("timeout: 9s, retry: {{ max_retries: 9, backoff: {{ base: 1ms, max: 2ms }}, {budget} }}");
        let proxy = Proxy::single(addr, &policy).await;
        let attempts = storm(&proxy, 50, 8).await;
        // 400 originals and a quarter of them. Each deposits before it fails, so the last ones can spend all there is.
        assert_eq!(attempts, 500);
        assert_eq!(proxy.metric("mainstay_retries_total", &[]).await, Some(100.0));
        assert!(denied(&proxy, "budget").await > Some(0.0));
        assert!(seen.is_none_or(|upstream| upstream.count() == 500), "the header tells the truth");
        assert_eq!(proxy.metric("mainstay_retry_budget_balance", &[]).await, Some(0.0));
    }
}

#[tokio::test]
async fn with_a_floor_alone_a_storm_gets_the_floor() {
    let busy = Upstream::answering(Answer::status(503)).await;
    let budget = "budget: { percent: 0, min_retries_per_sec: 0.5, ttl: 60s }";
    let policy = format!("timeout: 9s, retry: {{ max_retries: 9, backoff: {{ base: 1ms, max: 2ms }}, {budget} }}");
    let proxy = Proxy::single(busy.addr, &policy).await;
    let attempts = storm(&proxy, 50, 4).await;
    // balance = floor * ttl, whatever the time of day: 30 of them, and none comes back before the ttl is over.
    assert_eq!((attempts, busy.count()), (230, 230));
}
