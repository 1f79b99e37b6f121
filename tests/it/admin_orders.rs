//! What operators order of the resolver: ask now, send again now.

use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering},
};

use mainstay_tests::prelude::*;
use serde_json::json;

use super::admin::{act, etag, lose, trail};

/// Takes writes and loses the answers to the first `lost` of them; its status endpoint answers as the test chooses.
async fn service(lost: usize) -> (Upstream, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(500));
    let chosen = Arc::clone(&status);
    let upstream = Upstream::start(move |seen| match seen.method.as_str() {
        "POST" if seen.index < lost => vec![Step::Body, Step::Reset],
        "POST" => Answer::status(201).body("made").steps(),
        _ => Answer::json(chosen.load(Ordering::SeqCst), "{\"state\":\"SUCCESS\"}").steps(),
    })
    .await;
    (upstream, status)
}

/// Nothing happens by itself within a test's time.
const ASKED: &str = "timeout: 5s, idempotency: { required: true, status: { request: \"GET /by-ref/{key}\", \
    schedule: { first: 1h, max: 1h }, rules: [{ status: 200, json: { /state: SUCCESS }, then: succeeded }] } }";

async fn order(proxy: &Proxy, id: &str, what: &str) -> Reply {
    let tag = etag(proxy, id).await;
    let why = json!({ "actor": "ana", "reason": "the customer is on the telephone" });
    act(proxy, &format!("/operations/{id}:{what}"), Some(&tag), why).await
}

#[tokio::test]
async fn the_service_is_asked_when_a_person_wants_it() {
    let (upstream, status) = service(1).await;
    let proxy = Proxy::start(Config::single(upstream.addr, ASKED).admin()).await;
    let id = lose(&proxy, "k").await;
    let nothing = order(&proxy, &id, "query").await;
    let document = nothing.json();
    assert_eq!((nothing.status, &document["state"]), (200, &"unknown".into()), "{}", nothing.text());
    assert_eq!(document["result"], "heard no_evidence");
    assert_eq!(nothing.header("etag"), Some(etag(&proxy, &id).await.as_str()));
    status.store(200, Ordering::SeqCst);
    let settled = order(&proxy, &id, "query").await.json();
    assert_eq!((&settled["state"], &settled["source"]), (&"succeeded".into(), &"status_query".into()), "{settled}");
    order(&proxy, &id, "query").await.expect_problem(409, "bad-request");
    let expected = [
        ["query", "refused", "succeeded", "-"],
        ["query", "heard succeeded", "unknown", "succeeded"],
        ["query", "heard no_evidence", "unknown", "unknown"],
    ];
    assert_eq!(trail(&proxy).await, expected);
    assert_eq!(upstream.effects("k"), 1, "it was never sent again");
}

#[tokio::test]
async fn what_cannot_be_asked_or_sent_again_is_refused_with_the_reason() {
    let (upstream, _) = service(9).await;
    let policy = "timeout: 5s, idempotency: { required: true }";
    let proxy = Proxy::start(Config::single(upstream.addr, policy).admin()).await;
    let id = lose(&proxy, "k").await;
    let asked = order(&proxy, &id, "query").await.expect_problem(409, "bad-request");
    assert!(asked["detail"].to_string().contains("status endpoint"), "{asked}");
    let sent = order(&proxy, &id, "redispatch").await.expect_problem(409, "bad-request");
    assert!(sent["detail"].to_string().contains("honours_key"), "{sent}");
    for what in ["query", "redispatch"] {
        let target = format!("/operations/{id}:{what}");
        act(&proxy, &target, Some("*"), json!({ "actor": "ana" })).await.expect_problem(400, "bad-request");
        let why = json!({ "actor": "ana", "reason": "x" });
        act(&proxy, &target, None, why.clone()).await.expect_problem(428, "bad-request");
        act(&proxy, &target, Some("\"old\""), why).await.expect_problem(412, "bad-request");
    }
    assert_eq!((upstream.count(), &proxy.operation(&id).await["state"]), (1, &"unknown".into()));
}

#[tokio::test]
async fn a_write_is_sent_again_where_the_service_honours_its_key() {
    let (upstream, _) = service(1).await;
    let config = Config::new()
        .upstream("app", upstream.addr, "honours_key: true")
        .policy(
            "p",
            "timeout: 5s, idempotency: { required: true, late_response: 1h, \
             redispatch: { attempts: 1, backoff: { base: 1h, max: 1h } } }",
        )
        .route("path: /**", "app", "p")
        .admin();
    let proxy = Proxy::start(config).await;
    let id = lose(&proxy, "k").await;
    let reply = order(&proxy, &id, "redispatch").await;
    let document = reply.json();
    assert_eq!((reply.status, &document["state"]), (200, &"succeeded".into()), "{}", reply.text());
    assert_eq!(document["source"], "redispatch");
    let sent = upstream.requests();
    assert_eq!((sent.len(), sent[0].header("idempotency-key")), (2, sent[1].header("idempotency-key")));
    assert_eq!(sent[0].text(), sent[1].text(), "byte for byte");
    let repeat = proxy.send(Request::keyed("/pay", "k", "100 EUR")).await;
    assert_eq!((repeat.status, repeat.text()), (201, "made".into()));
    let trail = trail(&proxy).await;
    assert_eq!(trail[0][..2], ["redispatch", "sent"]);
    assert_eq!(trail[1][..2], ["redispatch", "begun"], "who began it is known even if nobody says how it ended");
}
