//! What the metrics tell of the ledger, of doubt, of upstreams that cannot be reached, and of single requests.

#![allow(clippy::float_cmp, reason = "what is compared is counted, and whole")]

use mainstay_tests::{
    prelude::*,
    proxy::{Launch, TempDir},
    skew::Skew,
};

async fn metric(proxy: &Proxy, name: &str, labels: &[(&str, &str)]) -> f64 {
    proxy.metric(name, labels).await.unwrap_or_default()
}

#[tokio::test]
async fn the_ledger_tells_how_full_it_is_and_how_long_its_commits_take() {
    let upstream = Upstream::answering(Answer::status(201)).await;
    let dir = TempDir::new();
    let config = Config::single(upstream.addr, "timeout: 5s, idempotency: { required: true }");
    let proxy =
        Proxy::start(config.ledger(&format!("path: \"{}\", max_bytes: 8MiB", dir.join("ledger").display()))).await;
    let before = metric(&proxy, "mainstay_ledger_bytes", &[]).await;
    for n in 0..20 {
        let body = vec![b'x'; 1000];
        proxy.send(Request::keyed("/", &format!("k{n}"), body)).await.expect_upstream(201);
    }
    assert_eq!(metric(&proxy, "mainstay_ledger_max_bytes", &[]).await, 8.0 * 1024.0 * 1024.0);
    assert!(metric(&proxy, "mainstay_ledger_bytes", &[]).await > before, "twenty records take room");
    assert!(metric(&proxy, "mainstay_ledger_commit_duration_seconds_count", &[]).await >= 20.0);
    assert_eq!(proxy.metric("mainstay_ledger_queue_depth", &[]).await, Some(0.0));
}

#[tokio::test]
async fn a_ledger_in_memory_tells_how_full_it_is() {
    let upstream = Upstream::answering(Answer::status(201)).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s, idempotency: { required: true }").await;
    proxy.send(Request::keyed("/", "k", "x")).await.expect_upstream(201);
    assert!(metric(&proxy, "mainstay_ledger_bytes", &[]).await > 100.0);
    assert_eq!(metric(&proxy, "mainstay_ledger_max_bytes", &[]).await, 64.0 * 1024.0 * 1024.0);
}

#[tokio::test]
async fn connections_that_are_not_made_are_counted_by_cause() {
    let config = Config::single(free_addr(), "timeout: 5s");
    let config = config.upstream("other", free_addr(), "").first_route("path: /other", "other", "p");
    let mut proxy = Proxy::start(config).await;
    for _ in 0..2 {
        proxy.get("/").await.expect_problem(502, "upstream-unreachable");
    }
    let count = async |proxy: &Proxy, upstream| {
        let labels = [("upstream", upstream), ("cause", "refused")];
        proxy.metric("mainstay_upstream_connect_errors_total", &labels).await
    };
    assert_eq!((count(&proxy, "app").await, count(&proxy, "other").await), (Some(2.0), None));
    // An attempt's result has the same words.
    let labels = [("upstream", "app"), ("result", "refused")];
    assert_eq!(proxy.metric("mainstay_attempts_total", &labels).await, Some(2.0));
    let endpoints = async |upstream, state| {
        proxy.metric("mainstay_upstream_endpoints", &[("upstream", upstream), ("state", state)]).await
    };
    assert_eq!((endpoints("app", "unreachable").await, endpoints("app", "reachable").await), (Some(1.0), Some(0.0)));
    assert_eq!(
        (endpoints("other", "unreachable").await, endpoints("other", "reachable").await),
        (Some(0.0), Some(1.0))
    );
    // They go on over a reload that does not touch the upstream.
    let next = proxy.config.clone().policy("unused", "timeout: 1s");
    let loaded = proxy.metric("mainstay_config_last_reload_success_timestamp_seconds", &[]).await;
    proxy.reload(next);
    eventually("it is loaded", || async {
        let now = proxy.metric("mainstay_config_last_reload_success_timestamp_seconds", &[]).await;
        (now != loaded).then_some(())
    })
    .await;
    proxy.get("/").await.expect_problem(502, "upstream-unreachable");
    assert_eq!(count(&proxy, "app").await, Some(3.0));
}

#[tokio::test]
async fn connections_to_an_upstream_are_in_use_or_idle() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Answer::ok("ok").behind(&held)).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let connections =
        async |state| proxy.metric("mainstay_upstream_connections", &[("upstream", "app"), ("state", state)]).await;
    let addr = proxy.addr;
    let asked = tokio::spawn(async move { Request::get("/").send(addr).await });
    eventually("it is in flight", || async { (connections("in_use").await == Some(1.0)).then_some(()) }).await;
    assert_eq!(connections("idle").await, Some(0.0));
    gate.open();
    asked.await.unwrap().expect_upstream(200);
    eventually("it is idle", || async { (connections("idle").await == Some(1.0)).then_some(()) }).await;
    assert_eq!(connections("in_use").await, Some(0.0));
}

