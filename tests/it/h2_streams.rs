//! HTTP/2 streams that are reset midway, with whatever code: a part never passes for the whole, on either side.

use futures_util::future::join_all;
use mainstay_tests::{
    frames,
    frames::{CANCEL, DATA, END_STREAM, FrameClient, FrameUpstream, NO_ERROR},
    h2c::{H2Client, Whole, full},
    prelude::*,
};

const CODES: [u32; 2] = [NO_ERROR, CANCEL];
const LENGTHS: [Option<&str>; 2] = [None, Some("100")];

fn with_length<'a>(length: Option<&'a str>, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    length.map(|length| ("content-length", length)).into_iter().chain(more.iter().copied()).collect()
}

#[tokio::test]
async fn a_keyed_write_whose_stream_is_reset_inside_its_body_is_never_executed() {
    for code in CODES {
        for length in LENGTHS {
            let upstream = Upstream::answering(Answer::status(201)).await;
            let config = Config::single(upstream.addr, "timeout: 5s, idempotency: { required: true }");
            let proxy = Proxy::start(config.top("limits: { workers: 1 }")).await;
            for n in 0..5 {
                let key = format!("k{n}");
                let mut client = FrameClient::connect(proxy.addr).await;
                let head = FrameClient::post(1, "/pay", &with_length(length, &[("idempotency-key", &key)]));
                client.send(&[head, frames::frame(DATA, 0, 1, b"amount=1")].concat()).await;
                // Sometimes the proxy is waiting for more when the reset comes, sometimes it comes with the rest.
                if n % 2 == 0 {
                    client.taken_in().await;
                }
                client.send(&frames::reset(1, code)).await;
                client.taken_in().await;
                let found = proxy.get(&format!("/_mainstay/operations?key={key}")).await;
                assert_eq!(found.status, 404, "code {code}, length {length:?}: {}", found.text());
                let whole = proxy.send(Request::keyed("/pay", &key, "amount=1000")).await;
                whole.expect_upstream(201);
                assert_eq!(whole.header("idempotent-replayed"), None, "code {code}, length {length:?}");
                assert_eq!(upstream.effects(&key), 1, "code {code}, length {length:?}");
            }
            let texts: Vec<_> = upstream.requests().iter().map(Seen::text).collect();
            assert!(texts.iter().all(|text| text == "amount=1000"), "code {code}, length {length:?}: {texts:?}");
        }
    }
}

#[tokio::test]
async fn an_unkeyed_request_whose_stream_is_reset_inside_its_body_is_never_whole_upstream() {
    for code in CODES {
        for length in LENGTHS {
            let upstream = Upstream::answering(Answer::status(201)).await;
            let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
            for n in 1..=8 {
                let mut client = FrameClient::connect(proxy.addr).await;
                let head = FrameClient::post(1, "/pay", &with_length(length, &[]));
                let part = frames::frame(DATA, 0, 1, b"amount=1");
                // The reset meets a request that is waiting for more, or one that has taken in nothing yet.
                if n % 2 == 0 {
                    client.send(&[head, part].concat()).await;
                    client.taken_in().await;
                    client.send(&frames::reset(1, code)).await;
                } else {
                    client.send(&[head, part, frames::reset(1, code)].concat()).await;
                }
                client.taken_in().await;
            }
            upstream
                .wait("every part that came upstream has ended", |log| {
                    log.peer_closed >= log.requests.iter().filter(|r| !r.body.complete).count()
                })
                .await;
            assert_eq!(upstream.log().completed, 0, "code {code}, length {length:?}: {:#?}", upstream.requests());
        }
    }
}

#[tokio::test]
async fn a_request_reset_inside_its_body_is_not_whole_upstream_even_where_the_answer_has_begun() {
    for code in CODES {
        for retry in ["", ", retry: 2"] {
            let upstream = Upstream::start(|_| {
                let begun = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nearly";
                vec![Step::Send(begun[..].into()), Step::Body, Step::Send(b"later"[..].into())]
            })
            .await;
            let proxy = Proxy::single(upstream.addr, &format!("timeout: 5s{retry}")).await;
            for n in 1..=8 {
                let mut client = FrameClient::connect(proxy.addr).await;
                client.send(&FrameClient::post(1, "/pay", &[])).await;
                client.send(&frames::frame(DATA, 0, 1, b"amount=1")).await;
                client.frame(1).await;
                client.send(&frames::reset(1, code)).await;
                upstream.wait("the request ends upstream", |log| log.peer_closed + log.completed >= n).await;
            }
            assert_eq!(upstream.log().completed, 0, "code {code}{retry}: {:#?}", upstream.requests());
        }
    }
}

/// A 200 with part of a body, then a reset, all in one write.
fn part_then_reset(stream: u32, length: Option<&str>, part: &[u8], code: u32) -> Vec<u8> {
    let head =
        frames::headers(stream, 0, &with_length(length, &[(":status", "200")]).into_iter().rev().collect::<Vec<_>>());
    [head, frames::frame(DATA, 0, stream, part), frames::reset(stream, code)].concat()
}

