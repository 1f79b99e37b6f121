//! The table of answers: what a keyed write gets in each state of its key.

use futures_util::future::join_all;
use mainstay_tests::prelude::*;
use tokio::time::Instant;

const PLAIN: &str = "timeout: 9s, idempotency: { required: true }";

/// An upstream that answers only when the gate opens.
async fn gated(answer: Answer) -> (Upstream, Gate) {
    let gate = Gate::new();
    let held = gate.clone();
    (Upstream::start(move |_| answer.behind(&held)).await, gate)
}

/// Sends a keyed write and waits until the upstream has all of it.
async fn in_flight(proxy: &Proxy, upstream: &Upstream, key: &str) -> Client {
    let mut client = proxy.connect().await;
    client.write(&Request::keyed("/", key, "x").bytes()).await;
    let n = upstream.log().completed + 1;
    upstream.wait_completed(n).await;
    client
}

#[tokio::test]
async fn definite_answers_are_replayed_as_they_were() {
    let upstream = Upstream::start(|seen| {
        let status = seen.target[1..].parse().unwrap();
        Answer::status(status)
            .header("Content-Type", "text/x-own")
            .body(if status == 204 { "" } else { "own words" })
            .steps()
    })
    .await;
    let proxy = Proxy::single(upstream.addr, PLAIN).await;
    for (status, state) in [
        (200, "succeeded"),
        (201, "succeeded"),
        (202, "succeeded"),
        (204, "succeeded"),
        (303, "succeeded"),
        (400, "failed"),
        (404, "failed"),
        (409, "failed"),
        (422, "failed"),
    ] {
        let request = Request::keyed(&format!("/{status}"), &format!("key-{status}"), "x");
        let first = proxy.send(request.clone()).await;
        assert_eq!((first.status, first.header("idempotent-replayed")), (status, None));
        let before = upstream.count();
        for _ in 0..2 {
            let replay = proxy.send(request.clone()).await;
            assert_eq!((replay.status, replay.header("idempotent-replayed")), (status, Some("true")));
            assert_eq!((replay.text(), replay.header("content-type")), (first.text(), first.header("content-type")));
            assert_eq!(replay.operation(), first.operation());
        }
        assert_eq!(upstream.count(), before, "{status} was executed again");
        let document = proxy.operation(&first.operation()).await;
        assert_eq!((&document["state"], &document["http_status"]), (&state.into(), &status.into()), "{document}");
        assert_eq!(document["source"], "response");
    }
}

#[tokio::test]
async fn statuses_that_prove_no_execution_free_the_key() {
    let upstream = Upstream::start(|seen| {
        let status = if seen.index % 2 == 0 { seen.target[1..].parse().unwrap() } else { 201 };
        Answer::status(status).steps()
    })
    .await;
    let proxy = Proxy::single(upstream.addr, PLAIN).await;
    for status in [401, 403, 407, 425, 429] {
        let request = Request::keyed(&format!("/{status}"), &format!("key-{status}"), "x");
        let first = proxy.send(request.clone()).await;
        assert_eq!(first.expect_upstream(status).header("idempotent-replayed"), None);
        assert_eq!(proxy.operation(&first.operation()).await["state"], "not_executed", "{status}");
        let second = proxy.send(request).await;
        assert_eq!((second.status, second.header("idempotent-replayed")), (201, None), "{status}");
    }
}

#[tokio::test]
async fn a_freed_key_may_carry_another_request() {
    let upstream = Upstream::start(|seen| Answer::status(if seen.index == 0 { 429 } else { 201 }).steps()).await;
    let proxy = Proxy::single(upstream.addr, PLAIN).await;
    proxy.send(Request::keyed("/", "k", "x")).await.expect_upstream(429);
    proxy.send(Request::keyed("/", "k", "x")).await.expect_upstream(201);
    assert_eq!(upstream.count(), 2);
}

