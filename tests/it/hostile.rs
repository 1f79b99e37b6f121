//! Clients that are slow, many or broken cost little and disturb nobody.

use futures_util::future::join_all;
use mainstay_tests::prelude::*;
use tokio::time::Instant;

#[tokio::test]
async fn slowloris_clients_are_cut_off_and_disturb_nobody() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let config = Config::single(upstream.addr, "timeout: 5s").top("limits: { header_timeout: 1s }");
    let proxy = Proxy::start(config).await;
    let slow: Vec<_> = (0..200)
        .map(|_| {
            let addr = proxy.addr;
            tokio::spawn(async move {
                let mut client = Client::connect(addr).await;
                client.write(b"GET / HTTP/1.1\r\nHost: a\r\n").await;
                while client.wire.send(b"X-A: b\r\n").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            })
        })
        .collect();
    for _ in 0..50 {
        let began = Instant::now();
        proxy.get("/").await.expect_upstream(200);
        assert!(began.elapsed() < Duration::from_secs(1), "an honest client waited {:?}", began.elapsed());
    }
    for task in within("every slow client is cut off", join_all(slow)).await {
        task.unwrap();
    }
    assert_eq!(upstream.count(), 50);
}

#[tokio::test]
async fn clients_that_drip_their_bodies_are_cut_off_and_disturb_nobody() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let config = Config::single(upstream.addr, "timeout: { total: 1s, idle: 500ms }");
    let proxy = Proxy::start(config.top("limits: { workers: 1, keep_alive: 1s }")).await;
    let drips = (0..200).map(|n| {
        let addr = proxy.addr;
        tokio::spawn(async move {
            let mut client = Client::connect(addr).await;
            let framing = ["Content-Length: 100000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n"][n % 2];
            client.write(format!("POST /drip HTTP/1.1\r\nHost: a\r\n{framing}").as_bytes()).await;
            // Each drip comes later than `idle` allows.
            while client.wire.send([&b"x"[..], b"1\r\nx\r\n"][n % 2]).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(700)).await;
            }
        })
    });
    let drips: Vec<_> = drips.collect();
    for _ in 0..50 {
        let began = Instant::now();
        proxy.get("/").await.expect_upstream(200);
        assert!(began.elapsed() < Duration::from_secs(1), "an honest client waited {:?}", began.elapsed());
    }
    for task in within("every slow client is cut off", join_all(drips)).await {
        task.unwrap();
    }
    assert!(upstream.requests().iter().filter(|seen| seen.target == "/drip").all(|seen| !seen.body.complete));
}

#[tokio::test]
async fn idle_connections_are_cheap() {
    const COUNT: u64 = 1000;
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    for _ in 0..20 {
        proxy.get("/").await.expect_upstream(200);
    }
    let before = proxy.rss();
    let mut clients = Vec::new();
    for _ in 0..COUNT {
        let mut client = proxy.connect().await;
        client.call(&Request::get("/")).await.expect_upstream(200);
        clients.push(client);
    }
    let each = proxy.rss().saturating_sub(before) / COUNT;
    assert!(each < 20 * 1024, "{each} bytes for an idle connection");
}

