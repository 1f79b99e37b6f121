//! A rate limit with a hundred thousand keys: what they weigh, and that they go.

use futures_util::future::join_all;
use mainstay_tests::prelude::*;

const KEYS: usize = 100_000;
const BOUND_BYTES: u64 = 40 * 1024 * 1024;
/// Requests that are on their way at once on one connection.
const BATCH: usize = 100;
const CONNECTIONS: usize = 4;
const ANSWER: &[u8] = b"HTTP/1.1 ";

fn count(text: &[u8], what: &[u8]) -> usize {
    text.windows(what.len()).filter(|window| *window == what).count()
}

/// Asks once under each of these keys; how many were let through. Answers come from the cache, so that no service slows it down.
async fn ask(proxy: &Proxy, keys: std::ops::Range<usize>, long: bool) -> usize {
    let per_connection = keys.len().div_ceil(CONNECTIONS);
    let parts = (0..CONNECTIONS).map(|part| {
        let first = keys.start + part * per_connection;
        let keys: Vec<usize> = (first..(first + per_connection).min(keys.end)).collect();
        async move {
            let mut client = proxy.connect().await;
            let mut admitted = 0;
            for batch in keys.chunks(BATCH) {
                let requests: Vec<u8> = batch
                    .iter()
                    .flat_map(|key| {
                        let value = if long { format!("{key:0>8000}") } else { format!("user-{key}") };
                        Request::get("/kept").header("X-User", &value).bytes()
                    })
                    .collect();
                // Written and read at once: neither side has room for all of it.
                let (mut reads, mut writes) = client.wire.stream.split();
                let mut sent = 0;
                let mut seen = Vec::new();
                let mut buffer = vec![0; 64 * 1024];
                let mut answers = 0;
                within("a batch of answers", async {
                    use tokio::io::{AsyncReadExt, AsyncWriteExt};
                    loop {
                        tokio::select! {
                            wrote = writes.write(&requests[sent..]), if sent < requests.len() => sent += wrote.unwrap(),
                            read = reads.read(&mut buffer) => {
                                let n = read.unwrap();
                                assert!(n > 0, "the connection was ended");
                                let from = seen.len().saturating_sub(ANSWER.len() - 1);
                                seen.extend_from_slice(&buffer[..n]);
                                answers += count(&seen[from..], ANSWER);
                                if answers == batch.len() && (seen.ends_with(b"kept") || seen.ends_with(b"}")) {
                                    return;
                                }
                            }
                        }
                    }
                })
                .await;
                admitted += count(&seen, b"HTTP/1.1 200 ");
            }
            admitted
        }
    });
    join_all(parts).await.into_iter().sum()
}

async fn keys(proxy: &Proxy) -> u64 {
    let limits = proxy.operate(Request::get("/limits")).await.json();
    limits["routes"][0]["rate_limit"]["keys"].as_u64().unwrap_or_else(|| panic!("no keys in {limits}"))
}

fn config(upstream: &Upstream, unit: &str) -> Config {
    let policy = format!("cache: {{}}, rate_limit: {{ requests: 1, unit: {unit}, key: \"{{header.X-User}}\" }}");
    Config::single(upstream.addr, &policy).top("telemetry: { logs: { access: false, level: warn } }").admin()
}

#[tokio::test]
async fn a_hundred_thousand_keys_weigh_less_than_forty_mebibytes_whatever_their_length() {
    let upstream = Upstream::answering(Answer::ok("kept").header("Cache-Control", "max-age=3600")).await;
    let proxy = Proxy::start(config(&upstream, "1h")).await;
    // Buffers, code and the cache are there before anything is weighed.
    proxy.get("/kept").await.expect_upstream(200);
    ask(&proxy, 0..1, true).await;
    for _ in 0..5 {
        ask(&proxy, 0..1, false).await;
    }
    let known = keys(&proxy).await as usize;
    let before = proxy.rss();

    // Every tenth key is 8 000 bytes long: by their letters alone these would be twice the bound.
    let long = ask(&proxy, KEYS..KEYS + KEYS / 10, true).await;
    let short = ask(&proxy, known..KEYS - KEYS / 10, false).await;
    assert_eq!((long, short), (KEYS / 10, KEYS - KEYS / 10 - known), "each key has a limit of its own");
    let weight = proxy.rss().saturating_sub(before);
    println!("{KEYS} keys: {} KiB", weight / 1024);
    assert!(weight < BOUND_BYTES, "{KEYS} keys weigh {weight} bytes");
    let full = keys(&proxy).await;
    assert!(full > KEYS as u64 * 9 / 10 && full <= KEYS as u64, "{full} keys");

    // The table is full of keys that are in use: what comes now shares one limit, and costs nothing.
    let room = KEYS - full as usize;
    let beyond = ask(&proxy, 2 * KEYS..2 * KEYS + room + 2000, true).await;
    assert!(beyond <= room + 1, "{beyond} of 2000 beyond the bound were let through, and {room} had room");
    assert!(proxy.rss().saturating_sub(before) < BOUND_BYTES, "{} bytes", proxy.rss() - before);
    assert!(keys(&proxy).await <= KEYS as u64);
}

#[tokio::test]
async fn idle_keys_are_forgotten_with_no_request_to_help() {
    let upstream = Upstream::answering(Answer::ok("kept").header("Cache-Control", "max-age=3600")).await;
    let proxy = Proxy::start(config(&upstream, "3s")).await;
    proxy.get("/kept").await.expect_upstream(200);
    ask(&proxy, 0..2000, false).await;
    assert!(keys(&proxy).await > 0);
    eventually("idle keys are forgotten", || async { (keys(&proxy).await == 0).then_some(()) }).await;
}
