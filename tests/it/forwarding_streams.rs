//! Bodies that stream, stop, or are cut; interim responses and upgrades.

use bytes::Bytes;
use mainstay_tests::prelude::*;

const MIB: u64 = 1024 * 1024;

/// Megabytes of the large bodies here; `MAINSTAY_TEST_STREAM_MIB=1024` for the full claim.
fn stream_mib() -> usize {
    std::env::var("MAINSTAY_TEST_STREAM_MIB").ok().and_then(|v| v.parse().ok()).unwrap_or(256)
}

#[tokio::test]
async fn a_large_response_streams_through_in_constant_memory() {
    let mib = stream_mib();
    let upstream = Upstream::start(move |_| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", mib as u64 * MIB);
        vec![Step::Send(head.into()), Step::Repeat(Bytes::from(vec![b'x'; 64 * 1024]), mib * 16)]
    })
    .await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let mut client = proxy.connect().await;
    client.write(&Request::get("/").bytes()).await;
    let before = proxy.rss();
    assert_eq!(client.head().await.status, 200);
    let mut body = Body::default();
    let read = client.wire.body(Framing::Length(mib as u64 * MIB), &mut body);
    tokio::time::timeout(Duration::from_mins(2), read).await.expect("the body streams").expect("the whole body");
    let growth = proxy.peak_rss().saturating_sub(before);
    assert!(growth < 16 * MIB, "memory grew by {growth} bytes");
}

#[tokio::test]
async fn a_large_request_streams_through_in_constant_memory() {
    let mib = stream_mib();
    let upstream = Upstream::answering(Answer::ok("got it")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 120s, retry: 3").await;
    let before = proxy.rss();
    let mut client = proxy.connect().await;
    client
        .write(format!("PUT /up HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", mib as u64 * MIB).as_bytes())
        .await;
    let part = vec![b'x'; 64 * 1024];
    for _ in 0..mib * 16 {
        client.write(&part).await;
    }
    client.reply().await.expect_upstream(200);
    assert_eq!(upstream.only().body.len, mib as u64 * MIB);
    let growth = proxy.peak_rss().saturating_sub(before);
    assert!(growth < 16 * MIB, "memory grew by {growth} bytes");
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_the_upstream_back() {
    let gate = Gate::new();
    let done = gate.clone();
    let upstream = Upstream::start(move |_| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 64 * MIB);
        vec![Step::Send(head.into()), Step::Repeat(Bytes::from(vec![b'x'; 64 * 1024]), 1024), Step::Gate(done.clone())]
    })
    .await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let mut client = proxy.connect().await;
    client.write(&Request::get("/").bytes()).await;
    assert_eq!(client.head().await.status, 200);
    let before = proxy.rss();
    // Nothing tells that back-pressure has reached its end, so memory is watched for a while.
    tokio::time::sleep(Duration::from_millis(700)).await;
    let growth = proxy.rss().saturating_sub(before);
    assert!(growth < 16 * MIB, "a stalled reader made memory grow by {growth} bytes");
    assert_eq!(client.body(Framing::Length(64 * MIB)).await.len, 64 * MIB);
    gate.open();
}

#[tokio::test]
async fn response_bytes_arrive_as_they_are_sent() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| {
        vec![
            Step::Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n".into()),
            Step::Gate(held.clone()),
            Step::Send("6\r\nsecond\r\n0\r\n\r\n".into()),
        ]
    })
    .await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let mut client = proxy.connect().await;
    client.write(&Request::get("/").bytes()).await;
    assert_eq!(client.head().await.status, 200);
    let first = within("the first part before the second exists", client.wire.take(10)).await.unwrap();
    assert_eq!(first, b"5\r\nfirst\r\n");
    gate.open();
    assert_eq!(client.body(Framing::Chunked).await.data, b"second");
}

#[tokio::test]
async fn request_bytes_arrive_as_they_are_sent() {
    let upstream =
        Upstream::start(|_| vec![Step::BodyBytes(10), Step::Send(Answer::ok("early").bytes()), Step::Stall]).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let mut client = proxy.connect().await;
    client.write(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n").await;
    // The upstream answers on the first chunk alone; the body has not ended.
    assert_eq!(client.head().await.status, 200);
}

#[tokio::test]
async fn an_early_response_reaches_a_client_that_is_still_sending() {
    let upstream =
        Upstream::start(|_| vec![Step::Send(Answer::status(413).body("too much").bytes()), Step::Close]).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let mut client = proxy.connect().await;
    client.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n").await;
    client.write(&[b'x'; 1000]).await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.text().as_str()), (413, "too much"));
}

