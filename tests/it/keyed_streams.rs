//! A keyed answer that comes bit by bit is passed on as it comes; only its end waits for the record.

use mainstay_tests::prelude::*;

const POLICY: &str = "timeout: 5s, idempotency: { required: true, max_response: 1KiB }";

/// An upstream that answers with a head and a first chunk, and with the rest when the gate opens.
async fn in_two(media_type: &'static str, gate: &Gate) -> Upstream {
    let gate = gate.clone();
    Upstream::start(move |seen| {
        let head = format!("HTTP/1.1 201 Created\r\nContent-Type: {media_type}\r\nTransfer-Encoding: chunked\r\n\r\n");
        let rest = if seen.target == "/large" { "x".repeat(2000) } else { "{\"n\":2}\n".to_owned() };
        vec![
            Step::Body,
            Step::Send(format!("{head}8\r\n{{\"n\":1}}\n\r\n").into()),
            Step::Gate(gate.clone()),
            Step::Send(format!("{:x}\r\n{rest}\r\n0\r\n\r\n", rest.len()).into()),
        ]
    })
    .await
}

/// Sends a keyed write and waits for the first piece of its answer while the rest of it does not exist.
async fn first_piece(proxy: &Proxy, target: &str) -> Client {
    let mut client = proxy.connect().await;
    client.write(&Request::keyed(target, target, "x").bytes()).await;
    let head = client.head().await;
    assert_eq!((head.status, head.header("operation-location").is_some()), (201, true));
    let first = within("the first piece before the second exists", client.wire.take(13)).await.unwrap();
    assert_eq!(first, b"8\r\n{\"n\":1}\n\r\n");
    client
}

#[tokio::test]
async fn what_comes_bit_by_bit_is_passed_on_so_and_replayed_if_it_was_small() {
    for media_type in [
        "application/x-ndjson",
        "application/json-seq",
        "text/plain; charset=utf-8",
        "application/connect+json",
        "application/json",
        "application/octet-stream",
    ] {
        let gate = Gate::new();
        let upstream = in_two(media_type, &gate).await;
        let proxy = Proxy::single(upstream.addr, POLICY).await;
        let (mut small, mut large) = (first_piece(&proxy, "/small").await, first_piece(&proxy, "/large").await);
        proxy.send(Request::keyed("/small", "/small", "x")).await.expect_problem(409, "in-progress");
        gate.open();
        assert!(small.body(Framing::Chunked).await.complete && large.body(Framing::Chunked).await.complete);
        let replay = proxy.send(Request::keyed("/small", "/small", "x")).await;
        assert_eq!(replay.expect_upstream(201).text(), "{\"n\":1}\n{\"n\":2}\n", "{media_type}");
        assert_eq!(replay.header("idempotent-replayed"), Some("true"), "{media_type}");
        assert_eq!(replay.header("content-type"), Some(media_type));
        let repeat = proxy.send(Request::keyed("/large", "/large", "x")).await;
        assert!(repeat.expect_problem(409, "response-not-retained").to_string().contains("201"), "{media_type}");
        assert_eq!((upstream.effects("/small"), upstream.effects("/large")), (1, 1));
    }
}

#[tokio::test]
async fn events_are_passed_on_and_never_kept() {
    let gate = Gate::new();
    let upstream = in_two("text/event-stream", &gate).await;
    let proxy = Proxy::single(upstream.addr, POLICY).await;
    let mut client = first_piece(&proxy, "/small").await;
    gate.open();
    assert!(client.body(Framing::Chunked).await.complete);
    proxy.send(Request::keyed("/small", "/small", "x")).await.expect_problem(409, "response-not-retained");
}

#[tokio::test]
async fn the_total_time_does_not_end_a_stream_that_has_begun() {
    let gate = Gate::new();
    let upstream = in_two("application/json", &gate).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 400ms, idempotency: { required: true }").await;
    let mut client = first_piece(&proxy, "/small").await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    gate.open();
    assert!(client.body(Framing::Chunked).await.complete, "cut off by the total time");
    proxy.send(Request::keyed("/small", "/small", "x")).await.expect_upstream(201);
}

#[tokio::test]
async fn a_stream_that_breaks_off_does_not_look_whole_and_leaves_its_write_in_doubt() {
    let upstream = Upstream::start(|_| {
        let begun =
            "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n1\n\r\n";
        vec![Step::Body, Step::Send(begun.into()), Step::Delay(Duration::from_millis(200)), Step::Reset]
    })
    .await;
    let proxy = Proxy::single(upstream.addr, POLICY).await;
    let first = proxy.send(Request::keyed("/", "k", "x")).await;
    assert!(first.status == 200 && !first.body.complete, "{first:#?}");
    proxy.send(Request::keyed("/", "k", "x")).await.expect_problem(409, "outcome-unknown");
}
