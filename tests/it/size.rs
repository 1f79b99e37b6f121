//! What traffic takes of memory and of connections, whatever the machine.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use mainstay_tests::{
    authority::Authority,
    h2_upstream::{H2Step, H2Upstream},
    h2c::{H2Client, full},
    prelude::*,
    proxy::Launch,
    tls::Server,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};

const MIB: u64 = 1024 * 1024;

/// A service that counts the connections it has at once.
async fn counting() -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, most) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let seen = most.clone();
    tokio::spawn(async move {
        let open = Arc::new(AtomicUsize::new(0));
        while let Ok((mut stream, _)) = listener.accept().await {
            seen.fetch_max(open.fetch_add(1, SeqCst) + 1, SeqCst);
            let open = open.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while stream.read_buf(&mut head).await.is_ok_and(|read| read > 0) {
                    if head.ends_with(b"\r\n\r\n") {
                        head.clear();
                        if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.is_err() {
                            break;
                        }
                    }
                }
                open.fetch_sub(1, SeqCst);
            });
        }
    });
    (address, most)
}

#[tokio::test]
async fn an_endpoint_has_no_more_connections_than_it_may_however_many_workers_there_are() {
    for workers in [1, 8, 16] {
        let (address, most) = counting().await;
        let config = Config::new()
            .upstream("app", address, "max_connections: 2, idle_timeout: 5m")
            .policy("p", "timeout: 9s")
            .route("path: /**", "app", "p")
            .top(&format!("limits: {{ workers: {workers} }}"));
        let proxy = Proxy::start(config).await;
        let mut callers = JoinSet::new();
        for _ in 0..24 {
            let mut client = proxy.connect().await;
            callers.spawn(async move {
                for _ in 0..8 {
                    client.call(&Request::get("/")).await.expect_upstream(200);
                }
            });
        }
        while let Some(done) = callers.join_next().await {
            done.unwrap();
        }
        let most = most.load(SeqCst);
        assert!((1..=2).contains(&most), "{workers} workers had {most} connections");
    }
}

#[tokio::test]
async fn workers_share_the_one_connection_of_http2() {
    let upstream =
        H2Upstream::start(|_| H2Step::Answer(200, Vec::new(), bytes::Bytes::from_static(b"ok"), Vec::new())).await;
    let config = Config::new()
        .upstream("app", upstream.addr, "max_connections: 1, protocol: http2")
        .policy("p", "timeout: 9s")
        .route("path: /**", "app", "p")
        .top("limits: { workers: 8 }");
    let proxy = Proxy::start(config).await;
    for _ in 0..16 {
        proxy.get("/").await.expect_upstream(200);
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn workers_share_the_one_connection_whose_endpoint_chose_http2() {
    let authority = Authority::new("right");
    let own = authority.issue("own", "DNS:localhost");
    let upstream = H2Upstream::start(|_| H2Step::Answer(200, Vec::new(), "ok".into(), Vec::new())).await;
    let alpn: &[&[u8]] = &[b"h2", b"http/1.1"];
    let front = Server { alpn, ..Server::of(&own) }.before(upstream.addr).await;
    let more = format!("tls: {{ ca_file: {} }}, max_connections: 1", authority.cert().display());
    let config = Config::new()
        .upstream_at("app", &format!("https://localhost:{}", front.addr.port()), &more)
        .policy("p", "timeout: 9s")
        .route("path: /**", "app", "p")
        .top("limits: { workers: 8 }");
    let proxy = Proxy::start(config).await;
    let mut callers = JoinSet::new();
    for _ in 0..16 {
        let mut client = proxy.connect().await;
        // All of them ask before it is known what the endpoint speaks.
        callers.spawn(async move { client.call(&Request::get("/")).await.expect_upstream(200).text() });
    }
    while let Some(answered) = callers.join_next().await {
        assert_eq!(answered.unwrap(), "ok");
    }
    assert_eq!(front.handshakes().len(), 1);
}

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
