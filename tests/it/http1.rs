//! What HTTP/1 clients see on the wire, byte for byte where it matters.

use mainstay_tests::prelude::*;

/// A proxy before an upstream that answers with these bytes.
async fn answering(answer: &'static str) -> (Upstream, Proxy) {
    let upstream = Upstream::start(move |_| vec![Step::Body, Step::Send(answer.into())]).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    (upstream, proxy)
}

#[tokio::test]
async fn an_unusual_reason_phrase_passes() {
    let (_upstream, proxy) = answering("HTTP/1.1 200 Fine, Thanks\r\nContent-Length: 0\r\n\r\n").await;
    let mut client = proxy.connect().await;
    client.write(&Request::get("/").bytes()).await;
    assert_eq!(client.any_head().await.start_line, "HTTP/1.1 200 Fine, Thanks");
}

#[tokio::test]
async fn every_answer_has_one_date() {
    let then = "Wed, 21 Oct 2015 07:28:00 GMT";
    let (_upstream, proxy) =
        answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDate: Wed, 21 Oct 2015 07:28:00 GMT\r\n\r\n").await;
    assert_eq!(proxy.get("/").await.headers("date"), [then]);
    let (_upstream, proxy) = answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    for target in ["/", "/_mainstay/nothing"] {
        let reply = proxy.get(target).await;
        let dates = reply.headers("date");
        assert!(dates.len() == 1 && dates[0].len() == then.len() && dates[0].ends_with(" GMT"), "{reply:#?}");
        assert_ne!(dates, [then]);
    }
}

#[tokio::test]
async fn a_client_of_http_1_0_keeps_its_connection_only_if_it_asks() {
    let (_upstream, proxy) = answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let mut client = proxy.connect().await;
    for _ in 0..2 {
        client.write(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await;
        let head = client.any_head().await;
        assert_eq!(
            (head.start_line.as_str(), head.headers.value("connection")),
            ("HTTP/1.0 200 OK", Some("keep-alive"))
        );
        assert_eq!(client.body(Framing::Length(2)).await.data, b"ok");
    }
    client.write(b"GET / HTTP/1.0\r\n\r\n").await;
    assert!(!client.any_head().await.headers.has("connection"));
    assert_eq!(client.body(Framing::UntilClose).await.data, b"ok");
}

#[tokio::test]
async fn chunks_for_a_client_of_http_1_0_end_with_the_connection() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| {
        let part = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n";
        vec![Step::Send(part.into()), Step::Gate(held.clone()), Step::Send("1\r\nk\r\n0\r\n\r\n".into())]
    })
    .await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let mut client = proxy.connect().await;
    client.write(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await;
    let answer = client.any_head().await;
    assert!(!answer.headers.has("transfer-encoding") && !answer.headers.has("content-length"), "{answer:?}");
    gate.open();
    let body = client.body(Framing::UntilClose).await;
    assert_eq!((&body.data[..], body.complete), (&b"ok"[..], true));
}

#[tokio::test]
async fn a_part_never_looks_whole_to_a_client_of_http_1_0() {
    let upstream = Upstream::start(|_| {
        let part = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n";
        vec![Step::Send(part.into()), Step::Delay(Duration::from_millis(100)), Step::Close]
    })
    .await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let mut client = proxy.connect().await;
    client.write(b"GET / HTTP/1.0\r\n\r\n").await;
    client.any_head().await;
    let mut body = Body::default();
    let read = within("the part", client.wire.body(Framing::UntilClose, &mut body)).await;
    assert!(read.is_err() || !body.complete, "{body:?}");
}

#[tokio::test]
async fn a_connection_serves_on_after_a_body_that_nobody_read() {
    let (upstream, _) = answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let config =
        Config::new().upstream("app", upstream.addr, "").policy("p", "timeout: 5s").route("path: /there", "app", "p");
    let proxy = Proxy::start(config).await;
    let mut client = proxy.connect().await;
    for request in [Request::post("/nowhere", "whole"), Request::post("/nowhere", "whole").chunked()] {
        client.call(&request).await.expect_problem(404, "no-route");
        client.call(&Request::get("/there")).await.expect_upstream(200);
    }
    // What has not come would have to be waited for.
    client.write(b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\npart").await;
    client.reply().await.expect_problem(404, "no-route");
    client.expect_closed().await;
}

#[tokio::test]
async fn a_last_answer_reaches_a_client_that_still_sends() {
    let (upstream, proxy) = answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(400 * 1024));
    let body =
        format!("POST /_mainstay/x HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n{}", "x".repeat(400 * 1024));
    for (name, bytes, status) in [("head", head, 431), ("body", body, 413)] {
        for _ in 0..10 {
            let mut client = proxy.connect().await;
            client.write(bytes.as_bytes()).await;
            let reply = client.reply().await;
            assert!(reply.status == status || name == "body" && reply.status >= 400, "{name}: {reply:#?}");
            client.expect_closed().await;
        }
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn a_client_that_says_close_is_closed_and_told_so() {
    let (_upstream, proxy) = answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let mut client = proxy.connect().await;
    let reply = client.call(&Request::get("/").header("Connection", "close")).await;
    assert_eq!((reply.text().as_str(), reply.header("connection")), ("ok", Some("close")));
    client.expect_closed().await;
}
