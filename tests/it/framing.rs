//! Requests that must not be understood in two ways, and heads that are too long, too many or too slow.

use std::time::Duration;

use mainstay_tests::prelude::*;

async fn refuses(name: &str, raw: &[u8], allowed: &[u16]) {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let mut client = proxy.connect().await;
    client.write(raw).await;
    let reply = client.reply().await;
    assert!(allowed.contains(&reply.status), "{name}: {reply:#?}");
    client.expect_closed().await;
    assert_eq!(upstream.count(), 0, "{name}: it reached the upstream");
    proxy.get("/fine").await.expect_upstream(200);
}

#[tokio::test]
async fn ambiguous_framing_is_refused_and_the_connection_closed() {
    let cases: &[(&str, &[u8])] = &[
        (
            "length and chunked",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        (
            "chunked and length",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        ),
        ("two lengths", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbodyX"),
        ("a list of lengths", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 5\r\n\r\nbodyX"),
        ("negative length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"),
        ("signed length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\nbody"),
        ("hexadecimal length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x4\r\n\r\nbody"),
        ("huge length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nbody"),
        ("empty length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n"),
    ];
    for (name, raw) in cases {
        refuses(name, raw, &[400]).await;
    }
}

#[tokio::test]
async fn unknown_transfer_codings_are_refused() {
    for coding in ["identity", "xchunked", "chunked, identity", "chunked, chunked", "\"chunked\"", "gzip"] {
        let raw = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n0\r\n\r\n");
        refuses(coding, raw.as_bytes(), &[400, 501]).await;
    }
}

#[tokio::test]
async fn bad_bytes_in_a_head_are_refused() {
    let cases: &[(&str, &[u8])] = &[
        ("folded header", b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: one\r\n two\r\n\r\n"),
        ("bare CR in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: one\rtwo\r\n\r\n"),
        ("NUL in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: one\0two\r\n\r\n"),
        ("NUL in a name", b"GET / HTTP/1.1\r\nHost: a\r\nX\0: one\r\n\r\n"),
        ("space before the colon", b"GET / HTTP/1.1\r\nHost: a\r\nX : one\r\n\r\n"),
        ("a header without a colon", b"GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n"),
        ("an empty header name", b"GET / HTTP/1.1\r\nHost: a\r\n: one\r\n\r\n"),
        ("bad method", b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("space in the target", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a control character in the target", b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a target that is no path", b"GET nowhere/at/all HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("no version", b"GET /\r\nHost: a\r\n\r\n"),
        ("bad version", b"GET / HTTP/7.7\r\nHost: a\r\n\r\n"),
        ("not HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello to a clear port\r\n\r\n"),
    ];
    for (name, raw) in cases {
        refuses(name, raw, &[400, 404, 505]).await;
    }
}

#[tokio::test]
async fn a_malformed_request_gets_a_problem_document() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    for raw in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n",
    ] {
        let mut client = proxy.connect().await;
        client.write(raw.as_bytes()).await;
        let document = client.reply().await.expect_problem(400, "bad-request");
        assert_eq!(document["effect"], "none");
    }
}

#[tokio::test]
async fn a_head_that_cannot_be_read_is_told_logged_and_counted_like_any_other_request() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let mut client = proxy.connect().await;
    client.write(b"GET /a HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n").await;
    let reply = client.reply().await;
    let document = reply.expect_problem(400, "bad-request");
    assert_eq!((reply.header("connection"), reply.header("date").is_some()), (Some("close"), true));
    let trace_id = document["trace_id"].as_str().expect("a trace id").to_owned();
    let line = eventually("the access log line", || async {
        proxy.log().lines().find(|line| line.contains("\"access\"") && line.contains(&trace_id)).map(str::to_owned)
    })
    .await;
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["status"], &line["outcome"], &line["method"]), (&400.into(), &"bad-request".into(), &"-".into()));
    proxy.get("/a").await.expect_upstream(200);
    let labels = [("listener", "inbound"), ("problem", "bad-request")];
    assert_eq!(proxy.metric("mainstay_unrouted_requests_total", &labels).await, Some(1.0));
}

#[tokio::test]
async fn a_bad_chunk_never_becomes_a_whole_request() {
    for chunk in
        ["zz\r\nbody\r\n0\r\n\r\n", "4\r\nbodyXX0\r\n\r\n", "-4\r\nbody\r\n0\r\n\r\n", "ffffffffffffffffff\r\nbody\r\n"]
    {
        let upstream = Upstream::answering(Answer::ok("ok")).await;
        let proxy = Proxy::single(upstream.addr, "timeout: 2s").await;
        let mut client = proxy.connect().await;
        client
            .write(format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}").as_bytes())
            .await;
        if let Ok(reply) = client.try_reply().await {
            assert!(reply.status >= 400, "{chunk:?}: {reply:#?}");
        }
        assert_eq!(upstream.log().completed, 0, "{chunk:?} was passed off as a whole body");
    }
}

#[tokio::test]
async fn a_head_over_64_kib_is_refused() {
    let filler = "x".repeat(70 * 1024);
    refuses("one long header", format!("GET / HTTP/1.1\r\nHost: a\r\nX: {filler}\r\n\r\n").as_bytes(), &[400, 431])
        .await;
    refuses("long target", format!("GET /{filler} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes(), &[400, 414, 431]).await;
}

#[tokio::test]
async fn a_head_of_almost_64_kib_passes() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    proxy.send(Request::get("/").header("X-Long", &"x".repeat(60 * 1024))).await.expect_upstream(200);
    assert_eq!(upstream.only().header("x-long").unwrap().len(), 60 * 1024);
}

#[tokio::test]
async fn more_than_100_header_fields_are_refused() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let with = |n: usize| (1..n).fold(Request::get("/"), |request, i| request.header(&format!("X-{i}"), "v"));
    // Host is one of them.
    proxy.send(with(100)).await.expect_upstream(200);
    let reply = proxy.send(with(101)).await;
    assert!([400, 431].contains(&reply.status), "{reply:#?}");
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn a_slow_head_is_cut_off() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let config = Config::single(upstream.addr, "timeout: 5s").top("limits: { header_timeout: 400ms, keep_alive: 30s }");
    let proxy = Proxy::start(config).await;
    for start in
        ["G", "GET / HTTP/1.1\r\nHost: a\r\nX: ", "PRI * HTTP/2.0\r\n\r\nSM", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    {
        // Before the connection: its time begins no earlier, however late this test gets its turn.
        let began = tokio::time::Instant::now();
        let mut client = proxy.connect().await;
        client.write(start.as_bytes()).await;
        within("the slow connection is closed", client.wire.until_closed()).await;
        assert!(began.elapsed() >= Duration::from_millis(400), "{start:?} was cut after {:?}", began.elapsed());
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn a_head_that_trickles_in_is_cut_off_too() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let config = Config::single(upstream.addr, "timeout: 5s").top("limits: { header_timeout: 400ms }");
    let proxy = Proxy::start(config).await;
    let mut client = proxy.connect().await;
    client.write(b"GET / HTTP/1.1\r\nHost: a\r\n").await;
    within("the trickling connection is closed", async {
        // Each byte is progress, but the deadline is for the whole head.
        while client.wire.send(b"X").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_keep_alive() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let config = Config::single(upstream.addr, "timeout: 5s").top("limits: { keep_alive: 400ms }");
    let proxy = Proxy::start(config).await;
    let mut client = proxy.connect().await;
    client.call(&Request::get("/")).await.expect_upstream(200);
    let began = tokio::time::Instant::now();
    client.expect_closed().await;
    assert!(began.elapsed() >= Duration::from_millis(300), "closed after {:?}", began.elapsed());
}

#[tokio::test]
async fn a_slow_body_is_not_a_slow_head() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let config =
        Config::single(upstream.addr, "timeout: 5s").top("limits: { header_timeout: 200ms, keep_alive: 200ms }");
    let proxy = Proxy::start(config).await;
    let mut client = proxy.connect().await;
    client.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n").await;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(60)).await;
        client.write(b"x").await;
    }
    client.reply().await.expect_upstream(200);
    assert_eq!(upstream.only().text(), "xxxxxxxxxx");
}

#[tokio::test]
async fn a_garbled_upstream_answer_is_a_502() {
    for garbage in [
        &b"SSH-2.0-OpenSSH_9.6\r\n"[..],
        b"HTTP/1.1 banana\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nabc",
        b"\0\0\0\0\0\0\0\0",
    ] {
        let upstream = Upstream::start(move |_| vec![Step::Body, Step::Send(garbage.into()), Step::Close]).await;
        let proxy = Proxy::single(upstream.addr, "timeout: 3s").await;
        let document = proxy.send(Request::post("/", "x")).await.expect_problem(502, "upstream-error");
        assert_eq!(document["effect"], "unknown", "the upstream had the whole request");
    }
}

#[tokio::test]
async fn a_bad_head_is_refused_wherever_it_begins() {
    const AMBIGUOUS: &str =
        "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let get = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n";
    let fields = "A: b\r\n".repeat(101);
    for (answered, raw, status) in [
        (0, format!("\r\n\r\n{AMBIGUOUS}"), 400),
        (0, AMBIGUOUS.replace("\r\n", "\n"), 400),
        (1, format!("{get}{AMBIGUOUS}"), 400),
        (1, format!("{get}POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc"), 400),
        (1, format!("{get}POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), 501),
        (1, format!("{get}GET / HTTP/1.1\r\n{fields}\r\n"), 431),
        (1, format!("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc{AMBIGUOUS}"), 400),
        (0, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n".to_owned(), 400),
    ] {
        for split in [raw.len(), raw.len() - 7, raw.len() / 2, 3] {
            let mut client = proxy.connect().await;
            client.write(&raw.as_bytes()[..split]).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
            let _ = client.wire.send(&raw.as_bytes()[split..]).await;
            for _ in 0..answered {
                client.reply().await.expect_upstream(200);
            }
            client.reply().await.expect_problem(status, "bad-request");
            client.expect_closed().await;
        }
    }
    assert!(upstream.requests().iter().all(|seen| seen.target == "/1"), "{:#?}", upstream.requests());
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_however_they_are_split() {
    let upstream = Upstream::start(|seen| Answer::ok(seen.target.clone()).steps()).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let raw = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\
        POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\r\n\
        POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nde\r\n1\r\nf\r\n0\r\nT: u\r\n\r\n\
        GET /4 HTTP/1.1\r\nHost: a\r\n\r\n";
    for split in 1..raw.len() {
        let mut client = proxy.connect().await;
        client.write(&raw[..split]).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
        client.write(&raw[split..]).await;
        for expected in ["/1", "/2", "/3", "/4"] {
            assert_eq!(client.reply().await.expect_upstream(200).text(), expected, "split at {split}");
        }
    }
    for seen in upstream.requests() {
        let body = match &*seen.target {
            "/2" => "abc",
            "/3" => "def",
            _ => "",
        };
        assert_eq!(seen.text(), body, "{seen:#?}");
    }
}

#[tokio::test]
async fn a_blank_line_and_silence_is_a_slow_head() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let config = Config::single(upstream.addr, "timeout: 5s").top("limits: { header_timeout: 400ms, keep_alive: 30s }");
    let proxy = Proxy::start(config).await;
    let mut client = proxy.connect().await;
    client.write(b"\r\n\r\n").await;
    within("the connection is closed", client.wire.until_closed()).await;
}