#[tokio::test]
async fn changes_of_a_breaker_are_counted_by_what_it_became() {
    let upstream = Upstream::answering(Answer::status(500)).await;
    let policy = "timeout: 5s, circuit_breaker: { consecutive_errors: 2, open_duration: 10m }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    for _ in 0..2 {
        proxy.get("/").await.expect_upstream(500);
    }
    proxy.get("/").await.expect_problem(503, "circuit-open");
    for (to, count) in [("open", 1.0), ("half_open", 0.0), ("closed", 0.0)] {
        assert_eq!(metric(&proxy, "mainstay_breaker_transitions_total", &[("to", to)]).await, count, "{to}");
    }
}

#[tokio::test]
async fn a_clock_that_jumps_is_counted_also_where_there_is_no_other_to_hold_it_against() {
    const HOUR_MS: i64 = 3_600_000;
    let (home, upstream, clock) = (TempDir::new(), Upstream::answering(Answer::ok("ok")).await, Skew::of(0));
    let ledger = format!("path: \"{}\"", home.join("ledger").display());
    let config = Config::single(upstream.addr, "timeout: 5s, idempotency: true").ledger(&ledger);
    let launch = Launch { variables: clock.variables(), ..Launch::default() };
    let proxy = Proxy::launch(config, &launch).await.unwrap_or_else(|log| panic!("{log}"));
    let jumps = || async {
        let of = |direction| metric(&proxy, "mainstay_clock_jumps_total", direction);
        (of(&[("direction", "forward")]).await, of(&[("direction", "back")]).await)
    };
    // From the start: what appears with its first jump has not grown, to whoever looks.
    assert_eq!(proxy.metric("mainstay_clock_jumps_total", &[("direction", "forward")]).await, Some(0.0));
    for (ms, expected) in [(HOUR_MS, (1.0, 0.0)), (0, (1.0, 1.0)), (2 * HOUR_MS, (2.0, 1.0))] {
        clock.set(ms);
        eventually("the jump is counted, once", || async { (jumps().await == expected).then_some(()) }).await;
    }
}

#[tokio::test]
async fn doubt_is_counted_by_its_reason_and_its_length_is_measured() {
    let upstream = Upstream::start(|seen| match seen.method.as_str() {
        "GET" => Answer::json(200, r#"{"state": "SUCCESS"}"#).steps(),
        _ => vec![Step::Body, Step::Stall],
    })
    .await;
    let status =
        "status: { request: 'GET /by/{key}', rules: [{ status: 200, then: succeeded }], schedule: { first: 300ms } }";
    let proxy =
        Proxy::single(upstream.addr, &format!("timeout: 300ms, idempotency: {{ required: true, {status} }}")).await;
    let lost = proxy.send(Request::keyed("/", "k", "x")).await;
    lost.expect_problem(504, "outcome-unknown");
    proxy.operation_in(&lost.operation(), "succeeded").await;
    let doubted = metric(&proxy, "mainstay_operations_doubted_total", &[("reason", "timeout")]).await;
    assert_eq!(doubted, 1.0, "{}", proxy.probe("/metrics").await.text());
    assert_eq!(metric(&proxy, "mainstay_time_in_doubt_seconds_count", &[]).await, 1.0);
    let sum = metric(&proxy, "mainstay_time_in_doubt_seconds_sum", &[]).await;
    assert!((0.3..10.0).contains(&sum), "{sum}");
}

#[tokio::test]
async fn openmetrics_is_given_to_who_asks_with_the_trace_of_a_request_in_each_bucket() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let config = Config::single(upstream.addr, "timeout: 5s");
    let proxy =
        Proxy::start(config.top(&format!("telemetry: {{ otlp: {{ endpoint: \"http://{}\" }} }}", free_addr()))).await;
    let (sampled, unsampled) = ("4bf92f3577b34da6a3ce929d0e0e4736", "0af7651916cd43dd8448eb211c80319c");
    for (trace, flags) in [(unsampled, "00"), (sampled, "01"), (unsampled, "00")] {
        let traceparent = format!("00-{trace}-00f067aa0ba902b7-{flags}");
        Request::get("/").header("traceparent", &traceparent).send(proxy.addr).await.expect_upstream(200);
    }
    let page = async |accept: &str| Request::get("/metrics").header("Accept", accept).send(proxy.probes).await;
    let scraper = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
    let reply = page(scraper).await;
    assert_eq!(reply.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    let text = reply.text();
    assert!(text.ends_with("\n# EOF\n"), "{text}");
    assert!(text.contains("# TYPE mainstay_requests counter\n"), "{text}");
    let exemplars: Vec<&str> = text.lines().filter(|line| line.contains(" # {")).collect();
    // Of the request, and of its one attempt.
    assert_eq!(exemplars.len(), 2, "{exemplars:?}");
    for (family, line) in ["request", "attempt"].iter().zip(&exemplars) {
        assert!(line.starts_with(&format!("mainstay_{family}_duration_seconds_bucket{{")), "{exemplars:?}");
        assert!(line.contains(&format!(" # {{trace_id=\"{sampled}\"}} 0.0")), "{exemplars:?}");
    }
    let plain = page("text/plain, */*").await;
    assert_eq!(plain.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(!plain.text().contains(" # {") && !plain.text().contains("# EOF"), "{}", plain.text());
}
