//! A write is sent again only if it provably was not seen, or the upstream deduplicates by its key.

use mainstay_tests::{
    h2_upstream::{H2Step, H2Upstream},
    prelude::*,
};

/// Every way in which a connection can die after the upstream has seen something of the request.
fn deaths() -> Vec<(&'static str, Accept, Vec<Step>)> {
    let serve = |steps: Vec<Step>| (Accept::Serve, steps);
    let partial = |bytes: &'static str| Step::Send(bytes.into());
    let cases = [
        ("reset inside the head", (Accept::ResetAfter(10), vec![])),
        ("close inside the head", (Accept::CloseAfter(10), vec![])),
        ("reset after the head", serve(vec![Step::Reset])),
        ("close after the head", serve(vec![Step::Close])),
        ("reset inside the body", serve(vec![Step::BodyBytes(3), Step::Reset])),
        ("close inside the body", serve(vec![Step::BodyBytes(3), Step::Close])),
        ("reset after the request", serve(vec![Step::Body, Step::Reset])),
        ("close after the request", serve(vec![Step::Body, Step::Close])),
        ("reset inside the response head", serve(vec![Step::Body, partial("HTTP/1.1 200 O"), Step::Reset])),
        ("close inside the response head", serve(vec![Step::Body, partial("HTTP/1.1 200 OK\r\nA: b"), Step::Close])),
        ("garbage", serve(vec![Step::Body, partial("\u{1}\u{2}\u{3}\r\n\r\n"), Step::Close])),
    ];
    cases.into_iter().map(|(name, (accept, steps))| (name, accept, steps)).collect()
}

#[tokio::test]
async fn a_post_is_never_sent_twice_wherever_its_connection_dies() {
    for (name, accept, steps) in deaths() {
        for method in ["POST", "PATCH"] {
            let (accept, steps) = (accept.clone(), steps.clone());
            let upstream = Upstream::with(move |_| accept.clone(), move |_| steps.clone()).await;
            let proxy = Proxy::single(upstream.addr, "timeout: 5s, retry: { max_retries: 3, budget: none }").await;
            let reply = proxy.send(Request::new(method, "/").body("a write")).await;
            assert_eq!(reply.expect_problem(502, "upstream-error")["effect"], "unknown", "{method}: {name}");
            assert_eq!(upstream.log().connections, 1, "{method}: {name}: it was sent again");
        }
    }
}

#[tokio::test]
async fn idempotent_methods_are_retried_wherever_their_connection_dies() {
    for (name, accept, steps) in deaths() {
        let first = move |n: usize| if n == 0 { accept.clone() } else { Accept::Serve };
        let script = move |seen: &Seen| if seen.connection == 0 { steps.clone() } else { Answer::status(200).steps() };
        let upstream = Upstream::with(first, script).await;
        let proxy = Proxy::single(upstream.addr, "timeout: 5s, retry: 2").await;
        let reply = proxy.send(Request::new("PUT", "/").body("a whole state")).await;
        assert_eq!((reply.status, reply.header("mainstay-attempts")), (200, Some("2")), "{name}: {reply:#?}");
    }
}

#[tokio::test]
async fn each_idempotent_method_is_retried() {
    for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"] {
        let upstream = Upstream::start(|seen| match seen.index {
            0 => vec![Step::Body, Step::Reset],
            _ => Answer::status(204).steps(),
        })
        .await;
        let proxy = Proxy::single(upstream.addr, "timeout: 5s, retry: 1").await;
        assert_eq!(proxy.send(Request::new(method, "/x")).await.status, 204, "{method}");
    }
}

#[tokio::test]
async fn a_post_is_not_repeated_for_a_status_either() {
    for code in [429, 500, 502, 503, 504] {
        let upstream = Upstream::answering(Answer::status(code)).await;
        let proxy = Proxy::single(upstream.addr, "retry: { max_retries: 3, on: [429, 502, 503, 504, reset] }").await;
        proxy.send(Request::post("/", "x")).await.expect_upstream(code);
        assert_eq!(upstream.count(), 1, "{code}");
    }
}

