//! `POST /reload` and `GET /config`: a configuration is read when a person wants it, and what is in force says where it is from.

use mainstay_tests::{prelude::*, proxy::TempDir};
use serde_json::{Value, json};

use super::admin::{act, seen, trail};

async fn reload(proxy: &Proxy) -> Value {
    let reply = act(proxy, "/reload", None, json!({ "actor": "ana", "reason": "new limits" })).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

/// The same with another policy.
fn with(proxy: &Proxy, upstream: &Upstream, policy: &str) -> Config {
    let mut next = Config::single(upstream.addr, policy);
    (next.data, next.probes, next.admin) = (proxy.config.data, proxy.config.probes, proxy.config.admin);
    next
}

#[tokio::test]
async fn the_files_are_read_when_a_person_wants_it_and_what_became_of_it_is_told_and_kept() {
    let upstream = Upstream::answering(Answer::ok("fine")).await;
    let mut proxy = Proxy::start(Config::single(upstream.addr, "timeout: 2s").admin()).await;
    let unchanged = reload(&proxy).await;
    assert_eq!((&unchanged["result"], &unchanged["changed"]), (&json!("unchanged"), &json!([])), "{unchanged}");
    // The watcher may be quicker: then nothing is left to change, and it is tried with another value.
    let mut seconds = 2;
    let reloaded = loop {
        seconds += 1;
        assert!(seconds < 30, "never before the watcher");
        let next = with(&proxy, &upstream, &format!("timeout: {seconds}s"));
        proxy.rewrite(next);
        let told = reload(&proxy).await;
        let shown = seen(&proxy, "/config").await.json();
        assert_eq!(shown["effective"]["policies"]["p"]["timeout"]["total"], format!("{seconds}s"), "{told}");
        assert_eq!(shown["hash"], told["hash"]);
        if told["result"] == "reloaded" {
            break told;
        }
    };
    let expected = format!("policies.p.timeout.total: {}s -> {seconds}s", seconds - 1);
    assert!(reloaded["changed"].as_array().unwrap().contains(&json!(expected)), "{reloaded}");
    assert_eq!(reloaded["changed_count"], reloaded["changed"].as_array().unwrap().len());
    let latest = &trail(&proxy).await[0];
    assert_eq!((&*latest[0], &*latest[1]), ("reload", "reloaded"));
    assert_ne!(latest[2], latest[3], "from one hash to another");
    proxy.get("/").await.expect_upstream(200);
}

#[tokio::test]
async fn a_configuration_that_is_refused_changes_nothing_and_says_why() {
    let upstream = Upstream::answering(Answer::ok("fine")).await;
    let mut proxy = Proxy::start(Config::single(upstream.addr, "timeout: 2s").admin()).await;
    let before = seen(&proxy, "/config").await.json();
    assert!(before["last_error"].is_null(), "{before}");
    let next = with(&proxy, &upstream, "timeout: soon");
    let good = std::mem::replace(&mut proxy.config, next.clone());
    proxy.rewrite(next);
    let refused = reload(&proxy).await;
    assert_eq!((&refused["result"], &refused["hash"]), (&json!("refused"), &before["hash"]), "{refused}");
    assert!(refused["error"].as_str().unwrap().contains("soon"), "{refused}");
    assert!(refused["findings"][0]["line"].is_u64() && refused["findings"][0]["severity"] == "error", "{refused}");
    let shown = seen(&proxy, "/config").await.json();
    assert_eq!((&shown["last_error"]["message"], &shown["hash"]), (&refused["error"], &before["hash"]), "{shown}");
    assert!(shown["places"].is_null(), "the file is no longer what is in force: {shown}");
    assert_eq!(trail(&proxy).await[0][..2], ["reload", "refused"]);
    proxy.rewrite(good);
    assert_eq!(reload(&proxy).await["result"], "unchanged");
    assert!(seen(&proxy, "/config").await.json()["last_error"].is_null());
}

#[tokio::test]
async fn what_is_in_force_says_where_it_is_written() {
    let upstream = Upstream::answering(Answer::ok("fine")).await;
    let policy = "timeout: 2s, idempotency: { required: true }";
    let proxy = Proxy::start(Config::single(upstream.addr, policy).admin()).await;
    let shown = seen(&proxy, "/config").await.json();
    assert_eq!(shown["file"], proxy.file().display().to_string());
    let written = std::fs::read_to_string(proxy.file()).unwrap();
    let place = &shown["places"]["policies.p.idempotency.required"];
    let line = written.lines().nth(place["line"].as_u64().unwrap() as usize - 1).unwrap();
    assert!(line.contains("required: true"), "{place}: {line}");
    assert_eq!(place["file"], shown["file"]);
    assert!(shown["places"].get("policies.p.idempotency.retention").is_none(), "a default is written nowhere");
    assert!(!shown["effective"]["policies"]["p"]["idempotency"]["retention"].is_null(), "{shown}");
    let codes: Vec<_> = shown["findings"].as_array().unwrap().iter().map(|finding| &finding["code"]).collect();
    assert!(codes.contains(&&json!("doubt-without-status")), "{codes:?}");
    assert_eq!(seen(&proxy, "/status").await.json()["config"]["file"], shown["file"]);
}

#[tokio::test]
async fn who_may_only_look_reloads_nothing() {
    let home = TempDir::new();
    std::fs::write(home.join("bot"), "the bots token").unwrap();
    let tokens = format!("tokens: [{{ name: bot, file: \"{}\", read_only: true }}]", home.join("bot").display());
    let upstream = Upstream::answering(Answer::ok("fine")).await;
    let proxy = Proxy::start(Config::single(upstream.addr, "timeout: 2s").admin().admin_more(&tokens)).await;
    let order =
        Request::post("/reload", json!({ "reason": "x" }).to_string()).header("Content-Type", "application/json");
    proxy.operate(order.clone()).await.expect_problem(401, "forbidden");
    proxy.operate(order.header("Authorization", "Bearer the bots token")).await.expect_problem(403, "forbidden");
    proxy.operate(Request::get("/events")).await.expect_problem(401, "forbidden");
    assert!(!proxy.log().contains("configuration reloaded"));
}
