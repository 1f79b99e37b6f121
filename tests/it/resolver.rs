//! What is unknown is settled with no client about, whatever the status endpoint says and whenever the process dies.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use mainstay_tests::{prelude::*, proxy::TempDir};
use tokio::time::Instant;

/// Writes are done and their answer lost; anything else is asked about and gets `answer`.
async fn losing(answer: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) -> Upstream {
    Upstream::start(move |seen| match seen.method.as_str() {
        "POST" => vec![Step::Body, Step::Reset],
        _ => answer(seen),
    })
    .await
}

const RULES: &str = "{ status: 200, json: { /state: SUCCESS }, then: succeeded }, \
    { status: 200, json: { /state: FAILED }, then: failed }, { status: 404, then: not_found }";

/// Asks soon and often, unless `more` says otherwise.
fn asking(more: &str) -> String {
    let schedule = if more.contains("schedule") { "" } else { "schedule: { first: 50ms, max: 100ms }, " };
    let rate = if more.contains("rate:") { "" } else { "rate: 1000/s, " };
    format!(
        "timeout: 3s, idempotency: {{ required: true, status: {{ request: \"GET /by-ref/{{key}}\", {schedule}{rate}\
         rules: [{RULES}] {more} }} }}"
    )
}

fn done(state: &str) -> Vec<Step> {
    Answer::json(200, &format!("{{\"state\":\"{state}\"}}")).steps()
}

async fn lose(proxy: &Proxy, key: &str) -> String {
    let first = proxy.send(Request::keyed("/pay", key, "x")).await;
    first.expect_problem(502, "outcome-unknown");
    first.operation()
}

fn queries(upstream: &Upstream) -> usize {
    upstream.requests().iter().filter(|seen| seen.method == "GET").count()
}

async fn asked(upstream: &Upstream, times: usize) {
    eventually("the status endpoint is asked", || async { (queries(upstream) >= times).then_some(()) }).await;
}

fn on_disk(upstream: &Upstream, policy: &str, path: &Path) -> Config {
    Config::single(upstream.addr, policy).ledger(&format!("store: disk, path: \"{}\"", path.display()))
}

#[tokio::test]
async fn an_unknown_write_is_settled_with_no_client_about() {
    for (answer, state) in [("SUCCESS", "succeeded"), ("FAILED", "failed")] {
        let upstream = losing(move |seen| done(if seen.index < 3 { "NEW" } else { answer })).await;
        let proxy = Proxy::single(upstream.addr, &asking("")).await;
        let id = lose(&proxy, "k").await;
        let document = proxy.operation_in(&id, state).await;
        assert_eq!(
            (&document["source"], &document["next_check_at"]),
            (&"status_query".into(), &serde_json::Value::Null)
        );
        assert_eq!((upstream.effects("k"), queries(&upstream)), (1, 3));
        let labels = [("upstream", "app"), ("result", state)];
        assert_eq!(proxy.metric("mainstay_status_queries_total", &labels).await, Some(1.0));
    }
}

#[tokio::test]
async fn a_write_in_flight_at_a_kill_is_settled_after_the_restart() {
    let home = TempDir::new();
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |seen| match seen.method.as_str() {
        "POST" => Answer::status(201).behind(&held),
        _ => done("SUCCESS"),
    })
    .await;
    let mut proxy = Proxy::start(on_disk(&upstream, &asking(""), &home.join("ledger"))).await;
    let mut client = proxy.connect().await;
    client.write(&Request::keyed("/pay", "k", "x").bytes()).await;
    upstream.wait_completed(1).await;
    let pending = proxy.get("/_mainstay/operations?key=k").await.json();
    proxy.signal("KILL");
    proxy.ended().await;
    let proxy = Proxy::start(on_disk(&upstream, &asking(""), &home.join("ledger"))).await;
    proxy.operation_in(pending["id"].as_str().unwrap(), "succeeded").await;
    assert_eq!((upstream.effects("k"), queries(&upstream)), (1, 1));
}

#[tokio::test]
async fn an_unknown_write_that_waits_for_hours_is_due_at_once_after_a_restart() {
    let home = TempDir::new();
    let upstream = losing(|_| done("SUCCESS")).await;
    let patient = asking(", schedule: { first: 5h, max: 5h }");
    let mut proxy = Proxy::start(on_disk(&upstream, &patient, &home.join("ledger"))).await;
    let id = lose(&proxy, "k").await;
    proxy.signal("KILL");
    proxy.ended().await;
    assert_eq!(queries(&upstream), 0);
    let proxy = Proxy::start(on_disk(&upstream, &patient, &home.join("ledger"))).await;
    proxy.operation_in(&id, "succeeded").await;
}

