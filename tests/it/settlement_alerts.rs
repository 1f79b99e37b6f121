//! An operation that needs a person calls one in the log, once, whatever brought it there.

use mainstay_tests::prelude::*;
use serde_json::Value;

use super::settlements::{Doubt, Evidence, TWICE, asking, flagged, lose, proxy_before, write};

/// How the log calls a person.
const CALL: &str = "an operation needs a person";

/// The operations that the log calls a person for, and why.
fn calls(proxy: &Proxy) -> Vec<(String, String)> {
    let log = proxy.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let calls = lines.filter(|line| line["message"] == CALL && (line["level"] == "WARN" || line["level"] == "ERROR"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    calls.map(|line| (text(&line["operation"]), text(&line["reason"]))).collect()
}

/// The operation is flagged, and the log says so once.
async fn called_once(mut proxy: Proxy, id: &str, reason: &str) {
    flagged(&proxy, id, reason).await;
    let what = format!("operation {id} is flagged ({reason}), and the log calls a person");
    eventually(&what, || async { (!calls(&proxy).is_empty()).then_some(()) }).await;
    // At its end, everything is in the log.
    proxy.terminate().await;
    assert_eq!(calls(&proxy), [(id.to_owned(), reason.to_owned())]);
}

#[tokio::test]
async fn a_person_is_called_once_where_a_late_answer_contradicts_a_persons_word() {
    let doubt = Doubt::contradicted(Evidence::LateAnswer).await;
    called_once(doubt.proxy, &doubt.id, "conflict").await;
}

#[tokio::test]
async fn a_person_is_called_once_where_the_resolvers_question_contradicts_a_persons_word() {
    let doubt = Doubt::contradicted(Evidence::ResolverQuery).await;
    called_once(doubt.proxy, &doubt.id, "conflict").await;
}

#[tokio::test]
async fn a_person_is_called_once_where_a_question_by_order_contradicts_a_persons_word() {
    let doubt = Doubt::contradicted(Evidence::OrderedQuery).await;
    called_once(doubt.proxy, &doubt.id, "conflict").await;
}

#[tokio::test]
async fn a_person_is_called_once_where_a_repeats_own_question_contradicts_a_persons_word() {
    let doubt = Doubt::contradicted(Evidence::RepeatQuery).await;
    called_once(doubt.proxy, &doubt.id, "conflict").await;
}

#[tokio::test]
async fn a_person_is_called_once_where_another_dispatch_contradicts_a_persons_word() {
    let doubt = Doubt::contradicted(Evidence::Redispatch).await;
    called_once(doubt.proxy, &doubt.id, "conflict").await;
}

#[tokio::test]
async fn a_person_is_called_once_where_an_attempt_that_was_given_up_contradicts_the_answer() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |seen| match seen.index {
        0 => Answer::status(201).behind(&held),
        _ => Answer::status(422).steps(),
    })
    .await;
    let proxy = proxy_before(&upstream, TWICE).await;
    let id = proxy.send(write()).await.expect_upstream(422).operation();
    gate.open();
    called_once(proxy, &id, "conflict").await;
}

/// The answer to a write is lost, after so long, and nothing else proves anything.
async fn gives_up(policy: &str, loses: Duration) {
    let upstream = Upstream::start(move |seen| match seen.method.as_str() {
        "POST" => vec![Step::Body, Step::Delay(loses), Step::Reset],
        _ => Answer::json(200, "{\"state\":\"NEW\"}").steps(),
    })
    .await;
    let proxy = proxy_before(&upstream, policy).await;
    let id = lose(&proxy).await;
    called_once(proxy, &id, "resolve_exhausted").await;
}

#[tokio::test]
async fn a_person_is_called_once_when_no_late_answer_can_come_any_more() {
    gives_up("timeout: 8s, idempotency: { required: true, late_response: 200ms }", Duration::ZERO).await;
}

#[tokio::test]
async fn a_person_is_called_once_when_the_resolver_gives_up() {
    gives_up(&asking("first: 50ms, max: 50ms, give_up: 500ms"), Duration::ZERO).await;
}

/// The attempt took longer than the service is to be asked.
#[tokio::test]
async fn a_person_is_called_once_when_an_attempt_ends_too_late_to_ask() {
    gives_up(&asking("first: 50ms, max: 50ms, give_up: 100ms"), Duration::from_millis(400)).await;
}
