//! A pipeline when SIGTERM comes: each of its requests is answered whole, or was not begun, and what was done is readable by the
//! next process.

use std::path::Path;

use mainstay_tests::{prelude::*, proxy::TempDir};

const WRITES: usize = 6;

fn config(upstream: &Upstream, ledger: &Path, drain: &str) -> Config {
    Config::single(upstream.addr, "timeout: 9s, idempotency: { required: true }")
        .ledger(&format!("store: disk, path: \"{}\"", ledger.display()))
        .top(&format!("drain: {{ {drain} }}"))
}

/// A service that answers the first writes at once, and from number `free` on behind the gate.
async fn service(free: usize, gate: &Gate) -> Upstream {
    let held = gate.clone();
    Upstream::start(move |seen| {
        let number: usize = seen.target.trim_start_matches('/').parse().expect("a write's number");
        let answer = Answer::status(201).body(format!("done {number}"));
        if number < free { answer.steps() } else { answer.behind(&held) }
    })
    .await
}

fn key(number: usize) -> String {
    format!("key-{number}")
}

/// Sends all writes at once, and SIGTERM when number `free` is in flight; what is answered before the connection ends.
async fn pipeline(proxy: &mut Proxy, upstream: &Upstream, free: usize, meanwhile: impl FnOnce()) -> Vec<Reply> {
    let mut client = proxy.connect().await;
    let bytes: Vec<u8> = (0..WRITES).flat_map(|n| Request::keyed(&format!("/{n}"), &key(n), "x").bytes()).collect();
    client.write(&bytes).await;
    upstream.wait_completed(free + 1).await;
    proxy.signal("TERM");
    eventually("the proxy knows of its end", || async { (proxy.ready().await != Some(200)).then_some(()) }).await;
    meanwhile();
    let mut replies = Vec::new();
    while let Ok(reply) = client.try_reply().await {
        assert!(reply.body.complete, "half an answer: {reply:#?}");
        replies.push(reply);
    }
    assert_eq!(proxy.ended().await.code(), Some(0));
    let last = replies.last().expect("the write in flight is answered");
    assert_eq!(last.header("connection"), Some("close"), "{last:#?}");
    replies
}

#[tokio::test]
async fn each_request_of_a_pipeline_is_answered_whole_or_was_not_begun() {
    for (free, drain) in
        [(0, "delay: 0s, timeout: 8s"), (2, "delay: 0s, timeout: 8s"), (3, "delay: 300ms, timeout: 8s")]
    {
        let (home, gate) = (TempDir::new(), Gate::new());
        let upstream = service(free, &gate).await;
        let mut config = config(&upstream, &home.join("ledger"), drain);
        let mut proxy = Proxy::start(config.clone()).await;
        let replies = pipeline(&mut proxy, &upstream, free, || gate.open()).await;
        for (number, reply) in replies.iter().enumerate() {
            reply.expect_upstream(201);
            assert_eq!(reply.text(), format!("done {number}"), "free {free}");
        }
        assert!(replies.len() > free, "what was in flight is answered: {}", replies.len());
        assert_eq!(upstream.count(), replies.len(), "free {free}: nothing is executed that is not answered");

        config.move_away();
        let proxy = Proxy::start(config).await;
        for number in 0..WRITES {
            let found = proxy.get(&format!("/_mainstay/operations?key={}", key(number))).await;
            if number < replies.len() {
                assert_eq!((found.status, &found.json()["state"]), (200, &"succeeded".into()), "{}", found.text());
            } else {
                assert_eq!(found.status, 404, "free {free}, write {number}: {}", found.text());
            }
            let reply = proxy.send(Request::keyed(&format!("/{number}"), &key(number), "x")).await;
            assert_eq!((reply.status, reply.text()), (201, format!("done {number}")), "free {free}");
            assert_eq!(reply.header("idempotent-replayed").is_some(), number < replies.len(), "free {free}");
            assert_eq!(upstream.effects(&key(number)), 1, "free {free}, write {number}");
        }
    }
}

#[tokio::test]
async fn a_pipeline_that_outlasts_the_drain_ends_with_last_words_and_nothing_behind_them_is_begun() {
    let (home, gate) = (TempDir::new(), Gate::new());
    let upstream = service(2, &gate).await;
    let mut config = config(&upstream, &home.join("ledger"), "delay: 0s, timeout: 300ms");
    let mut proxy = Proxy::start(config.clone()).await;
    let replies = pipeline(&mut proxy, &upstream, 2, || ()).await;
    let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
    assert_eq!(statuses, [201, 201, 504]);
    assert_eq!(replies[2].expect_problem(504, "outcome-unknown")["effect"], "unknown");
    assert_eq!(upstream.count(), 3);

    config.move_away();
    let proxy = Proxy::start(config).await;
    for (number, state) in ["succeeded", "succeeded", "unknown"].into_iter().enumerate() {
        let found = proxy.get(&format!("/_mainstay/operations?key={}", key(number))).await;
        assert_eq!(found.json()["state"], state, "write {number}");
    }
    for number in 3..WRITES {
        let found = proxy.get(&format!("/_mainstay/operations?key={}", key(number))).await;
        assert_eq!(found.status, 404, "write {number}: {}", found.text());
    }
}