/// Whatever the endpoint does, it is asked again, the write stays unknown, and nothing is followed.
#[tokio::test]
async fn an_endpoint_that_proves_nothing_never_makes_a_write_failed() {
    let failed = "{\"state\":\"FAILED\"}";
    let cases: Vec<(&str, Vec<Step>)> = vec![
        ("500", Answer::json(500, failed).steps()),
        ("401", Answer::json(401, failed).steps()),
        ("403", Answer::json(403, failed).steps()),
        ("redirect", Answer::json(302, failed).header("Location", "/elsewhere").steps()),
        ("html", Answer::ok(failed).header("Content-Type", "text/html").steps()),
        ("html 404", Answer::status(404).header("Content-Type", "text/html").body("<h1>Not Found</h1>").steps()),
        ("cut json", Answer::json(200, "{\"state\":\"FAIL").steps()),
        ("lying json", Answer::json(200, "{\"state\":[\"FAILED\"],\"stat\":\"FAILED\"}").steps()),
        ("oversize", Answer::json(200, &format!("{{\"state\":\"FAILED\",\"x\":\"{}\"}}", "x".repeat(300_000))).steps()),
        ("reset", vec![Step::Reset]),
        ("closed", vec![Step::Close]),
    ];
    for (name, steps) in cases {
        let upstream = losing(move |_| steps.clone()).await;
        let proxy = Proxy::single(upstream.addr, &asking(", settle_after: 0s, fenced: true")).await;
        let id = lose(&proxy, "k").await;
        asked(&upstream, 3).await;
        let document = proxy.operation(&id).await;
        assert_eq!((&document["state"], document["next_check_at"].is_string()), (&"unknown".into(), true), "{name}");
        let targets = upstream.requests().into_iter().filter(|seen| seen.method == "GET").map(|seen| seen.target);
        assert!(targets.clone().all(|target| target == "/by-ref/k"), "{name}: {:?}", targets.collect::<Vec<_>>());
        assert_eq!(upstream.effects("k"), 1, "{name}");
    }
}

#[tokio::test]
async fn a_slow_answer_is_no_evidence_and_two_queries_are_never_in_flight() {
    let upstream = losing(|_| vec![Step::Stall]).await;
    let proxy = Proxy::single(upstream.addr, &asking("")).await;
    let id = lose(&proxy, "k").await;
    asked(&upstream, 1).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(queries(&upstream), 1, "a second one was made while the first is in flight");
    asked(&upstream, 2).await;
    assert_eq!(proxy.operation(&id).await["state"], "unknown");
}

#[tokio::test]
async fn not_found_frees_the_key_only_after_settle_after() {
    let upstream = losing(|_| Answer::json(404, "{}").steps()).await;
    let quick = asking(", settle_after: 1500ms").replace("timeout: 3s", "timeout: 1s");
    let quick = quick.replace("required: true", "required: true, late_response: 500ms");
    let proxy = Proxy::single(upstream.addr, &quick).await;
    let sent = Instant::now();
    let id = lose(&proxy, "k").await;
    let document = proxy.operation_in(&id, "not_executed").await;
    assert!(sent.elapsed() >= Duration::from_millis(1500), "after {:?}: {document}", sent.elapsed());
    assert!(queries(&upstream) > 1, "it had been asked before");
}

