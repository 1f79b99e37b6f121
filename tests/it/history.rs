//! What has happened to a write is kept with it, and told to operators.

use mainstay_tests::{prelude::*, proxy::TempDir, script::Gate};
use serde_json::{Value, json};

use super::{
    admin::{POLICY, losing, seen},
    operate::typed,
    settlements::flagged,
};

/// The service says that it bars what comes late, and does not.
const FENCED: &str = "timeout: { total: 8s, attempt: 600ms }, idempotency: { required: true, late_response: 30s, \
    status: { request: \"GET /by-ref/{key}\", fenced: true, rate: 1000/s, schedule: { first: 200ms, max: 200ms }, \
    rules: [{ status: 404, then: not_found }] } }";

/// A write that is done late, was believed not to have been, and was done once more under its key.
pub(super) struct TwiceDone {
    pub(super) proxy: Proxy,
    pub(super) first: String,
    pub(super) second: String,
    _upstream: Upstream,
}

impl TwiceDone {
    pub(super) async fn new() -> Self {
        let gate = Gate::new();
        let held = gate.clone();
        let upstream = Upstream::start(move |seen| match (seen.method.as_str(), seen.index) {
            ("POST", 0) => Answer::status(201).behind(&held),
            ("POST", _) => Answer::status(201).steps(),
            _ => Answer::status(404).steps(),
        })
        .await;
        let proxy = Proxy::start(Config::single(upstream.addr, FENCED).admin()).await;
        let lost = proxy.send(Request::keyed("/pay", "order-7", "x")).await;
        lost.expect_problem(504, "outcome-unknown");
        let first = lost.operation();
        eventually("it is believed not to have happened", || async {
            (proxy.operation(&first).await["state"] == "not_executed").then_some(())
        })
        .await;
        let again = proxy.send(Request::keyed("/pay", "order-7", "x")).await;
        assert_eq!(again.status, 201);
        let second = again.operation();
        gate.open();
        flagged(&proxy, &first, "conflict").await;
        Self { proxy, first, second, _upstream: upstream }
    }
}

/// Each event without its time.
fn told(document: &Value) -> Vec<Value> {
    let history = document["history"].as_array().expect("a history").iter();
    history
        .map(|entry| {
            let mut entry = entry.clone();
            let at = entry["at"].take();
            assert!(at.as_str().is_some_and(|at| at.ends_with('Z')), "{document}");
            entry.as_object_mut().expect("an object").remove("at");
            entry
        })
        .collect()
}

#[tokio::test]
async fn a_contradicted_write_has_each_of_its_events_with_who_said_what() {
    let TwiceDone { proxy, first, second, .. } = &TwiceDone::new().await;
    let document = seen(proxy, &format!("/operations/{first}")).await.json();
    let expected = [
        json!({ "event": "begun" }),
        json!({ "event": "dispatched" }),
        json!({ "event": "lost", "evidence": "ambiguous", "by": "response", "because": "attempt_timeout" }),
        json!({ "event": "asked", "http_status": 404, "evidence": "not_executed", "by": "status_query", "because": "fenced" }),
        json!({ "event": "settled", "evidence": "not_executed", "by": "status_query" }),
        json!({ "event": "late_answer", "http_status": 201, "evidence": "succeeded", "by": "late_response" }),
        json!({ "event": "contradicted", "http_status": 201, "evidence": "succeeded", "by": "late_response" }),
    ];
    assert_eq!(told(&document), expected);
    assert_eq!((&document["history_folded"], &document["attention"]["later"]), (&json!(0), &json!([second])));
    let same = &document["same_key"];
    assert_eq!(
        (&same[0]["id"], &same[0]["state"], same.as_array().map(Vec::len)),
        (&json!(second), &json!("succeeded"), Some(1))
    );
    let second = seen(proxy, &format!("/operations/{second}")).await.json();
    // The write before it, under the same key: it is what needs a person.
    let same = &second["same_key"];
    assert_eq!(
        (&same[0]["id"], &same[0]["needs_a_person"], same.as_array().map(Vec::len)),
        (&json!(first), &json!(true), Some(1))
    );
    let expected = [
        json!({ "event": "begun" }),
        json!({ "event": "dispatched" }),
        json!({ "event": "answer", "http_status": 201, "evidence": "succeeded", "by": "response" }),
        json!({ "event": "settled", "evidence": "succeeded", "by": "response" }),
    ];
    assert_eq!(told(&second), expected);
}