#[tokio::test]
async fn connections_over_the_limit_wait_or_are_refused_and_come_back() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::start(Config::single(upstream.addr, "timeout: 5s").top("limits: { connections: 10 }")).await;
    let mut inside = Vec::new();
    for _ in 0..10 {
        let mut client = proxy.connect().await;
        client.call(&Request::get("/")).await.expect_upstream(200);
        inside.push(client);
    }
    let mut outside = proxy.connect().await;
    outside.write(&Request::get("/outside").bytes()).await;
    let served = tokio::time::timeout(Duration::from_millis(500), outside.try_reply()).await;
    assert!(!served.is_ok_and(|r| r.is_ok_and(|r| r.status == 200)), "an eleventh connection was served");
    drop(outside);
    drop(inside);
    eventually("places are free again", || async {
        let mut client = proxy.connect().await;
        client.write(&Request::get("/").bytes()).await;
        let reply = tokio::time::timeout(Duration::from_secs(1), client.try_reply()).await.ok()?.ok()?;
        (reply.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_pipelined_requests_is_bounded() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Answer::ok("ok").behind(&held)).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 9s").await;
    let before = proxy.rss();
    let mut client = proxy.connect().await;
    let batch = Request::get("/").header("X-Fill", &"x".repeat(1000)).bytes().repeat(100);
    // Until the proxy takes no more: it must stop reading long before memory shows it.
    let mut sent = 0;
    while sent < 64 && tokio::time::timeout(Duration::from_millis(300), client.wire.send(&batch)).await.is_ok() {
        sent += 1;
    }
    upstream.wait_requests(1).await;
    assert_eq!(upstream.count(), 1, "one request of a connection at a time");
    assert!(proxy.rss().saturating_sub(before) < 8 * 1024 * 1024);
    gate.open();
    drop(client);
}

#[tokio::test]
async fn broken_clients_of_every_kind_leave_nothing_behind() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let mut proxy =
        Proxy::start(Config::single(upstream.addr, "timeout: 2s").top("limits: { header_timeout: 500ms }")).await;
    proxy.get("/").await.expect_upstream(200);
    let before = proxy.fds();
    let junk: [&[u8]; 8] = [
        b"",
        b"\0",
        b"GET",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01\x01\x05\x00\x00\x00\x01\x82",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00",
    ];
    for round in 0..10 {
        for bytes in junk {
            let mut client = proxy.connect().await;
            client.write(bytes).await;
            if round % 2 == 0 { drop(client) } else { client.reset() }
        }
    }
    eventually("every connection is gone", || {
        let now = proxy.fds();
        async move { (now <= before + 4).then_some(()) }
    })
    .await;
    proxy.get("/").await.expect_upstream(200);
    assert!(proxy.runs());
    assert!(!proxy.log().contains("panicked"), "{}", proxy.log());
}

#[tokio::test]
async fn a_stalled_upload_holds_no_one_else() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::start(Config::single(upstream.addr, "timeout: 9s").top("limits: { workers: 1 }")).await;
    let mut stalled = Vec::new();
    for _ in 0..50 {
        let mut client = proxy.connect().await;
        client.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhalf").await;
        stalled.push(client);
    }
    for _ in 0..20 {
        let began = Instant::now();
        proxy.get("/").await.expect_upstream(200);
        assert!(began.elapsed() < Duration::from_secs(1));
    }
}

#[tokio::test]
async fn a_client_that_never_reads_is_cut_and_its_place_is_free_again() {
    const LENGTH: usize = 64 * 1024 * 1024;
    let upstream = Upstream::start(|seen| {
        if seen.target == "/small" {
            return Answer::ok("ok").steps();
        }
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
        vec![Step::Send(head.into()), Step::Repeat(vec![b'x'; 64 * 1024].into(), LENGTH / (64 * 1024))]
    })
    .await;
    let policy = "timeout: { total: 3s, idle: 1s }, concurrency_limit: { max_concurrent: 1 }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    let mut silent = proxy.connect().await;
    silent.write(&Request::get("/big").bytes()).await;
    assert_eq!(silent.head().await.status, 200);
    eventually("its place is free", || async { (proxy.get("/small").await.status == 200).then_some(()) }).await;
}

#[tokio::test]
async fn a_slow_reader_gets_its_answer_whole() {
    const LENGTH: usize = 14 * 1024 * 1024;
    let upstream = Upstream::answering(Answer::ok(vec![b'x'; LENGTH])).await;
    let policy = "timeout: { total: 9s, idle: 1s }, idempotency: { max_response: 16MiB }";
    let config = Config::single(upstream.addr, policy).top("limits: { keep_alive: 1s }");
    let proxy = Proxy::start(config).await;
    // First as it is stored, then as it is replayed.
    for _ in 0..2 {
        let mut client = proxy.connect().await;
        client.write(&Request::keyed("/", "k", "x").bytes()).await;
        assert_eq!(client.head().await.status, 200);
        let began = Instant::now();
        let mut left = LENGTH;
        while left > 0 {
            let slowly = began.elapsed() < Duration::from_secs(4);
            let part = left.min(if slowly { 8 * 1024 } else { 1024 * 1024 });
            client.wire.take(part).await.expect("the connection lasts as long as the client reads");
            left -= part;
            if slowly {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        assert!(began.elapsed() >= Duration::from_secs(2), "the client was not slow");
    }
    assert_eq!(upstream.count(), 1);
}