#[tokio::test]
async fn not_found_of_a_fenced_endpoint_frees_the_key_at_once() {
    let upstream = losing(|_| Answer::json(404, "{}").steps()).await;
    let proxy = Proxy::single(upstream.addr, &asking(", settle_after: 10h, fenced: true")).await;
    let id = lose(&proxy, "k").await;
    proxy.operation_in(&id, "not_executed").await;
    assert_eq!(queries(&upstream), 1);
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a date on the wire is the wall clock's")]
async fn retry_after_is_honoured_in_both_forms() {
    for form in ["seconds", "date"] {
        let upstream = losing(move |seen| {
            let at = std::time::SystemTime::now() + Duration::from_secs(3);
            let wait = if form == "seconds" { "2".to_owned() } else { httpdate::fmt_http_date(at) };
            if seen.index == 1 { Answer::status(503).header("Retry-After", &wait).steps() } else { done("SUCCESS") }
        })
        .await;
        let proxy = Proxy::single(upstream.addr, &asking("")).await;
        let id = lose(&proxy, "k").await;
        asked(&upstream, 1).await;
        let told = Instant::now();
        proxy.operation_in(&id, "succeeded").await;
        let waited = told.elapsed();
        assert!((Duration::from_millis(1800)..Duration::from_secs(6)).contains(&waited), "{form}: {waited:?}");
        assert_eq!(queries(&upstream), 2);
    }
}

#[tokio::test]
async fn giving_up_calls_a_person_and_leaves_the_write_unknown() {
    let upstream = losing(|_| done("NEW")).await;
    let policy = asking(", schedule: { first: 50ms, max: 100ms, give_up: 600ms }");
    let proxy = Proxy::single(upstream.addr, &policy).await;
    let id = lose(&proxy, "k").await;
    let document = eventually("a person is called", || async {
        let document = proxy.operation(&id).await;
        document["attention"]["reason"].is_string().then_some(document)
    })
    .await;
    assert_eq!(
        (&document["state"], &document["attention"]["reason"]),
        (&"unknown".into(), &"resolve_exhausted".into())
    );
    let at = |member: &str| document[member].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let pause = at("next_check_at").duration_since(document["attention"]["since"].as_str().unwrap().parse().unwrap());
    assert!((3599..=3601).contains(&pause.as_secs()), "it is asked on, seldom: {document}");
    let asked = queries(&upstream);
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(queries(&upstream), asked, "it is a person's now");
    let repeat = proxy.send(Request::keyed("/pay", "k", "x")).await;
    let told = repeat.expect_problem(409, "outcome-unknown");
    assert_eq!(repeat.header("retry-after"), Some("300"));
    assert!(told["detail"].as_str().unwrap().contains("A person has been called"), "{told}");
}

#[tokio::test]
async fn what_was_given_up_is_asked_again_when_its_upstream_recovers_and_needs_nobody_then() {
    let is_up = Arc::new(AtomicBool::new(false));
    let up = is_up.clone();
    let upstream = losing(move |_| if up.load(SeqCst) { done("SUCCESS") } else { Answer::status(503).steps() }).await;
    let policy = asking(", schedule: { first: 50ms, max: 100ms, give_up: 400ms }");
    let proxy = Proxy::single(upstream.addr, &policy).await;
    let id = lose(&proxy, "k").await;
    eventually("a person is called", || async {
        proxy.operation(&id).await["attention"]["reason"].is_string().then_some(())
    })
    .await;
    is_up.store(true, SeqCst);
    // Another write in doubt finds that the service is back.
    lose(&proxy, "scout").await;
    let document = proxy.operation_in(&id, "succeeded").await;
    assert_eq!((&document["attention"], &document["source"]), (&serde_json::Value::Null, &"status_query".into()));
}

/// With no other write to show it, and no breaker that would notice: it was asked once an hour, whatever the runbook said.
#[tokio::test]
async fn what_was_given_up_notices_by_itself_that_its_upstream_is_back() {
    let is_up = Arc::new(AtomicBool::new(false));
    let up = is_up.clone();
    let upstream = losing(move |_| if up.load(SeqCst) { done("SUCCESS") } else { Answer::status(503).steps() }).await;
    let policy = asking(", schedule: { first: 50ms, max: 1s, give_up: 400ms }");
    let proxy = Proxy::single(upstream.addr, &policy).await;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(lose(&proxy, &format!("k{n}")).await);
    }
    for id in &ids {
        eventually("a person is called", || async {
            proxy.operation(id).await["attention"]["reason"].is_string().then_some(())
        })
        .await;
    }
    is_up.store(true, SeqCst);
    for id in &ids {
        let document = proxy.operation_in(id, "succeeded").await;
        assert_eq!(document["attention"], serde_json::Value::Null);
    }
}

#[tokio::test]
async fn an_operation_whose_route_has_gone_waits_and_is_settled_when_it_is_back() {
    let upstream = losing(|_| done("SUCCESS")).await;
    let patient = asking(", schedule: { first: 600ms, max: 600ms }");
    let config = Config::new().upstream("app", upstream.addr, "").policy("p", &patient);
    let mut proxy = Proxy::start(config.clone().route("path: /pay", "app", "p")).await;
    let id = lose(&proxy, "k").await;
    let mut gone = config.route("path: /other", "app", "p");
    (gone.data, gone.probes) = (proxy.config.data, proxy.config.probes);
    proxy.reload(gone);
    eventually("the log names the route", || async { proxy.log().contains("configured no more").then_some(()) }).await;
    let document = proxy.operation(&id).await;
    assert_eq!((&document["state"], document["next_check_at"].is_string()), (&"unknown".into(), true), "{document}");
    assert_eq!((queries(&upstream), proxy.log().matches("configured no more").count()), (0, 1));
}

