//! What comes late, comes against a record, or comes from an upstream that is back: it is heard, and never for more than it is.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use mainstay_tests::{
    otlp::{Collector, hex},
    prelude::*,
    proxy::TempDir,
};
use serde_json::json;
use tokio::time::Instant;

use super::admin::{act, etag};

fn honouring(upstream: &Upstream, policy: &str) -> Config {
    Config::new().upstream("app", upstream.addr, "honours_key: true").policy("p", policy).route("path: /**", "app", "p")
}

/// Two attempts of which both time out; the first is answered when the gate opens.
const TWICE: &str = "timeout: { total: 1500ms, attempt: 300ms }, \
    retry: { max_retries: 1, on: [timeout], backoff: { base: 1ms } }, idempotency: { required: true }";

#[tokio::test]
async fn a_late_success_of_an_attempt_that_was_given_up_settles_the_write() {
    for status in [201, 422] {
        let gate = Gate::new();
        let held = gate.clone();
        let upstream = Upstream::start(move |seen| match seen.index {
            0 => Answer::status(status).body("made").behind(&held),
            _ => vec![Step::Body, Step::Stall],
        })
        .await;
        let proxy = Proxy::start(honouring(&upstream, TWICE)).await;
        let first = proxy.send(Request::keyed("/pay", "k", "x")).await;
        first.expect_problem(504, "outcome-unknown");
        assert_eq!(first.header("mainstay-attempts"), Some("2"));
        gate.open();
        if status == 201 {
            let document = proxy.operation_in(&first.operation(), "succeeded").await;
            assert_eq!((&document["source"], &document["http_status"]), (&"late_response".into(), &201.into()));
            let repeat = proxy.send(Request::keyed("/pay", "k", "x")).await;
            assert_eq!((repeat.status, repeat.text()), (201, "made".into()), "the late answer is replayed");
        } else {
            // The other attempt may have done it.
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert_eq!(proxy.operation(&first.operation()).await["state"], "unknown");
        }
        assert_eq!(upstream.count(), 2);
    }
}

#[tokio::test]
async fn a_late_success_is_heard_while_another_attempt_is_in_flight() {
    for status in [201, 422, 429] {
        let (early, late) = (Gate::new(), Gate::new());
        let (first_held, second_held) = (early.clone(), late.clone());
        let upstream = Upstream::start(move |seen| match seen.index {
            0 => Answer::status(201).body("first").behind(&first_held),
            _ => Answer::status(status).body("second").behind(&second_held),
        })
        .await;
        let policy = "timeout: { total: 9s, attempt: 3s }, \
            retry: { max_retries: 1, on: [timeout], backoff: { base: 1ms } }, idempotency: { required: true }";
        let proxy = Proxy::start(honouring(&upstream, policy)).await;
        let mut client = proxy.connect().await;
        client.write(&Request::keyed("/pay", "k", "x").bytes()).await;
        upstream.wait_completed(2).await;
        let id = proxy.get("/_mainstay/operations?key=k").await.json()["id"].as_str().unwrap().to_owned();
        early.open();
        let document = proxy.operation_in(&id, "succeeded").await;
        assert_eq!(
            (&document["source"], &document["attention"]),
            (&"late_response".into(), &json!(null)),
            "{document}"
        );
        late.open();
        let reply = client.reply().await;
        if status == 201 {
            assert_eq!((reply.status, reply.text()), (201, "second".into()), "its own answer agrees with the record");
        } else {
            // "Failed", or "nothing was done", beside a record that says otherwise, would make its caller pay again.
            reply.expect_problem(502, "outcome-unknown");
        }
        let repeat = proxy.send(Request::keyed("/pay", "k", "x")).await;
        assert_eq!((repeat.status, repeat.text(), upstream.count()), (201, "first".into(), 2));
    }
}

/// A service that answers a later attempt with its refusal, and the first one with success after all.
#[tokio::test]
async fn a_late_success_against_a_settled_failure_calls_a_person_and_is_counted() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |seen| match seen.index {
        0 => Answer::status(201).behind(&held),
        _ => Answer::status(422).steps(),
    })
    .await;
    let proxy = Proxy::start(honouring(&upstream, TWICE)).await;
    let first = proxy.send(Request::keyed("/pay", "k", "x")).await;
    assert_eq!(first.status, 422);
    assert_eq!(proxy.operation(&first.operation()).await["state"], "failed");
    gate.open();
    eventually("a person is called", || async {
        let document = proxy.operation(&first.operation()).await;
        assert_eq!(document["state"], "failed", "what is settled stays");
        (document["attention"]["reason"] == "conflict").then_some(())
    })
    .await;
    eventually("it is counted though it is settled", || async {
        (proxy.metric("mainstay_operations_attention", &[("reason", "conflict")]).await == Some(1.0)).then_some(())
    })
    .await;
}

