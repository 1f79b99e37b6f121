//! Who is calling, whom, and under which key: nobody on either side can keep that from the other, blur it, or speak in the
//! proxy's name.

use mainstay_tests::{frames, frames::FrameClient, prelude::*};

const KEYED: &str = "timeout: 5s, retry: { max_retries: 2, backoff: { base: 1ms } }, idempotency: { required: true }";

/// The first two attempts are read and lost, the third is answered.
async fn losing_twice() -> Upstream {
    Upstream::start(|seen| match seen.index {
        0 | 1 => vec![Step::Body, Step::Reset],
        _ => Answer::status(201).body("made").steps(),
    })
    .await
}

async fn honouring(upstream: &Upstream, policy: &str) -> Proxy {
    let config = Config::new().upstream("app", upstream.addr, "honours_key: true").policy("p", policy);
    Proxy::start(config.route("path: /**", "app", "p")).await
}

#[tokio::test]
async fn listing_the_key_in_connection_does_not_keep_it_from_any_attempt() {
    for listed in
        ["close, idempotency-key", "idempotency-key", "IDEMPOTENCY-KEY, close", "keep-alive ,Idempotency-Key, x-other"]
    {
        let upstream = losing_twice().await;
        let proxy = honouring(&upstream, KEYED).await;
        proxy.send(Request::keyed("/", "k-1", "x").header("Connection", listed)).await.expect_upstream(201);
        let seen = upstream.requests();
        assert_eq!((seen.len(), upstream.effects("k-1")), (3, 3), "{listed}: {seen:#?}");
        for request in &seen {
            assert_eq!(request.headers("idempotency-key"), seen[0].headers("idempotency-key"), "{listed}");
            assert_eq!(request.headers("idempotency-key").len(), 1, "{listed}");
        }
    }
}

#[tokio::test]
async fn listing_the_key_on_one_of_several_connection_lines_does_not_keep_it_either() {
    for lines in [["close", "idempotency-key"], ["idempotency-key", "close"], ["x-other", "idempotency-key"]] {
        let upstream = losing_twice().await;
        let proxy = honouring(&upstream, KEYED).await;
        let request = Request::keyed("/", "k-1", "x").header("Connection", lines[0]).header("Connection", lines[1]);
        proxy.send(request).await.expect_upstream(201);
        assert_eq!(upstream.effects("k-1"), 3, "{lines:?}");
    }
}

#[tokio::test]
async fn what_any_of_several_connection_lines_lists_stays_on_the_connection() {
    for lines in [["close", "x-hop"], ["keep-alive", "x-hop"], ["x-hop", "close"], ["close, x-hop", "x-other"]] {
        let upstream = Upstream::answering(Answer::ok("ok")).await;
        let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
        let request = Request::get("/").header("X-Hop", "1").header("Connection", lines[0]);
        proxy.send(request.header("Connection", lines[1])).await.expect_upstream(200);
        assert_eq!(upstream.only().header("x-hop"), None, "{lines:?}");
    }
}

#[tokio::test]
async fn listing_a_key_header_of_another_name_does_not_keep_it_either() {
    let upstream = losing_twice().await;
    let policy = "timeout: 5s, retry: 2, idempotency: { required: true, key: { header: X-Request-Key } }";
    let proxy = honouring(&upstream, policy).await;
    let request = Request::post("/", "x").header("X-Request-Key", "k-1").header("Connection", "close, x-request-key");
    proxy.send(request).await.expect_upstream(201);
    let keys: Vec<_> = upstream.requests().iter().map(|r| r.header("x-request-key").map(str::to_owned)).collect();
    assert_eq!(keys.len(), 3);
    assert!(
        keys.iter().all(|k| k.as_deref().is_some_and(|k| k.trim_matches('"') == "k-1") && *k == keys[0]),
        "{keys:?}"
    );
}

#[tokio::test]
async fn listing_the_principal_in_connection_does_not_keep_it_from_the_upstream() {
    for policy in ["timeout: 5s", "timeout: 5s, idempotency: { required: true }"] {
        for listed in ["close, x-tenant", "X-TENANT", "keep-alive, X-Tenant"] {
            let upstream = Upstream::answering(Answer::status(201)).await;
            let config = Config::single(upstream.addr, policy).listener("principal: { header: X-Tenant }");
            let proxy = Proxy::start(config).await;
            let request = Request::keyed("/", "k", "x").header("X-Tenant", "acme").header("Connection", listed);
            proxy.send(request).await.expect_upstream(201);
            assert_eq!(upstream.only().headers("x-tenant"), ["acme"], "{policy}, {listed}");
        }
    }
}

#[tokio::test]
async fn a_minted_key_is_what_every_attempt_carries_and_the_response_names() {
    let upstream = losing_twice().await;
    let policy = "timeout: 5s, retry: { max_retries: 2, backoff: { base: 1ms } }, \
                  idempotency: { key: { mint: uuidv7 } }";
    let proxy = honouring(&upstream, policy).await;
    let reply = proxy.send(Request::post("/", "x")).await;
    let named = reply.expect_upstream(201).header("idempotency-key").expect("the response names the key");
    assert_eq!(named.trim_matches('"').as_bytes()[14], b'7', "version 7: {named}");
    let seen = upstream.requests();
    assert_eq!(seen.len(), 3);
    for request in &seen {
        assert_eq!(request.headers("idempotency-key"), [named]);
    }
}

