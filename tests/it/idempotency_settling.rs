//! The status query that a repeat of an unknown write makes.

use mainstay_tests::{prelude::*, proxy::TempDir};

/// Writes are done and their answer lost; anything else is asked about and gets `answer`.
async fn losing(answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Upstream {
    Upstream::start(move |seen| match seen.method.as_str() {
        "POST" => vec![Step::Body, Step::Reset],
        _ => answer(seen).steps(),
    })
    .await
}

fn policy(rules: &str, more: &str) -> String {
    format!(
        "timeout: 3s, idempotency: {{ required: true, status: {{ request: \"GET /by-ref/{{key}}\", \
         schedule: {{ first: 1h, max: 1h }}, rules: [{rules}] {more} }} }}"
    )
}

const SUCCESS: &str = "{ status: 200, json: { /state: SUCCESS }, then: succeeded }";
const DECIDED: &str = "{ status: 200, json: { /state: [FAILED, REJECTED] }, then: failed }";
const ONGOING: &str = "{ status: 200, json: { /state: PROCESSING }, then: ongoing }";
const ABSENT: &str = "{ status: 404, then: not_found }";

fn rules() -> String {
    [SUCCESS, DECIDED, ONGOING, ABSENT].join(", ")
}

/// Loses a write, then repeats it; gives the first answer and the repeat's.
async fn lose_and_repeat(proxy: &Proxy, key: &str) -> (Reply, Reply) {
    let first = proxy.send(Request::keyed("/pay", key, "x")).await;
    first.expect_problem(502, "outcome-unknown");
    let repeat = proxy.send(Request::keyed("/pay", key, "x")).await;
    (first, repeat)
}

fn posts(upstream: &Upstream) -> usize {
    upstream.requests().iter().filter(|r| r.method == "POST").count()
}

#[tokio::test]
async fn a_repeat_asks_and_gets_what_the_service_says_of_the_write() {
    for (answer, state) in [("SUCCESS", "succeeded"), ("FAILED", "failed"), ("REJECTED", "failed")] {
        let body = format!("{{\"state\":\"{answer}\"}}");
        let told = Answer::json(200, &body).header("ETag", "\"7\"").header("Set-Cookie", "a=b");
        let upstream = losing(move |_| told.clone()).await;
        let proxy = Proxy::single(upstream.addr, &policy(&rules(), "")).await;
        let (first, repeat) = lose_and_repeat(&proxy, "k").await;
        assert_eq!(repeat.header("mainstay-outcome"), Some(state));
        if state == "succeeded" {
            assert_eq!((repeat.expect_upstream(200).text(), repeat.header("etag")), (body, Some("\"7\"")));
            assert_eq!(repeat.header("idempotent-replayed"), Some("true"));
            assert_eq!((repeat.header("mainstay-resolved"), repeat.header("set-cookie")), (Some("status-query"), None));
        } else {
            let document = repeat.expect_problem(422, "write-failed");
            assert_eq!((&document["effect"], &document["safe_to_use_new_key"]), (&"none".into(), &true.into()));
            assert_eq!(document["operation"], first.header("operation-location").unwrap());
            assert_eq!(repeat.header("mainstay-resolved"), None);
        }
        let document = proxy.operation(&first.operation()).await;
        assert_eq!((&document["state"], &document["source"]), (&state.into(), &"status_query".into()), "{answer}");
        assert_eq!(posts(&upstream), 1);
    }
}

#[tokio::test]
async fn a_settled_operation_is_not_asked_about_again() {
    let upstream = losing(|_| Answer::json(200, "{\"state\":\"SUCCESS\"}")).await;
    let proxy = Proxy::single(upstream.addr, &policy(&rules(), "")).await;
    lose_and_repeat(&proxy, "k").await;
    proxy.send(Request::keyed("/pay", "k", "x")).await.expect_upstream(200);
    assert_eq!(upstream.count(), 2, "one write, one query");
}

/// The service is asked by the key alone, and two principals used the same one: nobody knows whose write it tells of.
#[tokio::test]
async fn what_may_be_said_of_anothers_write_settles_none() {
    for (answer, repeat_is, state) in [
        (Answer::json(200, "{\"state\":\"SUCCESS\"}"), 409, "unknown"),
        (Answer::json(200, "{\"state\":\"FAILED\"}"), 409, "unknown"),
        // Neither of them happened.
        (Answer::json(404, "{}"), 502, "not_executed"),
    ] {
        let upstream = losing(move |_| answer.clone()).await;
        let policy = policy(&rules(), ", fenced: true");
        let config = Config::single(upstream.addr, &policy).listener("principal: { header: X-User }");
        let proxy = Proxy::start(config).await;
        let write = async |who: Option<&str>, key: &str| {
            let request = Request::keyed("/pay", key, "x");
            proxy.send(who.into_iter().fold(request, |request, who| request.header("X-User", who))).await
        };
        for (one, other, key) in [(Some("ann"), Some("bob"), "k"), (None, Some("bob"), "l"), (Some("bob"), None, "m")] {
            write(one, key).await.expect_problem(502, "outcome-unknown");
            let lost = write(other, key).await;
            lost.expect_problem(502, "outcome-unknown");
            write(other, key).await.expect_problem(repeat_is, "outcome-unknown");
            let read = Request::get(&format!("/_mainstay/operations/{}", lost.operation()));
            let read = other.into_iter().fold(read, |read, who| read.header("X-User", who));
            assert_eq!(proxy.send(read).await.json()["state"], state, "{one:?} {other:?}");
        }
    }
}

/// What the status endpoint says of a write, and what its repeat gets under these settings.
async fn resolves(state: &'static str, settings: &str) -> (Reply, Reply) {
    let upstream = losing(move |_| Answer::json(200, &format!("{{\"state\":\"{state}\"}}"))).await;
    let proxy = Proxy::single(upstream.addr, &policy(&rules(), "").replace("required: true", settings)).await;
    lose_and_repeat(&proxy, "k").await
}

#[tokio::test]
async fn a_resolved_response_stands_in_for_the_lost_one() {
    let short = "resolved_response: { status: 201, body: '{\"done\":true}', from: none }";
    let long = "resolved_response: { succeeded: { status: 201, body: { done: true }, from: none } }";
    for settings in [short, long] {
        let (_, repeat) = resolves("SUCCESS", settings).await;
        assert_eq!((repeat.status, repeat.json()["done"].as_bool()), (201, Some(true)), "{repeat:#?}");
        assert_eq!(repeat.header("mainstay-outcome"), Some("succeeded"));
        resolves("FAILED", settings).await.1.expect_problem(422, "write-failed");
    }
    let (_, repeat) = resolves("SUCCESS", "resolved_response: { status: 201 }").await;
    assert_eq!(
        (repeat.status, repeat.json()["state"].as_str()),
        (200, Some("SUCCESS")),
        "what the service says comes first"
    );
    let (_, repeat) = resolves("FAILED", "resolved_response: { failed: { status: 402, body: { paid: false } } }").await;
    assert_eq!((repeat.status, repeat.json()["paid"].as_bool()), (402, Some(false)), "{repeat:#?}");
    assert_eq!((repeat.header("mainstay-outcome"), repeat.slug()), (Some("failed"), None));
}

#[tokio::test]
async fn a_write_of_which_there_is_nothing_else_to_show_shows_its_operation() {
    for settings in ["resolved_response: { succeeded: { from: none } }", "max_response: 4B"] {
        let (first, repeat) = resolves("SUCCESS", settings).await;
        assert_eq!((repeat.status, repeat.header("content-type")), (200, Some("application/json")), "{settings}");
        assert_eq!(repeat.header("content-location"), first.header("operation-location"));
        let document = repeat.json();
        assert_eq!((&document["state"], &document["id"]), (&"succeeded".into(), &first.operation().into()));
    }
}

#[tokio::test]
async fn a_policy_may_send_repeats_of_a_write_that_was_done_to_its_operation() {
    let (first, repeat) = resolves("SUCCESS", "redirect: true").await;
    assert_eq!((repeat.status, repeat.header("location")), (303, first.header("operation-location")));
    resolves("FAILED", "redirect: true").await.1.expect_problem(422, "write-failed");
}

#[tokio::test]
async fn what_the_service_says_of_a_write_is_replayed_after_a_kill() {
    let home = TempDir::new();
    let upstream = losing(|_| Answer::json(200, "{\"state\":\"SUCCESS\",\"id\":7}")).await;
    let config = || {
        let ledger = format!("store: disk, path: \"{}\"", home.join("ledger").display());
        Config::single(upstream.addr, &policy(&rules(), "")).ledger(&ledger)
    };
    let mut proxy = Proxy::start(config()).await;
    let (_, before) = lose_and_repeat(&proxy, "k").await;
    proxy.signal("KILL");
    proxy.ended().await;
    let proxy = Proxy::start(config()).await;
    let after = proxy.send(Request::keyed("/pay", "k", "x")).await;
    assert_eq!(
        (after.status, after.text(), after.header("mainstay-resolved")),
        (200, before.text(), Some("status-query"))
    );
    assert_eq!(upstream.count(), 2, "one write, one query");
}

#[tokio::test]
async fn no_evidence_leaves_the_outcome_unknown() {
    let cases: Vec<(&str, Answer)> = vec![
        ("500", Answer::json(500, "{\"state\":\"SUCCESS\"}")),
        ("503", Answer::status(503)),
        ("401", Answer::json(401, "{\"state\":\"FAILED\"}")),
        ("403", Answer::status(403)),
        ("redirect", Answer::json(302, "{\"state\":\"SUCCESS\"}").header("Location", "/elsewhere")),
        ("html", Answer::ok("<h1>{\"state\":\"SUCCESS\"}</h1>").header("Content-Type", "text/html")),
        ("not json", Answer::json(200, "{\"state\":\"SUCC")),
        ("no match", Answer::json(200, "{\"state\":\"NEW\"}")),
        ("no such field", Answer::json(200, "{\"other\":\"SUCCESS\"}")),
        ("empty", Answer::json(200, "")),
        ("wrong type of value", Answer::json(200, "{\"state\":[\"SUCCESS\"]}")),
    ];
    for (name, answer) in cases {
        let upstream = losing(move |_| answer.clone()).await;
        let proxy = Proxy::single(upstream.addr, &policy(&rules(), "")).await;
        let (first, repeat) = lose_and_repeat(&proxy, "k").await;
        assert_eq!((repeat.status, repeat.slug()), (409, Some("outcome-unknown")), "{name}");
        assert_eq!(proxy.operation(&first.operation()).await["state"], "unknown", "{name}");
        assert_eq!((upstream.count(), posts(&upstream)), (2, 1), "{name}: one query, and redirects are not followed");
    }
}

#[tokio::test]
async fn a_lost_status_answer_leaves_the_outcome_unknown() {
    let upstream = Upstream::start(|_| vec![Step::Body, Step::Reset]).await;
    let proxy = Proxy::single(upstream.addr, &policy(&rules(), "")).await;
    let (_, repeat) = lose_and_repeat(&proxy, "k").await;
    repeat.expect_problem(409, "outcome-unknown");
}

#[tokio::test]
async fn not_found_before_settle_after_proves_nothing() {
    let upstream = losing(|_| Answer::json(404, "{}")).await;
    let proxy = Proxy::single(upstream.addr, &policy(&rules(), ", settle_after: 1h")).await;
    let (first, repeat) = lose_and_repeat(&proxy, "k").await;
    repeat.expect_problem(409, "outcome-unknown");
    assert_eq!(proxy.operation(&first.operation()).await["state"], "unknown");
    assert_eq!(posts(&upstream), 1);
}

#[tokio::test]
async fn not_found_after_settle_after_frees_the_key() {
    let upstream = Upstream::start(|seen| match (seen.method.as_str(), seen.index) {
        ("POST", 0) => vec![Step::Body, Step::Reset],
        ("POST", _) => Answer::status(201).steps(),
        _ => Answer::json(404, "{}").steps(),
    })
    .await;
    let quick = policy(&rules(), ", settle_after: 600ms, rate: 1000/s").replace("timeout: 3s", "timeout: 400ms");
    let quick = quick.replace("required: true", "required: true, late_response: 200ms");
    let proxy = Proxy::single(upstream.addr, &quick).await;
    let (first, repeat) = lose_and_repeat(&proxy, "k").await;
    repeat.expect_problem(409, "outcome-unknown");
    let again = eventually("the repeat is executed", || async {
        let reply = proxy.send(Request::keyed("/pay", "k", "x")).await;
        (reply.status == 201).then_some(reply)
    })
    .await;
    assert_eq!((again.header("idempotent-replayed"), posts(&upstream)), (None, 2));
    // Whoever holds the first address only must not take the whole for undone.
    let old = proxy.operation(&first.operation()).await;
    assert_eq!((&old["state"], &old["safe_to_use_new_key"]), (&"not_executed".into(), &false.into()));
    assert_eq!(old["superseded_by"].as_str(), again.header("operation-location"));
    assert_eq!(proxy.operation(&again.operation()).await.get("superseded_by"), None);
}

/// It was sent, or it was answered with `timeout` and the service's name, though nobody had asked the service.
#[tokio::test]
async fn a_repeat_that_waited_longer_than_a_request_may_take_is_sent_all_the_same() {
    let upstream = Upstream::start(|seen| match (seen.method.as_str(), seen.index) {
        ("POST", 0) => vec![Step::Body, Step::Reset],
        ("POST", _) => Answer::status(201).steps(),
        _ => Answer::json(404, "{}").steps(),
    })
    .await;
    let slow = policy(&rules(), ", settle_after: 1500ms, rate: 1000/s").replace("timeout: 3s", "timeout: 500ms");
    let slow = slow.replace("required: true", "required: true, late_response: 200ms");
    let slow = slow.replace("first: 1h, max: 1h", "first: 100ms, max: 200ms");
    let proxy = Proxy::single(upstream.addr, &slow).await;
    proxy.send(Request::keyed("/pay", "k", "x")).await.expect_problem(502, "outcome-unknown");
    let repeat = proxy.send(Request::keyed("/pay", "k", "x").header("Prefer", "wait=20")).await;
    assert_eq!((repeat.expect_upstream(201).header("idempotent-replayed"), posts(&upstream)), (None, 2));
}

#[tokio::test]
async fn not_found_of_a_fenced_endpoint_frees_the_key_at_once() {
    let upstream = Upstream::start(|seen| match (seen.method.as_str(), seen.index) {
        ("POST", 0) => vec![Step::Body, Step::Reset],
        ("POST", _) => Answer::status(201).steps(),
        _ => Answer::json(404, "{}").steps(),
    })
    .await;
    let proxy = Proxy::single(upstream.addr, &policy(&rules(), ", settle_after: 1h, fenced: true")).await;
    let (_, repeat) = lose_and_repeat(&proxy, "k").await;
    assert_eq!((repeat.status, repeat.header("idempotent-replayed")), (201, None), "{}", repeat.text());
    assert_eq!(posts(&upstream), 2);
}

#[tokio::test]
async fn ongoing_is_neither_success_nor_failure() {
    let upstream = losing(|_| Answer::json(200, "{\"state\":\"PROCESSING\"}")).await;
    let proxy = Proxy::single(upstream.addr, &policy(&rules(), "")).await;
    let (first, repeat) = lose_and_repeat(&proxy, "k").await;
    assert_eq!(repeat.status, 409, "{}", repeat.text());
    let document = proxy.operation(&first.operation()).await;
    assert_eq!((&document["state"], &document["last_evidence"]), (&"unknown".into(), &"ongoing".into()), "{document}");
}

#[tokio::test]
async fn the_first_matching_rule_decides() {
    let upstream = losing(|_| Answer::json(200, "{\"state\":\"SUCCESS\",\"voided\":true}")).await;
    let rules = format!("{{ status: 200, json: {{ /voided: true }}, then: failed }}, {SUCCESS}");
    let proxy = Proxy::single(upstream.addr, &policy(&rules, "")).await;
    let (first, _) = lose_and_repeat(&proxy, "k").await;
    assert_eq!(proxy.operation(&first.operation()).await["state"], "failed");
}

#[tokio::test]
async fn the_query_names_the_key_as_one_encoded_segment() {
    let upstream = losing(|_| Answer::json(200, "{\"state\":\"SUCCESS\"}")).await;
    let proxy = Proxy::single(upstream.addr, &policy(&rules(), "")).await;
    lose_and_repeat(&proxy, "\"a/../b c?d%#\"").await;
    let query = upstream.requests().pop().unwrap();
    assert_eq!((query.method.as_str(), query.target.as_str()), ("GET", "/by-ref/a%2F..%2Fb%20c%3Fd%25%23"));
}

#[tokio::test]
async fn the_query_may_name_path_parameters_and_the_operation() {
    let upstream = losing(|_| Answer::json(200, "{\"state\":\"SUCCESS\"}")).await;
    let policy = format!(
        "timeout: 3s, idempotency: {{ required: true, status: {{ request: \"GET /shops/{{path.shop}}/ops/{{operation}}\", rules: [{SUCCESS}] }} }}"
    );
    let config = Config::new().upstream("app", upstream.addr, "").policy("p", &policy);
    let proxy = Proxy::start(config.route("path: \"/shops/{shop}/payments\"", "app", "p")).await;
    let first = proxy.send(Request::keyed("/shops/no%2F7/payments", "k", "x")).await;
    first.expect_problem(502, "outcome-unknown");
    proxy.send(Request::keyed("/shops/no%2F7/payments", "k", "x")).await.expect_upstream(200);
    assert_eq!(upstream.requests()[1].target, format!("/shops/no%2F7/ops/{}", first.operation()));
}

#[tokio::test]
async fn concurrent_repeats_make_one_query() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |seen| match seen.method.as_str() {
        "POST" => vec![Step::Body, Step::Reset],
        _ => Answer::json(200, "{\"state\":\"SUCCESS\"}").behind(&held),
    })
    .await;
    let proxy = Proxy::single(upstream.addr, &policy(&rules(), "")).await;
    let first = proxy.send(Request::keyed("/pay", "k", "x")).await;
    first.expect_problem(502, "outcome-unknown");
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = proxy.connect().await;
        client.write(&Request::keyed("/pay", "k", "x").bytes()).await;
        clients.push(client);
    }
    upstream.wait_requests(2).await;
    let second = tokio::time::timeout(Duration::from_millis(300), upstream.wait_requests(3)).await;
    assert!(second.is_err(), "two queries of one operation were in flight");
    gate.open();
    for client in &mut clients {
        let reply = client.reply().await;
        assert!(reply.status == 200 || reply.status == 409, "{reply:#?}");
    }
    proxy.operation_in(&first.operation(), "succeeded").await;
}