#[tokio::test]
async fn outcome_lists_say_more_than_the_defaults() {
    let upstream = Upstream::start(|seen| Answer::status(seen.target[1..].parse().unwrap()).steps()).await;
    let policy = "idempotency: { required: true, outcome: { not_executed: [409], failed: [500], ongoing: [202] } }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    for (status, terminal) in [
        (409, Some("not_executed")),
        (500, Some("failed")),
        (202, None),
        // Every other 4xx is a failure still, also one that the list of `not_executed` no longer names.
        (404, Some("failed")),
        (401, Some("failed")),
        (201, Some("succeeded")),
    ] {
        let reply = proxy.send(Request::keyed(&format!("/{status}"), &format!("k{status}"), "x")).await;
        assert_eq!(reply.status, status);
        let document = proxy.operation(&reply.operation()).await;
        match terminal {
            Some(state) => assert_eq!(document["state"], state, "{status}"),
            None => assert!(matches!(document["state"].as_str(), Some("pending" | "unknown")), "{status}: {document}"),
        }
    }
}

#[tokio::test]
async fn outcome_rules_read_the_body() {
    let upstream = Upstream::start(|seen| {
        Answer::json(200, &format!("{{\"state\":\"{}\"}}", seen.header("idempotency-key").unwrap_or_default())).steps()
    })
    .await;
    let policy = "idempotency: { required: true, outcome: { rules: [ \
                  { status: 200, json: { /state: DECLINED }, then: failed }, \
                  { status: 200, json: { /state: [BUSY, LATER] }, then: not_executed } ] } }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    for (body, state) in [("DECLINED", "failed"), ("LATER", "not_executed"), ("DONE", "succeeded")] {
        let reply = proxy.send(Request::keyed("/", body, body)).await;
        assert_eq!(proxy.operation(&reply.operation()).await["state"], state, "{body}");
    }
}

