//! What a grpc-status proves about a keyed call, and what its caller and its repeats are told.

use mainstay_tests::{
    h2_upstream::{H2Step, H2Upstream},
    h2c::{H2Client, Whole, full},
    prelude::*,
};

const TYPE: (&str, &str) = ("content-type", "application/grpc");

/// An answer with this code: trailers-only, or in the trailers after a message.
fn answer(code: &'static str, in_head: bool) -> H2Step {
    if in_head {
        H2Step::Answer(200, vec![TYPE, ("grpc-status", code), ("grpc-message", "so")], "".into(), vec![])
    } else {
        let trailers = vec![("grpc-status", code), ("grpc-message", "so")];
        H2Step::Answer(200, vec![TYPE], (&b"\0\0\0\0\x01y"[..]).into(), trailers)
    }
}

async fn keyed(client: &H2Client, key: &str) -> Whole {
    let request = client.request("POST", "/a.B/C").header("content-type", "application/grpc").header("te", "trailers");
    client.call(request.header("idempotency-key", key).body(full("x")).unwrap()).await
}

/// What a gRPC client reads, wherever it stands.
fn field<'a>(whole: &'a Whole, name: &str) -> Option<&'a str> {
    let trailers = whole.trailers.as_ref().and_then(|trailers| trailers.get(name));
    trailers.or_else(|| whole.headers.get(name)).map(|value| value.to_str().unwrap())
}

async fn before(upstream: &H2Upstream, more: &str, policy: &str) -> (Proxy, H2Client) {
    let more = format!("protocol: http2{more}");
    let config = Config::new().upstream("app", upstream.addr, &more).policy("p", policy);
    let proxy = Proxy::start(config.route("path: /**", "app", "p")).await;
    let client = H2Client::connect(proxy.addr).await;
    (proxy, client)
}

fn id(whole: &Whole) -> &str {
    field(whole, "operation-location").unwrap().rsplit('/').next().unwrap()
}

const CODES: [&str; 17] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"];

#[tokio::test]
async fn a_code_proves_what_its_http_twin_does_and_no_client_reads_more_than_that() {
    let upstream = H2Upstream::start(|seen| answer(CODES[seen.index % 17], seen.index < 17)).await;
    let (proxy, client) = before(&upstream, "", "timeout: 5s, idempotency: { required: true }").await;
    for (index, code) in CODES.iter().chain(&CODES).enumerate() {
        let state = match *code {
            "0" => "succeeded",
            "7" | "8" | "16" => "not_executed",
            "3" | "5" | "6" | "9" | "11" | "12" => "failed",
            _ => "unknown",
        };
        let first = keyed(&client, &format!("k{index}")).await;
        let document = proxy.operation_in(id(&first), state).await;
        assert_eq!(field(&first, "mainstay-outcome"), Some(state), "{first:#?}");
        // CANCELLED and ABORTED speak of a write that was undone, and nobody knows that.
        let (told, slug) = if matches!(*code, "1" | "10") { ("2", Some("outcome-unknown")) } else { (*code, None) };
        assert_eq!((field(&first, "grpc-status"), field(&first, "mainstay-error")), (Some(told), slug), "{first:#?}");
        let reason = document["reason"].as_str().unwrap();
        assert!(reason.starts_with("grpc_") && reason != "grpc_status", "{document}");
    }
}

