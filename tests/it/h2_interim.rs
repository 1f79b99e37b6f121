//! Interim responses where one side, or both, speaks HTTP/2.

use std::{
    future::poll_fn,
    sync::atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use mainstay_tests::{
    frames::{self, END_STREAM, FrameUpstream},
    prelude::*,
    within,
};
use tokio::net::TcpStream;

/// A client that hears interim responses.
struct Listening {
    sender: SendRequest<Bytes>,
}

/// One request of it.
struct Asked {
    response: ResponseFuture,
    body: h2::SendStream<Bytes>,
}

impl Listening {
    async fn connect(proxy: &Proxy) -> Self {
        let stream = TcpStream::connect(proxy.addr).await.unwrap();
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        Self { sender }
    }

    fn ask(&mut self, path: &str, fields: &[(&str, &str)], over: bool) -> Asked {
        let mut request = http::Request::builder().method("POST").uri(format!("http://app.test{path}"));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (response, body) = self.sender.send_request(request.body(()).unwrap(), over).unwrap();
        Asked { response, body }
    }
}

impl Asked {
    /// The next interim response: its status and its links. `None`: what comes next is final.
    async fn interim(&mut self) -> Option<(u16, Vec<String>, http::HeaderMap)> {
        let next = within("an interim response, or a final one", poll_fn(|cx| self.response.poll_informational(cx)));
        let head = next.await?.unwrap();
        let links = head.headers().get_all("link").iter().map(|value| value.to_str().unwrap().to_owned());
        Some((head.status().as_u16(), links.collect(), head.headers().clone()))
    }

    /// The final response, and how many interim ones came before it.
    async fn end(mut self) -> (usize, u16, http::HeaderMap, String) {
        let mut interim = 0;
        while self.interim().await.is_some() {
            interim += 1;
        }
        let (head, mut body) = within("a response", self.response).await.unwrap().into_parts();
        let mut text = Vec::new();
        while let Some(piece) = within("the body", body.data()).await {
            text.extend_from_slice(&piece.unwrap());
        }
        (interim, head.status.as_u16(), head.headers, String::from_utf8(text).unwrap())
    }
}

const HINTS: [(&str, &str); 3] =
    [("link", "</a.css>; rel=preload"), ("link", "</b.js>"), ("mainstay-error", "not the service's to say")];

fn hint_frames(stream: u32) -> Vec<u8> {
    let hints = [&[(":status", "103")], &HINTS[..]].concat();
    [frames::headers(stream, 0, &[(":status", "102")]), frames::headers(stream, 0, &hints)].concat()
}

fn final_frames(stream: u32) -> Vec<u8> {
    let head = frames::headers(stream, 0, &[(":status", "200"), ("content-length", "5")]);
    [head, frames::frame(frames::DATA, END_STREAM, stream, b"final")].concat()
}

async fn http2_upstream(gate: &Gate) -> FrameUpstream {
    FrameUpstream::in_two(hint_frames, gate, final_frames).await
}

async fn http1_upstream(gate: &Gate) -> Upstream {
    let held = gate.clone();
    Upstream::start(move |_| {
        let hints = HINTS.map(|(name, value)| format!("{name}: {value}\r\n")).concat();
        let hop_by_hop = "Connection: x-mine, keep-alive\r\nKeep-Alive: timeout=9\r\nX-Mine: 1\r\n";
        let early = format!("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\n{hints}{hop_by_hop}\r\n");
        vec![Step::Body, Step::Send(early.into()), Step::Gate(held.clone()), Step::Send(Answer::ok("final").bytes())]
    })
    .await
}

async fn http2_proxy(upstream: &FrameUpstream, policy: &str) -> Proxy {
    let config = Config::new().upstream("app", upstream.addr, "protocol: http2").policy("p", policy);
    Proxy::start(config.route("path: /**", "app", "p").top("limits: { workers: 1 }")).await
}

const POLICIES: [&str; 3] = ["timeout: 5s", "timeout: 5s, retry: 2", "timeout: 5s, idempotency: { required: true }"];

async fn expect_hints_over_http1(proxy: &Proxy, gate: &Gate, name: &str) {
    let mut client = proxy.connect().await;
    client.write(&Request::keyed("/", "k1", "x").bytes()).await;
    assert_eq!(client.any_head().await.start_line, "HTTP/1.1 102 Processing", "{name}");
    let hints = client.any_head().await;
    assert_eq!(hints.start_line, "HTTP/1.1 103 Early Hints", "{name}");
    assert_eq!(hints.headers.all("link"), ["</a.css>; rel=preload", "</b.js>"], "{name}");
    assert!(!hints.headers.has("mainstay-error"), "{name}: {hints:?}");
    gate.open();
    assert_eq!(client.reply().await.expect_upstream(200).text(), "final", "{name}");
}

async fn expect_hints_over_http2(proxy: &Proxy, gate: &Gate, name: &str) {
    let mut client = Listening::connect(proxy).await;
    let mut asked = client.ask("/", &[("idempotency-key", "k2")], true);
    assert_eq!(asked.interim().await.map(|(status, ..)| status), Some(102), "{name}");
    let (status, links, fields) = asked.interim().await.unwrap();
    assert_eq!((status, &links[..]), (103, &["</a.css>; rel=preload".to_owned(), "</b.js>".to_owned()][..]), "{name}");
    for name in ["mainstay-error", "connection", "x-mine", "keep-alive", "transfer-encoding"] {
        assert!(!fields.contains_key(name), "{name}: {fields:?}");
    }
    gate.open();
    let (more, status, fields, text) = asked.end().await;
    assert_eq!((more, status, text.as_str()), (0, 200, "final"), "{name}");
    assert!(!fields.contains_key("link"), "{name}: {fields:?}");
}

#[tokio::test]
async fn early_hints_reach_an_http2_client_of_an_http1_upstream() {
    for policy in POLICIES {
        let gate = Gate::new();
        let upstream = http1_upstream(&gate).await;
        let proxy = Proxy::single(upstream.addr, policy).await;
        expect_hints_over_http2(&proxy, &gate, policy).await;
    }
}

#[tokio::test]
async fn early_hints_reach_an_http1_client_of_an_http2_upstream() {
    for policy in POLICIES {
        let gate = Gate::new();
        let upstream = http2_upstream(&gate).await;
        let proxy = http2_proxy(&upstream, policy).await;
        expect_hints_over_http1(&proxy, &gate, policy).await;
    }
}

#[tokio::test]
async fn early_hints_reach_an_http2_client_of_an_http2_upstream() {
    for policy in POLICIES {
        let gate = Gate::new();
        let upstream = http2_upstream(&gate).await;
        let proxy = http2_proxy(&upstream, policy).await;
        expect_hints_over_http2(&proxy, &gate, policy).await;
    }
}

#[tokio::test]
async fn interim_responses_after_the_client_left_disturb_nobody() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |seen| match seen.target.as_str() {
        "/held" => {
            let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
            let answer = Step::Send(Answer::ok("late").bytes());
            vec![Step::Body, Step::Gate(held.clone()), Step::Send(hints.into()), answer]
        }
        _ => Answer::ok("other").steps(),
    })
    .await;
    let proxy = Proxy::single(upstream.addr, "timeout: 10s, idempotency: { required: true }").await;
    let mut client = Listening::connect(&proxy).await;
    let asked = client.ask("/held", &[("idempotency-key", "left")], true);
    upstream.wait_requests(1).await;
    drop(asked);
    // The reset has arrived before this answer left.
    let (interim, status, _, text) = client.ask("/other", &[("idempotency-key", "other")], true).end().await;
    assert_eq!((interim, status, text.as_str()), (0, 200, "other"));
    gate.open();
    let id = eventually("the write is settled without its client", || async {
        let (.., fields, text) =
            Listening::connect(&proxy).await.ask("/held", &[("idempotency-key", "left")], true).end().await;
        fields.contains_key("idempotent-replayed").then_some(text)
    });
    assert_eq!(id.await, "late");
    let (interim, status, ..) = client.ask("/other", &[("idempotency-key", "another")], true).end().await;
    assert_eq!((interim, status, upstream.count()), (0, 200, 3));
}

