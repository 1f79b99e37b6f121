//! Which keys are keys, who owns them, and what they cover.

use mainstay_tests::prelude::*;

fn raw_keyed(header_lines: &[u8]) -> Vec<u8> {
    let mut raw = b"POST /pay HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n".to_vec();
    raw.extend_from_slice(header_lines);
    raw.extend_from_slice(b"\r\nx");
    raw
}

async fn check_keys(syntax: &str, cases: &[(&[u8], bool)]) {
    let upstream = Upstream::answering(Answer::status(201)).await;
    let proxy =
        Proxy::single(upstream.addr, &format!("idempotency: {{ required: true, key: {{ syntax: {syntax} }} }}")).await;
    for (lines, valid) in cases {
        let shown = String::from_utf8_lossy(lines);
        let before = upstream.count();
        let mut client = proxy.connect().await;
        client.write(&raw_keyed(lines)).await;
        let reply = client.reply().await;
        if *valid {
            assert_eq!(reply.status, 201, "{syntax} {shown}: {}", reply.text());
        } else {
            reply.expect_problem(400, "key-invalid");
            assert_eq!(upstream.count(), before, "{syntax} {shown}");
        }
    }
}

fn long(n: usize, quoted: bool) -> Vec<u8> {
    let key = "k".repeat(n);
    if quoted { format!("Idempotency-Key: \"{key}\"\r\n") } else { format!("Idempotency-Key: {key}\r\n") }.into_bytes()
}

#[tokio::test]
async fn lenient_syntax_takes_strings_and_bare_values() {
    let cases: &[(&[u8], bool)] = &[
        (b"Idempotency-Key: bare-1\r\n", true),
        (b"Idempotency-Key: 8e03978e-40d5-43dd-bc93-6894a57f9324\r\n", true),
        (b"idempotency-key: \"quoted-1\"\r\n", true),
        (b"Idempotency-Key:   \"spaced\"  \r\n", true),
        (b"Idempotency-Key: \"with space\"\r\n", true),
        (b"Idempotency-Key: \"with \\\" and \\\\\"\r\n", true),
        (&long(255, false), true),
        (&long(255, true), true),
        (&long(256, false), false),
        (&long(256, true), false),
        (b"Idempotency-Key:\r\n", false),
        (b"Idempotency-Key:  \r\n", false),
        (b"Idempotency-Key: \"\"\r\n", false),
        (b"Idempotency-Key: \"open\r\n", false),
        (b"Idempotency-Key: \"bad \\escape\"\r\n", false),
        (b"Idempotency-Key: \"a\", \"b\"\r\n", false),
        (b"Idempotency-Key: a, b\r\n", false),
        (b"Idempotency-Key: one\r\nIdempotency-Key: two\r\n", false),
        (b"Idempotency-Key: same\r\nIdempotency-Key: same\r\n", false),
        (b"Idempotency-Key: \"caf\xc3\xa9\"\r\n", false),
    ];
    check_keys("lenient", cases).await;
}

#[tokio::test]
async fn strict_syntax_takes_only_strings() {
    let cases: &[(&[u8], bool)] = &[
        (b"Idempotency-Key: \"quoted\"\r\n", true),
        (&long(255, true), true),
        (b"Idempotency-Key: bare\r\n", false),
        (b"Idempotency-Key: 8e03978e-40d5-43dd-bc93-6894a57f9324\r\n", false),
        (b"Idempotency-Key: \"\"\r\n", false),
        (b"Idempotency-Key: \"a\", \"b\"\r\n", false),
        (b"Idempotency-Key: \"one\"\r\nIdempotency-Key: \"two\"\r\n", false),
    ];
    check_keys("strict", cases).await;
}