fn redispatching(more: &str) -> String {
    format!(
        "timeout: 3s, idempotency: {{ required: true, late_response: 200ms, \
         redispatch: {{ attempts: 3, backoff: {{ base: 100ms, max: 200ms }} }} {more} }}"
    )
}

fn honouring(upstream: &Upstream, policy: &str) -> Config {
    Config::new().upstream("app", upstream.addr, "honours_key: true").policy("p", policy).route("path: /**", "app", "p")
}

/// The headers that each attempt adds of its own, and those of the connection.
fn steady(seen: &Seen) -> Vec<(String, String)> {
    let own = ["traceparent", "tracestate", "b3", "uber-trace-id", "mainstay-deadline-ms"];
    let fields = seen.head.headers.0.iter().map(|(name, value)| (name.clone(), value.clone()));
    fields.filter(|(name, _)| !own.contains(&name.to_ascii_lowercase().as_str())).collect()
}

#[tokio::test]
async fn a_write_in_doubt_is_sent_again_byte_for_byte_until_it_is_answered() {
    let upstream = Upstream::start(|seen| match seen.index {
        0 | 1 => vec![Step::Body, Step::Reset],
        _ => Answer::status(201).body("made").steps(),
    })
    .await;
    let proxy = Proxy::start(honouring(&upstream, &redispatching(""))).await;
    let request =
        Request::keyed("/pay?a=%20b", "k", "\u{0}\u{1}body").header("Authorization", "Bearer x").header("X-A", "");
    let first = proxy.send(request.clone()).await;
    first.expect_problem(502, "outcome-unknown");
    let document = proxy.operation_in(&first.operation(), "succeeded").await;
    assert_eq!((&document["source"], &document["attempts"]), (&"redispatch".into(), &3.into()), "{document}");
    let seen = upstream.requests();
    for again in &seen[1..] {
        assert_eq!((&again.method, &again.target), (&seen[0].method, &seen[0].target));
        assert_eq!((&again.body.data, steady(again)), (&seen[0].body.data, steady(&seen[0])));
    }
    assert_eq!(seen.len(), 3);
    let repeat = proxy.send(request).await;
    assert_eq!(
        (repeat.status, repeat.header("idempotent-replayed"), repeat.text()),
        (201, Some("true"), "made".into())
    );
}

#[tokio::test]
async fn dispatches_are_counted_over_a_kill_and_end_with_a_person() {
    let home = TempDir::new();
    let upstream = Upstream::start(|_| vec![Step::Body, Step::Reset]).await;
    let config = |path: &Path| {
        honouring(&upstream, &redispatching("")).ledger(&format!("store: disk, path: \"{}\"", path.display()))
    };
    let mut proxy = Proxy::start(config(&home.join("ledger"))).await;
    let first = proxy.send(Request::keyed("/pay", "k", "x")).await;
    first.expect_problem(502, "outcome-unknown");
    upstream.wait_completed(2).await;
    proxy.signal("KILL");
    proxy.ended().await;
    let proxy = Proxy::start(config(&home.join("ledger"))).await;
    let document = eventually("a person is called", || async {
        let document = proxy.operation(&first.operation()).await;
        document["attention"]["reason"].is_string().then_some(document)
    })
    .await;
    assert_eq!(
        (&document["state"], &document["attention"]["reason"]),
        (&"unknown".into(), &"resolve_exhausted".into())
    );
    assert_eq!(upstream.effects("k"), 4, "the first, and three more");
}

#[tokio::test]
async fn the_status_endpoint_is_asked_before_a_write_is_sent_again() {
    let upstream = Upstream::start(|seen| match (seen.method.as_str(), seen.index) {
        ("POST", 0) => vec![Step::Body, Step::Reset],
        ("POST", _) => Answer::status(201).steps(),
        _ => Answer::json(404, "{}").steps(),
    })
    .await;
    let status = format!(
        ", status: {{ request: \"GET /by-ref/{{key}}\", schedule: {{ first: 150ms, max: 150ms }}, rules: [{RULES}] }}"
    );
    let proxy = Proxy::start(honouring(&upstream, &redispatching(&status))).await;
    let first = proxy.send(Request::keyed("/pay", "k", "x")).await;
    let document = proxy.operation_in(&first.operation(), "succeeded").await;
    assert_eq!(document["source"], "redispatch");
    let methods: Vec<_> = upstream.requests().into_iter().map(|seen| seen.method).collect();
    assert_eq!(methods[..2], ["POST", "GET"], "{methods:?}");
    assert_eq!(methods.last().map(String::as_str), Some("POST"));
}

