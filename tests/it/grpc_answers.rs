//! What Mainstay itself answers to gRPC calls: trailers-only, with a code that no client mistakes.

use mainstay_tests::{
    h2_upstream::{H2Step, H2Upstream},
    h2c::{H2Client, Whole, full},
    prelude::*,
};

/// The answer to a call with these fields.
async fn call(client: &H2Client, path: &str, fields: &[(&str, &str)]) -> Whole {
    let mut request =
        client.request("POST", path).header("content-type", "application/grpc+proto").header("te", "trailers");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    client.call(request.body(full(&b"\0\0\0\0\x01x"[..])).unwrap()).await
}

fn field<'a>(whole: &'a Whole, name: &str) -> Option<&'a str> {
    whole.headers.get(name).map(|value| value.to_str().unwrap())
}

/// Fails unless it is an answer of Mainstay's own with this code and this slug, in the form that gRPC has for it.
#[track_caller]
fn expect(whole: &Whole, code: u16, slug: &str) {
    assert_eq!((whole.status, field(whole, "mainstay-error")), (200, Some(slug)), "{whole:#?}");
    assert_eq!(field(whole, "grpc-status"), Some(code.to_string().as_str()), "{slug}: {whole:#?}");
    assert_eq!(field(whole, "content-type"), Some("application/grpc"));
    assert!(field(whole, "grpc-message").is_some_and(|message| !message.is_empty()), "{whole:#?}");
    assert!(whole.body.is_empty() && whole.trailers.is_none(), "nothing but a head: {whole:#?}");
}

async fn proxy_before(upstream: &H2Upstream, policy: &str) -> (Proxy, H2Client) {
    let config = Config::new().upstream("app", upstream.addr, "protocol: http2").policy("p", policy);
    let proxy = Proxy::start(config.route("path: /a.B/**", "app", "p")).await;
    let client = H2Client::connect(proxy.addr).await;
    (proxy, client)
}

#[tokio::test]
async fn what_was_refused_before_it_was_sent_is_told_by_its_code() {
    for (policy, fields, code, slug) in [
        ("idempotency: { required: true }", &[][..], 3, "key-missing"),
        ("idempotency: { required: true }", &[("idempotency-key", "\"")], 3, "key-invalid"),
        ("idempotency: { required: true, max_body: 1B }", &[("idempotency-key", "k")], 3, "body-too-large"),
        ("idempotency: { principal: required }", &[("idempotency-key", "k")], 16, "principal-missing"),
        ("access: { deny: [{ path: /** }] }", &[], 7, "forbidden"),
    ] {
        let upstream = H2Upstream::start(|_| H2Step::GrpcEcho).await;
        let (_proxy, client) = proxy_before(&upstream, policy).await;
        expect(&call(&client, "/a.B/C", fields).await, code, slug);
        assert_eq!(upstream.requests().len(), 0);
    }
    let upstream = H2Upstream::start(|_| H2Step::GrpcEcho).await;
    let (_proxy, client) = proxy_before(&upstream, "timeout: 5s").await;
    expect(&call(&client, "/x.Y/Z", &[]).await, 12, "no-route");
}

#[tokio::test]
async fn what_may_be_repeated_says_when() {
    let upstream = H2Upstream::start(|_| H2Step::Answer(500, vec![], "".into(), vec![])).await;
    for (policy, code, slug) in [
        ("rate_limit: { requests: 1, unit: 1h }", 8, "rate-limited"),
        ("circuit_breaker: { consecutive_errors: 1, open_duration: 1h }", 14, "circuit-open"),
    ] {
        let (_proxy, client) = proxy_before(&upstream, policy).await;
        call(&client, "/a.B/C", &[]).await;
        let refused = call(&client, "/a.B/C", &[]).await;
        expect(&refused, code, slug);
        let seconds: u64 = field(&refused, "retry-after").unwrap().parse().unwrap();
        assert_eq!(field(&refused, "grpc-retry-pushback-ms"), Some((seconds * 1000).to_string().as_str()));
    }
    let refusing = Refusing::new();
    let config = Config::new().upstream("app", refusing.addr, "protocol: http2").policy("p", "timeout: 5s");
    let proxy = Proxy::start(config.route("path: /**", "app", "p")).await;
    let unreachable = call(&H2Client::connect(proxy.addr).await, "/a.B/C", &[]).await;
    expect(&unreachable, 14, "upstream-unreachable");
    assert_eq!(field(&unreachable, "grpc-retry-pushback-ms"), None, "it may be repeated at once");
}