/// The attempt may be over, or be waited for still: either way its request may be on its way.
#[tokio::test]
async fn that_a_service_does_not_know_a_write_too_early_is_told_with_when_it_will_be_believed() {
    const SETTLE_AFTER: i64 = 60;
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |seen| match (seen.method.as_str(), seen.header("idempotency-key")) {
        ("POST", Some("cut")) => vec![Step::Body, Step::Reset],
        ("POST", _) => Answer::status(201).behind(&held),
        _ => Answer::status(404).steps(),
    })
    .await;
    let policy = FENCED.replace("fenced: true", &format!("settle_after: {SETTLE_AFTER}s"));
    let proxy = Proxy::start(Config::single(upstream.addr, &policy).admin()).await;
    for key in ["cut", "slow"] {
        let id = proxy.send(Request::keyed("/pay", key, "x")).await.operation();
        let (document, asked) = eventually("it is asked", || async {
            let document = seen(&proxy, &format!("/operations/{id}")).await.json();
            let asked = document["history"].as_array()?.iter().rfind(|event| event["event"] == "asked")?.clone();
            Some((document, asked))
        })
        .await;
        assert_eq!((&document["state"], &asked["because"]), (&json!("unknown"), &json!("too_early")), "{document}");
        let moment = |at: &Value| at.as_str().expect("a time").parse::<jiff::Timestamp>().expect("RFC 3339");
        let believed_at = moment(&asked["proves_nothing_before"]);
        let waits = believed_at.duration_since(moment(&document["dispatched_at"]));
        assert_eq!(waits, jiff::SignedDuration::from_secs(SETTLE_AFTER), "{document}");
        let (code, told, words) = typed(&proxy, &["ops", "show", &id]).await;
        assert_eq!(code, 0, "{words}");
        let line = told.lines().rfind(|line| line.contains("asked the service: 404")).expect("it was asked");
        let time = believed_at.strftime("%H:%M:%S%.3f").to_string();
        assert!(line.contains(", which proves nothing before ") && line.contains(&time), "{time}: {told}");
    }
    gate.open();
}

#[tokio::test]
async fn where_a_write_came_in_and_what_happened_to_it_outlive_a_restart() {
    let (upstream, home) = (losing().await, TempDir::new());
    let ledger = format!("path: \"{}\"", home.join("ledger").display());
    let config = Config::new().upstream("app", upstream.addr, "").policy("writing", POLICY);
    let config = config.route("path: \"/pay/{order}\"", "app", "writing").ledger(&ledger).admin();
    let mut proxy = Proxy::start(config.clone()).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let write = Request::keyed("/pay/7", "k", "x").header("traceparent", &format!("00-{trace}-00f067aa0ba902b7-00"));
    let id = proxy.send(write).await.operation();
    let before = seen(&proxy, &format!("/operations/{id}")).await.json();
    for (member, value) in [
        ("trace_id", trace),
        ("policy", "writing"),
        ("listener", "inbound"),
        ("method", "POST"),
        ("path", "/pay/{order}"),
    ] {
        assert_eq!(before[member], value, "{member}: {before}");
    }
    let expected = [
        json!({ "event": "begun" }),
        json!({ "event": "dispatched" }),
        json!({ "event": "lost", "evidence": "ambiguous", "by": "response", "because": "reset" }),
    ];
    assert_eq!(told(&before), expected);
    proxy.terminate().await;
    drop(proxy);
    let proxy = Proxy::start(config).await;
    let after = seen(&proxy, &format!("/operations/{id}")).await.json();
    for member in ["trace_id", "policy", "listener", "method", "path"] {
        assert_eq!(after[member], before[member], "{member}");
    }
    // Meanwhile a person may have been called.
    assert_eq!(told(&after)[..3], expected);
}

#[tokio::test]
async fn a_history_is_bounded_and_counts_what_it_does_not_tell() {
    let upstream = Upstream::start(|seen| match seen.method.as_str() {
        "POST" => vec![Step::Body, Step::Reset],
        _ => Answer::status(500).steps(),
    })
    .await;
    let policy = "timeout: 5s, idempotency: { required: true, status: { request: \"GET /by-ref/{key}\", rate: 1000/s, \
        schedule: { first: 10ms, max: 10ms }, rules: [{ status: 200, then: succeeded }] } }";
    let proxy = Proxy::start(Config::single(upstream.addr, policy).admin()).await;
    let id = proxy.send(Request::keyed("/pay", "k", "x")).await.operation();
    let document = eventually("it is asked many times", || async {
        let document = seen(&proxy, &format!("/operations/{id}")).await.json();
        document["checks"].as_u64().is_some_and(|checks| checks >= 20).then_some(document)
    })
    .await;
    let told = told(&document);
    assert_eq!(told.len(), 16, "{document}");
    let events: Vec<&str> = told.iter().filter_map(|entry| entry["event"].as_str()).collect();
    assert_eq!(events[..3], ["begun", "dispatched", "lost"], "what began it is told still");
    assert!(events[3..].iter().all(|event| *event == "asked"), "{document}");
    let (checks, folded) = (document["checks"].as_u64(), document["history_folded"].as_u64());
    assert_eq!(checks, folded.map(|folded| folded + 13), "{document}");
}