/// Nothing comes of the second attempt, so the client gets what the service said to the first.
#[tokio::test]
async fn the_upstreams_own_5xx_is_kept_while_a_retry_comes_to_nothing() {
    let upstream = Upstream::answering(Answer::status(503).body("its own words")).await;
    let policy = "timeout: 5s, retry: { max_retries: 1, backoff: { base: 1ms } }, idempotency: { required: true }, \
        circuit_breaker: { consecutive_errors: 1, open_duration: 60s }";
    let proxy = Proxy::start(honouring(&upstream, policy)).await;
    let first = proxy.send(Request::keyed("/pay", "k", "x")).await;
    assert_eq!(first.expect_upstream(503).text(), "its own words");
    let document = proxy.operation(&first.operation()).await;
    assert_eq!((&document["state"], &document["http_status"]), (&"unknown".into(), &503.into()), "{document}");
    let repeat = proxy.send(Request::keyed("/pay", "k", "x")).await;
    assert_eq!((repeat.status, repeat.header("idempotent-replayed")), (503, Some("true")), "{}", repeat.text());
    assert_eq!((repeat.text(), upstream.count()), ("its own words".into(), 1));
}

/// What the body says decides, and a stream is not read for it: the client must not take the answer for a settled one.
#[tokio::test]
async fn the_end_of_a_streamed_answer_that_proves_nothing_is_held_back() {
    let policy = "timeout: 5s, idempotency: { required: true, outcome: { \
        rules: [{ status: 200, json: { /state: DECLINED }, then: failed }] } }";
    for (framed, name) in [(Answer::ok("data: x\n\n").chunked(), "chunks"), (Answer::ok("data: x\n\n"), "length")] {
        let upstream = Upstream::answering(framed.header("Content-Type", "text/event-stream")).await;
        let proxy = Proxy::single(upstream.addr, policy).await;
        let mut client = proxy.connect().await;
        client.write(&Request::keyed("/pay", "k", "x").bytes()).await;
        let reply = client.try_reply().await;
        let is_whole = reply.is_ok_and(|reply| reply.body.complete);
        assert!(!is_whole, "{name}: a whole answer beside a record that knows nothing");
        let document = proxy.get("/_mainstay/operations?key=k").await.json();
        assert_eq!(document["state"], "unknown", "{name}: {document}");
    }
}

/// When the breaker closes, what waits for hours is asked about at once, as evenly as the rate says.
#[tokio::test]
async fn what_waits_is_asked_about_when_the_breaker_closes() {
    const WRITES: usize = 12;
    let is_up = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let (up, seen_at) = (is_up.clone(), asked.clone());
    let upstream = Upstream::start(move |seen| match (seen.method.as_str(), up.load(SeqCst)) {
        ("POST", false) => vec![Step::Body, Step::Reset],
        ("POST", true) => Answer::status(201).steps(),
        _ => {
            seen_at.lock().push(Instant::now());
            Answer::json(200, "{\"state\":\"SUCCESS\"}").steps()
        }
    })
    .await;
    let policy = format!(
        "timeout: 5s, circuit_breaker: {{ consecutive_errors: {WRITES}, open_duration: 1500ms }}, \
         idempotency: {{ required: true, status: {{ request: \"GET /by-ref/{{key}}\", rate: 10/s, \
         schedule: {{ first: 5h, max: 5h }}, rules: [{{ status: 200, json: {{ /state: SUCCESS }}, then: succeeded }}] }} }}"
    );
    let proxy = Proxy::single(upstream.addr, &policy).await;
    let mut ids = Vec::new();
    for n in 0..WRITES {
        let first = proxy.send(Request::keyed("/pay", &format!("k{n}"), "x")).await;
        first.expect_problem(502, "outcome-unknown");
        ids.push(first.operation());
    }
    proxy.send(Request::keyed("/pay", "refused", "x")).await.expect_problem(503, "circuit-open");
    // The resolver looks at breakers once a second.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(asked.lock().len(), 0, "all of them wait for hours");
    is_up.store(true, SeqCst);
    eventually("the breaker closes", || async {
        (proxy.send(Request::keyed("/pay", "probe", "x")).await.status == 201).then_some(())
    })
    .await;
    for id in &ids {
        proxy.operation_in(id, "succeeded").await;
    }
    let asked = asked.lock();
    assert_eq!(asked.len(), WRITES, "each once");
    let took = asked[WRITES - 1] - asked[0];
    assert!(took >= Duration::from_millis(900), "12 questions at 10/s, in {took:?}");
}

#[tokio::test]
async fn two_orders_to_send_a_write_again_send_it_once() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |seen| match seen.index {
        0 => vec![Step::Body, Step::Reset],
        _ => Answer::status(201).behind(&held),
    })
    .await;
    let policy = "timeout: 9s, idempotency: { required: true, late_response: 1h, \
        redispatch: { attempts: 5, backoff: { base: 1h, max: 1h } } }";
    let proxy = Proxy::start(honouring(&upstream, policy).admin()).await;
    let first = proxy.send(Request::keyed("/pay", "k", "x")).await;
    let id = first.operation();
    let why = || json!({ "actor": "ana", "reason": "now" });
    let target = format!("/operations/{id}:redispatch");
    let tag = etag(&proxy, &id).await;
    let second = async {
        upstream.wait_completed(2).await;
        let refused = act(&proxy, &target, Some("*"), why()).await;
        gate.open();
        refused
    };
    let (sent, refused) = tokio::join!(act(&proxy, &target, Some(&tag), why()), second);
    assert_eq!((sent.status, refused.status), (200, 409), "{} {}", sent.text(), refused.text());
    assert_eq!((upstream.count(), &proxy.operation(&id).await["attempts"]), (2, &2.into()));
}

