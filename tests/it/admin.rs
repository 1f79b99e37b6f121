//! The operators' interface: what they see, and what a word of theirs changes.

use mainstay_tests::{prelude::*, proxy::TempDir};
use serde_json::{Value, json};

pub(super) const POLICY: &str = "timeout: 5s, idempotency: { required: true }";

/// Takes every write and loses its answer.
pub(super) async fn losing() -> Upstream {
    Upstream::start(|seen| match seen.method.as_str() {
        "POST" => vec![Step::Body, Step::Reset],
        _ => Answer::ok("fine").steps(),
    })
    .await
}

pub(super) async fn proxy_before(upstream: &Upstream) -> Proxy {
    Proxy::start(Config::single(upstream.addr, POLICY).admin()).await
}

/// Loses a write; gives its operation's id.
pub(super) async fn lose(proxy: &Proxy, key: &str) -> String {
    let reply = proxy.send(Request::keyed("/pay", key, "100 EUR")).await;
    reply.expect_problem(502, "outcome-unknown");
    reply.operation()
}

pub(super) async fn seen(proxy: &Proxy, target: &str) -> Reply {
    let reply = proxy.operate(Request::get(target)).await;
    assert_eq!(reply.status, 200, "{target}: {}", reply.text());
    reply
}

pub(super) async fn act(proxy: &Proxy, target: &str, if_match: Option<&str>, body: Value) -> Reply {
    let request = Request::post(target, body.to_string()).header("Content-Type", "application/json");
    proxy
        .operate(match if_match {
            Some(tag) => request.header("If-Match", tag),
            None => request,
        })
        .await
}

pub(super) fn word(state: &str) -> Value {
    json!({ "state": state, "actor": "ana", "reason": "the bank says booked" })
}

pub(super) async fn etag(proxy: &Proxy, id: &str) -> String {
    seen(proxy, &format!("/operations/{id}")).await.header("etag").expect("an ETag").to_owned()
}

/// The trail, the latest first: action, result up to its first colon, before, after.
pub(super) async fn trail(proxy: &Proxy) -> Vec<[String; 4]> {
    let document = seen(proxy, "/audit").await.json();
    let entries = document["entries"].as_array().expect("entries").clone();
    let text = |value: &Value| value.as_str().unwrap_or("-").split(':').next().unwrap_or_default().to_owned();
    entries.iter().map(|entry| ["action", "result", "before", "after"].map(|name| text(&entry[name]))).collect()
}

#[tokio::test]
async fn operators_see_every_principals_operations_with_what_callers_do_not_see() {
    let upstream = losing().await;
    let config = Config::single(upstream.addr, POLICY).listener("principal: { header: X-Tenant }").admin();
    let proxy = Proxy::start(config).await;
    let mut ids = Vec::new();
    for tenant in ["a", "b"] {
        let reply = proxy.send(Request::keyed("/pay", "k", "x").header("X-Tenant", tenant)).await;
        ids.push(reply.operation());
    }
    let listed = seen(&proxy, "/operations?state=unknown").await.json();
    let shown: Vec<&str> = listed["operations"].as_array().unwrap().iter().filter_map(|op| op["id"].as_str()).collect();
    assert_eq!(shown, ids);
    let document = seen(&proxy, &format!("/operations/{}", ids[0])).await.json();
    assert_eq!((&document["state"], &document["upstream"]), (&"unknown".into(), &"app".into()));
    for member in ["principal_hash", "owner", "epoch", "checks", "revision", "audit", "can_be_resolved"] {
        assert!(!document[member].is_null(), "{member}: {document}");
    }
    assert_ne!(document["principal_hash"], listed["operations"][1]["principal_hash"]);
    assert!(!document.to_string().contains("100 EUR"));
}