async fn h2_proxy(upstream: &FrameUpstream, policy: &str) -> Proxy {
    let config = Config::new().upstream("app", upstream.addr, "protocol: http2").policy("p", policy);
    Proxy::start(config.route("path: /**", "app", "p")).await
}

#[tokio::test]
async fn a_keyed_answer_reset_inside_its_body_leaves_the_outcome_unknown() {
    let policy = "timeout: 3s, retry: 2, idempotency: { required: true, max_response: 1KiB }";
    for code in CODES {
        for length in LENGTHS {
            // The longer part outgrows what is kept, and is streamed.
            for part in [&b"part"[..], &[b'x'; 4096]] {
                let length = length.map(|_| "9999");
                let name = format!("code {code}, length {length:?}, {} bytes", part.len());
                let bytes = part.to_vec();
                let upstream = FrameUpstream::start(move |stream| part_then_reset(stream, length, &bytes, code)).await;
                let proxy = h2_proxy(&upstream, policy).await;
                let mut client = proxy.connect().await;
                client.write(&Request::keyed("/pay", "k", "x").bytes()).await;
                if let Ok(reply) = client.try_reply().await {
                    assert!(!(reply.status == 200 && reply.body.complete), "{name}: a clean answer: {reply:#?}");
                }
                eventually("the operation is unknown", || async {
                    let page = proxy.get("/_mainstay/operations?key=k").await;
                    assert_ne!(page.json()["state"], "succeeded", "{name}");
                    (page.json()["state"] == "unknown").then_some(())
                })
                .await;
                let repeat = proxy.send(Request::keyed("/pay", "k", "x")).await;
                assert_eq!((repeat.status, repeat.slug()), (409, Some("outcome-unknown")), "{name}: {}", repeat.text());
                assert_eq!((repeat.header("idempotent-replayed"), upstream.count()), (None, 1), "{name}");
            }
        }
    }
}

#[tokio::test]
async fn an_unkeyed_answer_reset_inside_its_body_has_no_clean_end() {
    for code in CODES {
        for length in LENGTHS {
            let upstream = FrameUpstream::start(move |stream| part_then_reset(stream, length, b"part", code)).await;
            let proxy = h2_proxy(&upstream, "timeout: 3s").await;
            let mut client = proxy.connect().await;
            client.write(&Request::post("/", "x").bytes()).await;
            if let Ok(reply) = client.try_reply().await {
                assert!(!(reply.status == 200 && reply.body.complete), "code {code}, length {length:?}: {reply:#?}");
            }
        }
    }
}

/// Fails unless `answer` passes as a whole when it comes before the upload is through and `NO_ERROR` stops the rest (RFC 9113
/// section 8.1).
async fn expect_whole(name: &'static str, body: &str, answer: fn(u32) -> Vec<u8>) {
    let upstream = FrameUpstream::early(move |stream| [answer(stream), frames::reset(stream, NO_ERROR)].concat()).await;
    let proxy = h2_proxy(&upstream, "timeout: 3s, idempotency: { required: false }").await;
    // More than a stream's first window, so that the upload can never be through.
    let upload = "x".repeat(200_000);
    let request = |key: Option<&str>| {
        let request = Request::post("/", upload.as_str());
        key.into_iter().fold(request, |request, key| request.header("Idempotency-Key", key))
    };
    for (n, key) in [None, Some("k"), Some("k")].into_iter().enumerate() {
        let reply = proxy.send(request(key)).await;
        if n == 2 && name == "trailers" {
            // Trailers are streamed to the first client, and what is streamed is not kept.
            reply.expect_problem(409, "response-not-retained");
            continue;
        }
        assert_eq!((reply.status, reply.slug(), reply.text().as_str()), (200, None, body), "{name}, request {n}");
        assert!(reply.body.complete, "{name}, request {n}: {reply:#?}");
    }
    assert_eq!(upstream.count(), 2, "{name}");
}

#[tokio::test]
async fn an_early_answer_of_known_length_is_whole_though_the_upload_is_stopped() {
    expect_whole("length", "whole", |stream| {
        let head = frames::headers(stream, 0, &[(":status", "200"), ("content-length", "5")]);
        [head, frames::frame(DATA, END_STREAM, stream, b"whole")].concat()
    })
    .await;
}

#[tokio::test]
async fn an_early_answer_that_ended_with_trailers_is_whole_though_the_upload_is_stopped() {
    expect_whole("trailers", "whole", |stream| {
        let head = frames::headers(stream, 0, &[(":status", "200")]);
        let trailers = frames::headers(stream, END_STREAM, &[("grpc-status", "3")]);
        [head, frames::frame(DATA, 0, stream, b"whole"), trailers].concat()
    })
    .await;
}

#[tokio::test]
async fn an_early_answer_without_a_body_is_whole_though_the_upload_is_stopped() {
    expect_whole("no body", "", |stream| frames::headers(stream, END_STREAM, &[(":status", "200")])).await;
}

