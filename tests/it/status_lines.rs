//! A status line that was read is evidence, whether or not the answer can be passed on; and how large an answer's head may be.

use mainstay_tests::{
    h2_upstream::{H2Step, H2Upstream},
    prelude::*,
};

const KEYED: &str = "timeout: 5s, idempotency: { required: true }";

/// An answer of that status with so many fields, one of them its length.
fn with_fields(status: u16, count: usize) -> Answer {
    (1..count).fold(Answer::status(status), |answer, i| answer.header(&format!("X-{i}"), "v"))
}

fn raw(answer: &str) -> Vec<Step> {
    vec![Step::Body, Step::Send(answer.to_owned().into()), Step::Close]
}

/// The state of an operation.
async fn state(proxy: &Proxy, operation: &str) -> String {
    let document = proxy.get(&format!("/_mainstay/operations/{operation}")).await.json();
    document["state"].as_str().expect("a state").to_owned()
}

#[tokio::test]
async fn a_created_with_110_fields_or_a_blank_before_a_colon_is_passed_on_and_replayed() {
    let upstream = Upstream::start(|seen| match seen.target.as_str() {
        "/many" => with_fields(201, 110).steps(),
        _ => raw("HTTP/1.1 201 Created\r\nX-Odd : yes\r\nContent-Length : 2\r\n\r\nok"),
    })
    .await;
    let proxy = Proxy::single(upstream.addr, KEYED).await;
    for path in ["/many", "/odd"] {
        for replayed in [None, Some("true")] {
            let reply = proxy.send(Request::keyed(path, path, "x")).await;
            assert_eq!(reply.expect_upstream(201).header("idempotent-replayed"), replayed, "{path}");
        }
        assert_eq!(upstream.effects(path), 1);
    }
    assert_eq!(proxy.send(Request::keyed("/other", "3", "x")).await.header("x-odd"), Some("yes"));
}

#[tokio::test]
async fn the_status_of_an_answer_that_cannot_be_passed_on_settles_the_write() {
    let upstream = Upstream::start(|seen| match seen.target.as_str() {
        "/many" => with_fields(201, 12).steps(),
        "/large" => Answer::status(201).header("X-Large", &"x".repeat(9000)).steps(),
        "/endless" => {
            let begun = Step::Send("HTTP/1.1 201 Created\r\nX: ".into());
            vec![Step::Body, begun, Step::Repeat("x".repeat(1000).into(), 10_000), Step::Stall]
        }
        "/field" => raw("HTTP/1.1 201 Created\r\nno colon\r\n\r\n"),
        "/length" => raw("HTTP/1.1 201 Created\r\nContent-Length: x\r\n\r\n"),
        "/coding" => raw("HTTP/1.1 201 Created\r\nTransfer-Encoding: gzip\r\n\r\n"),
        "/refused" => with_fields(422, 12).steps(),
        "/busy" => with_fields(429, 12).steps(),
        _ => with_fields(500, 12).steps(),
    })
    .await;
    let config =
        Config::single(upstream.addr, KEYED).top("limits: { response_header_count: 10, response_header_bytes: 8KiB }");
    let proxy = Proxy::start(config).await;
    for path in ["/many", "/large", "/endless", "/field", "/length", "/coding"] {
        let first = proxy.send(Request::keyed(path, path, "x")).await;
        let document = first.expect_problem(502, "upstream-error");
        assert_eq!(
            (document["effect"].as_str(), document["detail"].as_str().unwrap().contains("201")),
            (Some("unknown"), true)
        );
        assert_eq!(state(&proxy, &first.operation()).await, "succeeded", "{path}");
        let repeat = proxy.send(Request::keyed(path, path, "x")).await.expect_problem(409, "response-not-retained");
        assert!(repeat["detail"].as_str().unwrap().contains("201"), "{path}: {repeat}");
        assert_eq!(upstream.effects(path), 1, "{path}");
    }
    let refused = proxy.send(Request::keyed("/refused", "r", "x")).await;
    assert_eq!(refused.expect_problem(502, "upstream-error")["effect"], "none");
    assert_eq!(state(&proxy, &refused.operation()).await, "failed");
    // A service that was too busy has done nothing, so the key is free.
    for n in 1..=2 {
        proxy.send(Request::keyed("/busy", "b", "x")).await.expect_problem(502, "upstream-error");
        assert_eq!(upstream.effects("b"), n);
    }
    // A 5xx proves nothing, however it is framed.
    let unknown = proxy.send(Request::keyed("/broken", "u", "x")).await;
    unknown.expect_problem(502, "outcome-unknown");
    assert_eq!(state(&proxy, &unknown.operation()).await, "unknown");
    // Without a key nobody settles anything.
    assert_eq!(proxy.send(Request::get("/many")).await.expect_problem(502, "upstream-error")["effect"], "unknown");
}

#[tokio::test]
async fn a_late_status_line_settles_too() {
    let gate = Gate::new();
    let late = gate.clone();
    let upstream = Upstream::start(move |_| with_fields(201, 12).behind(&late)).await;
    let config = Config::single(upstream.addr, "timeout: 300ms, idempotency: { required: true, late_response: 9s }")
        .top("limits: { response_header_count: 10 }");
    let proxy = Proxy::start(config).await;
    let first = proxy.send(Request::keyed("/", "k", "x")).await;
    first.expect_problem(504, "outcome-unknown");
    gate.open();
    let operation = first.operation();
    eventually("the late status settles the write", || async {
        (state(&proxy, &operation).await == "succeeded").then_some(())
    })
    .await;
    proxy.send(Request::keyed("/", "k", "x")).await.expect_problem(409, "response-not-retained");
}

#[tokio::test]
async fn the_limits_of_an_answers_head_are_the_same_over_http2() {
    const FIELDS: [(&str, &str); 10] =
        [("a", ""), ("b", ""), ("c", ""), ("d", ""), ("e", ""), ("f", ""), ("g", ""), ("h", ""), ("i", ""), ("j", "")];
    let upstream = H2Upstream::start(|seen| {
        let mut fields = FIELDS.to_vec();
        match seen.head.uri.path() {
            "/few" => {}
            "/many" => fields.push(("k", "")),
            // As large as many fields, and beyond what is usual for one.
            _ => fields = vec![("a", Box::leak("x".repeat(100_000).into_boxed_str()))],
        }
        H2Step::Answer(201, fields, "ok".into(), Vec::new())
    })
    .await;
    let config = Config::new()
        .upstream("app", upstream.addr, "protocol: http2")
        .policy("p", KEYED)
        .route("path: /**", "app", "p")
        .top("limits: { response_header_count: 10 }");
    let proxy = Proxy::start(config).await;
    proxy.send(Request::keyed("/few", "f", "x")).await.expect_upstream(201);
    for path in ["/many", "/large"] {
        let first = proxy.send(Request::keyed(path, path, "x")).await;
        first.expect_problem(502, "upstream-error");
        assert_eq!(state(&proxy, &first.operation()).await, "succeeded", "{path}");
        proxy.send(Request::keyed(path, path, "x")).await.expect_problem(409, "response-not-retained");
    }
}