#[tokio::test]
async fn a_client_that_leaves_ends_a_plain_get_upstream() {
    let upstream = Upstream::start(|_| vec![Step::Stall]).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 60s").await;
    let mut client = proxy.connect().await;
    client.write(&Request::get("/").bytes()).await;
    upstream.wait_requests(1).await;
    client.reset();
    upstream.wait("the upstream connection is closed", |log| log.peer_closed == 1).await;
}

#[tokio::test]
async fn a_client_that_leaves_mid_body_ends_the_response_upstream() {
    let upstream = Upstream::start(|_| {
        vec![Step::Send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nstart".into()), Step::Stall]
    })
    .await;
    let proxy = Proxy::single(upstream.addr, "timeout: 60s").await;
    let mut client = proxy.connect().await;
    client.write(&Request::get("/").bytes()).await;
    assert_eq!(client.head().await.status, 200);
    drop(client);
    upstream.wait("the upstream connection is closed", |log| log.peer_closed == 1).await;
}

#[tokio::test]
async fn a_client_that_leaves_mid_request_body_gives_the_upstream_no_whole_request() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 60s").await;
    for request in ["Content-Length: 100\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        let mut client = proxy.connect().await;
        client.write(format!("POST / HTTP/1.1\r\nHost: a\r\n{request}").as_bytes()).await;
        let n = upstream.count() + 1;
        upstream.wait_requests(n).await;
        drop(client);
        upstream.wait("the upstream sees the end", |log| log.peer_closed == n).await;
    }
    assert_eq!(upstream.log().completed, 0, "half a body was passed off as a whole one");
}

#[tokio::test]
async fn a_truncated_response_is_seen_as_truncated() {
    for (name, answer) in [("length", Answer::ok("0123456789")), ("chunked", Answer::ok("0123456789").chunked())] {
        for end in [Step::Close, Step::Reset] {
            let (answer, script_end) = (answer.clone(), end.clone());
            let upstream = Upstream::start(move |_| {
                let mut steps = answer.cut(answer.bytes().len() - 8);
                steps.push(Step::Delay(Duration::from_millis(50)));
                steps.push(script_end.clone());
                steps
            })
            .await;
            let proxy = Proxy::single(upstream.addr, "timeout: 5s, retry: 2").await;
            let mut client = proxy.connect().await;
            client.write(&Request::get("/").bytes()).await;
            let reply = client.try_reply().await;
            assert!(!reply.is_ok_and(|r| r.status == 200 && r.body.complete), "{name} {end:?}: a clean end");
            assert_eq!(upstream.count(), 1, "a response that has begun is not retried");
        }
    }
}

#[tokio::test]
async fn a_client_that_has_closed_its_sending_side_still_gets_the_answer() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Answer::ok("worth waiting").behind(&held)).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let mut client = proxy.connect().await;
    client.write(&Request::post("/", "all of it").bytes()).await;
    upstream.wait_completed(1).await;
    tokio::io::AsyncWriteExt::shutdown(&mut client.wire.stream).await.unwrap();
    gate.open();
    assert_eq!(client.reply().await.expect_upstream(200).text(), "worth waiting");
}

#[tokio::test]
async fn expect_100_continue_is_answered_before_the_body_is_sent() {
    let upstream = Upstream::start(|seen| {
        let mut steps = Answer::ok("thanks").steps();
        if seen.header("expect").is_some() {
            steps.insert(0, Step::Send("HTTP/1.1 100 Continue\r\n\r\n".into()));
        }
        steps
    })
    .await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let mut client = proxy.connect().await;
    let request = Request::post("/", "the body").header("Expect", "100-continue");
    client.write(&request.head_bytes()).await;
    assert!(client.any_head().await.start_line.starts_with("HTTP/1.1 100"));
    client.write(b"the body").await;
    assert_eq!(client.reply().await.expect_upstream(200).text(), "thanks");
    assert_eq!(upstream.only().text(), "the body");
}