#[tokio::test]
async fn a_repeat_in_flight_is_409_at_once() {
    let (upstream, gate) = gated(Answer::status(201)).await;
    let proxy = Proxy::single(upstream.addr, PLAIN).await;
    let mut first = in_flight(&proxy, &upstream, "k").await;
    let repeat = proxy.send(Request::keyed("/", "k", "x")).await;
    repeat.expect_problem(409, "in-progress");
    assert!(repeat.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    let id = repeat.operation();
    assert_eq!(proxy.operation(&id).await["state"], "pending");
    gate.open();
    assert_eq!(first.reply().await.expect_upstream(201).operation(), id);
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn a_repeat_may_wait_by_policy() {
    let (upstream, gate) = gated(Answer::status(201).body("made")).await;
    let policy = "timeout: 9s, idempotency: { required: true, on_concurrent: { wait: 8s } }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    let mut first = in_flight(&proxy, &upstream, "k").await;
    let mut repeat = proxy.connect().await;
    repeat.write(&Request::keyed("/", "k", "x").bytes()).await;
    let early = tokio::time::timeout(Duration::from_millis(300), repeat.wire.readable()).await;
    assert!(early.is_err(), "the repeat was answered before the first");
    gate.open();
    first.reply().await.expect_upstream(201);
    let reply = repeat.reply().await;
    assert_eq!((reply.status, reply.text().as_str(), reply.header("idempotent-replayed")), (201, "made", Some("true")));
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn a_repeat_may_wait_by_prefer() {
    let (upstream, gate) = gated(Answer::status(201).body("made")).await;
    let proxy = Proxy::single(upstream.addr, PLAIN).await;
    let mut first = in_flight(&proxy, &upstream, "k").await;
    let mut repeat = proxy.connect().await;
    repeat.write(&Request::keyed("/", "k", "x").header("Prefer", "wait=8").bytes()).await;
    let early = tokio::time::timeout(Duration::from_millis(300), repeat.wire.readable()).await;
    assert!(early.is_err(), "the repeat was answered before the first");
    gate.open();
    first.reply().await.expect_upstream(201);
    let reply = repeat.reply().await;
    assert_eq!((reply.status, reply.header("idempotent-replayed")), (201, Some("true")));
    assert!(reply.header("preference-applied").is_some_and(|v| v.contains("wait")), "{reply:#?}");
}

#[tokio::test]
async fn a_wait_in_vain_ends_in_409() {
    let (upstream, gate) = gated(Answer::status(201)).await;
    let proxy =
        Proxy::single(upstream.addr, "timeout: 9s, idempotency: { required: true, on_concurrent: { wait: 400ms } }")
            .await;
    let mut first = in_flight(&proxy, &upstream, "k").await;
    let began = Instant::now();
    proxy.send(Request::keyed("/", "k", "x")).await.expect_problem(409, "in-progress");
    assert!(began.elapsed() >= Duration::from_millis(390), "{:?}", began.elapsed());
    gate.open();
    first.reply().await.expect_upstream(201);
}

#[tokio::test]
async fn a_hundred_concurrent_duplicates_have_one_effect() {
    let upstream = Upstream::start(|_| Answer::status(201).body("made").after(Duration::from_millis(100))).await;
    for (rule, all_replayed) in [("", false), (", on_concurrent: { wait: 8s }", true)] {
        let before = upstream.count();
        let proxy =
            Proxy::single(upstream.addr, &format!("timeout: 9s, idempotency: {{ required: true{rule} }}")).await;
        let key = format!("key{}", u8::from(all_replayed));
        let oracle = Oracle::new();
        let replies = join_all((0..100).map(|_| proxy.send(Request::keyed("/", &key, "x")))).await;
        for reply in &replies {
            oracle.saw(&key, reply);
            if reply.status != 201 {
                assert!(!all_replayed, "{reply:#?}");
                reply.expect_problem(409, "in-progress");
            }
        }
        let fresh = replies.iter().filter(|r| r.status == 201 && r.header("idempotent-replayed").is_none()).count();
        assert_eq!((fresh, upstream.count() - before), (1, 1));
        oracle.judge(&upstream);
        let ids: std::collections::HashSet<_> = replies.iter().map(Reply::operation).collect();
        assert_eq!(ids.len(), 1, "one operation for one key");
    }
}

#[tokio::test]
async fn different_keys_do_not_wait_for_each_other() {
    let (upstream, gate) = gated(Answer::status(201)).await;
    let proxy = Proxy::single(upstream.addr, PLAIN).await;
    let mut clients = Vec::new();
    for n in 0..20 {
        clients.push(in_flight(&proxy, &upstream, &format!("k{n}")).await);
    }
    gate.open();
    for client in &mut clients {
        client.reply().await.expect_upstream(201);
    }
}

#[tokio::test]
async fn replayed_headers_are_an_allow_list() {
    let answer = Answer::status(201)
        .header("Content-Type", "application/json; charset=utf-8")
        .header("Content-Language", "de")
        .header("Content-Disposition", "attachment; filename=\"a, b.txt\"")
        .header("Location", "/payments/7")
        .header("Content-Location", "/payments/7?v=1")
        .header("ETag", "\"v1\"")
        .header("Last-Modified", "Wed, 21 Oct 2026 07:28:00 GMT")
        .header("Link", "</a>; rel=next")
        .header("Link", "</b>; rel=prev")
        .header("Cache-Control", "private")
        .header("Vary", "Accept")
        .header("X-Kept", "by policy")
        .header("Set-Cookie", "session=1")
        .header("Date", "Wed, 21 Oct 2015 07:28:00 GMT")
        .header("Age", "7")
        .header("X-Request-Id", "r1")
        .header("RateLimit-Remaining", "3")
        .header("Access-Control-Allow-Origin", "*")
        .header("X-Other", "1")
        .body("{}");
    let upstream = Upstream::answering(answer).await;
    let proxy = Proxy::single(upstream.addr, "idempotency: { required: true, replay: { headers: [X-Kept] } }").await;
    let first = proxy.send(Request::keyed("/", "k", "x")).await;
    assert_eq!((first.header("set-cookie"), first.header("x-request-id")), (Some("session=1"), Some("r1")));
    let replay = proxy.send(Request::keyed("/", "k", "x")).await;
    for name in [
        "content-type",
        "content-language",
        "content-disposition",
        "location",
        "content-location",
        "etag",
        "last-modified",
        "link",
        "cache-control",
        "vary",
        "x-kept",
    ] {
        assert_eq!(replay.headers(name), first.headers(name), "{name}");
    }
    for name in ["set-cookie", "age", "x-request-id", "ratelimit-remaining", "access-control-allow-origin", "x-other"] {
        assert_eq!(replay.header(name), None, "{name} was replayed");
    }
    assert_ne!(replay.header("date"), Some("Wed, 21 Oct 2015 07:28:00 GMT"));
}

#[tokio::test]
async fn an_oversize_answer_reaches_the_first_client_whole_and_is_not_run_again() {
    let upstream = Upstream::answering(Answer::status(201).body("y".repeat(300 * 1024)).chunked()).await;
    let proxy = Proxy::single(upstream.addr, PLAIN).await;
    let first = proxy.send(Request::keyed("/", "k", "x")).await;
    assert_eq!((first.status, first.body.len, first.body.complete), (201, 300 * 1024, true));
    let repeat = proxy.send(Request::keyed("/", "k", "x")).await;
    assert!(repeat.expect_problem(409, "response-not-retained").to_string().contains("201"));
    assert_eq!((repeat.operation(), upstream.count()), (first.operation(), 1));
    let document = proxy.operation(&first.operation()).await;
    assert_eq!((&document["state"], &document["http_status"]), (&"succeeded".into(), &201.into()));
}

#[tokio::test]
async fn an_answer_of_exactly_max_response_is_replayed() {
    let upstream = Upstream::answering(Answer::status(201).body("y".repeat(1024))).await;
    let proxy = Proxy::single(upstream.addr, "idempotency: { required: true, max_response: 1KiB }").await;
    proxy.send(Request::keyed("/", "k", "x")).await.expect_upstream(201);
    let replay = proxy.send(Request::keyed("/", "k", "x")).await;
    assert_eq!((replay.status, replay.body.len), (201, 1024));
}

#[tokio::test]
async fn an_event_stream_is_streamed_and_not_kept() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| {
        vec![
            Step::Body,
            Step::Send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n".into()),
            Step::Gate(held.clone()),
            Step::Send("9\r\ndata: 2\n\n\r\n0\r\n\r\n".into()),
        ]
    })
    .await;
    let proxy = Proxy::single(upstream.addr, PLAIN).await;
    let mut client = proxy.connect().await;
    client.write(&Request::keyed("/", "k", "x").bytes()).await;
    assert_eq!(client.head().await.status, 200);
    let first = within("the first event before the second exists", client.wire.take(14)).await.unwrap();
    assert_eq!(first, b"9\r\ndata: 1\n\n\r\n");
    gate.open();
    assert!(client.body(Framing::Chunked).await.complete);
    let repeat = proxy.send(Request::keyed("/", "k", "x")).await;
    repeat.expect_problem(409, "response-not-retained");
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn a_body_over_max_body_is_refused_and_leaves_no_record() {
    let upstream = Upstream::answering(Answer::status(201)).await;
    let proxy = Proxy::single(upstream.addr, "idempotency: { required: true, max_body: 1KiB }").await;
    let large = Request::keyed("/", "k", "x".repeat(1025));
    for request in [large.clone(), large.chunked()] {
        proxy.send(request).await.expect_problem(413, "body-too-large");
    }
    assert_eq!((upstream.count(), proxy.get("/_mainstay/operations?key=k").await.status), (0, 404));
    proxy.send(Request::keyed("/", "k", "x".repeat(1024))).await.expect_upstream(201);
}

#[tokio::test]
async fn refused_requests_leave_no_record() {
    let upstream = Upstream::answering(Answer::status(201)).await;
    let config = Config::single(upstream.addr, "idempotency: { principal: required }")
        .listener("principal: { header: X-Tenant }");
    let proxy = Proxy::start(config).await;
    proxy.send(Request::keyed("/", "k", "x")).await.expect_problem(401, "principal-missing");
    let found = proxy.send(Request::get("/_mainstay/operations?key=k").header("X-Tenant", "t")).await;
    assert_eq!(found.status, 404);
    assert_eq!(proxy.get("/_mainstay/operations?key=k").await.status, 404);
}

#[tokio::test]
async fn past_retention_the_key_is_expired_and_not_run_again() {
    let upstream = Upstream::answering(Answer::status(201)).await;
    let proxy = Proxy::single(upstream.addr, "idempotency: { required: true, retention: 500ms, tombstone: 1h }").await;
    let first = proxy.send(Request::keyed("/", "k", "x")).await;
    let repeat = eventually("the key expires", || async {
        let reply = proxy.send(Request::keyed("/", "k", "x")).await;
        (reply.status != 201).then_some(reply)
    })
    .await;
    repeat.expect_problem(409, "key-expired");
    assert_eq!((repeat.operation(), upstream.count()), (first.operation(), 1));
}

#[tokio::test]
async fn past_the_tombstone_the_key_is_new() {
    let upstream = Upstream::answering(Answer::status(201)).await;
    let proxy =
        Proxy::single(upstream.addr, "idempotency: { required: true, retention: 100ms, tombstone: 500ms }").await;
    let first = proxy.send(Request::keyed("/", "k", "x")).await;
    let second = eventually("the key is forgotten", || async {
        let reply = proxy.send(Request::keyed("/", "k", "x")).await;
        (reply.status == 201 && reply.header("idempotent-replayed").is_none()).then_some(reply)
    })
    .await;
    assert_ne!(first.operation(), second.operation());
    assert_eq!(upstream.count(), 2);
}

const DOCUMENT: [&str; 20] = [
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

#[tokio::test]
async fn the_operation_document_has_exactly_its_fields() {
    let upstream = Upstream::answering(Answer::status(201).body("secret answer")).await;
    let proxy = Proxy::single(upstream.addr, PLAIN).await;
    let reply = proxy.send(Request::keyed("/", "secret-key", "secret body")).await;
    let page = proxy.get(&format!("/_mainstay/operations/{}", reply.operation())).await;
    assert!(page.header("content-type").is_some_and(|v| v.starts_with("application/json")), "{page:#?}");
    let document = page.json();
    let fields: Vec<_> = document.as_object().unwrap().keys().map(String::as_str).collect();
    for field in &DOCUMENT {
        assert!(fields.contains(field), "{field} is missing: {document}");
    }
    for field in &fields {
        assert!(DOCUMENT.contains(field), "{field} is not in the contract: {document}");
    }
    assert!(!page.text().contains("secret"), "{document}");
    assert_eq!((&document["id"], &document["attempts"]), (&reply.operation().into(), &1.into()));
    assert_eq!((&document["state"], &document["last_evidence"]), (&"succeeded".into(), &"succeeded".into()));
    for time in ["created_at", "dispatched_at", "settled_at", "expires_at"] {
        let text = document[time].as_str().unwrap_or_default();
        assert!(text.len() >= 20 && text.as_bytes()[10] == b'T' && text.ends_with('Z'), "{time}: {text:?}");
    }
    assert!(document["attention"].is_null() && document["next_check_at"].is_null());
}

#[tokio::test]
async fn operations_are_found_by_id_and_by_key() {
    let upstream = Upstream::answering(Answer::status(201)).await;
    let proxy = Proxy::single(upstream.addr, PLAIN).await;
    let id = proxy.send(Request::keyed("/", "\"a/b c&d\"", "x")).await.operation();
    assert_eq!(proxy.operation(&id).await["id"], id);
    assert_eq!(proxy.get("/_mainstay/operations?key=a%2Fb%20c%26d").await.json()["id"], id);
    for absent in [
        "/_mainstay/operations?key=other",
        "/_mainstay/operations/00000000000000090000000000000009",
        "/_mainstay/operations/nonsense",
    ] {
        assert_eq!(proxy.get(absent).await.status, 404, "{absent}");
    }
}

#[tokio::test]
async fn operation_documents_are_conditional_read_only_resources() {
    let upstream = Upstream::answering(Answer::status(201)).await;
    let proxy = Proxy::single(upstream.addr, PLAIN).await;
    let path = format!("/_mainstay/operations/{}", proxy.send(Request::keyed("/", "k", "x")).await.operation());
    let page = proxy.get(&path).await;
    let etag = page.header("etag").expect("an ETag").to_owned();
    let unchanged = proxy.send(Request::get(&path).header("If-None-Match", &etag)).await;
    assert_eq!((unchanged.status, unchanged.body.len), (304, 0));
    assert_eq!(proxy.send(Request::get(&path).header("If-None-Match", "\"else\"")).await.status, 200);
    let head = proxy.send(Request::new("HEAD", &path)).await;
    assert_eq!((head.status, head.header("etag")), (200, Some(etag.as_str())));
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        assert_eq!(proxy.send(Request::new(method, &path)).await.status, 405, "{method}");
    }
}

#[tokio::test]
async fn an_open_operation_can_be_waited_for() {
    let (upstream, gate) = gated(Answer::status(201)).await;
    let proxy = Proxy::single(upstream.addr, PLAIN).await;
    let mut first = in_flight(&proxy, &upstream, "k").await;
    let page = proxy.get("/_mainstay/operations?key=k").await;
    assert_eq!(page.json()["state"], "pending");
    assert!(page.header("retry-after").is_some(), "{page:#?}");
    let path = format!("/_mainstay/operations/{}", page.json()["id"].as_str().unwrap());
    let mut waiting = proxy.connect().await;
    waiting.write(&Request::get(&path).header("Prefer", "wait=8").bytes()).await;
    let early = tokio::time::timeout(Duration::from_millis(300), waiting.wire.readable()).await;
    assert!(early.is_err(), "the wait ended before anything changed");
    gate.open();
    first.reply().await.expect_upstream(201);
    assert_eq!(waiting.reply().await.json()["state"], "succeeded");
}

#[tokio::test]
async fn an_empty_refusal_is_replayed_like_any_other_answer() {
    let upstream = Upstream::answering(Answer::status(404)).await;
    let proxy = Proxy::single(upstream.addr, PLAIN).await;
    let mut client = proxy.connect().await;
    for replayed in [None, Some("true")] {
        // On one connection: what stands behind an empty answer must not be taken for the listener's own refusal.
        client.write(&Request::keyed("/", "k", "x").bytes()).await;
        let reply = within("an answer", client.reply()).await;
        assert_eq!((reply.status, reply.slug(), reply.header("idempotent-replayed")), (404, None, replayed));
    }
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn a_grpc_answer_proves_what_its_grpc_status_says_and_nothing_without_one() {
    for (status, state) in [("0", "succeeded"), ("5", "failed"), ("14", "unknown"), ("", "unknown")] {
        let upstream = Upstream::start(move |_| {
            let trailer = if status.is_empty() { String::new() } else { format!("grpc-status: {status}\r\n") };
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTrailer: grpc-status\r\nTransfer-Encoding: chunked\r\n\r\n";
            vec![Step::Body, Step::Send(format!("{head}2\r\nok\r\n0\r\n{trailer}\r\n").into())]
        })
        .await;
        let proxy = Proxy::single(upstream.addr, PLAIN).await;
        let reply = proxy.send(Request::keyed("/", "k", "x").header("TE", "trailers")).await;
        assert_eq!(reply.status, 200, "{status:?}");
        proxy.operation_in(&reply.operation(), state).await;
    }
}
