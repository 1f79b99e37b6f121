//! What the log tells: how each request went, and what happened to writes, breakers and upstreams.

use mainstay_tests::{prelude::*, proxy::TempDir};
use serde_json::Value;

const JSON: &str = "telemetry: { logs: { format: json } }";

/// The first line whose fields are all as given.
async fn line(proxy: &Proxy, fields: &[(&str, &str)]) -> Value {
    eventually(&format!("a line with {fields:?}"), || async {
        let log = proxy.log();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find(|line| fields.iter().all(|(name, value)| line[name] == *value))
    })
    .await
}

async fn access(proxy: &Proxy, path: &str) -> Value {
    line(proxy, &[("target", "access"), ("path", path)]).await
}

#[tokio::test]
async fn an_access_line_names_the_endpoint_the_retries_and_the_cause() {
    let upstream = Upstream::start(|seen| match seen.target.as_str() {
        "/eof" => vec![Step::Body, Step::Close],
        "/reset" => vec![Step::Body, Step::Reset],
        "/slow" => vec![Step::Body, Step::Stall],
        "/again" if seen.index == 0 => vec![Step::Body, Step::Reset],
        _ => Answer::ok("x").steps(),
    })
    .await;
    let refusing = Refusing::new();
    let config = Config::single(upstream.addr, "timeout: { total: 5s, attempt: 300ms }")
        .upstream("gone", refusing.addr, "")
        .policy("again", "timeout: 5s, retry: 1")
        .first_route("path: /gone", "gone", "p")
        .first_route("path: /again", "app", "again");
    let proxy = Proxy::start(config.top(JSON)).await;
    let (here, there) = (upstream.addr.to_string(), refusing.addr.to_string());
    for (path, endpoint, error, attempts) in [
        ("/again", &here, None, 2),
        ("/well", &here, None, 1),
        ("/eof", &here, Some("eof"), 1),
        ("/reset", &here, Some("reset"), 1),
        ("/slow", &here, Some("attempt_timeout"), 1),
        ("/gone", &there, Some("refused"), 1),
    ] {
        proxy.get(path).await;
        let line = access(&proxy, path).await;
        assert_eq!(line["endpoint"], endpoint.as_str(), "{line}");
        assert_eq!(line["error"].as_str(), error, "{line}");
        assert_eq!((&line["attempts"], &line["retries"]), (&attempts.into(), &(attempts - 1).into()), "{line}");
    }
}

#[tokio::test]
async fn an_access_line_tells_of_waits_caches_fallbacks_and_whose_write_it_was() {
    let upstream = Upstream::start(|seen| {
        let status = if seen.target == "/broken" { 500 } else { 200 };
        Answer::status(status).header("Cache-Control", "max-age=60").body("x").steps()
    })
    .await;
    let other = Upstream::answering(Answer::ok("other")).await;
    let config = Config::single(upstream.addr, "timeout: 5s, cache: {}")
        .upstream("other", other.addr, "")
        .policy("paced", "timeout: 5s, rate_limit: { requests: 10, behavior: queue }")
        .policy("stood", "timeout: 5s, fallback: { on: [5xx], upstream: other }")
        .policy("write", "timeout: 5s, idempotency: { required: true }")
        .first_route("path: /paced", "app", "paced")
        .first_route("path: /broken", "app", "stood")
        .first_route("path: /pay", "app", "write")
        .listener("principal: { header: X-Tenant }");
    let proxy = Proxy::start(config.top(JSON)).await;
    for path in ["/cached?1", "/cached?1"] {
        proxy.get(path).await.expect_upstream(200);
    }
    for how in ["miss", "hit"] {
        line(&proxy, &[("path", "/cached"), ("cache", how)]).await;
    }
    proxy.get("/paced").await.expect_upstream(200);
    proxy.get("/paced").await.expect_upstream(200);
    eventually("one of the two waited", || async {
        let waited = |line: &str| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line["path"] == "/paced" && line["waited_ms"].as_u64()? > 0).then_some(())
        };
        proxy.log().lines().find_map(waited)
    })
    .await;
    proxy.get("/broken").await.expect_upstream(200);
    let stood = access(&proxy, "/broken").await;
    assert_eq!((&stood["fallback"], &stood["endpoint"]), (&"5xx".into(), &other.addr.to_string().into()), "{stood}");

    let reply = proxy.send(Request::keyed("/pay", "k", "x").header("X-Tenant", "shop")).await;
    let location = reply.header("operation-location").unwrap().to_owned();
    let document = proxy.send(Request::get(&location).header("X-Tenant", "shop")).await.json();
    let paid = access(&proxy, "/pay").await;
    assert_eq!(paid["key_hash"], document["key_hash"].as_str().unwrap()[..8], "{paid} {document}");
    assert_eq!(paid["principal_hash"].as_str().map(str::len), Some(8), "{paid}");
}