#[tokio::test]
async fn a_flood_of_interim_responses_over_http2_is_a_502_and_some_are_not() {
    let hint = |stream| frames::headers(stream, 0, &[(":status", "103"), ("link", "</a.css>")]);
    let asked = AtomicUsize::new(0);
    let upstream = FrameUpstream::start(move |stream| {
        let flood = asked.fetch_add(1, Ordering::Relaxed) == 0;
        [hint(stream).repeat(if flood { 20_000 } else { 20 }), final_frames(stream)].concat()
    })
    .await;
    let proxy = http2_proxy(&upstream, "timeout: 5s, retry: 2").await;
    let document = proxy.send(Request::post("/flood", "x")).await.expect_problem(502, "upstream-error");
    assert_eq!(document["effect"], "unknown");
    let (interim, status, _, text) = Listening::connect(&proxy).await.ask("/some", &[], true).end().await;
    assert_eq!((status, text.as_str()), (200, "final"));
    assert!((1..=20).contains(&interim), "{interim} interim responses");
    assert_eq!(upstream.count(), 2, "a flooded POST may have had its effect");
}

/// Fails unless a POST that is answered like this is a 502 of unknown effect, and not sent again.
async fn is_malformed(name: &str, answer: fn(u32) -> Vec<u8>) {
    let upstream = FrameUpstream::start(answer).await;
    let proxy = http2_proxy(&upstream, "timeout: 5s, retry: 2").await;
    let document = proxy.send(Request::post("/", "x")).await.expect_problem(502, "upstream-error");
    assert_eq!((&document["effect"], upstream.count()), (&"unknown".into(), 1), "{name}");
}

#[tokio::test]
async fn what_is_no_interim_response_of_http2_breaks_the_attempt_off() {
    is_malformed("a change of protocol", |stream| {
        [frames::headers(stream, 0, &[(":status", "101"), ("x-a", "b")]), final_frames(stream)].concat()
    })
    .await;
    is_malformed("a field of a connection", |stream| {
        let early = frames::headers(stream, 0, &[(":status", "103"), ("connection", "x-mine"), ("x-mine", "1")]);
        [early, final_frames(stream)].concat()
    })
    .await;
    is_malformed("an end", |stream| frames::headers(stream, END_STREAM, &[(":status", "103")])).await;
}

#[tokio::test]
async fn a_stream_that_is_refused_after_it_said_something_is_not_sent_again() {
    is_malformed("a refusal", |stream| [hint_frames(stream), frames::reset(stream, frames::REFUSED_STREAM)].concat())
        .await;
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_is_told_to_go_on() {
    let upstream = Upstream::answering(Answer::ok("thanks")).await;
    for policy in POLICIES {
        let proxy = Proxy::single(upstream.addr, policy).await;
        let mut client = Listening::connect(&proxy).await;
        let fields = [("expect", "100-continue"), ("content-length", "4"), ("idempotency-key", "k")];
        let mut asked = client.ask("/", &fields, false);
        assert_eq!(asked.interim().await.map(|(status, ..)| status), Some(100), "{policy}");
        asked.body.send_data(Bytes::from_static(b"body"), true).unwrap();
        let (interim, status, _, text) = asked.end().await;
        assert_eq!((interim, status, text.as_str()), (0, 200, "thanks"), "{policy}");
    }
}