#[tokio::test]
async fn a_repeat_gets_the_failure_as_it_was_told_and_a_call_that_was_not_executed_is_executed() {
    for (code, in_head, repeat_code, count) in
        [("5", true, "5", 1), ("5", false, "5", 1), ("8", true, "0", 2), ("16", false, "0", 2), ("0", false, "6", 1)]
    {
        let upstream = H2Upstream::start(move |seen| answer(if seen.index == 0 { code } else { "0" }, in_head)).await;
        let (_proxy, client) = before(&upstream, "", "timeout: 5s, idempotency: { required: true }").await;
        let first = keyed(&client, "k").await;
        assert_eq!(field(&first, "grpc-status"), Some(code));
        let repeat = keyed(&client, "k").await;
        assert_eq!(
            (field(&repeat, "grpc-status"), upstream.requests().len()),
            (Some(repeat_code), count),
            "{repeat:#?}"
        );
        let is_replayed = code == "5";
        assert_eq!(field(&repeat, "idempotent-replayed").is_some(), is_replayed);
        assert_eq!(field(&repeat, "grpc-message") == Some("so"), is_replayed || count == 2, "{repeat:#?}");
        if code == "0" {
            // It was done and answered, only the answer was a stream's: nothing that reads as a decline.
            assert_eq!(
                (field(&repeat, "mainstay-error"), field(&repeat, "mainstay-outcome")),
                (None, Some("succeeded"))
            );
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_none_of_grpc_proves_nothing_of_a_call() {
    let upstream =
        H2Upstream::start(|_| H2Step::Answer(200, vec![("content-type", "text/html")], "<html>".into(), vec![])).await;
    let (proxy, client) = before(&upstream, "", "timeout: 5s, idempotency: { required: true }").await;
    let first = keyed(&client, "k").await;
    // It passes as it came: a gRPC client reads it as UNKNOWN.
    assert_eq!((&first.body[..], field(&first, "mainstay-outcome")), (&b"<html>"[..], Some("unknown")));
    proxy.operation_in(id(&first), "unknown").await;
}

#[tokio::test]
async fn lists_and_rules_may_name_a_code() {
    let outcome = "outcome: { not_executed: [\"grpc:aborted\"], ongoing: [202], succeeded: [\"grpc:6\"], \
                   rules: [{ status: \"grpc:unavailable\", then: failed }] }";
    for (code, state) in [("10", "not_executed"), ("6", "succeeded"), ("14", "failed"), ("0", "succeeded")] {
        let upstream = H2Upstream::start(move |_| answer(code, true)).await;
        let policy = format!("timeout: 5s, idempotency: {{ required: true, {outcome} }}");
        let (proxy, client) = before(&upstream, "", &policy).await;
        let first = keyed(&client, "k").await;
        assert_eq!(field(&first, "grpc-status"), Some(code));
        proxy.operation_in(id(&first), state).await;
    }
}

/// With an attempt in doubt, "exists already" may tell of that attempt's success.
#[tokio::test]
async fn a_refusal_that_may_speak_of_another_attempt_does_not_contradict_its_document() {
    for in_head in [true, false] {
        let upstream = H2Upstream::start(move |seen| match seen.index {
            0 => H2Step::ResetUnanswered,
            _ => answer("6", in_head),
        })
        .await;
        let policy = "timeout: 5s, idempotency: { required: true }, \
                      retry: { max_retries: 1, backoff: { base: 1ms }, on: [reset] }";
        let (proxy, client) = before(&upstream, ", honours_key: true", policy).await;
        let first = keyed(&client, "k").await;
        assert_eq!(upstream.requests().len(), 2);
        proxy.operation_in(id(&first), "unknown").await;
        assert_eq!(
            (field(&first, "grpc-status"), field(&first, "mainstay-error")),
            (Some("2"), Some("outcome-unknown"))
        );
    }
}

#[tokio::test]
async fn of_grpc_web_the_end_of_the_body_proves_and_a_repeat_gets_it_whole() {
    for (code, outcome, count) in [("0", "succeeded", 1), ("9", "failed", 1), ("8", "not_executed", 2)] {
        for is_chunked in [false, true] {
            let body = [&b"\0\0\0\0\x01y\x80\0\0\0\x0fgrpc-status:"[..], code.as_bytes(), b"\r\n"].concat();
            let answer = Answer::ok(body.clone()).header("Content-Type", "application/grpc-web+proto");
            let upstream = Upstream::answering(if is_chunked { answer.chunked() } else { answer }).await;
            let proxy = Proxy::single(upstream.addr, "timeout: 5s, idempotency: { required: true }").await;
            let call = Request::keyed("/a.B/C", "k", "x").header("Content-Type", "application/grpc-web+proto");
            for turn in 0..2 {
                let reply = proxy.send(call.clone()).await;
                assert_eq!((reply.status, reply.header("mainstay-outcome")), (200, Some(outcome)), "{reply:#?}");
                assert_eq!(reply.body.data, body);
                assert_eq!(reply.header("idempotent-replayed").is_some(), turn == 1 && count == 1, "{code}");
            }
            assert_eq!(upstream.count(), count, "{code}");
        }
    }
}