#[tokio::test]
async fn the_log_tells_of_writes_in_doubt_and_settled() {
    let upstream = Upstream::start(|seen| match seen.method.as_str() {
        "POST" => vec![Step::Body, Step::Reset],
        _ => Answer::json(200, "{}").steps(),
    })
    .await;
    let policy = "timeout: 5s, idempotency: { status: { request: \"GET /by-ref/{key}\", \
                  rules: [{ status: 200, then: succeeded }] } }";
    let proxy = Proxy::start(Config::single(upstream.addr, policy).top(JSON)).await;
    let id = proxy.send(Request::keyed("/pay", "k", "x")).await.operation();
    let doubt = line(&proxy, &[("message", "a write is in doubt"), ("operation", &id)]).await;
    assert_eq!(
        ["level", "route", "upstream", "cause"].map(|name| doubt[name].as_str().unwrap()),
        ["INFO", "/**", "app", "reset"]
    );
    let settled = line(&proxy, &[("message", "a write was settled"), ("operation", &id)]).await;
    assert_eq!(["state", "source"].map(|name| settled[name].as_str().unwrap()), ["succeeded", "status_query"]);
    assert!(settled["after_ms"].is_u64(), "{settled}");
}

#[tokio::test]
async fn a_flood_of_one_kind_is_bound_and_counted() {
    let upstream = Upstream::start(|_| vec![Step::Body, Step::Reset]).await;
    let proxy = Proxy::start(Config::single(upstream.addr, "timeout: 5s, idempotency: true").top(JSON)).await;
    for number in 0..60 {
        proxy.send(Request::keyed("/pay", &format!("k{number}"), "x")).await;
    }
    let told = |log: &str| -> usize {
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let count = lines.filter_map(|line| match line["message"].as_str()? {
            "a write is in doubt" => Some(1),
            text if text.starts_with("a write is in doubt: and ") => line["more"].as_u64().map(|more| more as usize),
            _ => None,
        });
        count.sum()
    };
    eventually("all are told or counted", || async { (told(&proxy.log()) == 60).then_some(()) }).await;
    assert!(proxy.log().contains("a write is in doubt: and "), "{}", proxy.log());
}

#[tokio::test]
async fn the_log_tells_when_a_breaker_opens_and_closes_with_the_figures() {
    let upstream = Upstream::start(|seen| Answer::status(if seen.target == "/bad" { 500 } else { 200 }).steps()).await;
    let policy = "timeout: 5s, circuit_breaker: { error_ratio: 0.5, min_requests: 4, open_duration: 100ms }";
    let proxy = Proxy::start(Config::single(upstream.addr, policy).top(JSON)).await;
    for path in ["/bad", "/well", "/bad", "/bad"] {
        proxy.get(path).await;
    }
    let opened = line(&proxy, &[("message", "breaker opened")]).await;
    assert_eq!(
        (&opened["level"], &opened["breaker"], &opened["condition"]),
        (&"WARN".into(), &"p@app".into(), &"error_ratio".into())
    );
    assert_eq!((&opened["value"], &opened["threshold"], &opened["requests"]), (&0.75.into(), &0.5.into(), &4.into()));
    eventually("a probe is let through", || async { (proxy.get("/well").await.status == 200).then_some(()) }).await;
    let closed = line(&proxy, &[("message", "breaker closed")]).await;
    assert_eq!((&closed["level"], &closed["breaker"]), (&"INFO".into(), &"p@app".into()));
}

