//! The operators' interface: breakers, limits, the log level and the drain of the running process.

use mainstay_tests::prelude::*;
use serde_json::json;

use super::admin::{act, seen, trail};

const BREAKER: &str = "circuit_breaker: { consecutive_errors: 2, open_duration: 60s }";

#[tokio::test]
async fn a_forced_breaker_holds_over_a_reload_and_is_seen() {
    let upstream = Upstream::answering(Answer::ok("fine")).await;
    let mut proxy = Proxy::start(Config::single(upstream.addr, BREAKER).admin()).await;
    let listed = seen(&proxy, "/breakers").await.json();
    assert_eq!((&listed["breakers"][0]["name"], &listed["breakers"][0]["state"]), (&"p@app".into(), &"closed".into()));
    let why = json!({ "state": "open", "actor": "ana", "reason": "the bank is down for maintenance" });
    let forced = act(&proxy, "/breakers/p@app:force", None, why.clone()).await;
    assert_eq!((forced.status, &forced.json()["state"]), (200, &"forced_open".into()), "{}", forced.text());
    let by = &forced.json()["forced_by"];
    assert_eq!((&by["actor"], &by["reason"]), (&"ana".into(), &"the bank is down for maintenance".into()), "{by}");
    proxy.get("/").await.expect_problem(503, "circuit-open");
    let breaker = [("breaker", "p@app")];
    assert_eq!(proxy.metric("mainstay_breaker_state", &breaker).await, Some(2.0));
    assert_eq!(proxy.metric("mainstay_breaker_forced", &[breaker[0], ("state", "open")]).await, Some(1.0));
    // The numbers change as well; what the operator decided does not.
    let mut next = Config::single(upstream.addr, &BREAKER.replace("2,", "9,")).top("drain: { delay: 1s }");
    (next.data, next.probes, next.admin) = (proxy.config.data, proxy.config.probes, proxy.config.admin);
    proxy.reload(next);
    eventually("the reload is done", || async { proxy.log().contains("configuration reloaded").then_some(()) }).await;
    proxy.get("/").await.expect_problem(503, "circuit-open");
    assert_eq!(seen(&proxy, "/breakers").await.json()["breakers"][0]["forced"], "open");
    let let_go = json!({ "actor": "ana", "reason": "it is back" });
    let released = act(&proxy, "/breakers/p%40app:release", None, let_go.clone()).await;
    assert_eq!(released.json()["state"], "closed", "{}", released.text());
    assert!(released.json()["forced_by"].is_null() && released.json()["since"].is_string(), "{}", released.text());
    proxy.get("/").await.expect_upstream(200);
    assert_eq!(proxy.metric("mainstay_breaker_forced", &[]).await, None);
    act(&proxy, "/breakers/p@other:force", None, why).await.expect_problem(404, "no-route");
    act(&proxy, "/breakers/p@app:force", None, let_go).await.expect_problem(400, "bad-request");
    let expected = [
        ["force", "refused", "-", "-"],
        ["release", "done", "forced_open", "closed"],
        ["force", "done", "closed", "forced_open"],
    ];
    assert_eq!(trail(&proxy).await, expected);
}

#[tokio::test]
async fn a_breaker_held_closed_or_disabled_does_not_trip() {
    let upstream = Upstream::answering(Answer::status(500)).await;
    let proxy = Proxy::start(Config::single(upstream.addr, BREAKER).admin()).await;
    for state in ["closed", "disabled"] {
        let body = json!({ "state": state, "actor": "ana", "reason": "a test of the service" });
        assert_eq!(act(&proxy, "/breakers/p@app:force", None, body).await.status, 200);
        for _ in 0..5 {
            proxy.get("/").await.expect_upstream(500);
        }
    }
}

#[tokio::test]
async fn a_breaker_held_for_a_time_is_released_when_it_is_over_unless_somebody_moved_it_since() {
    let upstream = Upstream::answering(Answer::ok("fine")).await;
    let proxy = Proxy::start(Config::single(upstream.addr, BREAKER).admin()).await;
    let hold = |time: Option<&str>| {
        let body = json!({ "state": "open", "for": time, "actor": "ana", "reason": "the bank says ten minutes" });
        act(&proxy, "/breakers/p@app:force", None, body)
    };
    for wrong in ["0s", "25h", "soon"] {
        hold(Some(wrong)).await.expect_problem(400, "bad-request");
    }
    hold(Some("200ms")).await;
    let now = hold(None).await.json();
    assert_eq!((&now["forced"], &now["forced_by"]["until"]), (&"open".into(), &serde_json::Value::Null), "{now}");
    proxy.get("/").await.expect_problem(503, "circuit-open");
    let now = hold(Some("300ms")).await.json();
    assert!(now["forced_by"]["until"].as_str() > now["forced_by"]["at"].as_str(), "{now}");
    let last = eventually("it is written down who released it", || async {
        let page = seen(&proxy, "/audit?limit=1").await.json();
        (page["entries"][0]["action"] == "release").then(|| page["entries"][0].clone())
    })
    .await;
    assert_eq!((&last["actor"], &last["result"], &last["after"]), (&"ana".into(), &"done".into(), &"closed".into()));
    assert!(last["reason"].as_str().is_some_and(|reason| reason.contains("the bank says ten minutes")), "{last}");
    proxy.get("/").await.expect_upstream(200);
    assert_eq!(seen(&proxy, "/breakers").await.json()["breakers"][0]["forced"], serde_json::Value::Null);
    // The time of the first one ended nothing that came after it.
    let rows = trail(&proxy).await;
    let since: Vec<&str> = rows.iter().map(|row| row[0].as_str()).take(3).collect();
    assert_eq!(since, ["release", "force", "force"], "{rows:?}");
}