#[tokio::test]
async fn a_post_is_not_repeated_after_an_attempt_timeout() {
    let upstream = Upstream::start(|_| vec![Step::Body, Step::Stall]).await;
    let proxy = Proxy::single(upstream.addr, "timeout: { total: 3s, attempt: 200ms }, retry: 3").await;
    proxy.send(Request::post("/", "x")).await.expect_problem(504, "timeout");
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn a_post_whose_connection_was_refused_goes_to_another_endpoint() {
    let refusing = Refusing::new();
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let config = Config::new()
        .endpoints("app", &[refusing.addr, upstream.addr], "")
        .policy("p", "timeout: 5s, retry: { max_retries: 3, budget: none }")
        .route("path: /**", "app", "p");
    let proxy = Proxy::start(config).await;
    for n in 0..20 {
        proxy.send(Request::post("/", format!("write {n}"))).await.expect_upstream(200);
    }
    assert_eq!(upstream.log().completed, 20, "each write once");
}

#[tokio::test]
async fn a_pooled_connection_that_dies_as_the_write_arrives_proves_nothing() {
    let upstream = Upstream::start(|seen| {
        let mut steps = Answer::ok("first").steps();
        if seen.connection == 0 {
            steps.push(Step::ResetOnNextByte);
        }
        steps
    })
    .await;
    let config = Config::single(upstream.addr, "timeout: 5s, retry: 3").top("limits: { workers: 1 }");
    let proxy = Proxy::start(config).await;
    proxy.send(Request::post("/", "one")).await.expect_upstream(200);
    let reply = proxy.send(Request::post("/", "two")).await;
    if reply.status == 200 {
        assert_eq!(upstream.log().connections, 2, "it can only have gone over a fresh connection");
    } else {
        assert_eq!(reply.expect_problem(502, "upstream-error")["effect"], "unknown");
        assert_eq!(upstream.log().connections, 1, "it was sent again");
    }
}

#[tokio::test]
async fn a_pooled_connection_that_was_closed_long_ago_costs_nobody_anything() {
    let upstream = Upstream::start(|_| {
        let mut steps = Answer::ok("ok").steps();
        steps.push(Step::Close);
        steps
    })
    .await;
    let proxy = Proxy::start(Config::single(upstream.addr, "timeout: 5s").top("limits: { workers: 1 }")).await;
    for n in 1..=5 {
        proxy.send(Request::post("/", "x")).await.expect_upstream(200);
        upstream.wait("the proxy has noticed the close", |log| log.peer_closed == n).await;
    }
    assert_eq!(upstream.log().completed, 5);
}

async fn h2(upstream: &H2Upstream) -> Proxy {
    let config = Config::new().upstream("app", upstream.addr, "protocol: http2");
    Proxy::start(config.policy("p", "timeout: 5s, retry: 3").route("path: /**", "app", "p")).await
}

#[tokio::test]
async fn a_refused_stream_is_sent_again() {
    let upstream = H2Upstream::start(|seen| if seen.index == 0 { H2Step::Refuse } else { H2Step::GrpcEcho }).await;
    let reply = h2(&upstream).await.send(Request::post("/", "a write")).await;
    assert_eq!((reply.expect_upstream(200).text().as_str(), reply.header("mainstay-attempts")), ("a write", Some("2")));
    assert_eq!(upstream.requests().iter().filter(|r| r.body.is_some()).count(), 1);
}

#[tokio::test]
async fn a_stream_above_goaway_is_sent_again() {
    let upstream = H2Upstream::with_goaway(1, |_| H2Step::GrpcEcho).await;
    let reply = h2(&upstream).await.send(Request::post("/", "a write")).await;
    assert_eq!(reply.expect_upstream(200).text(), "a write");
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn a_stream_reset_for_another_reason_is_not_sent_again() {
    let upstream = H2Upstream::start(|_| H2Step::ResetUnanswered).await;
    let reply = h2(&upstream).await.send(Request::post("/", "a write")).await;
    assert_eq!(reply.expect_problem(502, "upstream-error")["effect"], "unknown");
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn a_keyed_write_is_repeated_to_an_upstream_that_honours_keys() {
    for (honours, status, attempts) in [(true, 201, 2), (false, 502, 1)] {
        let upstream = Upstream::start(|seen| match seen.index {
            0 => vec![Step::Body, Step::Reset],
            _ => Answer::status(201).body("made").steps(),
        })
        .await;
        let config = Config::new()
            .upstream("app", upstream.addr, &format!("honours_key: {honours}"))
            .policy("p", "timeout: 5s, retry: 2, idempotency: { required: true }")
            .route("path: /**", "app", "p");
        let proxy = Proxy::start(config).await;
        let reply = proxy.send(Request::keyed("/pay", "k-1", "100")).await;
        assert_eq!((reply.status, upstream.count()), (status, attempts), "honours_key: {honours}");
        let seen = upstream.requests();
        assert!(
            seen.iter().all(|r| r.text() == "100" && r.header("idempotency-key") == seen[0].header("idempotency-key"))
        );
    }
}

#[tokio::test]
async fn a_write_without_a_key_is_not_repeated_even_if_the_upstream_honours_keys() {
    let upstream = Upstream::start(|_| vec![Step::Body, Step::Reset]).await;
    let config = Config::new()
        .upstream("app", upstream.addr, "honours_key: true")
        .policy("p", "timeout: 5s, retry: 2, idempotency: { required: false }")
        .route("path: /**", "app", "p");
    let proxy = Proxy::start(config).await;
    proxy.send(Request::post("/pay", "100")).await.expect_problem(502, "upstream-error");
    assert_eq!(upstream.count(), 1);
}
