//! What an answer says about the effect speaks for every attempt, not only for the last.

use mainstay_tests::prelude::*;

const POLICY: &str = "timeout: { total: 5s, attempt: 200ms }, \
                      retry: { max_retries: 1, backoff: { base: 1ms }, budget: none }";

/// Of two endpoints one takes every request and never answers, the other refuses: each request meets both, in either order.
async fn silent_and_refusing(more: &str, policy: &str) -> (Upstream, Refusing, Proxy) {
    let (upstream, refusing) = (Upstream::start(|_| vec![Step::Body, Step::Stall]).await, Refusing::new());
    let config = Config::new().endpoints("app", &[upstream.addr, refusing.addr], more).policy("p", policy).route(
        "path: /**",
        "app",
        "p",
    );
    let proxy = Proxy::start(config).await;
    (upstream, refusing, proxy)
}

#[tokio::test]
async fn a_refusal_after_a_timeout_does_not_deny_what_the_timeout_left_open() {
    let (upstream, _refusing, proxy) = silent_and_refusing("", POLICY).await;
    let mut refused_last = 0;
    for n in 1..=12 {
        let reply = proxy.send(Request::new("PUT", "/").body("x")).await;
        assert_eq!((upstream.log().completed, reply.header("mainstay-attempts")), (n, Some("2")), "{}", reply.text());
        assert_eq!(reply.json()["effect"], "unknown", "{}", reply.text());
        refused_last += usize::from(reply.status == 502);
    }
    assert!(refused_last > 0, "no request met the refusing endpoint last");
}

#[tokio::test]
async fn a_refusal_after_a_timeout_does_not_free_the_key() {
    let policy = format!("{POLICY}, idempotency: {{ required: true }}");
    let (upstream, _refusing, proxy) = silent_and_refusing("honours_key: true", &policy).await;
    for n in 1..=12 {
        let key = format!("k{n}");
        let reply = proxy.send(Request::keyed("/", &key, "x")).await;
        assert_eq!(reply.slug(), Some("outcome-unknown"), "{}", reply.text());
        assert_eq!((&reply.json()["effect"], upstream.effects(&key)), (&"unknown".into(), 1));
        assert_eq!(proxy.operation(&reply.operation()).await["state"], "unknown");
    }
}

#[tokio::test]
async fn a_refusal_after_a_reset_does_not_deny_what_the_reset_left_open() {
    let upstream = Upstream::start(|_| vec![Step::Body, Step::Stall]).await;
    let policy = "timeout: 5s, retry: { max_retries: 2, backoff: { base: 1ms } }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    let mut client = proxy.connect().await;
    client.write(&Request::new("PUT", "/").body("x").bytes()).await;
    upstream.wait_completed(1).await;
    upstream.stop();
    let reply = client.reply_to("PUT").await;
    assert_eq!((reply.status, &reply.json()["effect"]), (502, &"unknown".into()), "{}", reply.text());
}

#[tokio::test]
async fn a_rejection_after_a_lost_attempt_does_not_free_the_key() {
    for status in [401, 403, 429] {
        let upstream = Upstream::start(move |seen| match seen.index {
            0 => vec![Step::Body, Step::Reset],
            _ => Answer::status(status).steps(),
        })
        .await;
        let policy = "timeout: 5s, retry: { max_retries: 1, backoff: { base: 1ms } }, idempotency: { required: true }";
        let config = Config::new().upstream("app", upstream.addr, "honours_key: true").policy("p", policy);
        let proxy = Proxy::start(config.route("path: /**", "app", "p")).await;
        let reply = proxy.send(Request::keyed("/", "k", "x")).await;
        assert_eq!(upstream.count(), 2, "{status}");
        let document = proxy.operation(&reply.operation()).await;
        assert_eq!(document["state"], "unknown", "{status}: the lost attempt may have acted: {document}");
        proxy.send(Request::keyed("/", "k", "x")).await;
        assert_eq!(upstream.count(), 2, "{status}: the repeat was sent");
    }
}

#[tokio::test]
async fn a_breaker_that_opens_after_a_lost_attempt_does_not_deny_it() {
    let breaker = "circuit_breaker: { consecutive_errors: 1, open_duration: 60s }";
    let policy = format!("timeout: 5s, retry: {{ max_retries: 1, backoff: {{ base: 1ms }} }}, {breaker}");
    let requests = [
        (policy.clone(), Request::new("PUT", "/").body("x")),
        (format!("{policy}, idempotency: {{ required: true }}"), Request::keyed("/", "k", "x")),
    ];
    for (policy, request) in requests {
        let upstream = Upstream::start(|_| vec![Step::Body, Step::Reset]).await;
        let config = Config::new().upstream("app", upstream.addr, "honours_key: true").policy("p", &policy);
        let proxy = Proxy::start(config.route("path: /**", "app", "p")).await;
        let reply = proxy.send(request).await;
        assert_eq!((upstream.count(), &reply.json()["effect"]), (1, &"unknown".into()), "{}", reply.text());
    }
}