#[tokio::test]
async fn a_minted_key_that_the_response_named_replays_it() {
    let upstream = Upstream::answering(Answer::status(201).body("made")).await;
    let proxy = Proxy::single(upstream.addr, "idempotency: { key: { mint: uuidv7 } }").await;
    let reply = proxy.send(Request::post("/", "x")).await;
    let named = reply.expect_upstream(201).header("idempotency-key").expect("the response names the key");
    assert_eq!(upstream.only().header("idempotency-key"), Some(named));
    let again = proxy.send(Request::keyed("/", named, "x")).await;
    assert_eq!((again.status, again.header("idempotent-replayed"), upstream.count()), (201, Some("true"), 1));
}

async fn refused(name: &str, proxy: &Proxy, upstream: &Upstream, raw: &str) {
    let mut client = proxy.connect().await;
    client.write(raw.as_bytes()).await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.slug()), (400, Some("bad-request")), "{name}: {}", reply.text());
    assert_eq!(reply.json()["effect"], "none", "{name}");
    assert_eq!(upstream.count(), 0, "{name}: it reached the upstream");
}

#[tokio::test]
async fn a_request_whose_addressee_is_not_clear_is_refused() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    for (name, raw) in [
        ("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        ("one host twice", "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\nhost: a\r\n\r\n"),
        ("two hosts in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"),
        ("no host", "GET / HTTP/1.1\r\n\r\n"),
        ("a space in the host", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
        ("a path in the host", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
        ("a user in the host", "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n"),
        ("a user and password in the host", "GET / HTTP/1.1\r\nHost: user:word@a:80\r\n\r\n"),
        ("a user in the target", "GET http://user:word@a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("two hosts for the control interface", "GET /_mainstay/operations HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    ] {
        refused(name, &proxy, &upstream, raw).await;
    }
}

#[tokio::test]
async fn a_clear_addressee_passes() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    for raw in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test:8080\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
        "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
    ] {
        let mut client = proxy.connect().await;
        client.write(raw.as_bytes()).await;
        client.reply().await.expect_upstream(200);
    }
}

#[tokio::test]
async fn two_principals_are_refused() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let config = Config::single(upstream.addr, "timeout: 5s").listener("principal: { header: X-Tenant }");
    let proxy = Proxy::start(config).await;
    for (name, raw) in [
        ("two", "GET / HTTP/1.1\r\nHost: a\r\nX-Tenant: acme\r\nX-Tenant: evil\r\n\r\n"),
        ("one twice", "GET / HTTP/1.1\r\nHost: a\r\nX-Tenant: acme\r\nx-tenant: acme\r\n\r\n"),
        ("an empty first", "GET / HTTP/1.1\r\nHost: a\r\nX-Tenant:\r\nX-Tenant: acme\r\n\r\n"),
        (
            "two for the control interface",
            "GET /_mainstay/operations?key=k HTTP/1.1\r\nHost: a\r\nX-Tenant: acme\r\nX-Tenant: evil\r\n\r\n",
        ),
    ] {
        refused(name, &proxy, &upstream, raw).await;
    }
}

#[tokio::test]
async fn an_http2_request_with_two_lengths_is_refused() {
    for lengths in [["4", "4"], ["4", "5"], ["5", "4"]] {
        let upstream = Upstream::answering(Answer::ok("ok")).await;
        let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
        let mut client = FrameClient::connect(proxy.addr).await;
        let head = FrameClient::post(1, "/", &[("content-length", lengths[0]), ("content-length", lengths[1])]);
        client.send(&[head, frames::frame(frames::DATA, frames::END_STREAM, 1, b"body")].concat()).await;
        let answer = client.answer(1).await;
        // The status is the first field; 0x8c is `:status: 400` of HPACK's static table.
        let refused = answer.first().is_some_and(|f| f.kind == frames::RST_STREAM || f.payload.first() == Some(&0x8c));
        assert!(refused, "{lengths:?}: {answer:?}");
        assert_eq!(upstream.count(), 0, "{lengths:?}");
    }
}

const OURS: [(&str, &str); 4] = [
    ("Mainstay-Error", "no-route"),
    ("Idempotent-Replayed", "true"),
    ("Operation-Location", "/_mainstay/operations/not-ours"),
    ("Mainstay-Attempts", "9"),
];

fn in_our_name(status: u16) -> Answer {
    OURS.iter().fold(Answer::status(status).body("ok"), |answer, (name, value)| answer.header(name, value))
}

#[tokio::test]
async fn an_upstream_cannot_speak_in_the_proxys_name() {
    for status in [200, 404, 503] {
        let upstream = Upstream::answering(in_our_name(status)).await;
        let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
        let reply = proxy.get("/").await;
        reply.expect_upstream(status);
        for (name, _) in OURS {
            assert_eq!(reply.header(name), None, "{status}");
        }
    }
}

#[tokio::test]
async fn an_upstream_of_keyed_writes_cannot_speak_in_the_proxys_name() {
    for status in [201, 404, 503] {
        let upstream = Upstream::answering(in_our_name(status)).await;
        let proxy = Proxy::single(upstream.addr, "idempotency: { required: true }").await;
        let first = proxy.send(Request::keyed("/", "k", "x")).await;
        first.expect_upstream(status);
        assert_eq!((first.header("idempotent-replayed"), first.header("mainstay-attempts")), (None, None), "{status}");
        assert_eq!(first.headers("operation-location").len(), 1, "{status}");
        proxy.operation(&first.operation()).await;
        let replay = proxy.send(Request::keyed("/", "k", "x")).await;
        replay.expect_upstream(status);
        assert_eq!(replay.headers("idempotent-replayed"), ["true"], "{status}");
        assert_eq!(replay.headers("operation-location"), first.headers("operation-location"), "{status}");
        assert_eq!(upstream.count(), 1);
    }
}
