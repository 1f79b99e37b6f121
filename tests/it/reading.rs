//! `/_mainstay` on the data listener, sentence by sentence.

use std::collections::BTreeSet;

use mainstay_tests::{prelude::*, proxy::TempDir};

const FIELDS: [&str; 20] = [
    "id",
    "key_hash",
    "route",
    "state",
    "reason",
    "source",
    "http_status",
    "attempts",
    "created_at",
    "dispatched_at",
    "settled_at",
    "next_check_at",
    "expires_at",
    "attention",
    "safe_to_use_new_key",
    "last_evidence",
    "final",
    "effect",
    "advice",
    "result",
];

async fn identified(upstream: &Upstream, policy: &str, top: &str) -> Proxy {
    let config = Config::single(upstream.addr, policy).listener("principal: { header: X-User }");
    Proxy::start(if top.is_empty() { config } else { config.top(top) }).await
}

#[track_caller]
fn has_exactly_its_fields(document: &serde_json::Value) {
    let names: BTreeSet<&str> = document.as_object().expect("a document").keys().map(String::as_str).collect();
    assert_eq!(names, BTreeSet::from(FIELDS));
}

fn as_ann(request: Request) -> Request {
    request.header("X-User", "ann")
}

/// Every way to an operation, with the eyes of another caller.
#[tokio::test]
async fn anothers_operation_is_404_on_every_way_to_it() {
    let upstream = Upstream::answering(Answer::status(201)).await;
    let proxy = identified(&upstream, "idempotency: { required: true }", "").await;
    let id = proxy.send(as_ann(Request::keyed("/pay", "k", "x"))).await.operation();
    for who in [Some("bob"), Some(""), None] {
        let see = |request: Request| match who {
            Some(who) => request.header("X-User", who),
            None => request,
        };
        for target in [format!("operations/{id}"), "operations?key=k".into(), "operations?key=k&upstream=app".into()] {
            for method in ["GET", "HEAD"] {
                let reply = proxy.send(see(Request::new(method, &format!("/_mainstay/{target}")))).await;
                assert_eq!(
                    (reply.status, reply.header("mainstay-error")),
                    (404, Some("operation-not-found")),
                    "{who:?} {target}"
                );
            }
        }
        let listed = proxy.send(see(Request::get("/_mainstay/operations"))).await;
        if who == Some("bob") {
            assert_eq!(listed.json()["operations"].as_array().map(Vec::len), Some(0));
        } else {
            listed.expect_problem(401, "principal-missing");
        }
        let batch = Request::post("/_mainstay/operations:batchGet", r#"{"keys":["k"]}"#);
        assert_eq!(proxy.send(see(batch)).await.json()["operations"][0]["not_found"], true, "{who:?}");
    }
    let mine = proxy.send(as_ann(Request::get(&format!("/_mainstay/operations/{id}")))).await.json();
    has_exactly_its_fields(&mine);
}

#[tokio::test]
async fn a_cursor_that_was_tampered_with_is_400() {
    let upstream = Upstream::answering(Answer::status(201)).await;
    let proxy = identified(&upstream, "idempotency: { required: true }", "").await;
    for n in 0..3 {
        proxy.send(as_ann(Request::keyed("/pay", &format!("k{n}"), "x"))).await.expect_upstream(201);
    }
    let list = |target: &str| as_ann(Request::get(&format!("/_mainstay/operations?{target}")));
    let page = proxy.send(list("limit=2&state=succeeded")).await.json();
    let cursor = page["next_cursor"].as_str().expect("there is a next page").to_owned();
    let next = proxy.send(list(&format!("limit=2&state=succeeded&cursor={cursor}"))).await.json();
    assert_eq!(next["operations"].as_array().map(Vec::len), Some(1));
    assert!(next["next_cursor"].is_null());
    let swapped: String = cursor.chars().map(|c| if c == 'A' { 'B' } else { c }).collect();
    for bad in [swapped.as_str(), &cursor[1..], "", "x"] {
        proxy.send(list(&format!("cursor={bad}"))).await.expect_problem(400, "bad-request");
    }
}

/// Under one key two operations may follow each other; the tag of the first says nothing of the second.
#[tokio::test]
async fn the_tag_of_one_operation_is_not_that_of_the_next_under_its_key() {
    let upstream = Upstream::start(|seen| Answer::status(if seen.index == 0 { 429 } else { 201 }).steps()).await;
    let proxy = Proxy::single(upstream.addr, "idempotency: { required: true }").await;
    proxy.send(Request::keyed("/pay", "k", "x")).await.expect_upstream(429);
    let path = "/_mainstay/operations?key=k";
    let tag = proxy.get(path).await.header("etag").expect("a tag").to_owned();
    assert_eq!(proxy.send(Request::get(path).header("If-None-Match", &tag)).await.status, 304);
    proxy.send(Request::keyed("/pay", "k", "x")).await.expect_upstream(201);
    assert_eq!(proxy.send(Request::get(path).header("If-None-Match", &tag)).await.status, 200);
}

#[tokio::test]
async fn other_methods_are_405_and_say_which() {
    let upstream = Upstream::answering(Answer::status(201)).await;
    let proxy = Proxy::single(upstream.addr, "idempotency: { required: true }").await;
    let id = proxy.send(Request::keyed("/pay", "k", "x")).await.operation();
    for (method, target, allow) in [
        ("POST", format!("operations/{id}"), "GET, HEAD"),
        ("DELETE", "operations?key=k".into(), "GET, HEAD"),
        ("POST", format!("operations/{id}:resolve"), "GET, HEAD"),
        ("GET", "operations:batchGet".into(), "POST"),
        ("GET", "ids".into(), "POST"),
        ("POST", "idempotency".into(), "GET, HEAD"),
    ] {
        let reply = proxy.send(Request::new(method, &format!("/_mainstay/{target}"))).await;
        reply.expect_problem(405, "method-not-allowed");
        assert_eq!(reply.header("allow"), Some(allow), "{method} {target}");
    }
    assert_eq!(upstream.count(), 1, "nothing under the prefix is forwarded");
}

#[tokio::test]
async fn one_limit_bounds_all_of_it_apart_from_traffic() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let config = Config::single(upstream.addr, "timeout: 5s").top("control: { rate_limit: 3/h }");
    let proxy = Proxy::start(config).await;
    for target in ["operations?key=a", "idempotency", "problems"] {
        assert_ne!(proxy.get(&format!("/_mainstay/{target}")).await.status, 429);
    }
    for target in ["operations?key=a", "idempotency", "problems/timeout"] {
        let reply = proxy.get(&format!("/_mainstay/{target}")).await;
        reply.expect_problem(429, "rate-limited");
        assert!(reply.header("retry-after").is_some());
    }
    proxy.get("/").await.expect_upstream(200);
}

