mod kit;

use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use mainstay_policies::{idempotency::Settlement, operation::Source, problem::Problem};
use serde_json::{Value, json};

use self::kit::{Kit, is_problem};
use super::{routes::handle, *};

#[tokio::test]
async fn a_settled_operation_is_shown_whole() {
    let kit = Kit::new();
    let mut claim = kit.claim("k", None, "app").await;
    claim.dispatched().await.unwrap();
    kit.clock.advance(Duration::from_millis(1_500));
    kit.succeed(&mut claim).await;
    let got = kit.get(&format!("operations/{}", claim.id())).await;
    let expected = json!({
        "id": claim.id().to_string(),
        "key_hash": claim.operation().key_hash.to_string(),
        "route": "payments",
        "state": "succeeded",
        "reason": "http_201",
        "source": "response",
        "http_status": 201,
        "attempts": 1,
        "created_at": "2023-11-14T22:13:20Z",
        "dispatched_at": "2023-11-14T22:13:20Z",
        "settled_at": "2023-11-14T22:13:21.5Z",
        "next_check_at": null,
        "expires_at": "2023-11-15T22:13:21.5Z",
        "attention": null,
        "safe_to_use_new_key": false,
        "last_evidence": "succeeded",
        "final": true,
        "effect": "happened",
        "advice": "The write happened: do not send it again. Its answer is not kept here; the service has what it did.",
        "result": null,
    });
    assert_eq!((got.status, got.json()), (200, expected));
    assert_eq!(got.header("retry-after"), None);
    assert_eq!(got.header("etag"), Some("\"1-1-2-1\""));
    let members: Vec<_> = got.json().as_object().unwrap().keys().cloned().collect();
    assert_eq!(members[..4], ["id", "key_hash", "route", "state"], "in the order of the contract");
}

#[tokio::test]
async fn an_open_operation_says_when_to_look_again() {
    let kit = Kit::new();
    let claim = kit.claim("k", None, "app").await;
    let got = kit.get(&format!("operations/{}", claim.id())).await;
    assert_eq!((got.json()["state"].as_str(), got.header("retry-after")), (Some("pending"), Some("60")));
}