#[tokio::test]
async fn interim_responses_do_not_disturb_the_final_one() {
    let upstream = Upstream::start(|_| {
        let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
        let mut steps = Answer::ok("final").steps();
        steps.insert(1, Step::Send("HTTP/1.1 102 Processing\r\n\r\n".into()));
        steps.insert(2, Step::Send(hints.into()));
        steps
    })
    .await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let mut client = proxy.connect().await;
    for _ in 0..2 {
        assert_eq!(client.call(&Request::post("/", "x")).await.expect_upstream(200).text(), "final");
    }
}

/// An upstream that says what it has to say early, and the rest once the gate opens.
async fn hinting() -> (Upstream, Gate) {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| {
        let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink: </b.js>\r\nConnection: x-mine\r\nX-Mine: 1\r\n\r\n";
        vec![Step::Body, Step::Send(hints.into()), Step::Gate(held.clone()), Step::Send(Answer::ok("final").bytes())]
    })
    .await;
    (upstream, gate)
}

#[tokio::test]
async fn early_hints_reach_the_client_before_the_answer() {
    for policy in ["timeout: 5s", "timeout: 5s, retry: 2", "timeout: 5s, idempotency: { required: true }"] {
        let (upstream, gate) = hinting().await;
        let proxy = Proxy::single(upstream.addr, policy).await;
        let mut client = proxy.connect().await;
        client.write(&Request::keyed("/", "k", "x").bytes()).await;
        let hints = client.any_head().await;
        assert_eq!(hints.start_line, "HTTP/1.1 103 Early Hints", "{policy}");
        assert_eq!(hints.headers.all("link"), ["</a.css>; rel=preload", "</b.js>"], "{policy}");
        assert!(!hints.headers.has("x-mine") && !hints.headers.has("connection"), "{policy}: {hints:?}");
        gate.open();
        assert_eq!(client.reply().await.expect_upstream(200).text(), "final", "{policy}");
        // The next answer on the connection is not preceded by what belonged to this one.
        client.write(&Request::get("/_mainstay/operations?key=none").bytes()).await;
        assert!(client.any_head().await.start_line.starts_with("HTTP/1.1 404"), "{policy}");
    }
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_no_interim_response() {
    let (upstream, gate) = hinting().await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let mut client = proxy.connect().await;
    client.write(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n").await;
    upstream.wait_requests(1).await;
    gate.open();
    let head = client.any_head().await;
    assert!(head.start_line.starts_with("HTTP/1.0 200"), "{head:?}");
    assert_eq!(client.body(Framing::Length(5)).await.data, b"final");
    client.expect_closed().await;
}

async fn upgraded(protocol: &'static str, more: &str) {
    let upstream = Upstream::start(move |seen| {
        assert!(seen.header("connection").is_some_and(|v| v.to_lowercase().contains("upgrade")), "{seen:#?}");
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\nX-Accept: {}\r\n\r\nhello",
            seen.header("sec-websocket-key").unwrap_or("none")
        );
        vec![Step::Send(head.into()), Step::Echo]
    })
    .await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let mut client = proxy.connect().await;
    let head = format!("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n{more}\r\n");
    client.write(head.as_bytes()).await;
    let reply = client.head().await;
    assert_eq!((reply.status, reply.header("upgrade")), (101, Some(protocol)), "{reply:#?}");
    assert_eq!(client.wire.take(5).await.unwrap(), b"hello", "bytes right behind the head belong to the new protocol");
    for message in [&b"\x81\x85\x00\x00\x00\x00frame"[..], &vec![0xff; 100_000]] {
        let (sent, back) = (message.to_vec(), message.len());
        client.write(&sent).await;
        assert!(within("the echo", client.wire.take(back)).await.unwrap() == message);
    }
    tokio::io::AsyncWriteExt::shutdown(&mut client.wire.stream).await.unwrap();
    client.expect_closed().await;
}

#[tokio::test]
async fn websocket_bytes_pass_both_ways() {
    upgraded("websocket", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n").await;
}

#[tokio::test]
async fn other_upgrades_pass_both_ways() {
    upgraded("chat/2", "").await;
}

#[tokio::test]
async fn a_refused_upgrade_is_an_ordinary_response() {
    let upstream = Upstream::answering(Answer::status(426).header("X-Why", "no").body("upgrade refused")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let mut client = proxy.connect().await;
    let request = Request::get("/").header("Connection", "Upgrade").header("Upgrade", "websocket");
    assert_eq!(client.call(&request).await.expect_upstream(426).text(), "upgrade refused");
    client.call(&Request::get("/again")).await.expect_upstream(426);
}