#[tokio::test]
async fn parameters_of_the_key_are_ignored_and_passed_on() {
    let upstream = Upstream::answering(Answer::status(201)).await;
    let proxy = Proxy::single(upstream.addr, "idempotency: { required: true }").await;
    proxy.send(Request::keyed("/pay", "\"k\"", "x")).await.expect_upstream(201);
    for field in ["\"k\";a=1", "\"k\"; retry; id=\"x, y\"", "k"] {
        let replay = proxy.send(Request::keyed("/pay", field, "x")).await;
        assert_eq!((replay.status, replay.header("idempotent-replayed")), (201, Some("true")), "{field}");
    }
    let field = "\"other\"; retry=?1; id=\"x\"";
    proxy.send(Request::keyed("/pay", field, "x")).await.expect_upstream(201);
    assert_eq!(upstream.requests()[1].header("idempotency-key"), Some(field), "as it came");
    proxy.send(Request::keyed("/pay", "\"k\"; A", "x")).await.expect_problem(400, "key-invalid");
}

#[tokio::test]
async fn quoted_and_bare_are_one_key() {
    let upstream = Upstream::answering(Answer::status(201)).await;
    let proxy = Proxy::single(upstream.addr, "idempotency: { required: true }").await;
    let first = proxy.send(Request::keyed("/", "abc", "x")).await;
    let second = proxy.send(Request::keyed("/", "\"abc\"", "x")).await;
    assert_eq!(second.header("idempotent-replayed"), Some("true"));
    assert_eq!((first.operation(), upstream.count()), (second.operation(), 1));
}

#[tokio::test]
async fn the_key_reaches_the_upstream() {
    let upstream = Upstream::answering(Answer::status(201)).await;
    let proxy = Proxy::single(upstream.addr, "idempotency: { required: true }").await;
    proxy.send(Request::keyed("/", "\"abc\"", "x")).await.expect_upstream(201);
    assert_eq!(upstream.effects("abc"), 1);
}

#[tokio::test]
async fn without_required_an_unkeyed_write_passes_unprotected() {
    let upstream = Upstream::answering(Answer::status(201)).await;
    let proxy = Proxy::single(upstream.addr, "idempotency: { required: false }").await;
    for _ in 0..2 {
        let reply = proxy.send(Request::post("/", "x")).await;
        assert_eq!(
            (reply.expect_upstream(201).header("operation-location"), reply.header("idempotent-replayed")),
            (None, None)
        );
    }
    assert_eq!(upstream.count(), 2);
}

#[tokio::test]
async fn only_listed_methods_are_protected() {
    for (methods, protected, passing) in [
        ("", vec!["POST", "PATCH"], vec!["GET", "PUT", "DELETE"]),
        (", methods: [PUT, DELETE]", vec!["PUT", "DELETE"], vec!["POST", "GET"]),
    ] {
        let upstream = Upstream::answering(Answer::status(200)).await;
        let proxy = Proxy::single(upstream.addr, &format!("idempotency: {{ required: true{methods} }}")).await;
        for method in protected {
            proxy.send(Request::new(method, "/")).await.expect_problem(400, "key-missing");
            let request = Request::new(method, "/").header("Idempotency-Key", method);
            assert!(proxy.send(request.clone()).await.header("operation-location").is_some(), "{method}");
            assert_eq!(proxy.send(request).await.header("idempotent-replayed"), Some("true"), "{method}");
        }
        for method in passing {
            let request = Request::new(method, "/").header("Idempotency-Key", &format!("free-{method}"));
            let before = upstream.count();
            for _ in 0..2 {
                assert_eq!(proxy.send(request.clone()).await.header("idempotent-replayed"), None, "{method}");
            }
            assert_eq!(upstream.count() - before, 2, "{method}");
        }
    }
}

#[tokio::test]
async fn another_header_may_carry_the_key() {
    let upstream = Upstream::answering(Answer::status(201)).await;
    let proxy = Proxy::single(upstream.addr, "idempotency: { required: true, key: { header: X-Request-Key } }").await;
    proxy.send(Request::keyed("/", "k", "x")).await.expect_problem(400, "key-missing");
    let request = Request::post("/", "x").header("X-Request-Key", "k");
    proxy.send(request.clone()).await.expect_upstream(201);
    assert_eq!(proxy.send(request).await.header("idempotent-replayed"), Some("true"));
}

