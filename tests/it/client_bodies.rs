//! A request body that breaks off, stalls or is no HTTP is its client's fault: it is told so, and nobody else pays.

use mainstay_tests::{
    frames,
    frames::{CANCEL, FrameClient, NO_ERROR},
    prelude::*,
};
use tokio::io::AsyncWriteExt;

const HALF: &[u8] = b"POST /half HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf";
const BAD_CHUNK: &[u8] = b"POST /half HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n";
const BAD_SECOND_CHUNK: &[u8] =
    b"POST /half HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nZZ\r\n";

/// With a retry the body is kept for sending it again, without one it only passes through.
const RETRIES: [&str; 2] = ["", ", retry: { max_retries: 2, backoff: { base: 1ms } }"];

const FRAGILE: &str = "circuit_breaker: { consecutive_errors: 2, open_duration: 60s }";

async fn behind_breaker(timeout: &str, retry: &str) -> (Upstream, Proxy) {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, &format!("timeout: {timeout}, {FRAGILE}{retry}")).await;
    (upstream, proxy)
}

/// Waits until the proxy has given up `n` half requests, then fails unless a good one passes.
async fn expect_closed_breaker(name: &str, upstream: &Upstream, proxy: &Proxy) {
    let reply = proxy.get("/good").await;
    assert_eq!((reply.status, reply.slug()), (200, None), "{name}: {}", reply.text());
    let whole = upstream.requests().iter().filter(|r| r.target == "/half" && r.body.complete).count();
    assert_eq!(whole, 0, "{name}: a part passed for the whole");
}

#[tokio::test]
async fn a_refusal_before_the_body_is_there_says_that_it_ends_the_connection() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "rate_limit: { requests: 1, unit: 10m }").await;
    proxy.get("/").await.expect_upstream(200);
    let mut client = proxy.connect().await;
    // One that is all there costs the connection nothing.
    for _ in 0..3 {
        let reply = client.call(&Request::post("/", "all of it")).await;
        reply.expect_problem(429, "rate-limited");
        assert_eq!(reply.header("connection"), None);
    }
    client.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nnot all of it").await;
    let reply = client.reply().await;
    reply.expect_problem(429, "rate-limited");
    assert_eq!(reply.header("connection"), Some("close"), "the next request would be sent into its end");
    client.expect_closed().await;
}

#[tokio::test]
async fn a_malformed_body_is_a_bad_request_and_no_error_of_the_upstream() {
    for retry in RETRIES {
        for (name, bytes) in [("first chunk", BAD_CHUNK), ("second chunk", BAD_SECOND_CHUNK)] {
            let (upstream, proxy) = behind_breaker("5s", retry).await;
            for _ in 0..4 {
                let mut client = proxy.connect().await;
                client.write(bytes).await;
                client.reply().await.expect_problem(400, "bad-request");
            }
            expect_closed_breaker(name, &upstream, &proxy).await;
        }
    }
}

#[tokio::test]
async fn a_body_that_stalls_for_idle_is_a_bad_request_and_no_error_of_the_upstream() {
    for retry in RETRIES {
        let (upstream, proxy) = behind_breaker("{ total: 5s, idle: 200ms }", retry).await;
        for _ in 0..4 {
            let mut client = proxy.connect().await;
            client.write(HALF).await;
            client.reply().await.expect_problem(408, "bad-request");
        }
        expect_closed_breaker(retry, &upstream, &proxy).await;
    }
}

#[tokio::test]
async fn a_body_that_stalls_beyond_the_time_of_an_answer_is_no_error_of_the_upstream() {
    for timeout in ["{ total: 100ms, idle: 300ms }", "{ total: 5s, attempt: 100ms, idle: 300ms }"] {
        let (upstream, proxy) = behind_breaker(timeout, "").await;
        for _ in 0..4 {
            let mut client = proxy.connect().await;
            client.write(HALF).await;
            client.reply().await.expect_problem(408, "bad-request");
        }
        expect_closed_breaker(timeout, &upstream, &proxy).await;
    }
}