/// The spans of what an operator orders link to the request that began the operation.
#[tokio::test]
async fn a_question_that_an_operator_orders_is_linked_to_the_request() {
    let upstream = Upstream::start(|seen| match seen.method.as_str() {
        "POST" => vec![Step::Body, Step::Reset],
        _ => Answer::json(200, "{\"state\":\"SUCCESS\"}").steps(),
    })
    .await;
    let collector = Collector::start().await;
    let policy = "timeout: 5s, idempotency: { required: true, status: { request: \"GET /by-ref/{key}\", \
        schedule: { first: 1h, max: 1h }, rules: [{ status: 200, json: { /state: SUCCESS }, then: succeeded }] } }";
    let telemetry = format!("telemetry: {{ otlp: {{ endpoint: \"http://{}\" }} }}", collector.addr());
    let proxy = Proxy::start(Config::single(upstream.addr, policy).top(&telemetry).admin()).await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let request = Request::keyed("/pay", "canary-key", "x");
    let first = proxy.send(request.header("traceparent", &format!("00-{trace}-b7ad6b7169203331-01"))).await;
    let id = first.operation();
    let tag = etag(&proxy, &id).await;
    let why = json!({ "actor": "ana", "reason": "now" });
    assert_eq!(act(&proxy, &format!("/operations/{id}:query"), Some(&tag), why).await.json()["state"], "succeeded");
    let span = eventually("the question's span", || async {
        collector.spans().into_iter().find(|span| span.links.iter().any(|link| hex(&link.trace_id) == trace))
    })
    .await;
    assert_ne!(hex(&span.trace_id), trace, "a trace of its own");
    assert!(!format!("{span:?}").contains("canary-key"));
}

fn kept(upstream: &Upstream, path: &Path, more: &str) -> Config {
    let policy = format!(
        "timeout: 5s, idempotency: {{ required: true, late_response: 1h, \
         redispatch: {{ attempts: 5, backoff: {{ base: 2h, max: 2h }} }}{more} }}"
    );
    honouring(upstream, &policy).ledger(&format!("store: disk, path: \"{}\"", path.display()))
}

/// Else it would be tried again and again, and nobody would ever be called.
#[tokio::test]
async fn a_kept_request_that_is_damaged_calls_a_person() {
    let home = TempDir::new();
    let upstream = Upstream::start(|_| vec![Step::Body, Step::Reset]).await;
    let mut proxy = Proxy::start(kept(&upstream, &home.join("ledger"), "")).await;
    let first = proxy.send(Request::keyed("/pay", "k", "marked-body")).await;
    first.expect_problem(502, "outcome-unknown");
    proxy.terminate().await;
    let file = home.join("ledger").join("ledger.db");
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(11).position(|window| window == b"marked-body").expect("it lies in the file");
    // The length before the body no longer fits.
    bytes[at - 1] = bytes[at - 1].wrapping_add(1);
    std::fs::write(&file, bytes).unwrap();
    let proxy = Proxy::start(kept(&upstream, &home.join("ledger"), "")).await;
    let document = eventually("a person is called", || async {
        let document = proxy.operation(&first.operation()).await;
        document["attention"]["reason"].is_string().then_some(document)
    })
    .await;
    assert_eq!((&document["state"], &document["reason"]), (&"unknown".into(), &"request_unreadable".into()));
    assert_eq!(document["attention"]["reason"], "resolve_exhausted");
    assert_eq!(upstream.count(), 1, "nothing half-read was sent");
}

#[tokio::test]
async fn an_answer_that_stalls_in_its_body_is_waited_for_no_longer_than_the_total_time() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| {
        let half = "HTTP/1.1 201 Created\r\nContent-Length: 8\r\n\r\nhalf";
        vec![Step::Body, Step::Send(half.into()), Step::Gate(held.clone()), Step::Send("half".into())]
    })
    .await;
    let proxy = Proxy::single(upstream.addr, "timeout: 400ms, idempotency: { required: true }").await;
    let began = Instant::now();
    let first = proxy.send(Request::keyed("/pay", "k", "x")).await;
    let document = first.expect_problem(504, "outcome-unknown");
    assert_eq!(document["safe_to_use_new_key"], false);
    assert!(began.elapsed() >= Duration::from_millis(390), "{:?}", began.elapsed());
    proxy.operation_in(&first.operation(), "unknown").await;
    gate.open();
    let document = proxy.operation_in(&first.operation(), "succeeded").await;
    assert_eq!((&document["source"], &document["http_status"]), (&"late_response".into(), &201.into()));
    let repeat = proxy.send(Request::keyed("/pay", "k", "x")).await;
    assert_eq!((repeat.status, repeat.text()), (201, "halfhalf".into()), "what came late is replayed");
    assert_eq!(upstream.count(), 1);
}
