//! A request of HTTP/2 that is malformed is an error of its stream (RFC 9113 section 8.1.1): what others have in flight on the
//! connection goes on, and nothing of it reaches a service.

use mainstay_tests::{
    frames::{self, DATA, END_HEADERS, END_STREAM, Frame, FrameClient, HEADERS, PROTOCOL_ERROR, RST_STREAM},
    prelude::*,
};
use serde_json::Value;

const PSEUDO: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":authority", "app.test"), (":path", "/bad")];

/// How a stream ended: the code that it was reset by, or the status that stands in a problem document.
fn ended(answer: &[Frame]) -> Result<Value, u32> {
    let last = answer.last().expect("an answer or a reset, not the end of the connection");
    if last.kind == RST_STREAM {
        return Err(u32::from_be_bytes(last.payload[..4].try_into().unwrap()));
    }
    let body: Vec<u8> = answer.iter().filter(|f| f.kind == DATA).flat_map(|f| f.payload.clone()).collect();
    Ok(serde_json::from_slice(&body).unwrap_or_else(|_| Value::String(String::from_utf8(body).unwrap())))
}

/// Sends `bad`, which begins stream 3, while stream 1 has a request in flight, and then one more on stream 5.
async fn beside_others(name: &str, bad: &[u8], config: impl FnOnce(Config) -> Config) -> Result<Value, u32> {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |seen| match seen.target.as_str() {
        "/held" => Answer::ok("held").behind(&held),
        "/next" => Answer::ok("next").steps(),
        other => panic!("{other} reached the service"),
    })
    .await;
    let proxy =
        Proxy::start(config(Config::single(upstream.addr, "timeout: 9s, idempotency: { required: false }"))).await;
    let mut client = FrameClient::connect(proxy.addr).await;
    client.send(&FrameClient::get(1, "/held")).await;
    upstream.wait_requests(1).await;
    client.send(bad).await;
    let answer = client.answer(3).await;
    client.send(&FrameClient::get(5, "/next")).await;
    assert_eq!(ended(&client.answer(5).await), Ok(Value::String("next".into())), "{name}: a later stream");
    gate.open();
    assert_eq!(ended(&client.answer(1).await), Ok(Value::String("held".into())), "{name}: the stream in flight");
    assert_eq!(upstream.count(), 2, "{name}");
    ended(&answer)
}

fn with(more: &[(&str, &str)]) -> Vec<u8> {
    frames::headers(3, END_STREAM, &[&PSEUDO[..], more].concat())
}

fn instead(name: &str, value: &str) -> Vec<u8> {
    let fields = PSEUDO.map(|field| if field.0 == name { (name, value) } else { field });
    frames::headers(3, END_STREAM, &fields)
}

#[tokio::test]
async fn a_malformed_request_ends_its_stream_and_no_other() {
    let all = [&PSEUDO[..], &[("connection", "close")]].concat();
    for (name, bad) in [
        ("upper case in a name", with(&[("X-Upper", "1")])),
        ("a space in a name", with(&[("x y", "1")])),
        ("no name", with(&[("", "1")])),
        ("a line end in a value", with(&[("x-a", "1\r\nhost: b")])),
        ("a NUL in a value", with(&[("x-a", "\0")])),
        ("an unknown pseudo-field", frames::headers(3, END_STREAM, &[&PSEUDO[..], &[(":user", "a")]].concat())),
        ("a status", frames::headers(3, END_STREAM, &[&PSEUDO[..], &[(":status", "200")]].concat())),
        ("a method that is no token", instead(":method", "G T")),
        ("no path", frames::headers(3, END_STREAM, &PSEUDO[..3])),
        ("a pseudo-field behind another field", with(&[("x-a", "1"), (":path", "/")])),
        ("two paths", with(&[(":path", "/again")])),
        ("a field of a connection", with(&[("connection", "close")])),
        ("a field of a connection, in two frames", frames::continued(3, END_STREAM, &all, 30)),
        ("upper case, in two frames", frames::continued(3, END_STREAM, &[&PSEUDO[..], &[("X-A", "1")]].concat(), 9)),
        ("a stream that depends on itself", {
            let block = [&3_u32.to_be_bytes()[..], &[9], &frames::block(&PSEUDO)].concat();
            frames::frame(HEADERS, END_STREAM | END_HEADERS | 0x20, 3, &block)
        }),
    ] {
        assert_eq!(beside_others(name, &bad, |config| config).await, Err(PROTOCOL_ERROR), "{name}");
    }
}

#[tokio::test]
async fn malformed_trailers_end_their_stream_and_nothing_is_executed() {
    for trailers in [(":path", "/"), (":method", "POST"), ("X-Sum", "1"), ("x-sum", "a\nb"), ("connection", "close")] {
        let head = FrameClient::post(3, "/pay", &[("idempotency-key", "k")]);
        let end = frames::headers(3, END_STREAM, &[trailers]);
        let bad = [head, frames::frame(DATA, 0, 3, b"amount=1"), end].concat();
        assert_eq!(beside_others(trailers.0, &bad, |config| config).await, Err(PROTOCOL_ERROR), "{trailers:?}");
    }
}

#[tokio::test]
async fn a_target_with_a_fragment_is_refused_and_not_cut_off() {
    let document = beside_others("fragment", &instead(":path", "/bad#part"), |config| config).await.unwrap();
    assert_eq!((&document["status"], &document["effect"]), (&400.into(), &"none".into()), "{document}");
    assert!(document["detail"].as_str().unwrap().contains("fragment"), "{document}");
}