#[tokio::test]
async fn the_log_tells_once_when_an_upstream_cannot_be_reached_and_when_it_can_again() {
    let address = free_addr();
    let proxy = Proxy::start(Config::single(address, "timeout: 5s").top(JSON)).await;
    for _ in 0..5 {
        proxy.get("/").await.expect_problem(502, "upstream-unreachable");
    }
    let lost = line(&proxy, &[("message", "an upstream is unreachable")]).await;
    assert_eq!(
        ["level", "upstream", "endpoint", "cause"].map(|name| lost[name].as_str().unwrap()),
        ["WARN", "app", &address.to_string(), "connection refused"]
    );
    let listener = tokio::net::TcpListener::bind(address).await.expect("the address is free still");
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut wire = mainstay_tests::wire::Wire::new(stream);
            wire.head().await.ok();
            wire.send(&Answer::ok("x").bytes()).await.ok();
        }
    });
    proxy.get("/").await.expect_upstream(200);
    let back = line(&proxy, &[("message", "an upstream is reachable again")]).await;
    assert_eq!((&back["level"], &back["endpoint"]), (&"INFO".into(), &address.to_string().into()));
    assert_eq!(proxy.log().matches("an upstream is unreachable").count(), 1, "{}", proxy.log());
    serving.abort();
}

#[tokio::test]
async fn an_operators_act_has_a_subject_and_no_second_target() {
    let upstream = Upstream::answering(Answer::ok("x")).await;
    let proxy = Proxy::start(Config::single(upstream.addr, "timeout: 5s").top(JSON).admin()).await;
    proxy.operate(Request::post("/drain", "")).await;
    let act = line(&proxy, &[("message", "an operator's act")]).await;
    assert_eq!((&act["subject"], &act["target"]), (&"readiness".into(), &"mainstay::admin::act".into()));
}

#[tokio::test]
async fn the_start_is_one_line_and_a_reload_names_what_it_changed() {
    let home = TempDir::new();
    let upstream = Upstream::answering(Answer::ok("x")).await;
    let config = |timeout: &str| {
        let ledger = format!("path: \"{}\"", home.join("ledger").display());
        Config::single(upstream.addr, &format!("timeout: {timeout}, idempotency: true")).ledger(&ledger).top(JSON)
    };
    let mut proxy = Proxy::start(config("2s")).await;
    let started = line(&proxy, &[("message", "started")]).await;
    assert_eq!(started["listeners"], format!("inbound={}", proxy.addr), "{started}");
    assert_eq!(started["upstreams"], format!("app={}", upstream.addr), "{started}");
    assert_eq!((&started["probes"], &started["admin"]), (&proxy.probes.to_string().into(), &"off".into()), "{started}");
    assert!(started["ledger"].as_str().unwrap().starts_with("disk "), "{started}");
    assert!(started["config"].as_str().unwrap().ends_with("mainstay.yaml"), "{started}");
    let hash = started["hash"].as_str().unwrap().to_owned();
    assert_eq!(hash.len(), 12, "{started}");

    let mut next = config("3s");
    (next.data, next.probes) = (proxy.config.data, proxy.config.probes);
    proxy.reload(next);
    let reloaded = line(&proxy, &[("message", "configuration reloaded")]).await;
    assert_eq!(reloaded["changed"], "policies.p.timeout.total: 2s -> 3s", "{reloaded}");
    assert_ne!(reloaded["hash"], hash, "{reloaded}");
}