#[tokio::test]
async fn what_may_have_been_done_is_never_unavailable_and_calls_the_clients_retries_off() {
    for (step, code, slug) in [(H2Step::Stall, 4, "timeout"), (H2Step::ResetUnanswered, 2, "upstream-error")] {
        let upstream = H2Upstream::start(move |_| step.clone()).await;
        let (_proxy, client) = proxy_before(&upstream, "timeout: 300ms").await;
        let answer = call(&client, "/a.B/C", &[]).await;
        expect(&answer, code, slug);
        assert_eq!(field(&answer, "grpc-retry-pushback-ms"), Some("-1"));
    }
}

#[tokio::test]
async fn a_keyed_call_in_doubt_says_how_it_came_and_its_repeat_that_it_is() {
    for (step, code) in [(H2Step::Stall, 4), (H2Step::ResetUnanswered, 2)] {
        let upstream = H2Upstream::start(move |_| step.clone()).await;
        let (proxy, client) = proxy_before(&upstream, "timeout: 300ms, idempotency: { required: true }").await;
        let key = [("idempotency-key", "k")];
        let first = call(&client, "/a.B/C", &key).await;
        expect(&first, code, "outcome-unknown");
        let id = field(&first, "operation-location").unwrap().rsplit('/').next().unwrap();
        proxy.operation_in(id, "unknown").await;
        assert_eq!(field(&first, "grpc-retry-pushback-ms").filter(|wait| *wait == "-1"), None, "its key makes it safe");
        expect(&call(&client, "/a.B/C", &key).await, 10, "outcome-unknown");
        expect(&call(&client, "/a.B/D", &key).await, 3, "key-reused");
        assert_eq!(upstream.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_repeat_meanwhile_is_told_to_come_later() {
    let upstream = H2Upstream::start(|_| H2Step::Stall).await;
    let (_proxy, client) = proxy_before(&upstream, "timeout: 3s, idempotency: { required: true }").await;
    let key = [("idempotency-key", "k")];
    let (first, ()) = tokio::join!(call(&client, "/a.B/C", &key), async {
        eventually("the first is on its way", || async { (upstream.requests().len() == 1).then_some(()) }).await;
        expect(&call(&client, "/a.B/C", &key).await, 10, "in-progress");
    });
    expect(&first, 4, "outcome-unknown");
}

#[tokio::test]
async fn a_write_that_was_found_to_have_happened_is_there_already() {
    let upstream = H2Upstream::start(|seen| match seen.head.method.as_str() {
        "GET" => H2Step::Answer(200, vec![("content-type", "application/json")], "{}".into(), vec![]),
        _ => H2Step::Stall,
    })
    .await;
    let policy = "timeout: 300ms, idempotency: { required: true, status: { request: \"GET /by-ref/{key}\", \
                  rules: [{ status: 200, then: succeeded }] } }";
    let (_proxy, client) = proxy_before(&upstream, policy).await;
    let key = [("idempotency-key", "k")];
    expect(&call(&client, "/a.B/C", &key).await, 4, "outcome-unknown");
    let repeat = call(&client, "/a.B/C", &key).await;
    assert_eq!((repeat.status, field(&repeat, "grpc-status")), (200, Some("6")), "{repeat:#?}");
    assert_eq!(field(&repeat, "mainstay-outcome"), Some("succeeded"));
    assert!(field(&repeat, "operation-location").is_some() && repeat.body.is_empty());
}

#[tokio::test]
async fn grpc_web_is_answered_in_its_own_dialect_and_all_else_by_a_document() {
    let upstream = H2Upstream::start(|_| H2Step::GrpcEcho).await;
    let (_proxy, client) = proxy_before(&upstream, "idempotency: { required: true }").await;
    for (sent, answered) in [
        ("application/grpc-web+proto", "application/grpc-web"),
        ("application/grpc-web-text", "application/grpc-web-text"),
        ("application/json", "application/problem+json"),
    ] {
        let request = client.request("POST", "/a.B/C").header("content-type", sent).body(full("x")).unwrap();
        let whole = client.call(request).await;
        assert_eq!(field(&whole, "content-type"), Some(answered));
        let expected = if sent.contains("grpc") { (200, Some("3")) } else { (400, None) };
        assert_eq!((whole.status, field(&whole, "grpc-status")), expected, "{sent}");
    }
}
