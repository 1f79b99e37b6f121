//! Problem documents: every answer that Mainstay makes itself.

use mainstay_tests::prelude::*;
use serde_json::Value;

/// Fails unless `reply` is a complete problem document that gives nothing away.
fn check(reply: &Reply, status: u16, slug: &str, secrets: &[&str]) -> Value {
    let document = reply.expect_problem(status, slug);
    assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{slug}");
    assert_eq!(reply.headers("cache-control"), ["no-store"], "{slug}");
    assert_eq!(document["type"], format!("/_mainstay/problems/{slug}"));
    assert_eq!(document["status"], status, "{slug}");
    for field in ["title", "detail"] {
        assert!(document[field].as_str().is_some_and(|text| !text.is_empty()), "{slug} has no {field}: {document}");
    }
    let trace = document["trace_id"].as_str().unwrap_or_default();
    assert!(trace.len() == 32 && trace.bytes().all(|b| b.is_ascii_hexdigit()), "{slug}: trace_id {trace:?}");
    assert!(matches!(document["effect"].as_str(), Some("none" | "unknown")), "{slug}: {document}");
    let whole = format!("{:?} {}", reply.head, reply.text());
    for secret in secrets {
        assert!(!whole.contains(secret), "{slug} gives {secret} away: {whole}");
    }
    document
}

#[tokio::test]
async fn no_route() {
    let proxy = Proxy::start(Config::new().upstream("app", free_addr(), "").policy("p", "timeout: 1s").route(
        "path: /only",
        "app",
        "p",
    ))
    .await;
    let document = check(&proxy.get("/elsewhere").await, 404, "no-route", &[]);
    assert_eq!(document["effect"], "none");
}

#[tokio::test]
async fn rate_limited() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "rate_limit: { requests: 1, unit: 1m }").await;
    proxy.get("/").await.expect_upstream(200);
    let reply = proxy.get("/").await;
    assert_eq!(check(&reply, 429, "rate-limited", &[&upstream.addr.to_string()])["effect"], "none");
    assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
}

#[tokio::test]
async fn overloaded() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Answer::ok("ok").behind(&held)).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 9s, concurrency_limit: { max_concurrent: 1 }").await;
    let mut first = proxy.connect().await;
    first.write(&Request::get("/").bytes()).await;
    upstream.wait_requests(1).await;
    let reply = proxy.get("/").await;
    assert_eq!(check(&reply, 503, "overloaded", &[&upstream.addr.to_string()])["effect"], "none");
    assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    gate.open();
    first.reply().await.expect_upstream(200);
}

#[tokio::test]
async fn circuit_open() {
    let upstream = Upstream::answering(Answer::status(500)).await;
    let proxy = Proxy::single(upstream.addr, "circuit_breaker: { consecutive_errors: 1, open_duration: 30s }").await;
    proxy.get("/").await.expect_upstream(500);
    let reply = proxy.get("/").await;
    assert_eq!(check(&reply, 503, "circuit-open", &[&upstream.addr.to_string()])["effect"], "none");
    assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
}

#[tokio::test]
async fn timeout_after_the_request_was_sent() {
    let upstream = Upstream::start(|_| vec![Step::Body, Step::Stall]).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 200ms").await;
    let reply = proxy.send(Request::post("/", "x")).await;
    assert_eq!(check(&reply, 504, "timeout", &[&upstream.addr.to_string()])["effect"], "unknown");
}

#[tokio::test]
async fn upstream_unreachable() {
    let refusing = Refusing::new();
    let proxy = Proxy::single(refusing.addr, "timeout: 2s").await;
    let port = refusing.addr.port().to_string();
    let reply = proxy.send(Request::post("/", "x")).await;
    assert_eq!(check(&reply, 502, "upstream-unreachable", &["127.0.0.1", &port, "refused"])["effect"], "none");
}

#[tokio::test]
async fn upstream_error() {
    let upstream = Upstream::start(|_| vec![Step::Body, Step::Reset]).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 2s").await;
    let port = upstream.addr.port().to_string();
    let reply = proxy.send(Request::post("/", "x")).await;
    assert_eq!(check(&reply, 502, "upstream-error", &["127.0.0.1", &port])["effect"], "unknown");
}

const KEYED: &str = "timeout: 300ms, idempotency: { required: true, max_body: 100B, max_response: 50B }";

#[tokio::test]
async fn key_missing_and_key_invalid() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, KEYED).await;
    assert_eq!(check(&proxy.send(Request::post("/", "x")).await, 400, "key-missing", &[])["effect"], "none");
    let reply = proxy.send(Request::keyed("/", "", "x")).await;
    assert_eq!(check(&reply, 400, "key-invalid", &[])["effect"], "none");
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn key_reused_hides_key_and_body() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, KEYED).await;
    proxy.send(Request::keyed("/", "very-secret-key", "first-secret-body")).await.expect_upstream(200);
    let reply = proxy.send(Request::keyed("/", "very-secret-key", "second-secret-body")).await;
    check(&reply, 422, "key-reused", &["very-secret-key", "secret-body"]);
    assert!(reply.header("operation-location").is_some());
}