#[tokio::test]
async fn a_breaker_tells_its_window_by_tenths_and_a_limit_who_has_used_most_of_it() {
    let upstream = Upstream::answering(Answer::ok("fine")).await;
    let policy = "circuit_breaker: { error_ratio: 0.9, window: 100s }, rate_limit: { requests: 10, unit: 1h, key: \"{header.X-Caller}\" }";
    let proxy = Proxy::start(Config::single(upstream.addr, policy).admin()).await;
    for (caller, requests) in [("one", 1), ("many", 4), ("some", 2)] {
        for _ in 0..requests {
            proxy.send(Request::get("/").header("X-Caller", caller)).await.expect_upstream(200);
        }
    }
    let breaker = seen(&proxy, "/breakers").await.json()["breakers"][0].clone();
    let window = breaker["window"].as_array().expect("a list");
    let sum = window.iter().filter_map(|bucket| bucket["requests"].as_u64()).sum::<u64>();
    assert_eq!((window.len(), sum, &breaker["window_ms"]), (10, 7, &json!(100_000)), "{breaker}");
    let limit = seen(&proxy, "/limits").await.json()["routes"][0]["rate_limit"].clone();
    let left: Vec<u64> =
        limit["top"].as_array().expect("a list").iter().filter_map(|key| key["remaining"].as_u64()).collect();
    assert_eq!((left, &limit["top_is_complete"]), (vec![6, 8, 9], &json!(true)), "{limit}");
    assert!(!limit.to_string().contains("many"), "who it is stays unknown: {limit}");
}

#[tokio::test]
async fn breakers_have_one_name_each() {
    let upstream = Upstream::answering(Answer::ok("x")).await;
    let proxy = Proxy::start(
        Config::new()
            .endpoints("two", &[upstream.addr, free_addr()], "")
            .upstream("app", upstream.addr, "")
            .policy("each", "circuit_breaker: { consecutive_errors: 2, scope: endpoint }")
            .policy("own", "circuit_breaker: { consecutive_errors: 2, scope: route }")
            .policy("all", "circuit_breaker: { consecutive_errors: 2 }")
            .route("path: /each", "two", "each")
            .route("path: \"/pay/{id}\", methods: [GET]", "app", "own")
            .route("path: \"/pay/{id}\", methods: [POST]", "app", "own")
            .route("path: /**", "app", "all")
            .admin(),
    )
    .await;
    let document = seen(&proxy, "/breakers").await.json();
    let names: Vec<&str> = document["breakers"].as_array().unwrap().iter().filter_map(|b| b["name"].as_str()).collect();
    assert_eq!(names, ["all@app", "each@two~0", "each@two~1", "own@pay-id", "own@pay-id~2"]);
    let upstreams = seen(&proxy, "/upstreams").await.json();
    assert_eq!(upstreams["upstreams"][0]["endpoints"][1]["breakers"][0]["name"], "each@two~1");
}

#[tokio::test]
async fn limits_upstreams_and_configuration_are_shown_as_they_stand() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Answer::ok("x").behind(&held)).await;
    let policy = "timeout: 9s, rate_limit: { requests: 5, unit: 1h }, concurrency_limit: { max_concurrent: 3 }";
    let proxy = Proxy::start(Config::single(upstream.addr, policy).admin()).await;
    let mut client = proxy.connect().await;
    client.write(&Request::get("/").bytes()).await;
    upstream.wait_requests(1).await;
    let limits = seen(&proxy, "/limits").await.json();
    let route = &limits["routes"][0];
    assert_eq!((&route["route"], &route["policy"]), (&"/**".into(), &"p".into()));
    assert_eq!(route["rate_limit"]["remaining"], 4, "{route}");
    assert_eq!(
        seen(&proxy, "/limits").await.json()["routes"][0]["rate_limit"]["remaining"],
        4,
        "looking costs nothing"
    );
    assert_eq!(
        (&route["concurrency_limit"]["in_flight"], &route["concurrency_limit"]["limit"]),
        (&1.into(), &3.into())
    );
    let upstreams = seen(&proxy, "/upstreams").await.json();
    let endpoint = &upstreams["upstreams"][0]["endpoints"][0];
    assert_eq!((&endpoint["address"], &endpoint["in_flight"]), (&upstream.addr.to_string().into(), &1.into()));
    let config = seen(&proxy, "/config").await.json();
    assert_eq!(config["effective"]["policies"]["p"]["concurrency_limit"]["max_concurrent"], 3);
    gate.open();
    client.reply().await.expect_upstream(200);
}