#[tokio::test]
async fn what_a_second_attempt_says_of_itself_does_not_speak_for_the_first() {
    for status in [409, 429] {
        let upstream = Upstream::start(move |seen| match seen.index {
            0 => vec![Step::Body, Step::Reset],
            1 | 2 => Answer::status(status).steps(),
            _ => Answer::status(201).steps(),
        })
        .await;
        let proxy = Proxy::start(honouring(&upstream, &redispatching(""))).await;
        let first = proxy.send(Request::keyed("/pay", "k", "x")).await;
        let document = proxy.operation_in(&first.operation(), "succeeded").await;
        assert_eq!(document["attempts"], 4, "{status}");
    }
}

/// N writes in doubt after a restart; how their queries are spread.
async fn spread(writes: usize, rate: u32, patience: Duration) -> (f64, Duration, Duration) {
    let home = TempDir::new();
    let arrivals = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let seen_at = arrivals.clone();
    let upstream = losing(move |_| {
        seen_at.lock().push(Instant::now());
        done("SUCCESS")
    })
    .await;
    let waiting = asking(&format!(", rate: {rate}/s, schedule: {{ first: 5h, max: 5h }}"));
    let mut proxy = Proxy::start(on_disk(&upstream, &waiting, &home.join("ledger"))).await;
    for from in (0..writes).step_by(50) {
        let proxy = &proxy;
        let some = (from..writes.min(from + 50)).map(|n| async move {
            let key = format!("k{n}");
            proxy.send(Request::keyed("/pay", &key, "x")).await.expect_problem(502, "outcome-unknown");
        });
        futures_util::future::join_all(some).await;
    }
    proxy.signal("KILL");
    proxy.ended().await;
    assert_eq!(arrivals.lock().len(), 0);
    let proxy = Proxy::start(on_disk(&upstream, &waiting, &home.join("ledger"))).await;
    let all = async {
        while arrivals.lock().len() < writes {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(patience, all).await.expect("all are asked about");
    eventually("all are settled", || async {
        (proxy.metric("mainstay_operations", &[("state", "unknown"), ("scope", "replica")]).await == Some(0.0))
            .then_some(())
    })
    .await;
    let arrivals = arrivals.lock();
    assert_eq!(arrivals.len(), writes, "each was asked about once");
    let gaps: Vec<_> = arrivals.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let took = *arrivals.last().unwrap() - arrivals[0];
    // In the busiest second, as many as the rate allows, with some room for a busy machine.
    let busiest = (0..writes)
        .map(|from| arrivals[from..].iter().take_while(|at| **at - arrivals[from] < Duration::from_secs(1)).count());
    println!("the busiest second had {}", busiest.max().unwrap());
    ((writes - 1) as f64 / took.as_secs_f64(), *gaps.iter().min().unwrap(), *gaps.iter().max().unwrap())
}

#[tokio::test]
async fn after_a_restart_queries_are_evenly_spread_at_the_rate() {
    let (rate, shortest, longest) = spread(200, 50, Duration::from_secs(20)).await;
    println!("{rate:.2}/s, gaps {shortest:?} to {longest:?}");
    assert!((47.0..=50.6).contains(&rate), "{rate}/s");
    assert!(longest < Duration::from_millis(400), "{longest:?}");
}

/// `MAINSTAY_MANY=10000` runs it at that size: some minutes.
#[tokio::test]
#[ignore = "takes minutes"]
async fn after_a_restart_ten_thousand_queries_are_evenly_spread() {
    let writes = std::env::var("MAINSTAY_MANY").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000);
    let (rate, shortest, longest) = spread(writes, 100, Duration::from_mins(10)).await;
    println!("{writes} writes: {rate:.3}/s of 100/s, gaps {shortest:?} to {longest:?}");
    assert!((99.0..=100.1).contains(&rate), "{rate}/s");
}

#[tokio::test]
async fn what_waits_for_an_upstream_is_asked_about_when_it_recovers() {
    let is_up = Arc::new(AtomicBool::new(false));
    let up = is_up.clone();
    let upstream = losing(move |_| if up.load(SeqCst) { done("SUCCESS") } else { Answer::status(503).steps() }).await;
    // Nobody is asked about a second time for minutes.
    let policy = asking(", schedule: { first: 100ms, factor: 1000, max: 5h }, rate: 200/s");
    let proxy = Proxy::single(upstream.addr, &policy).await;
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(lose(&proxy, &format!("k{n}")).await);
    }
    asked(&upstream, 20).await;
    is_up.store(true, SeqCst);
    ids.push(lose(&proxy, "scout").await);
    for id in &ids {
        proxy.operation_in(id, "succeeded").await;
    }
    assert_eq!(queries(&upstream), 41, "each once more, and the scout");
}
