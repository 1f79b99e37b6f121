//! What traffic takes of memory and of connections, whatever the machine.

use mainstay_tests::{
    h2c::{H2Client, full},
    prelude::*,
    proxy::Launch,
};

const MIB: u64 = 1024 * 1024;

#[tokio::test]
async fn keyed_writes_beyond_the_memory_for_them_are_refused_before_they_are_read() {
    const WRITES: usize = 300;
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |seen| {
        if seen.method == "POST" { Answer::ok("done").behind(&held) } else { Answer::ok("read").steps() }
    })
    .await;
    let policy = "timeout: 9s, idempotency: { max_body: 1MiB, max_response: 64KiB, status: none }";
    let config = Config::single(upstream.addr, policy).top("limits: { buffered_bytes: 32MiB, workers: 2 }");
    let proxy = Proxy::start(config).await;
    let before = proxy.rss();
    let mut admitted = Vec::new();
    let mut refused = 0;
    for number in 0..WRITES {
        let write =
            Request::keyed("/", &format!("k{number}"), vec![b'x'; MIB as usize]).header("Expect", "100-continue");
        let mut client = proxy.connect().await;
        client.write(&write.head_bytes()).await;
        // Whoever is refused is so before a byte of the body is there.
        if client.any_head().await.start_line.contains("100 Continue") {
            client.write(&vec![b'x'; MIB as usize]).await;
            admitted.push(client);
        } else {
            refused += 1;
        }
    }
    // 32 MiB hold thirty of them with the answers that they may get.
    assert_eq!((admitted.len(), refused), (30, WRITES - 30));
    let reply = proxy.send(Request::keyed("/", "large", vec![b'x'; 900 * 1024])).await;
    assert_eq!(reply.expect_problem(503, "overloaded")["effect"], "none");
    assert!(reply.header("retry-after").is_some());
    let used = proxy.metric("mainstay_buffered_bytes", &[]).await.unwrap();
    assert!(used > 0.0 && used <= proxy.metric("mainstay_buffered_max_bytes", &[]).await.unwrap(), "{used}");
    assert_eq!(proxy.get("/").await.expect_upstream(200).text(), "read");
    gate.open();
    for client in &mut admitted {
        client.reply().await.expect_upstream(200);
    }
    drop(admitted);
    // A copy for the wire beside what is held, and the program itself.
    let grown = proxy.peak_rss().saturating_sub(before);
    assert!(grown <= 3 * 32 * MIB, "{} MiB more than before", grown / MIB);
    eventually("all of it is given back", || async {
        (proxy.metric("mainstay_buffered_bytes", &[]).await == Some(0.0)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_memory_a_body_is_sent_once_and_streamed() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |seen| match &*seen.target {
        "/held" => Answer::ok("done").behind(&held),
        _ => Answer::status(503).steps(),
    })
    .await;
    let config =
        Config::single(upstream.addr, "timeout: 9s, retry: { max_retries: 2, max_body: 4MiB, backoff: { base: 1ms } }")
            .top("limits: { buffered_bytes: 1MiB }");
    let proxy = Proxy::start(config).await;
    let mut first = proxy.connect().await;
    first.write(&Request::new("PUT", "/held").body(vec![b'x'; MIB as usize]).bytes()).await;
    upstream.wait_requests(1).await;
    let put = || Request::new("PUT", "/fails").body(vec![b'y'; 1000]);
    proxy.send(put()).await.expect_upstream(503);
    assert_eq!(upstream.count(), 2, "the second was sent once");
    assert_eq!(proxy.metric("mainstay_retry_denied_total", &[("reason", "memory")]).await, Some(1.0));
    gate.open();
    first.reply().await.expect_upstream(200);
    proxy.send(put()).await.expect_upstream(503);
    assert_eq!(upstream.count(), 5, "with room it is sent again");
}

#[tokio::test]
async fn workers_follow_what_was_asked_for() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let config = Config::single(upstream.addr, "timeout: 5s").top("limits: { workers: auto }");
    let launch = Launch::default().with("MAINSTAY_CPU_REQUEST", "50").with("MAINSTAY_MEMORY_LIMIT", "134217728");
    let proxy = Proxy::launch(config, &launch).await.unwrap();
    proxy.get("/").await.expect_upstream(200);
    let shown = tokio::process::Command::new(mainstay_tests::proxy::binary())
        .args(["check", proxy.file().to_str().unwrap()])
        .env("MAINSTAY_MEMORY_LIMIT", "134217728")
        .output();
    let shown = within("the check", shown).await.unwrap();
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(text.contains("memory: at most about") && text.contains("MiB"), "{text}");
    let client = H2Client::connect(proxy.addr).await;
    assert_eq!(client.call(client.request("GET", "/").body(full("")).unwrap()).await.status, 200);
}