#[tokio::test]
async fn an_early_answer_of_unknown_length_is_whole_though_the_upload_is_stopped() {
    expect_whole("no length", "whole", |stream| {
        let head = frames::headers(stream, 0, &[(":status", "200")]);
        [head, frames::frame(DATA, END_STREAM, stream, b"whole")].concat()
    })
    .await;
}

fn keyed(client: &H2Client, key: &str) -> hyper::Request<mainstay_tests::h2c::Outgoing> {
    client.request("POST", "/pay").header("idempotency-key", key).body(full("x")).unwrap()
}

/// An upstream that holds its answer, and a proxy before it.
async fn held(rule: &str) -> (Upstream, Gate, Proxy) {
    let gate = Gate::new();
    let behind = gate.clone();
    let upstream = Upstream::start(move |_| Answer::status(201).body("made").behind(&behind)).await;
    let proxy = Proxy::single(upstream.addr, &format!("timeout: 9s, idempotency: {{ required: true{rule} }}")).await;
    (upstream, gate, proxy)
}

fn slug(reply: &Whole) -> Option<&str> {
    reply.headers.get("mainstay-error").map(|v| v.to_str().unwrap())
}

#[tokio::test]
async fn a_hundred_concurrent_duplicates_over_http2_have_one_effect() {
    for connections in [1, 10] {
        for (rule, all_replayed) in [("", false), (", on_concurrent: { wait: 8s }", true)] {
            let (upstream, gate, proxy) = held(rule).await;
            let clients = join_all((0..connections).map(|_| H2Client::connect(proxy.addr))).await;
            let calls = (0..100).map(|n| {
                let client = &clients[n % connections];
                client.call(keyed(client, "k"))
            });
            let opened = async {
                upstream.wait_completed(1).await;
                gate.open();
            };
            let (replies, ()) = tokio::join!(join_all(calls), opened);
            let name = format!("{connections} connections{rule}");
            for reply in &replies {
                match (reply.status, slug(reply)) {
                    (201, None) => assert_eq!(&reply.body[..], b"made", "{name}"),
                    (409, Some("in-progress")) => assert!(!all_replayed, "{name}"),
                    other => panic!("{name}: {other:?}"),
                }
            }
            let made = replies.iter().filter(|r| r.status == 201);
            assert_eq!(made.filter(|r| !r.headers.contains_key("idempotent-replayed")).count(), 1, "{name}");
            assert_eq!((upstream.effects("k"), upstream.count()), (1, 1), "{name}");
        }
    }
}

#[tokio::test]
async fn a_client_may_cancel_all_that_it_may_have_open_before_any_of_it_is_served() {
    let upstream = Upstream::answering(Answer::ok("kept")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let mut client = FrameClient::connect(proxy.addr).await;
    // In one write, so that the resets are there when the first of them could be served.
    let mut bytes = Vec::new();
    for n in 0..99 {
        bytes.extend(FrameClient::post(2 * n + 1, "/cancelled", &[]));
        bytes.extend(frames::reset(2 * n + 1, CANCEL));
    }
    bytes.extend([FrameClient::post(199, "/kept", &[]), frames::frame(DATA, END_STREAM, 199, b"x")].concat());
    client.send(&bytes).await;
    let answer = client.answer(199).await;
    let body: Vec<u8> = answer.iter().filter(|f| f.kind == DATA).flat_map(|f| f.payload.clone()).collect();
    assert_eq!(body, b"kept", "{answer:?}");
}

#[tokio::test]
async fn duplicates_that_reset_their_streams_midway_have_one_effect() {
    for connections in [1, 10] {
        let (upstream, gate, proxy) = held(", on_concurrent: { wait: 8s }").await;
        let mut clients = Vec::new();
        for _ in 0..connections {
            clients.push(FrameClient::connect(proxy.addr).await);
        }
        let per_client = 100 / connections;
        for client in &mut clients {
            for n in 0..per_client {
                let head = FrameClient::post(2 * n + 1, "/pay", &[("idempotency-key", "k")]);
                client.send(&[head, frames::frame(DATA, END_STREAM, 2 * n + 1, b"x")].concat()).await;
            }
        }
        upstream.wait_completed(1).await;
        // All but the last leave, the one that is being executed among them perhaps.
        for client in &mut clients {
            for n in 0..per_client - 1 {
                client.send(&frames::reset(2 * n + 1, if n % 2 == 0 { NO_ERROR } else { CANCEL })).await;
            }
            client.taken_in().await;
        }
        gate.open();
        for client in &mut clients {
            let answer = client.answer(2 * per_client - 1).await;
            let body: Vec<u8> = answer.iter().filter(|f| f.kind == DATA).flat_map(|f| f.payload.clone()).collect();
            assert_eq!(body, b"made", "{connections} connections: {answer:?}");
        }
        let replay = proxy.send(Request::keyed("/pay", "k", "x")).await;
        assert_eq!((replay.status, replay.header("idempotent-replayed")), (201, Some("true")), "{}", replay.text());
        assert_eq!((upstream.effects("k"), upstream.count()), (1, 1), "{connections} connections");
    }
}