#[tokio::test]
async fn a_body_cut_off_by_the_end_of_the_connection_is_no_error_of_the_upstream() {
    for retry in RETRIES {
        for by_reset in [false, true] {
            let (upstream, proxy) = behind_breaker("5s", retry).await;
            for n in 1..=4 {
                let mut client = proxy.connect().await;
                client.write(HALF).await;
                upstream.wait_requests(n).await;
                if by_reset {
                    client.reset();
                } else {
                    client.wire.stream.shutdown().await.unwrap();
                    if let Ok(reply) = client.try_reply().await {
                        reply.expect_problem(400, "bad-request");
                    }
                }
                upstream.wait("the attempt is given up", |log| log.peer_closed >= n).await;
            }
            expect_closed_breaker(&format!("reset: {by_reset}{retry}"), &upstream, &proxy).await;
        }
    }
}

#[tokio::test]
async fn a_body_cut_off_by_a_stream_reset_is_no_error_of_the_upstream() {
    for retry in RETRIES {
        for code in [NO_ERROR, CANCEL] {
            let (upstream, proxy) = behind_breaker("5s", retry).await;
            for n in 1..=4 {
                let mut client = FrameClient::connect(proxy.addr).await;
                client.send(&FrameClient::post(1, "/half", &[])).await;
                client.send(&frames::frame(frames::DATA, 0, 1, b"half")).await;
                upstream.wait_requests(n).await;
                client.send(&frames::reset(1, code)).await;
                upstream.wait("the attempt ends", |log| log.peer_closed + log.completed >= n).await;
            }
            expect_closed_breaker(&format!("code {code}{retry}"), &upstream, &proxy).await;
        }
    }
}

#[tokio::test]
async fn a_broken_body_of_a_keyed_write_is_a_bad_request_without_a_record() {
    let upstream = Upstream::answering(Answer::status(201)).await;
    let policy = format!("timeout: {{ total: 5s, idle: 200ms }}, {FRAGILE}, idempotency: {{ required: true }}");
    let proxy = Proxy::single(upstream.addr, &policy).await;
    let keyed = |framing: &str| format!("POST / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\n{framing}").into_bytes();
    for (status, name, bytes) in [
        (400, "bad chunk", keyed("Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nZZ\r\n")),
        (408, "stall", keyed("Content-Length: 10\r\n\r\nhalf")),
        (408, "stall between chunks", keyed("Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")),
    ] {
        let mut client = proxy.connect().await;
        client.write(&bytes).await;
        let document = client.reply().await.expect_problem(status, "bad-request");
        assert_eq!(document["effect"], "none", "{name}");
        assert_eq!(proxy.get("/_mainstay/operations?key=k").await.status, 404, "{name}: it left a record");
    }
    let reply = proxy.send(Request::keyed("/", "k", "whole")).await;
    assert_eq!((reply.status, reply.header("idempotent-replayed"), upstream.count()), (201, None, 1));
}

#[tokio::test]
async fn an_upstream_that_breaks_off_while_a_body_is_sent_is_to_blame() {
    let upstream = Upstream::start(|seen| match (seen.target.as_str(), seen.index) {
        ("/once", 2) => Answer::ok("all of it").steps(),
        _ => vec![Step::BodyBytes(4), Step::Reset],
    })
    .await;
    let proxy = Proxy::single(upstream.addr, &format!("timeout: 5s{}", RETRIES[1])).await;
    let put = |method: &str, target: &str| {
        format!("{method} {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf").into_bytes()
    };
    let mut client = proxy.connect().await;
    client.write(&put("POST", "/post")).await;
    let reply = client.reply().await;
    assert_eq!(reply.expect_problem(502, "upstream-error")["effect"], "unknown");
    assert_eq!(upstream.count(), 1, "it may have acted");
    // What is safe to repeat is repeated, with what comes of the body meanwhile.
    let mut client = proxy.connect().await;
    client.write(&put("PUT", "/once")).await;
    upstream.wait_requests(3).await;
    client.write(b" a bod").await;
    assert_eq!(client.reply().await.expect_upstream(200).header("mainstay-attempts"), Some("2"));
    assert_eq!(upstream.requests()[2].text(), "half a bod");
}