/// A request on stream 3 of any size.
fn large(block: &[u8]) -> Vec<u8> {
    let mut pieces = block.chunks(16_000).peekable();
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.next() {
        let (kind, flags) = if bytes.is_empty() { (HEADERS, END_STREAM) } else { (frames::CONTINUATION, 0) };
        let end = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        bytes.extend(frames::frame(kind, flags | end, 3, piece));
    }
    bytes
}

const SMALL: &str = "limits: { header_bytes: 8KiB }";

#[tokio::test]
async fn heads_beyond_all_limits_are_answered_with_a_reason() {
    let with = |more: &[(&str, &str)]| large(&frames::block(&[&PSEUDO[..], more].concat()));
    let to = |path: &str| {
        large(&frames::block(&PSEUDO.map(|field| if field.0 == ":path" { (field.0, path) } else { field })))
    };
    let (long, much) = ("v".repeat(33_000), "v".repeat(300));
    let many: Vec<_> = (0..120).map(|_| ("x-many", much.as_str())).collect();
    // An entry of the peer's table, named so often that it is more than sixteen times what is read.
    let mut bomb = frames::block(&PSEUDO);
    bomb.extend([0x40, 1, b'x', 0x7f, 0x80, 0x16]);
    bomb.extend(vec![b'v'; 127 + 0x16 * 128]);
    bomb.extend([0xbe; 500]);
    for (name, bad, limits, status) in [
        ("one long field", with(&[("x-long", long.as_str())]), SMALL, 431),
        ("many fields", with(&many), SMALL, 431),
        ("a bomb", large(&bomb), SMALL, 431),
        ("a long target", to(&format!("/{}", "p".repeat(33_000))), SMALL, 414),
        // Where a head may be longer than a target can be.
        (
            "a target that none can be",
            to(&format!("/?{}", "q".repeat(65_600))),
            "limits: { header_bytes: 256KiB }",
            414,
        ),
    ] {
        let document = beside_others(name, &bad, |config| config.top(limits)).await.unwrap();
        assert_eq!((&document["status"], &document["effect"]), (&status.into(), &"none".into()), "{name}: {document}");
    }
}

#[tokio::test]
async fn a_grpc_call_beyond_all_limits_gets_a_grpc_status() {
    let long = "v".repeat(33_000);
    let fields = [(":method", "POST"), (":scheme", "http"), (":authority", "app.test"), (":path", "/bad")];
    let more = [("content-type", "application/grpc+proto"), ("te", "trailers"), ("x-long", long.as_str())];
    let bad = large(&frames::block(&[&fields[..], &more].concat()));
    let answer = beside_others("gRPC", &bad, |config| config.top(SMALL)).await;
    assert_eq!(answer, Ok(Value::String(String::new())), "trailers only");
}

#[tokio::test]
async fn what_a_malformed_request_has_put_into_the_table_is_there_for_later_ones() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let mut client = FrameClient::connect(proxy.addr).await;
    // With incremental indexing, so that both are entries 63 and 62 of what comes later.
    let bad = [&frames::block(&PSEUDO)[..], b"\x40\x06x-good\x01a\x40\x05X-Bad\x01b"].concat();
    client.send(&frames::frame(HEADERS, END_STREAM | END_HEADERS, 1, &bad)).await;
    assert_eq!(ended(&client.answer(1).await), Err(PROTOCOL_ERROR));
    for (stream, numbers, fate) in
        [(3, &b"\xbf"[..], true), (5, b"\xbe", false), (7, b"\xbf\x7f\x00\x01c", true), (9, b"\xbe", true)]
    {
        let request = [&frames::block(&PSEUDO)[..], numbers].concat();
        client.send(&frames::frame(HEADERS, END_STREAM | END_HEADERS, stream, &request)).await;
        assert_eq!(ended(&client.answer(stream).await).is_ok(), fate, "stream {stream}");
    }
    let seen: Vec<_> = upstream.requests().iter().map(|seen| seen.headers("x-good").join(",")).collect();
    assert_eq!(seen, ["a", "a,c", "c"]);
}

#[tokio::test]
async fn a_get_that_an_empty_data_frame_ends_has_no_body() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let mut client = FrameClient::connect(proxy.addr).await;
    let get = frames::headers(1, 0, &PSEUDO);
    client.send(&[get, frames::frame(DATA, END_STREAM, 1, b"")].concat()).await;
    assert_eq!(ended(&client.answer(1).await), Ok(Value::String("ok".into())));
    let seen = upstream.only();
    assert_eq!(
        (seen.header("transfer-encoding"), seen.header("content-length"), seen.text().as_str()),
        (None, None, "")
    );
}

#[tokio::test]
async fn what_is_no_hpack_ends_the_connection() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    for bad in [
        frames::frame(HEADERS, END_STREAM | END_HEADERS, 1, b"\x80"),
        frames::frame(HEADERS, END_STREAM | END_HEADERS, 1, b"\xbe"),
        frames::frame(HEADERS, END_STREAM | END_HEADERS, 2, &frames::block(&PSEUDO)),
        frames::frame(frames::CONTINUATION, END_HEADERS, 1, &frames::block(&PSEUDO)),
        [frames::frame(HEADERS, END_STREAM, 1, b""), FrameClient::get(3, "/")].concat(),
        [frames::frame(HEADERS, END_STREAM, 1, b""), vec![0, 0x40, 1, frames::CONTINUATION, END_HEADERS, 0, 0, 0, 1]]
            .concat(),
        frames::push_promise(1, 2),
    ] {
        let mut client = FrameClient::connect(proxy.addr).await;
        client.send(&bad).await;
        client.send(&FrameClient::get(5, "/")).await;
        assert!(client.answer(5).await.is_empty(), "{bad:x?}");
    }
    assert_eq!(upstream.count(), 0);
}
