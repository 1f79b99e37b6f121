//! What the standards say of single messages, as data: each case of `wire/` is a fact with its section.

use mainstay_tests::{
    frames::{self, FrameClient},
    prelude::*,
};
use serde::Deserialize;

/// Bytes of a client, and the statuses that it gets.
#[derive(Deserialize)]
struct RequestCase {
    name: String,
    rfc: String,
    send: String,
    answers: Vec<u16>,
    /// What the service got whole: method, target, body.
    seen: Vec<String>,
    /// Whether the connection ends after the last answer.
    closed: bool,
}

/// Bytes of a service, and what its client gets.
#[derive(Deserialize)]
struct AnswerCase {
    name: String,
    rfc: String,
    send: String,
    status: u16,
    body: Option<String>,
}

/// Fields of a request over HTTP/2: answered with a status, or `refused` by a 400 or a reset of its stream.
#[derive(Deserialize)]
struct StreamCase {
    name: String,
    rfc: String,
    fields: Vec<(String, String)>,
    expect: serde_json::Value,
}

fn cases<T: for<'a> Deserialize<'a>>(text: &str) -> Vec<T> {
    serde_json::from_str(text).expect("the corpus is JSON of this form")
}

/// `{70000 x}` stands for so many of that letter.
fn bytes_of(text: &str) -> Vec<u8> {
    text.replace("{70000 x}", &"x".repeat(70_000)).into_bytes()
}

#[tokio::test]
async fn requests_are_answered_as_the_standards_say() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    for case in cases::<RequestCase>(include_str!("wire/requests.json")) {
        let bytes = bytes_of(&case.send);
        for piece in [bytes.len(), 7] {
            let name = format!("{} ({}), in pieces of {piece}", case.name, case.rfc);
            let before = upstream.count();
            let mut client = proxy.connect().await;
            for piece in bytes.chunks(piece.max(bytes.len() / 100)) {
                // What is refused in the middle is not taken to its end.
                if client.wire.send(piece).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            for (n, status) in case.answers.iter().enumerate() {
                let reply = client.try_reply().await.unwrap_or_else(|error| panic!("{name}, answer {n}: {error}"));
                assert_eq!(reply.status, *status, "{name}, answer {n}: {reply:#?}");
                assert_eq!(reply.slug().is_some(), *status >= 400, "{name}: {reply:#?}");
            }
            if case.closed {
                client.expect_closed().await;
            }
            let seen: Vec<String> = upstream.requests()[before..]
                .iter()
                .filter(|seen| seen.body.complete)
                .map(|seen| format!("{} {} {}", seen.method, seen.target, seen.text()).trim_end().to_owned())
                .collect();
            assert_eq!(seen, case.seen, "{name}");
        }
    }
}

#[tokio::test]
async fn answers_are_passed_on_as_the_standards_say() {
    for case in cases::<AnswerCase>(include_str!("wire/answers.json")) {
        let name = format!("{} ({})", case.name, case.rfc);
        let answer = bytes_of(&case.send);
        let upstream = Upstream::start(move |_| vec![Step::Body, Step::Send(answer.clone().into()), Step::Close]).await;
        let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
        let reply = proxy.get("/").await;
        assert_eq!((reply.status, reply.slug().is_some()), (case.status, case.status == 502), "{name}: {reply:#?}");
        if let Some(body) = case.body {
            assert!(reply.body.complete && reply.text() == body, "{name}: {reply:#?}");
        }
        if case.status == 426 {
            assert_eq!(
                (reply.header("upgrade"), reply.header("connection")),
                (Some("chat/2"), Some("upgrade")),
                "{name}"
            );
        }
    }
}

#[tokio::test]
async fn streams_are_answered_as_the_standards_say_and_end_no_connection() {
    let upstream = Upstream::answering(Answer::ok("fine")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    for case in cases::<StreamCase>(include_str!("wire/http2.json")) {
        let name = format!("{} ({})", case.name, case.rfc);
        let fields: Vec<_> = case.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut client = FrameClient::connect(proxy.addr).await;
        client.send(&frames::headers(1, frames::END_STREAM, &fields)).await;
        let got = outcome(&client.answer(1).await);
        match case.expect.as_u64() {
            Some(200) => assert_eq!(got, "fine", "{name}"),
            Some(status) => assert!(got.contains(&format!("\"status\":{status}")), "{name}: {got}"),
            None => assert!(got == "reset" || got.contains("\"status\":400"), "{name}: {got}"),
        }
        client.send(&FrameClient::get(3, "/next")).await;
        assert_eq!(outcome(&client.answer(3).await), "fine", "{name}: the connection has ended with it");
    }
}

/// The body of an answer, or how its stream ended.
fn outcome(answer: &[frames::Frame]) -> String {
    match answer.last() {
        None => "the end of the connection".to_owned(),
        Some(last) if last.kind == frames::RST_STREAM => "reset".to_owned(),
        Some(_) => {
            let data = answer.iter().filter(|frame| frame.kind == frames::DATA).flat_map(|frame| frame.payload.clone());
            String::from_utf8_lossy(&data.collect::<Vec<_>>()).into_owned()
        }
    }
}