#[tokio::test]
async fn body_too_large() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, KEYED).await;
    let reply = proxy.send(Request::keyed("/", "k", "x".repeat(101))).await;
    assert_eq!(check(&reply, 413, "body-too-large", &[])["effect"], "none");
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn outcome_unknown_names_the_operation_and_warns_of_a_new_key() {
    let upstream = Upstream::start(|_| vec![Step::Body, Step::Stall]).await;
    let proxy = Proxy::single(upstream.addr, KEYED).await;
    let reply = proxy.send(Request::keyed("/", "secret-key-1", "x")).await;
    let document = check(&reply, 504, "outcome-unknown", &["secret-key-1", &upstream.addr.to_string()]);
    assert_eq!((&document["effect"], &document["safe_to_use_new_key"]), (&"unknown".into(), &false.into()));
    assert!(document["operation"].to_string().contains(&reply.operation()), "{document}");
}

#[tokio::test]
async fn response_not_retained_names_the_original_status() {
    let upstream = Upstream::answering(Answer::status(201).body("x".repeat(60))).await;
    let proxy = Proxy::single(upstream.addr, KEYED).await;
    assert_eq!(proxy.send(Request::keyed("/", "k", "x")).await.expect_upstream(201).text().len(), 60);
    let reply = proxy.send(Request::keyed("/", "k", "x")).await;
    let document = check(&reply, 409, "response-not-retained", &[]);
    assert!(document.to_string().contains("201"), "{document}");
}

#[tokio::test]
async fn principal_missing() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let config = Config::single(upstream.addr, "idempotency: { principal: required }");
    let proxy = Proxy::start(config.listener("principal: { header: X-Tenant }")).await;
    let reply = proxy.send(Request::keyed("/", "k", "x")).await;
    assert_eq!(check(&reply, 401, "principal-missing", &[])["effect"], "none");
    assert_eq!(upstream.count(), 0);
    proxy.send(Request::keyed("/", "k", "x").header("X-Tenant", "t1")).await.expect_upstream(200);
}

#[tokio::test]
async fn ledger_unavailable_leaves_unprotected_traffic_alone() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |seen| {
        if seen.header("idempotency-key").is_some() {
            Answer::ok("kept").behind(&held)
        } else {
            Answer::ok("free").steps()
        }
    })
    .await;
    let config = Config::single(upstream.addr, "timeout: 9s, idempotency: { required: false }");
    let proxy = Proxy::start(config.ledger("store: memory, max_open: 1")).await;
    let mut first = proxy.connect().await;
    first.write(&Request::keyed("/", "one", "x").bytes()).await;
    upstream.wait_requests(1).await;
    let reply = proxy.send(Request::keyed("/", "two", "x")).await;
    assert_eq!(check(&reply, 503, "ledger-unavailable", &[])["effect"], "none");
    assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(upstream.count(), 1, "the second write was sent without a record");
    assert_eq!(proxy.send(Request::post("/", "x")).await.expect_upstream(200).text(), "free");
    gate.open();
    first.reply().await.expect_upstream(200);
    proxy.send(Request::keyed("/", "two", "x")).await.expect_upstream(200);
}

#[tokio::test]
async fn every_slug_has_a_page() {
    let proxy = Proxy::single(free_addr(), "timeout: 1s").await;
    for slug in [
        "no-route",
        "operation-not-found",
        "method-not-allowed",
        "unsupported-media-type",
        "caller-differs",
        "write-failed",
        "forbidden",
        "egress-denied",
        "loop",
        "key-missing",
        "key-invalid",
        "key-reused",
        "key-expired",
        "in-progress",
        "outcome-unknown",
        "principal-missing",
        "response-not-retained",
        "key-ambiguous",
        "body-too-large",
        "ledger-unavailable",
        "rate-limited",
        "overloaded",
        "circuit-open",
        "timeout",
        "upstream-unreachable",
        "upstream-error",
        "bad-request",
        "draining",
    ] {
        let page = proxy.get(&format!("/_mainstay/problems/{slug}")).await;
        assert_eq!(page.status, 200, "{slug}: {}", page.text());
        assert!(page.text().len() > 40, "{slug} is not explained: {}", page.text());
    }
    assert_eq!(proxy.get("/_mainstay/problems/no-such-problem").await.status, 404);
}

#[tokio::test]
async fn the_trace_id_of_the_caller_is_in_the_document() {
    let proxy = Proxy::start(Config::new().upstream("app", free_addr(), "").policy("p", "timeout: 1s").route(
        "path: /only",
        "app",
        "p",
    ))
    .await;
    let request =
        Request::get("/none").header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let document = check(&proxy.send(request).await, 404, "no-route", &[]);
    assert_eq!(document["trace_id"], "0af7651916cd43dd8448eb211c80319c");
}

#[tokio::test]
async fn every_document_about_a_recorded_write_names_its_operation() {
    let refusing = Refusing::new();
    let policy = "idempotency: { required: true }, circuit_breaker: { consecutive_errors: 1, open_duration: 60s }";
    let proxy = Proxy::single(refusing.addr, policy).await;
    for (key, status, slug) in [("a", 502, "upstream-unreachable"), ("b", 503, "circuit-open")] {
        let reply = proxy.send(Request::keyed("/", key, "x")).await;
        let document = reply.expect_problem(status, slug);
        assert_eq!(
            (&document["effect"], document["operation"].as_str()),
            (&"none".into(), reply.header("operation-location"))
        );
        assert_eq!(proxy.operation(&reply.operation()).await["state"], "not_executed");
    }
}