#[tokio::test]
async fn a_stranger_does_not_ask_the_service_about_a_key_where_writes_need_a_principal() {
    let upstream = Upstream::answering(Answer::json(200, r#"{"state":"DONE"}"#)).await;
    let policy = "idempotency: { principal: required, status: { request: \"GET /by-ref/{key}\", \
                  rules: [{ status: 200, json: { /state: DONE }, then: succeeded }] } }";
    let proxy = identified(&upstream, policy, "").await;
    let target = "/_mainstay/operations?key=k&path=/pay";
    proxy.get(target).await.expect_problem(401, "principal-missing");
    assert_eq!(upstream.count(), 0);
    let told = proxy.send(as_ann(Request::get(target))).await.json();
    assert_eq!((&told["state"], &told["source"]), (&"succeeded".into(), &"upstream".into()));
    has_exactly_its_fields(&told);
}

/// Whatever the service has under the key: the ledger knows that it is somebody else's.
#[tokio::test]
async fn the_service_is_not_asked_about_anothers_write() {
    let upstream = Upstream::start(|seen| match seen.method.as_str() {
        "POST" => Answer::status(201).steps(),
        _ => Answer::json(200, r#"{"state":"DONE"}"#).steps(),
    })
    .await;
    let queries = || upstream.requests().iter().filter(|seen| seen.method == "GET").count();
    let policy = "idempotency: { status: { request: \"GET /by-ref/{key}\", \
                  rules: [{ status: 200, json: { /state: DONE }, then: succeeded }] } }";
    let home = TempDir::new();
    let disk = format!("store: disk, path: \"{}\"", home.join("ledger").display());
    for (ledger, is_kept) in [("store: memory", false), (&disk, false), (&disk, true)] {
        let config = Config::single(upstream.addr, policy).listener("principal: { header: X-User }").ledger(ledger);
        let mut proxy = Proxy::start(config).await;
        let before = queries();
        let see = async |who: Option<&str>, key: &str| {
            let request = Request::get(&format!("/_mainstay/operations?key={key}&path=/pay"));
            proxy.send(who.into_iter().fold(request, |request, who| request.header("X-User", who))).await
        };
        if !is_kept {
            proxy.send(as_ann(Request::keyed("/pay", "anns", "x"))).await.expect_upstream(201);
            proxy.send(Request::keyed("/pay", "nobodys", "x")).await.expect_upstream(201);
        }
        for (who, key) in [(Some("bob"), "anns"), (None, "anns"), (Some("bob"), "nobodys"), (Some("ann"), "nobodys")] {
            see(who, key).await.expect_problem(404, "operation-not-found");
        }
        assert_eq!(queries(), before, "{ledger} {is_kept}");
        for (who, key) in [(Some("ann"), "anns"), (None, "nobodys")] {
            assert_eq!(see(who, key).await.json()["source"], "response", "{who:?} {ledger} {is_kept}");
        }
        for who in [Some("bob"), None] {
            assert_eq!(see(who, "fresh").await.json()["source"], "upstream", "{who:?} {ledger} {is_kept}");
        }
        assert_eq!(queries(), before + 2);
        proxy.signal("KILL");
        proxy.ended().await;
    }
}

#[tokio::test]
async fn who_may_not_write_to_a_path_does_not_ask_the_service_about_its_keys() {
    let upstream = Upstream::answering(Answer::json(200, r#"{"state":"DONE"}"#)).await;
    let status = "idempotency: { status: { request: \"GET /by-ref/{key}\", \
                  rules: [{ status: 200, json: { /state: DONE }, then: succeeded }] } }";
    for (access, admitted) in [
        ("allow: [192.0.2.0/24]", false),
        ("deny: [{ methods: [POST, PATCH] }]", false),
        ("deny: [{ path: /pay }]", false),
        ("deny: [{ methods: [GET] }]", true),
    ] {
        let before = upstream.count();
        let proxy = Proxy::single(upstream.addr, &format!("access: {{ {access} }}, {status}")).await;
        let reply = proxy.get("/_mainstay/operations?key=k&path=/pay").await;
        if admitted {
            assert_eq!(reply.json()["state"], "succeeded", "{access}");
        } else {
            reply.expect_problem(403, "forbidden");
        }
        assert_eq!(upstream.count() - before, usize::from(admitted), "{access}");
    }
}

/// The answer says `DECLINED`, but not in words that can be read with certainty.
#[tokio::test]
async fn a_deciding_body_that_is_encoded_or_says_two_things_is_no_evidence() {
    let upstream = Upstream::start(|seen| {
        let answer = match seen.target.as_str() {
            "/gzip" => Answer::json(200, "\u{1f}\u{8b}").header("Content-Encoding", "gzip"),
            "/twice" => Answer::json(200, r#"{"state":"DONE","state":"DECLINED"}"#),
            _ => Answer::json(200, r#"{"state":"DECLINED"}"#),
        };
        answer.steps()
    })
    .await;
    let rules = "rules: [{ status: 200, json: { /state: { in: [DECLINED] } }, then: failed }]";
    let proxy =
        Proxy::single(upstream.addr, &format!("idempotency: {{ required: true, outcome: {{ {rules} }} }}")).await;
    for (path, state) in [("/gzip", "unknown"), ("/twice", "unknown"), ("/plain", "failed")] {
        let reply = proxy.send(Request::keyed(path, path, "x")).await;
        assert_eq!(proxy.operation(&reply.operation()).await["state"], state, "{path}");
        assert_eq!(reply.slug(), (state == "unknown").then_some("outcome-unknown"), "{path}");
    }
}

#[tokio::test]
async fn respond_async_is_neither_honoured_nor_claimed() {
    let upstream = Upstream::answering(Answer::status(201)).await;
    let proxy = Proxy::single(upstream.addr, "idempotency: { required: true }").await;
    let request = Request::keyed("/pay", "k", "x").header("Prefer", "respond-async, wait=99");
    let reply = proxy.send(request).await;
    assert_eq!((reply.expect_upstream(201).header("preference-applied"), upstream.count()), (None, 1));
}

/// The service takes its time over the question, and meanwhile somebody else writes under the key.
#[tokio::test]
async fn an_answer_about_a_write_that_came_after_the_question_is_not_told() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |seen| match seen.method.as_str() {
        "POST" => Answer::status(201).steps(),
        _ => Answer::json(200, r#"{"state":"DONE"}"#).behind(&held),
    })
    .await;
    let policy = "idempotency: { status: { request: \"GET /by-ref/{key}\", \
                  rules: [{ status: 200, json: { /state: DONE }, then: succeeded }] } }";
    let config =
        Config::single(upstream.addr, policy).listener("principal: { header: X-User }").ledger("store: memory");
    let proxy = Proxy::start(config).await;
    let asks = proxy.send(Request::get("/_mainstay/operations?key=shared&path=/pay").header("X-User", "bob"));
    let writes = async {
        upstream.wait_requests(1).await;
        proxy.send(as_ann(Request::keyed("/pay", "shared", "x"))).await.expect_upstream(201);
        gate.open();
    };
    let (told, ()) = tokio::join!(asks, writes);
    told.expect_problem(404, "operation-not-found");
}