#[tokio::test]
async fn a_minted_key_is_named_and_can_be_used() {
    let upstream = Upstream::answering(Answer::status(201)).await;
    let proxy = Proxy::single(upstream.addr, "idempotency: { required: true, key: { mint: uuidv7 } }").await;
    let first = proxy.send(Request::post("/", "x")).await;
    let key = first
        .expect_upstream(201)
        .header("idempotency-key")
        .expect("the response names the key")
        .trim_matches('"')
        .to_owned();
    assert_eq!((key.len(), &key[14..15]), (36, "7"), "{key}");
    let second = proxy.send(Request::post("/", "x")).await;
    assert_ne!(
        second.header("idempotency-key").map(|k| k.trim_matches('"')),
        Some(key.as_str()),
        "every request gets its own"
    );
    let replay = proxy.send(Request::keyed("/", &key, "x")).await;
    assert_eq!((replay.header("idempotent-replayed"), replay.operation()), (Some("true"), first.operation()));
    assert_eq!(upstream.count(), 2);
}

#[tokio::test]
async fn a_different_request_under_a_known_key_is_422() {
    let upstream = Upstream::answering(Answer::status(201)).await;
    let proxy = Proxy::single(upstream.addr, "idempotency: { required: true }").await;
    let json = |r: Request| r.header("Content-Type", "application/json");
    let first = proxy.send(json(Request::keyed("/pay?a=1", "k", "{\"n\":1}"))).await;
    first.expect_upstream(201);
    for (what, request) in [
        ("body", json(Request::keyed("/pay?a=1", "k", "{\"n\":2}"))),
        ("body bytes", json(Request::keyed("/pay?a=1", "k", "{\"n\": 1}"))),
        ("path", json(Request::keyed("/refund?a=1", "k", "{\"n\":1}"))),
        ("query", json(Request::keyed("/pay?a=2", "k", "{\"n\":1}"))),
        ("no query", json(Request::keyed("/pay", "k", "{\"n\":1}"))),
        ("method", json(Request::new("PATCH", "/pay?a=1").header("Idempotency-Key", "k").body("{\"n\":1}"))),
        ("media type", Request::keyed("/pay?a=1", "k", "{\"n\":1}").header("Content-Type", "text/plain")),
        ("encoding", json(Request::keyed("/pay?a=1", "k", "{\"n\":1}").header("Content-Encoding", "gzip"))),
    ] {
        let reply = proxy.send(request).await;
        assert_eq!((reply.status, reply.slug()), (422, Some("key-reused")), "{what}");
        assert_eq!(reply.operation(), first.operation(), "{what}");
    }
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn credentials_and_traces_do_not_make_a_request_different() {
    let upstream = Upstream::answering(Answer::status(201)).await;
    let proxy = Proxy::single(upstream.addr, "idempotency: { required: true, credentials: ignore }").await;
    proxy.send(Request::keyed("/pay", "k", "x").header("Authorization", "Bearer one")).await.expect_upstream(201);
    for request in [
        Request::keyed("/pay", "k", "x").header("Authorization", "Bearer two"),
        Request::keyed("/pay", "k", "x")
            .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        Request::keyed("/pay", "k", "x").header("User-Agent", "retry/2").chunked(),
        Request::keyed("/%70ay", "k", "x"),
    ] {
        let reply = proxy.send(request.clone()).await;
        assert_eq!(
            (reply.status, reply.header("idempotent-replayed")),
            (201, Some("true")),
            "{request:?}: {}",
            reply.text()
        );
    }
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn json_fingerprints_ignore_order_and_space() {
    let upstream = Upstream::answering(Answer::status(201)).await;
    let proxy = Proxy::single(upstream.addr, "idempotency: { required: true, fingerprint: { body: json } }").await;
    let send = |body: &str| proxy.send(Request::keyed("/", "k", body).header("Content-Type", "application/json"));
    send(r#"{"a":1,"b":[1,2]}"#).await.expect_upstream(201);
    assert_eq!(send(r#"{ "b": [1, 2.0], "a": 1e0 }"#).await.header("idempotent-replayed"), Some("true"));
    send(r#"{"a":1,"b":[2,1]}"#).await.expect_problem(422, "key-reused");
}

#[tokio::test]
async fn listed_headers_enter_the_fingerprint() {
    let upstream = Upstream::answering(Answer::status(201)).await;
    let proxy =
        Proxy::single(upstream.addr, "idempotency: { required: true, fingerprint: { headers: [X-Account] } }").await;
    let send = |account: &str| proxy.send(Request::keyed("/", "k", "x").header("X-Account", account));
    send("1").await.expect_upstream(201);
    assert_eq!(send("1").await.header("idempotent-replayed"), Some("true"));
    send("2").await.expect_problem(422, "key-reused");
}

#[tokio::test]
async fn a_different_request_is_422_even_while_the_first_is_in_flight() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Answer::status(201).behind(&held)).await;
    let proxy = Proxy::single(upstream.addr, "idempotency: { required: true }").await;
    let mut first = proxy.connect().await;
    first.write(&Request::keyed("/", "k", "x").bytes()).await;
    upstream.wait_requests(1).await;
    proxy.send(Request::keyed("/", "k", "y")).await.expect_problem(422, "key-reused");
    proxy.send(Request::keyed("/", "k", "x")).await.expect_problem(409, "in-progress");
    gate.open();
    first.reply().await.expect_upstream(201);
}

#[tokio::test]
async fn principals_do_not_share_keys_or_see_each_other() {
    let upstream = Upstream::start(|seen| {
        Answer::status(201).body(format!("of {}", seen.header("x-tenant").unwrap_or_default())).steps()
    })
    .await;
    let config =
        Config::single(upstream.addr, "idempotency: { required: true }").listener("principal: { header: X-Tenant }");
    let proxy = Proxy::start(config).await;
    let as_tenant = |tenant: &str, request: Request| proxy.send(request.header("X-Tenant", tenant));
    let ann = as_tenant("ann", Request::keyed("/", "k", "of ann")).await;
    let bob = as_tenant("bob", Request::keyed("/", "k", "of bob")).await;
    assert_eq!((ann.text().as_str(), bob.text().as_str(), upstream.count()), ("of ann", "of bob", 2));
    let path = format!("/_mainstay/operations/{}", ann.operation());
    assert_eq!(as_tenant("ann", Request::get(&path)).await.status, 200);
    for stranger in ["bob", "eve"] {
        assert_eq!(as_tenant(stranger, Request::get(&path)).await.status, 404, "{stranger}");
    }
    assert_eq!(proxy.get(&path).await.status, 404, "nobody");
    assert_eq!(as_tenant("eve", Request::get("/_mainstay/operations?key=k")).await.status, 404);
    let own = as_tenant("bob", Request::get("/_mainstay/operations?key=k")).await;
    assert_eq!(own.json()["id"], bob.operation());
}

#[tokio::test]
async fn upstreams_do_not_share_keys() {
    let (a, b) = (Upstream::answering(Answer::ok("a")).await, Upstream::answering(Answer::ok("b")).await);
    let config = Config::new()
        .upstream("first", a.addr, "")
        .upstream("second", b.addr, "")
        .policy("p", "idempotency: { required: true }")
        .route("path: /a", "first", "p")
        .route("path: /b", "second", "p");
    let proxy = Proxy::start(config).await;
    let to_a = proxy.send(Request::keyed("/a", "k", "x")).await;
    assert_eq!(proxy.get("/_mainstay/operations?key=k").await.json()["id"], to_a.operation());
    let to_b = proxy.send(Request::keyed("/b", "k", "x")).await;
    assert_eq!((to_a.text().as_str(), to_b.text().as_str()), ("a", "b"));
    proxy.get("/_mainstay/operations?key=k").await.expect_problem(400, "key-ambiguous");
    assert_eq!(proxy.get("/_mainstay/operations?key=k&upstream=second").await.json()["id"], to_b.operation());
}
