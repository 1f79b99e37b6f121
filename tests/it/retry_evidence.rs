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
