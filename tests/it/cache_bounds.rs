//! What a hostile or careless caller can make the cache take: no more than it was given.

use mainstay_tests::prelude::*;

const MIB: u64 = 1024 * 1024;
/// What the process may take beyond `max_bytes`: the allocator's slack, buffers of connections, the map itself.
const OVERHEAD: u64 = 24 * MIB;

#[tokio::test]
async fn many_large_answers_take_no_more_memory_than_was_given() {
    let body = vec![b'x'; 256 * 1024];
    let upstream =
        Upstream::start(move |_| Answer::ok(body.clone()).header("Cache-Control", "max-age=600").steps()).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s, cache: { max_bytes: 16MiB }").await;
    proxy.get("/first").await.expect_upstream(200);
    let before = proxy.rss();
    let mut client = proxy.connect().await;
    // 100 MiB in all.
    for n in 0..400 {
        client.call(&Request::get(&format!("/{n}"))).await.expect_upstream(200);
    }
    let growth = proxy.rss().saturating_sub(before);
    assert!(growth < 16 * MIB + OVERHEAD, "grew by {} MiB", growth / MIB);
    assert_eq!(upstream.count(), 401);
}

#[tokio::test]
async fn many_variants_of_one_address_take_no_more_memory_than_was_given() {
    let body = vec![b'x'; 64 * 1024];
    let upstream = Upstream::start(move |_| {
        Answer::ok(body.clone()).header("Cache-Control", "max-age=600").header("Vary", "User-Agent, Cookie").steps()
    })
    .await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s, cache: { max_bytes: 4MiB }").await;
    let mut client = proxy.connect().await;
    let asking = |n: usize| Request::get("/").header("User-Agent", &format!("{n}")).header("Cookie", &"c".repeat(2000));
    client.call(&asking(0)).await.expect_upstream(200);
    let before = proxy.rss();
    for n in 1..1000 {
        client.call(&asking(n)).await.expect_upstream(200);
    }
    let growth = proxy.rss().saturating_sub(before);
    assert!(growth < 4 * MIB + OVERHEAD, "grew by {} MiB", growth / MIB);
}