#[tokio::test]
async fn a_listing_is_filtered_and_paged() {
    let upstream = losing().await;
    let proxy = proxy_before(&upstream).await;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(lose(&proxy, &format!("k{n}")).await);
    }
    let mut found = Vec::new();
    let mut target = "/operations?limit=2&state=unknown".to_owned();
    loop {
        let page = seen(&proxy, &target).await.json();
        found.extend(page["operations"].as_array().unwrap().iter().map(|op| op["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        target = format!("/operations?limit=2&state=unknown&cursor={next}");
    }
    assert_eq!(found, ids);
    for (query, count) in [
        ("older=1h", 0),
        ("older=0s&state=unknown", 5),
        ("state=succeeded", 0),
        ("upstream=app", 5),
        ("upstream=other", 0),
        ("route=%2F**", 5),
        ("route=other", 0),
        ("attention=true", 0),
        ("attention=false", 5),
    ] {
        let page = seen(&proxy, &format!("/operations?{query}")).await.json();
        assert_eq!(page["operations"].as_array().unwrap().len(), count, "{query}");
    }
    for query in ["state=lost", "older=10", "attention=yes", "limit=0", "limit=9999", "cursor=x", "colour=red"] {
        let reply = proxy.operate(Request::get(&format!("/operations?{query}"))).await;
        reply.expect_problem(400, "bad-request");
    }
    proxy.operate(Request::get("/operations/nonsense")).await.expect_problem(404, "operation-not-found");
    proxy
        .operate(Request::get(&format!("/operations/{}", "0".repeat(32))))
        .await
        .expect_problem(404, "operation-not-found");
}

#[tokio::test]
async fn a_persons_word_settles_what_is_unknown_and_is_written_down() {
    let upstream = losing().await;
    let proxy = proxy_before(&upstream).await;
    let id = lose(&proxy, "k").await;
    let tag = etag(&proxy, &id).await;
    let reply = act(&proxy, &format!("/operations/{id}:resolve"), Some(&tag), word("succeeded")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let document = reply.json();
    assert_eq!((&document["state"], &document["source"]), (&"succeeded".into(), &"operator".into()));
    assert_eq!(reply.header("etag"), Some(etag(&proxy, &id).await.as_str()));
    let entry = &document["audit"][0];
    for (name, value) in [
        ("actor", "ana"),
        ("action", "resolve"),
        ("reason", "the bank says booked"),
        ("before", "unknown"),
        ("after", "succeeded"),
        ("result", "done"),
    ] {
        assert_eq!(entry[name], value, "{entry}");
    }
    // What the caller reads, and what a repeat gets: never sent again.
    let caller = proxy.operation(&id).await;
    assert_eq!((&caller["state"], &caller["source"]), (&"succeeded".into(), &"operator".into()));
    assert!(!caller.to_string().contains("the bank says"), "an operator's words are not for callers: {caller}");
    let repeat = proxy.send(Request::keyed("/pay", "k", "100 EUR")).await;
    assert_eq!((repeat.status, &repeat.json()["state"]), (200, &"succeeded".into()));
    assert_eq!(upstream.effects("k"), 1);
}

#[tokio::test]
async fn not_executed_frees_the_key_and_says_what_that_means() {
    let upstream = losing().await;
    let proxy = proxy_before(&upstream).await;
    let id = lose(&proxy, "k").await;
    let tag = etag(&proxy, &id).await;
    let reply = act(&proxy, &format!("/operations/{id}:resolve"), Some(&tag), word("not_executed")).await;
    let warning = reply.json()["warning"].as_str().unwrap_or_default().to_owned();
    assert!(warning.contains("key is free") && warning.contains("twice"), "{}", reply.text());
    let again = lose(&proxy, "k").await;
    assert_ne!(again, id, "the repeat executes");
    assert_eq!(upstream.effects("k"), 2);
}

#[tokio::test]
async fn an_act_needs_a_state_an_actor_a_reason_and_a_precondition() {
    let upstream = losing().await;
    let proxy = proxy_before(&upstream).await;
    let id = lose(&proxy, "k").await;
    let target = format!("/operations/{id}:resolve");
    for (body, missing) in [
        (json!({}), &["state", "actor", "reason"][..]),
        (json!({ "state": "failed", "actor": "ana" }), &["reason"]),
        (json!({ "state": "failed", "reason": "x", "actor": " " }), &["actor"]),
        (json!({ "state": "failed", "reason": 7, "actor": "ana" }), &["reason"]),
    ] {
        let detail = act(&proxy, &target, None, body).await.expect_problem(400, "bad-request")["detail"].to_string();
        for name in ["state", "actor", "reason"] {
            assert_eq!(detail.contains(&format!("`{name}`")), missing.contains(&name), "{name}: {detail}");
        }
    }
    for body in [
        json!({ "state": "lost", "actor": "ana", "reason": "x" }),
        json!({ "state": "failed", "actor": "ana\u{1b}[31m", "reason": "x" }),
        json!({ "state": "failed", "actor": "a".repeat(129), "reason": "x" }),
        json!({ "state": "failed", "actor": "ana", "reason": "x", "force": true }),
        json!(["state"]),
    ] {
        act(&proxy, &target, Some("*"), body).await.expect_problem(400, "bad-request");
    }
    act(&proxy, &target, None, word("failed")).await.expect_problem(428, "bad-request");
    let stale = act(&proxy, &target, Some("\"999\""), word("failed")).await;
    stale.expect_problem(412, "bad-request");
    assert_eq!(stale.header("etag"), Some(etag(&proxy, &id).await.as_str()));
    act(&proxy, &format!("/operations/{}:resolve", "0".repeat(32)), Some("*"), word("failed"))
        .await
        .expect_problem(404, "operation-not-found");
    assert_eq!(proxy.operation(&id).await["state"], "unknown");
    let refused = ["resolve", "refused"];
    assert_eq!(trail(&proxy).await.iter().map(|entry| [&*entry[0], &*entry[1]]).collect::<Vec<_>>(), [refused; 3]);
}

#[tokio::test]
async fn of_two_operators_who_race_one_is_told_to_look_again() {
    let upstream = losing().await;
    let proxy = proxy_before(&upstream).await;
    for round in 0..5 {
        let id = lose(&proxy, &format!("k{round}")).await;
        let (tag, target) = (etag(&proxy, &id).await, format!("/operations/{id}:resolve"));
        let (one, other) = tokio::join!(
            act(&proxy, &target, Some(&tag), word("succeeded")),
            act(&proxy, &target, Some(&tag), word("failed")),
        );
        let mut statuses = [one.status, other.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412], "{} {}", one.text(), other.text());
        let (won, lost) = if one.status == 200 { (&one, &other) } else { (&other, &one) };
        assert_eq!(won.json()["state"], proxy.operation(&id).await["state"]);
        assert_eq!(lost.header("etag"), won.header("etag"));
    }
}

#[tokio::test]
async fn what_is_settled_or_in_flight_takes_no_word() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |seen| match seen.header("idempotency-key") {
        Some("held") => Answer::status(201).behind(&held),
        _ => Answer::status(201).steps(),
    })
    .await;
    let proxy = proxy_before(&upstream).await;
    let settled = proxy.send(Request::keyed("/pay", "done", "x")).await.operation();
    for state in ["succeeded", "failed", "not_executed"] {
        let reply = act(&proxy, &format!("/operations/{settled}:resolve"), Some("*"), word(state)).await;
        reply.expect_problem(409, "bad-request");
    }
    assert_eq!(proxy.operation(&settled).await["state"], "succeeded");
    let mut client = proxy.connect().await;
    client.write(&Request::keyed("/pay", "held", "x").bytes()).await;
    upstream.wait_completed(2).await;
    let pending = proxy.get("/_mainstay/operations?key=held").await.json();
    let id = pending["id"].as_str().unwrap();
    let reply = act(&proxy, &format!("/operations/{id}:resolve"), Some("*"), word("failed")).await;
    reply.expect_problem(409, "in-progress");
    gate.open();
    client.reply().await.expect_upstream(201);
    assert!(trail(&proxy).await.iter().all(|entry| entry[1] == "refused"));
}

