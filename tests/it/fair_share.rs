//! The last tenth of `ledger.max_open` is for those who hold less than their fair share.

use futures_util::future::join_all;
use mainstay_tests::{prelude::*, proxy::TempDir};

/// Each write is sent and lost, so that it stays in doubt and keeps its place.
async fn losing(ledger: &str) -> (Upstream, Proxy) {
    let upstream = Upstream::start(|_| vec![Step::Body, Step::Reset]).await;
    let policy = "timeout: 5s, idempotency: { required: true }";
    let config = Config::single(upstream.addr, policy).listener("principal: { header: X-Tenant }").ledger(ledger);
    (upstream, Proxy::start(config).await)
}

/// How many of so many writes get a place; every other one is told that nothing was sent.
async fn taken(proxy: &Proxy, tenant: &str, writes: usize) -> usize {
    let mut taken = 0;
    for n in 0..writes.div_ceil(10) {
        let batch = (0..10.min(writes - n * 10)).map(|m| {
            proxy.send(Request::keyed("/", &format!("{tenant}-{writes}-{n}-{m}"), "x").header("X-Tenant", tenant))
        });
        for reply in join_all(batch).await {
            if reply.slug() == Some("ledger-unavailable") {
                assert_eq!(reply.expect_problem(503, "ledger-unavailable")["effect"], "none");
                assert!(reply.header("retry-after").is_some());
            } else {
                reply.expect_problem(502, "outcome-unknown");
                taken += 1;
            }
        }
    }
    taken
}

#[tokio::test]
async fn one_principal_leaves_the_last_tenth_to_the_others() {
    let home = TempDir::new();
    let disk = format!("store: disk, path: \"{}\", max_open: 100", home.join("ledger").display());
    for ledger in ["store: memory, max_open: 100", &disk] {
        let (upstream, proxy) = losing(ledger).await;
        assert_eq!(taken(&proxy, "hog", 110).await, 90, "{ledger}");
        assert_eq!(taken(&proxy, "small", 4).await, 4, "{ledger}");
        assert_eq!(taken(&proxy, "hog", 10).await, 0, "{ledger}: it has more than its share");
        assert_eq!(taken(&proxy, "other", 12).await, 6, "{ledger}: nobody goes beyond the bound");
        assert_eq!(upstream.count(), 100, "{ledger}");
    }
}

#[tokio::test]
async fn a_small_ledger_keeps_nothing_back() {
    let (_upstream, proxy) = losing("store: memory, max_open: 99").await;
    assert_eq!(taken(&proxy, "hog", 110).await, 99);
    assert_eq!(taken(&proxy, "small", 3).await, 0);
}
