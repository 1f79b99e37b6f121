//! Keys, bodies and credentials are nowhere but where they belong.

use mainstay_tests::{otlp::Collector, prelude::*};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// Every secret of a request and of an answer holds this.
const CANARY: &str = "canary";

fn marked(request: Request) -> Request {
    request
        .header("Authorization", "Bearer canary-token")
        .header("Cookie", "session=canary-cookie")
        .header("X-Api-Key", "canary-api-key")
        .header("traceparent", &format!("00-{TRACE}-{PARENT}-01"))
}

fn answers(seen: &Seen) -> Vec<Step> {
    match seen.target.as_str() {
        "/lost" => vec![Step::Reset],
        "/odd" => Answer::status(500).body("canary-answer").steps(),
        _ => Answer::status(201).header("Set-Cookie", "s=canary-cookie").body("canary-answer").steps(),
    }
}

/// Everything that can be asked and refused, once.
async fn tell_all(proxy: &Proxy) -> Vec<Reply> {
    let mut own = Vec::new();
    for request in [
        Request::keyed("/pay", "canary-key", "canary-body"),
        Request::keyed("/pay", "canary-key", "canary-body"),
        Request::keyed("/pay", "canary-key", "canary-other-body"),
        Request::keyed("/pay", "canary-key\" \"canary", "canary-body"),
        Request::keyed("/lost", "canary-lost", "canary-body"),
        Request::keyed("/lost", "canary-lost", "canary-body"),
        Request::keyed("/odd", "canary-odd", "canary-body"),
        Request::keyed("/pay", "canary-large", "canary".repeat(1_000)),
        Request::post("/derived", r#"{"id":"canary-id"}"#),
        Request::post("/derived", r#"{"id":"canary-id","x":"canary-body"}"#),
        Request::post("/derived", r#"{"id":{"canary":1}}"#),
        Request::post("/derived", r#"{"other":"canary-body"}"#),
        Request::post("/content", "canary-body"),
        Request::get("/_mainstay/operations?key=canary-key"),
        Request::get("/_mainstay/operations?key=canary-unknown"),
        Request::get("/_mainstay/operations?key=canary%00&path=/pay"),
        Request::get("/_mainstay/operations?canary=1"),
        Request::post("/_mainstay/operations:batchGet", r#"{"keys":["canary-key","canary-unknown"]}"#),
        Request::post("/_mainstay/operations:batchGet", r#"{"canary":[]}"#),
    ] {
        let reply = proxy.send(marked(request)).await;
        if reply.slug().is_some() || reply.header("content-type") == Some("application/json") {
            own.push(reply);
        }
    }
    own
}

#[tokio::test]
async fn keys_bodies_and_credentials_are_in_no_log_metric_trace_or_document() {
    for format in ["json", "text"] {
        let upstream = Upstream::start(answers).await;
        let collector = Collector::start().await;
        let telemetry = format!(
            "telemetry: {{ otlp: {{ endpoint: \"http://{}\" }}, logs: {{ format: {format}, level: trace, access: true }} }}",
            collector.addr()
        );
        let config = Config::new()
            .upstream("app", upstream.addr, "")
            .policy("plain", "idempotency: { required: true, max_body: 2KiB }")
            .policy("derived", "idempotency: { required: true, key: { from: \"{json:/id}\" } }")
            .policy("content", "idempotency: { key: { from: fingerprint } }")
            .route("path: /derived", "app", "derived")
            .route("path: /content", "app", "content")
            .route("path: /**", "app", "plain")
            .top(&telemetry);
        let mut proxy = Proxy::start(config).await;
        let own = tell_all(&proxy).await;
        assert!(own.len() >= 14, "{}", own.len());
        for reply in &own {
            assert!(!reply.text().contains(CANARY), "{format}: {}", reply.text());
        }
        collector.trace(TRACE, 20).await;
        let metrics = proxy.probe("/metrics").await.text();
        assert!(metrics.contains("mainstay_") && !metrics.contains(CANARY), "{format}: {metrics}");
        proxy.terminate().await;
        let spans = format!("{:?}", collector.exports());
        assert!(!spans.contains(CANARY), "{format}: {spans}");
        let log = proxy.log();
        let access = if format == "json" { "\"status\"" } else { "201" };
        assert!(log.contains(access), "the log is there: {log}");
        let told: Vec<_> = log.lines().filter(|line| line.to_lowercase().contains(CANARY)).collect();
        assert!(told.is_empty(), "{format}: {told:#?}");
    }
}
