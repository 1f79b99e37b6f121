//! An operation that needs a person calls one in the log, once, whatever brought it there.

use mainstay_tests::{prelude::*, proxy::run};
use serde_json::Value;

use super::operate::short;
use super::settlements::{Doubt, Evidence, TWICE, asking, flagged, lose, proxy_before, resolve, write};

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

/// The lines that say so, at this level.
fn lines(proxy: &Proxy, level: &str, message: &str) -> Vec<Value> {
    let log = proxy.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"] == message && line["level"] == level).collect()
}

#[tokio::test]
async fn a_contradiction_is_told_with_both_sides_in_the_log_the_counts_and_the_document() {
    for evidence in Evidence::ALL {
        let doubt = Doubt::contradicted(evidence).await;
        let Doubt { proxy, id, .. } = &doubt;
        let source = match evidence {
            Evidence::LateAnswer => "late_response",
            Evidence::ResolverQuery | Evidence::OrderedQuery | Evidence::RepeatQuery => "status_query",
            Evidence::Redispatch => "redispatch",
        };
        let told = || async {
            let lines = lines(proxy, "ERROR", "a settled write was contradicted");
            (!lines.is_empty()).then_some(lines)
        };
        let told = eventually("the log tells of it", told).await;
        assert_eq!(told.len(), 1, "{evidence:?}");
        let line = |name: &str| told[0][name].as_str().unwrap_or_default().to_owned();
        let both = [line("operation"), line("settled"), line("settled_by"), line("heard"), line("source")];
        assert_eq!(both, [id, "failed", "operator", "succeeded", source].map(str::to_owned), "{evidence:?}");
        let labels = [("settled", "failed"), ("heard", "succeeded"), ("source", source)];
        assert_eq!(proxy.metric("mainstay_operations_contradicted_total", &labels).await, Some(1.0), "{evidence:?}");
        let flag = proxy.operation(id).await["attention"].clone();
        let member = |name: &str| flag[name].as_str().unwrap_or_default().to_owned();
        let both = [member("settled_as"), member("settled_by"), member("heard"), member("contradicted_by")];
        assert_eq!(both, ["failed", "operator", "succeeded", source], "{flag}");
        // Whoever repeats it is not told that it failed.
        let repeat = proxy.send(write()).await;
        repeat.expect_problem(409, "outcome-unknown");
        assert_eq!((repeat.header("mainstay-outcome"), repeat.header("retry-after")), (Some("unknown"), Some("300")));
    }
}

/// The first write's answer comes when a person has freed its key and another write was done under it.
#[tokio::test]
async fn what_may_have_happened_twice_is_named_and_can_be_acknowledged() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |seen| match seen.index {
        0 => Answer::status(201).behind(&held),
        _ => Answer::status(201).steps(),
    })
    .await;
    let proxy = proxy_before(&upstream, "timeout: 1s, idempotency: { required: true }").await;
    let first = lose(&proxy).await;
    resolve(&proxy, &first, "not_executed").await;
    let second = proxy.send(write()).await.expect_upstream(201).operation();
    gate.open();
    flagged(&proxy, &first, "conflict").await;
    let admin = format!("http://{}", proxy.config.admin.unwrap());
    let typed = async |arguments: &[&str]| {
        let mut line = vec!["ops", "--admin", &admin];
        line.extend(arguments);
        let output = run(&line).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let story = typed(&["show", &first]).await;
    assert!(story.contains("CONTRADICTED: settled as not executed, but it happened"), "{story}");
    let both = format!("Both {} and {} may have happened", short(&first), short(&second));
    assert!(story.contains(&both), "{story}");
    assert!(story.contains("a late answer to the first dispatch: 201 -> contradiction"), "{story}");
    typed(&["resolve", &first, "--acknowledge", "--yes", "--actor", "kim", "--reason", "one was taken back"]).await;
    let document = proxy.operation(&first).await;
    assert_eq!((&document["state"], &document["attention"]), (&"not_executed".into(), &Value::Null));
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
