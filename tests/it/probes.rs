//! `/livez`, `/readyz`, `/metrics`, and the log.

use mainstay_tests::{prelude::*, proxy::metric_in};

#[tokio::test]
async fn probes_answer_on_their_own_listener_only() {
    let upstream = Upstream::answering(Answer::ok("from the app")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    for target in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(proxy.probe(target).await.status, 200, "{target}");
        assert_eq!(proxy.get(target).await.text(), "from the app", "{target} belongs to the app on the data listener");
    }
    assert_eq!(proxy.probe("/elsewhere").await.status, 404);
    let checks = proxy.probe("/readyz?verbose").await;
    assert!(checks.status == 200 && checks.text().lines().all(|line| line.ends_with(" ok")), "{checks:#?}");
    assert!(checks.text().contains("ledger-writable ok\n"), "{checks:#?}");
    for method in ["POST", "PUT", "DELETE"] {
        let reply = Request::new(method, "/metrics").send(proxy.probes).await;
        assert!(matches!(reply.status, 404 | 405), "{method}: {reply:#?}");
    }
}

#[tokio::test]
async fn readiness_does_not_depend_on_the_upstream_or_an_open_breaker() {
    let refusing = Refusing::new();
    let proxy = Proxy::single(refusing.addr, "circuit_breaker: { consecutive_errors: 1, open_duration: 60s }").await;
    for _ in 0..3 {
        assert!(proxy.get("/").await.status >= 500);
    }
    assert_eq!((proxy.probe("/readyz").await.status, proxy.probe("/livez").await.status), (200, 200));
}

#[tokio::test]
async fn metrics_count_what_happened_under_bounded_labels() {
    let upstream = Upstream::start(|seen| Answer::status(if seen.index == 0 { 503 } else { 200 }).steps()).await;
    let policy = "retry: 1, rate_limit: { requests: 3, unit: 10m }, idempotency: { required: false }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    proxy.get("/some/path/with/id/12345").await.expect_upstream(200);
    proxy.send(Request::keyed("/", "secret-key", "secret-body")).await.expect_upstream(200);
    proxy.get("/").await.expect_upstream(200);
    proxy.get("/").await.expect_problem(429, "rate-limited");
    // A request is counted at its end, which is a moment after its client has the answer.
    eventually("four requests are counted", || async {
        (proxy.metric("mainstay_requests_total", &[]).await == Some(4.0)).then_some(())
    })
    .await;
    let page = proxy.probe("/metrics").await;
    assert!(
        page.header("content-type").is_some_and(|v| v.contains("text/plain") || v.contains("openmetrics")),
        "{page:#?}"
    );
    let text = page.text();
    for secret in ["12345", "secret"] {
        assert!(!text.contains(secret), "{secret} is in the metrics");
    }
    let families: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert!(
        families.iter().all(|family| family.starts_with("mainstay_") || family.starts_with("process_")),
        "{families:#?}"
    );
    assert_eq!(metric_in(&text, "mainstay_config_last_reload_successful", &[]), Some(1.0));
    assert_eq!(metric_in(&text, "mainstay_build_info", &[]), Some(1.0));
    assert_eq!(
        metric_in(&text, "mainstay_requests_total", &[("upstream", "app"), ("policy", "p")]),
        Some(4.0),
        "{text}"
    );
    assert_eq!(metric_in(&text, "mainstay_request_duration_seconds_count", &[]), Some(4.0), "{text}");
    assert_eq!(metric_in(&text, "mainstay_attempts_total", &[]), Some(4.0), "{text}");
}

#[tokio::test]
async fn the_access_log_has_a_line_per_request_with_its_trace_and_nothing_secret() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let policy = "idempotency: { required: true }";
    let proxy =
        Proxy::start(Config::single(upstream.addr, policy).top("telemetry: { logs: { format: json, level: debug } }"))
            .await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let request = Request::keyed("/pay", "secret-key", "secret-body")
        .header("Authorization", "Bearer secret-token")
        .header("traceparent", &format!("00-{trace}-b7ad6b7169203331-01"));
    proxy.send(request).await.expect_upstream(200);
    let line = eventually("the access log line", || async {
        proxy.log().lines().find(|line| line.contains(trace) && line.contains("/pay")).map(str::to_owned)
    })
    .await;
    let line: serde_json::Value = serde_json::from_str(&line).expect("one JSON object a line");
    assert!(line.to_string().contains("200"), "{line}");
    assert!(!proxy.log().contains("secret"), "{}", proxy.log());
}

#[tokio::test]
async fn a_memory_ledger_is_warned_about_at_start() {
    let proxy = Proxy::single(free_addr(), "timeout: 5s, idempotency: { required: true }").await;
    // The log is written behind the requests, so readiness may be quicker.
    eventually("the warning", || async { proxy.log().to_lowercase().contains("memory").then_some(()) }).await;
}