#[tokio::test]
async fn the_log_level_changes_at_once_and_a_bad_one_is_refused() {
    let upstream = Upstream::answering(Answer::ok("x")).await;
    let proxy = Proxy::start(Config::single(upstream.addr, "timeout: 1s").admin()).await;
    let put = |level: &str| Request::new("PUT", "/log-level").body(json!({ "level": level }).to_string());
    proxy.operate(put("loud")).await.expect_problem(400, "bad-request");
    assert_eq!(proxy.operate(put("info,mainstay=debug")).await.json()["level"], "info,mainstay=debug");
    assert_eq!(trail(&proxy).await.len(), 2);
}

#[tokio::test]
async fn a_drain_fails_readiness_serves_what_comes_and_waits_for_sigterm() {
    let upstream = Upstream::answering(Answer::ok("x")).await;
    let config = Config::single(upstream.addr, "timeout: 1s").top("drain: { delay: 30s, timeout: 5s }").admin();
    let mut proxy = Proxy::start(config).await;
    for _ in 0..2 {
        assert_eq!(proxy.operate(Request::post("/drain", "")).await.json()["draining"], true);
    }
    assert_eq!(proxy.ready().await, Some(503));
    assert_eq!(proxy.probe("/livez").await.status, 200);
    let reply = proxy.get("/").await;
    assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
    assert_eq!(
        trail(&proxy).await,
        [["drain", "done", "draining", "draining"], ["drain", "done", "ready", "draining"]]
    );
    assert!(proxy.runs());
    proxy.signal("KILL");
}

#[tokio::test]
async fn a_drain_is_taken_back_until_the_process_ends() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |seen| match seen.target.as_str() {
        "/held" => Answer::ok("x").behind(&held),
        _ => Answer::ok("x").steps(),
    })
    .await;
    let config = Config::single(upstream.addr, "timeout: 60s").top("drain: { delay: 60s, timeout: 60s }").admin();
    let proxy = Proxy::start(config).await;
    assert_eq!(proxy.operate(Request::post("/drain", r#"{"scope":"all"}"#)).await.status, 200);
    assert_eq!((proxy.ready().await, proxy.get("/").await.header("connection")), (Some(503), Some("close")));
    let undone = proxy.operate(Request::new("DELETE", "/drain").body(r#"{"actor":"ana","reason":"a mistake"}"#)).await;
    assert_eq!((undone.status, undone.json()), (200, json!({ "draining": false })), "{}", undone.text());
    assert_eq!((proxy.ready().await, proxy.get("/").await.header("connection")), (Some(200), None));
    assert_eq!(proxy.metric("mainstay_draining", &[]).await, Some(0.0));
    // Once more, by the command: it is no error that there is nothing to take back.
    let admin = format!("http://{}", proxy.config.admin.expect("admin"));
    let mut command = tokio::process::Command::new(mainstay_tests::proxy::binary());
    let command = command.args(["drain", "--undo", "--admin", &admin]).kill_on_drop(true);
    let said = within("the command ends", command.output()).await.expect("run mainstay");
    assert!(said.status.success() && String::from_utf8_lossy(&said.stdout).starts_with("not draining"), "{said:?}");
    let expected = [
        ["undrain", "done", "ready", "ready"],
        ["undrain", "done", "draining", "ready"],
        ["drain", "done", "ready", "draining"],
    ];
    assert_eq!(trail(&proxy).await, expected);

    let mut client = proxy.connect().await;
    client.write(&Request::get("/held").bytes()).await;
    eventually("it is under way", || async {
        upstream.requests().iter().any(|seen| seen.target == "/held").then_some(())
    })
    .await;
    proxy.signal("TERM");
    eventually("it ends", || async { (proxy.ready().await == Some(503)).then_some(()) }).await;
    let refused = proxy.operate(Request::new("DELETE", "/drain")).await;
    assert_eq!((refused.status, proxy.ready().await), (409, Some(503)), "{}", refused.text());
    gate.open();
    client.reply().await.expect_upstream(200);
    proxy.signal("KILL");
}