#[tokio::test]
async fn a_word_and_its_audit_entry_survive_a_kill_right_after_the_answer() {
    let home = TempDir::new();
    let upstream = losing().await;
    let config = Config::single(upstream.addr, POLICY)
        .ledger(&format!("store: disk, path: \"{}\"", home.join("ledger").display()))
        .admin();
    for round in 0..3 {
        let mut proxy = Proxy::start(config.clone()).await;
        let id = lose(&proxy, &format!("k{round}")).await;
        let tag = etag(&proxy, &id).await;
        let reply = act(&proxy, &format!("/operations/{id}:resolve"), Some(&tag), word("failed")).await;
        proxy.signal("KILL");
        proxy.ended().await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let proxy = Proxy::start(config.clone()).await;
        let document = seen(&proxy, &format!("/operations/{id}")).await.json();
        assert_eq!((&document["state"], &document["source"]), (&"failed".into(), &"operator".into()));
        assert_eq!(document["audit"], reply.json()["audit"]);
        assert_eq!(seen(&proxy, "/audit").await.json()["entries"].as_array().unwrap().len(), round + 1);
    }
}

#[tokio::test]
async fn it_bounds_bodies_and_takes_the_methods_it_names() {
    let upstream = losing().await;
    let proxy = proxy_before(&upstream).await;
    let big = proxy.operate(Request::post("/drain", vec![b' '; 20_000])).await;
    big.expect_problem(413, "body-too-large");
    for (method, target, allow) in [
        ("POST", "/operations", "GET, HEAD"),
        ("DELETE", "/breakers", "GET, HEAD"),
        ("GET", "/drain", "POST, DELETE"),
        ("POST", "/log-level", "GET, HEAD, PUT"),
    ] {
        let reply = proxy.operate(Request::new(method, target)).await;
        reply.expect_problem(405, "method-not-allowed");
        assert_eq!(reply.header("allow"), Some(allow));
    }
    for target in ["/nothing", "/operations/x:explode", "/breakers/x"] {
        proxy.operate(Request::new("GET", target)).await.expect_problem(404, "no-route");
    }
    // Traffic never reaches it, and it serves no traffic.
    assert_eq!(proxy.get("/operations").await.text(), "fine");
    assert_eq!(proxy.probe("/operations").await.status, 404);
}