#[tokio::test]
async fn what_is_absent_and_what_is_anothers_look_the_same() {
    let kit = Kit::new();
    let claim = kit.claim("k", Some(b"alice"), "app").await;
    let id = claim.id().to_string();
    let mut bodies = Vec::new();
    for target in
        [format!("operations/{id}"), "operations/00000000000000090000000000000009".into(), "operations/x".into()]
    {
        let got = kit.call(&format!("GET {target}"), &[], "", Some(b"bob")).await;
        is_problem(&got, 404, "operation-not-found");
        bodies.push(got.body);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    is_problem(&kit.call("GET operations?key=k", &[], "", Some(b"bob")).await, 404, "operation-not-found");
    let got = kit.call("GET operations", &[], "", Some(b"bob")).await;
    assert_eq!(got.json(), json!({ "operations": [], "next_cursor": null }));
    for target in [format!("operations/{id}"), "operations?key=k".into()] {
        assert_eq!(kit.call(&format!("GET {target}"), &[], "", Some(b"alice")).await.json()["id"], id);
    }
}

#[tokio::test]
async fn a_reader_that_has_seen_it_gets_304() {
    let kit = Kit::new();
    let mut claim = kit.claim("k", None, "app").await;
    let line = format!("GET operations/{}", claim.id());
    let etag = kit.call(&line, &[], "", None).await.header("etag").unwrap().to_owned();
    let again = kit.call(&line, &[("if-none-match", &etag)], "", None).await;
    assert_eq!((again.status, again.body.as_str(), again.header("etag")), (304, "", Some(&*etag)));
    kit.succeed(&mut claim).await;
    assert_eq!(kit.call(&line, &[("if-none-match", &etag)], "", None).await.status, 200);
}

#[tokio::test]
async fn head_is_get_without_its_body() {
    let kit = Kit::new();
    let claim = kit.claim("k", None, "app").await;
    let get = kit.get(&format!("operations/{}", claim.id())).await;
    let head = kit.call(&format!("HEAD operations/{}", claim.id()), &[], "", None).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), Some(get.body.len().to_string().as_str()));
    assert_eq!(head.header("etag"), get.header("etag"));
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_ends_when_the_operation_is_settled() {
    let kit = Kit::new();
    let mut claim = kit.claim("k", None, "app").await;
    let line = format!("GET operations/{}", claim.id());
    let started = tokio::time::Instant::now();
    let settle = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        kit.succeed(&mut claim).await;
    };
    let (got, ()) = tokio::join!(kit.call(&line, &[("prefer", "wait=10")], "", None), settle);
    assert_eq!(got.json()["state"], "succeeded");
    assert_eq!(got.header("preference-applied"), Some("wait=10"));
    assert_eq!(started.elapsed(), Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_is_bounded() {
    let kit = Kit::new();
    let claim = kit.claim("k", None, "app").await;
    for (wait, waited) in [("wait=3", 3), ("wait=99999999999", 30)] {
        let started = tokio::time::Instant::now();
        let got = kit.call(&format!("GET operations/{}", claim.id()), &[("prefer", wait)], "", None).await;
        assert_eq!(got.json()["state"], "pending");
        assert_eq!(got.header("preference-applied"), Some(format!("wait={waited}").as_str()));
        assert_eq!(started.elapsed(), Duration::from_secs(waited));
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_with_a_seen_state_ends_at_the_next_state() {
    let kit = Kit::new();
    let mut claim = kit.claim("k", None, "app").await;
    let line = format!("GET operations/{}", claim.id());
    let etag = kit.call(&line, &[], "", None).await.header("etag").unwrap().to_owned();
    let lose = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let lost = Settlement::Ambiguous { reason: "reset", status: None, stored: None };
        claim.settle(lost, Source::Response).await.unwrap();
    };
    let headers = [("prefer", "wait=10"), ("if-none-match", etag.as_str())];
    let (got, ()) = tokio::join!(kit.call(&line, &headers, "", None), lose);
    assert_eq!((got.status, got.json()["state"].as_str()), (200, Some("unknown")));
}

#[tokio::test]
async fn other_methods_are_refused_with_the_right_ones() {
    let kit = Kit::new();
    for (line, allow) in [
        ("POST operations/00000000000000010000000000000001", "GET, HEAD"),
        ("DELETE operations?key=k", "GET, HEAD"),
        ("GET operations:batchGet", "POST"),
        ("PUT idempotency", "GET, HEAD"),
        ("POST problems/timeout", "GET, HEAD"),
        ("GET ids", "POST"),
    ] {
        let got = kit.call(line, &[], "", None).await;
        is_problem(&got, 405, "method-not-allowed");
        assert_eq!(got.header("allow"), Some(allow), "{line}");
    }
}

#[tokio::test]
async fn a_key_under_two_upstreams_needs_a_name() {
    let kit = Kit::new();
    let (app, bank) = (kit.claim("a b", None, "app").await, kit.claim("a b", None, "bank").await);
    is_problem(&kit.get("operations?key=a%20b").await, 400, "key-ambiguous");
    assert_eq!(kit.get("operations?key=a%20b&upstream=app").await.json()["id"], app.id().to_string());
    assert_eq!(kit.get("operations?key=%22a%20b%22&upstream=bank").await.json()["id"], bank.id().to_string());
    is_problem(&kit.get("operations?key=a%20b&upstream=other").await, 404, "operation-not-found");
}

#[tokio::test]
async fn bad_parameters_are_refused() {
    let kit = Kit::new();
    is_problem(&kit.get("operations?key=").await, 400, "key-invalid");
    is_problem(&kit.get(&format!("operations?key={}", "k".repeat(256))).await, 400, "key-invalid");
    for target in [
        "operations?key=a&key=b",
        "operations?state=done",
        "operations?limit=0",
        "operations?limit=201",
        "operations?cursor=nonsense",
        "operations?colour=red",
    ] {
        is_problem(&kit.get(target).await, 400, "bad-request");
    }
    is_problem(&kit.get("nothing").await, 404, "no-route");
    is_problem(&kit.get("operations/1/more").await, 404, "no-route");
}

#[tokio::test]
async fn a_listing_is_paged_and_filtered() {
    let kit = Kit::new();
    for n in 0..5 {
        let mut claim = kit.claim(&n.to_string(), Some(b"me"), "app").await;
        if n != 2 {
            kit.succeed(&mut claim).await;
        }
    }
    let me = Some(&b"me"[..]);
    let mut pages = Vec::new();
    let mut target = "GET operations?limit=2".to_owned();
    loop {
        let page = kit.call(&target, &[], "", me).await.json();
        pages.push(page["operations"].as_array().unwrap().len());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        target = format!("GET operations?limit=2&cursor={cursor}");
    }
    assert_eq!(pages, [2, 2, 1]);
    let unknown = kit.call("GET operations?state=unknown", &[], "", me).await.json();
    assert_eq!(unknown["operations"].as_array().unwrap().len(), 1);
    assert_eq!(unknown["operations"][0]["reason"], "abandoned");
}

#[tokio::test]
async fn a_batch_is_answered_in_its_order() {
    let kit = Kit::new();
    let claim = kit.claim("known", None, "app").await;
    kit.claim("both", None, "app").await;
    kit.claim("both", None, "bank").await;
    let body = r#"{"keys": ["other", "known", "both", ""]}"#;
    let items = kit.call("POST operations:batchGet", &[], body, None).await.json();
    let items = items["operations"].as_array().unwrap();
    assert_eq!(items[0], json!({ "not_found": true, "key_index": 0 }));
    assert_eq!(items[1]["id"], claim.id().to_string());
    assert_eq!(items[2], json!({ "key_ambiguous": true, "key_index": 2 }));
    assert_eq!(items[3], json!({ "not_found": true, "key_index": 3 }));
    let many = json!({ "keys": vec!["k"; 101] }).to_string();
    for body in ["", "[]", r#"{"keys": "k"}"#, r#"{"kees": []}"#, &many] {
        is_problem(&kit.call("POST operations:batchGet", &[], body, None).await, 400, "bad-request");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_the_ledger_does_not_know_is_asked_of_the_service() {
    let kit = Kit::new();
    let ask = async |status, body| {
        *kit.endpoint.answer.lock() = (status, body);
        tokio::time::advance(Duration::from_secs(1)).await;
        kit.get("operations?key=a%2Fb&path=/s%20t/payments").await.json()
    };
    let told = ask(200, r#"{"state":"SUCCESS"}"#).await;
    assert_eq!((told["state"].as_str(), told["source"].as_str()), (Some("succeeded"), Some("upstream")));
    assert_eq!((told["id"].is_null(), told["last_evidence"].as_str()), (true, Some("succeeded")));
    assert_eq!(kit.endpoint.asked.lock()[0], "app GET /s%20t/by-ref/a%2Fb");
    for (status, body) in [(404, ""), (500, ""), (200, "{}"), (301, "")] {
        let told = ask(status, body).await;
        assert_eq!(
            (told["state"].as_str(), &told["safe_to_use_new_key"]),
            (Some("unknown"), &json!(false)),
            "{status}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn asking_the_service_is_bounded_and_needs_a_route() {
    let kit = Kit::new();
    *kit.endpoint.answer.lock() = (404, "");
    assert_eq!(kit.get("operations?key=k&path=/s/payments").await.status, 200);
    is_problem(&kit.get("operations?key=k&path=/s/payments").await, 429, "rate-limited");
    is_problem(&kit.get("operations?key=k&path=/other").await, 404, "operation-not-found");
    is_problem(&kit.get("operations?key=k&path=/s/payments&upstream=bank").await, 404, "operation-not-found");
    is_problem(&kit.get("operations?key=k").await, 404, "operation-not-found");
    let deaf = ControlContext { asker: None, ..kit.cx.clone() };
    let parts = Request::get("/_mainstay/operations?key=k&path=/s/payments").body(()).unwrap().into_parts().0;
    assert_eq!(
        handle(&deaf, &parts, Bytes::new(), Caller { reader: Reader::Anonymous, former: &[] }).await.status(),
        404
    );
    assert_eq!(kit.endpoint.asked.lock().len(), 1);
}

#[tokio::test]
async fn the_policy_is_published() {
    let route = &Kit::new().get("idempotency").await.json()["routes"][0];
    assert_eq!(route["methods"], json!(["POST"]), "what the route takes");
    assert_eq!(route["key"]["header"], "idempotency-key");
    assert_eq!(route["required"], true);
    assert_eq!(route["retention_seconds"], 86_400);
    assert_eq!(route["fingerprint"]["body"], "exact");
}

#[tokio::test]
async fn every_problem_has_its_page() {
    let kit = Kit::new();
    for problem in Problem::ALL {
        let target = format!("problems/{}", problem.slug());
        let got = kit.get(&target).await;
        assert_eq!((got.status, got.header("content-type")), (200, Some("application/json")));
        assert_eq!(got.json()["title"], problem.title());
        let browser = [("accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
        let got = kit.call(&format!("GET {target}"), &browser, "", None).await;
        assert_eq!(got.header("content-type"), Some("text/html; charset=utf-8"));
        assert!(got.body.contains(&problem.title().replace('\'', "&#39;")), "{}", got.body);
    }
    assert_eq!(kit.get("problems").await.json()["problems"].as_array().unwrap().len(), Problem::ALL.len());
    is_problem(&kit.get("problems/other").await, 404, "no-route");
}

#[tokio::test]
async fn fresh_keys_are_given_out() {
    let kit = Kit::new();
    let ids = async |line: &str| kit.call(line, &[], "", None).await.json()["ids"].as_array().unwrap().clone();
    assert_eq!(ids("POST ids").await.len(), 1);
    let many = ids("POST ids?count=100").await;
    let distinct: std::collections::BTreeSet<_> = many.iter().map(|id| id.as_str().unwrap()).collect();
    assert_eq!(distinct.len(), 100);
    is_problem(&kit.call("POST ids?count=101", &[], "", None).await, 400, "bad-request");
}

#[tokio::test]
async fn a_problem_carries_the_trace_id() {
    let kit = Kit::new();
    let mut parts = Request::get("/_mainstay/nothing").body(()).unwrap().into_parts().0;
    parts.extensions.insert(TraceId("4bf92f3577b34da6a3ce929d0e0e4736".into()));
    let response = handle(&kit.cx, &parts, Bytes::new(), Caller { reader: Reader::Anonymous, former: &[] }).await;
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(body["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
}
