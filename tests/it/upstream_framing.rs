//! Answers whose length an upstream states in more than one way: the client gets one length, and it is the true one.

use mainstay_tests::{
    h2c::{H2Client, full},
    prelude::*,
};

const HELLO: &str = "5\r\nhello\r\n0\r\n\r\n";

/// Answers `/odd` with these bytes and everything else with `next`.
async fn odd(head: &str, body: &str) -> Upstream {
    let odd = bytes_of(head, body);
    Upstream::start(move |seen| match seen.target.as_str() {
        "/odd" => vec![Step::Body, Step::Send(odd.clone().into())],
        _ => Answer::ok("next").steps(),
    })
    .await
}

fn bytes_of(head: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{head}\r\n{body}").into_bytes()
}

/// Fails unless the reply is `hello`, framed in one way.
#[track_caller]
fn expect_hello(name: &str, reply: &Reply) {
    assert_eq!((reply.expect_upstream(200).text().as_str(), reply.body.len), ("hello", 5), "{name}: {reply:#?}");
    let (lengths, codings) = (reply.headers("content-length"), reply.headers("transfer-encoding"));
    let consistent = (lengths == ["5"] && codings.is_empty()) || (lengths.is_empty() && codings == ["chunked"]);
    assert!(consistent, "{name}: lengths {lengths:?}, codings {codings:?}");
}

const BOTH: [(&str, &str); 4] = [
    ("a shorter length first", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"),
    ("a shorter length last", "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"),
    ("a longer length", "Content-Length: 50\r\nTransfer-Encoding: chunked\r\n"),
    ("no length at all", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"),
];

#[tokio::test]
async fn a_length_beside_chunks_does_not_frame_the_answer() {
    for (name, head) in BOTH {
        let upstream = odd(head, HELLO).await;
        let proxy = Proxy::single(upstream.addr, "timeout: 3s").await;
        let mut client = proxy.connect().await;
        for _ in 0..2 {
            expect_hello(name, &client.call(&Request::post("/odd", "x")).await);
            assert_eq!(client.call(&Request::get("/next")).await.expect_upstream(200).text(), "next", "{name}");
        }
    }
}

#[tokio::test]
async fn a_length_beside_chunks_frames_neither_a_keyed_answer_nor_its_replay() {
    for (name, head) in BOTH {
        let upstream = odd(head, HELLO).await;
        let proxy = Proxy::single(upstream.addr, "timeout: 3s, idempotency: { required: true }").await;
        let mut client = proxy.connect().await;
        for replayed in [None, Some("true")] {
            let reply = client.call(&Request::keyed("/odd", "k", "x")).await;
            expect_hello(name, &reply);
            assert_eq!(reply.header("idempotent-replayed"), replayed, "{name}");
            assert_eq!(client.call(&Request::get("/next")).await.expect_upstream(200).text(), "next", "{name}");
        }
        assert_eq!(upstream.effects("k"), 1, "{name}");
    }
}

#[tokio::test]
async fn a_keyed_answer_too_long_to_keep_is_framed_in_one_way_too() {
    for (name, head) in BOTH {
        let upstream = odd(head, HELLO).await;
        let policy = "timeout: 3s, idempotency: { required: true, max_response: 2B }";
        let proxy = Proxy::single(upstream.addr, policy).await;
        let mut client = proxy.connect().await;
        expect_hello(name, &client.call(&Request::keyed("/odd", "k", "x")).await);
        assert_eq!(client.call(&Request::get("/next")).await.expect_upstream(200).text(), "next", "{name}");
        client.call(&Request::keyed("/odd", "k", "x")).await.expect_problem(409, "response-not-retained");
    }
}

#[tokio::test]
async fn an_answer_in_an_unknown_transfer_coding_is_a_502() {
    for codings in [
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
    ] {
        let head = bytes_of(codings, HELLO);
        let upstream = Upstream::start(move |_| vec![Step::Body, Step::Send(head.clone().into()), Step::Close]).await;
        let proxy = Proxy::single(upstream.addr, "timeout: 3s, idempotency: { required: false }").await;
        let document = proxy.send(Request::post("/odd", "x")).await.expect_problem(502, "upstream-error");
        assert_eq!(document["effect"], "unknown", "{codings:?}");
        // The status line was read, so that the outcome of a keyed write is known.
        proxy.send(Request::keyed("/odd", "k", "x")).await.expect_problem(502, "upstream-error");
        proxy.send(Request::keyed("/odd", "k", "x")).await.expect_problem(409, "response-not-retained");
        assert_eq!(upstream.effects("k"), 1, "{codings:?}");
    }
}

#[tokio::test]
async fn equal_lengths_pass_as_one() {
    let upstream = odd("Content-Length: 5\r\nX-Between: y\r\ncontent-length: 5\r\n", "hello").await;
    let proxy = Proxy::single(upstream.addr, "timeout: 3s, idempotency: { required: false }").await;
    for request in [Request::post("/odd", "x"), Request::keyed("/odd", "k", "x"), Request::keyed("/odd", "k", "x")] {
        let mut client = proxy.connect().await;
        let reply = client.call(&request).await;
        assert_eq!((reply.expect_upstream(200).text().as_str(), reply.headers("content-length")), ("hello", vec!["5"]));
        assert_eq!(client.call(&Request::get("/next")).await.expect_upstream(200).text(), "next");
    }
    assert_eq!(upstream.effects("k"), 1);
}

#[tokio::test]
async fn an_http2_client_is_told_at_most_one_length_and_the_true_one() {
    let equal = ("equal lengths", "Content-Length: 5\r\nContent-Length: 5\r\n");
    for (name, head) in BOTH.into_iter().chain([equal]) {
        let upstream = odd(head, if name == equal.0 { "hello" } else { HELLO }).await;
        let proxy = Proxy::single(upstream.addr, "timeout: 3s, idempotency: { required: false }").await;
        let client = H2Client::connect(proxy.addr).await;
        for key in [None, Some("k"), Some("k")] {
            let request = client.request("POST", "/odd");
            let request = key.into_iter().fold(request, |request, key| request.header("idempotency-key", key));
            let reply = client.call(request.body(full("x")).unwrap()).await;
            assert_eq!((reply.status, &reply.body[..]), (200, &b"hello"[..]), "{name}");
            let lengths: Vec<_> = reply.headers.get_all("content-length").iter().collect();
            assert!(lengths.is_empty() || lengths == ["5"], "{name}: {lengths:?}");
        }
    }
}
