//! Keys that the proxy makes: of parts of the request, of its content, or fresh ones.

use mainstay_tests::{prelude::*, proxy::TempDir};

async fn likes(upstream: &Upstream, key: &str) -> Proxy {
    let config = Config::new()
        .listener("principal: { header: X-User }")
        .upstream("app", upstream.addr, "")
        .policy("like", &format!("idempotency: {{ {key} }}"))
        .route("path: \"/likes/{id}\"", "app", "like");
    Proxy::start(config).await
}

fn like(who: &str, what: &str) -> Request {
    Request::post(&format!("/likes/{what}"), "{}").header("X-User", who)
}

#[track_caller]
fn is_replay(reply: &Reply, of: &Reply) {
    assert_eq!(reply.header("idempotent-replayed"), Some("true"), "{}", reply.text());
    assert_eq!(reply.operation(), of.operation());
}

#[tokio::test]
async fn a_key_made_of_the_request_makes_its_repeats_one_write() {
    let upstream = Upstream::answering(Answer::status(201)).await;
    let proxy = likes(&upstream, "required: true, key: { from: \"{principal}:{path.id}\" }").await;
    let first = proxy.send(like("ann", "7")).await;
    first.expect_upstream(201);
    assert_eq!(upstream.only().header("idempotency-key"), Some("\"ann:7\""), "what we rely on is what it sees");
    assert_eq!(first.header("idempotency-key"), None, "only a minted key is named");
    is_replay(&proxy.send(like("ann", "7")).await, &first);
    for (who, what) in [("ann", "8"), ("bob", "7")] {
        proxy.send(like(who, what)).await.expect_upstream(201);
    }
    assert_eq!(upstream.count(), 3);
    let found = proxy.send(Request::get("/_mainstay/operations?key=ann:7").header("X-User", "ann")).await;
    assert_eq!(found.json()["id"].as_str(), Some(&*first.operation()));
    let foreign = proxy.send(Request::get("/_mainstay/operations?key=ann:7").header("X-User", "bob")).await;
    foreign.expect_problem(404, "operation-not-found");
    let refused = proxy.send(Request::post("/likes/7", "{}")).await;
    // A key of the client's own would be asked about, and the service never saw that.
    let detail = refused.expect_problem(400, "key-missing")["detail"].to_string();
    assert!(detail.contains("send it") && !detail.contains("header idempotency-key"), "{detail}");
}

/// To the service `ann:7` may be both; to us they are two.
#[tokio::test]
async fn a_key_that_the_client_sends_counts_and_is_not_the_derived_one() {
    let upstream = Upstream::answering(Answer::status(201)).await;
    let proxy = likes(&upstream, "key: { from: \"{principal}:{path.id}\" }").await;
    let derived = proxy.send(like("ann", "7")).await;
    let sent = proxy.send(like("ann", "7").header("Idempotency-Key", "ann:7")).await;
    assert_eq!((sent.header("idempotent-replayed"), upstream.count()), (None, 2));
    assert_ne!(derived.operation(), sent.operation());
    is_replay(&proxy.send(like("ann", "7").header("Idempotency-Key", "ann:7")).await, &sent);
    is_replay(&proxy.send(like("ann", "7")).await, &derived);
    let both = proxy.send(Request::get("/_mainstay/operations?key=ann:7").header("X-User", "ann")).await;
    both.expect_problem(400, "key-ambiguous");
}

#[tokio::test]
async fn values_with_separators_in_them_make_keys_of_their_own() {
    let upstream = Upstream::answering(Answer::status(201)).await;
    let from = "key: { from: \"{json:/a}:{json:/b}\" }";
    let proxy = Proxy::single(upstream.addr, &format!("idempotency: {{ {from} }}")).await;
    for body in [r#"{"a":"x","b":"y:z"}"#, r#"{"a":"x:y","b":"z"}"#] {
        let reply = proxy.send(Request::post("/", body)).await;
        assert_eq!(reply.expect_upstream(201).header("idempotent-replayed"), None, "{body}");
    }
    assert_eq!(upstream.count(), 2);
}

/// The body was read to look for the key; it goes on all the same, whole and once.
#[tokio::test]
async fn a_write_without_the_parts_of_a_key_passes_unprotected_where_none_is_required() {
    let upstream = Upstream::answering(Answer::status(201)).await;
    let from = "key: { from: \"{json:/id}\" }";
    let proxy = Proxy::single(upstream.addr, &format!("idempotency: {{ {from} }}")).await;
    for (body, request) in [
        ("not json", Request::post("/", "not json")),
        ("{\"name\":1}", Request::post("/", "{\"name\":1}").chunked()),
        ("", Request::post("/", "")),
    ] {
        let reply = proxy.send(request.header("Expect", "100-continue")).await;
        assert_eq!(reply.expect_upstream(201).header("operation-location"), None);
        let seen = upstream.requests().pop().unwrap();
        assert_eq!((seen.text().as_str(), seen.body.complete), (body, true));
        assert_eq!((seen.header("idempotency-key"), seen.header("expect")), (None, None), "{body}");
    }
    assert_eq!(upstream.count(), 3);
    proxy.send(Request::post("/", "{\"id\":[]}")).await.expect_problem(400, "key-invalid");
    assert_eq!(upstream.count(), 3);
}

/// `{"id":"a-7"}` as gzip, br and zstd make it, and behind a byte order mark.
const SENT_AS: [(&str, &[u8]); 4] = [
    (
        "gzip",
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xabV\xcaLQ\xb2RJ\xd45W\xaa\x05\x00\x31\x80\x8c\x7f\x0c\x00\x00\x00",
    ),
    ("br", b"\x8b\x05\x80{\"id\":\"a-7\"}\x03"),
    ("zstd", b"\x28\xb5\x2f\xfd\x04\x58\x61\x00\x00{\"id\":\"a-7\"}\x00\x6b\x47\xc3"),
    ("identity", b"\xef\xbb\xbf{\"id\":\"a-7\"}"),
];

#[tokio::test]
async fn a_compressed_body_or_one_behind_a_byte_order_mark_has_its_key() {
    let upstream = Upstream::answering(Answer::status(201)).await;
    let proxy = Proxy::single(upstream.addr, "idempotency: { key: { from: \"{json:/id}\" } }").await;
    let plain = proxy.send(Request::post("/", "{\"id\":\"a-7\"}")).await;
    plain.expect_upstream(201);
    for (coding, body) in SENT_AS {
        let sent = Request::post("/", body).header("Content-Encoding", coding);
        // It is the write of that key, sent in another form.
        let reply = proxy.send(sent).await;
        reply.expect_problem(422, "key-reused");
        assert_eq!(reply.operation(), plain.operation(), "{coding}");
    }
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn a_body_that_cannot_be_looked_into_is_refused_where_a_key_is_made_of_it() {
    let upstream = Upstream::answering(Answer::status(201)).await;
    let policy = "idempotency: { max_body: 1KiB, key: { from: \"{json:/id}\" } }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    for (coding, body) in [("compress", &b"{\"id\":1}"[..]), ("gzip", b"{\"id\":1}"), ("br, x-own", b"\x03")] {
        let document = proxy.send(Request::post("/", body).header("Content-Encoding", coding)).await;
        let document = document.expect_problem(400, "key-invalid");
        let detail = document["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("`json:/id`") && detail.contains("Content-Encoding"), "{coding}: {detail}");
    }
    proxy.send(Request::post("/", b"\xff\xfe{\0}\0".to_vec())).await.expect_problem(400, "key-invalid");
    assert_eq!(upstream.count(), 0, "nothing passed in silence");
}

#[tokio::test]
async fn the_same_content_is_one_write_within_its_window() {
    let upstream = Upstream::start(|seen| Answer::status(201).body(format!("{}", seen.index)).steps()).await;
    let policy = "idempotency: { key: { from: fingerprint, window: 1s } }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    let first = proxy.send(Request::post("/comments", "hello")).await;
    let again = proxy.send(Request::post("/comments", "hello")).await;
    is_replay(&again, &first);
    assert_eq!(again.text(), "0");
    proxy.send(Request::post("/comments", "hello!")).await.expect_upstream(201);
    proxy.send(Request::post("/other", "hello")).await.expect_upstream(201);
    // A key says that it is a write of its own.
    proxy.send(Request::keyed("/comments", "mine", "hello")).await.expect_upstream(201);
    assert_eq!(upstream.count(), 4);
    let second = eventually("the window is over", || async {
        let reply = proxy.send(Request::post("/comments", "hello")).await;
        (reply.header("idempotent-replayed").is_none()).then_some(reply)
    })
    .await;
    assert_ne!(second.operation(), first.operation());
    let keys: Vec<_> =
        upstream.requests().iter().map(|seen| seen.header("idempotency-key").map(str::to_owned)).collect();
    assert!(keys[0].is_some() && keys[0] != keys[4], "to an upstream that honours keys it is another write: {keys:?}");
    assert_eq!(proxy.operation(&first.operation()).await["state"], "succeeded", "the first stays readable");
}

#[tokio::test]
async fn the_same_content_is_one_write_across_a_kill_and_never_repeated_while_unknown() {
    let home = TempDir::new();
    let upstream =
        Upstream::start(|seen| if seen.target == "/lost" { vec![Step::Reset] } else { Answer::status(201).steps() })
            .await;
    let policy = "timeout: 9s, idempotency: { key: { from: fingerprint, window: 2s } }";
    let mut config = Config::single(upstream.addr, policy)
        .ledger(&format!("store: disk, path: \"{}\"", home.join("ledger").display()));
    let mut proxy = Proxy::start(config.clone()).await;
    let done = proxy.send(Request::post("/done", "x")).await;
    let lost = proxy.send(Request::post("/lost", "x")).await;
    lost.expect_problem(502, "outcome-unknown");
    proxy.signal("KILL");
    proxy.ended().await;
    config.move_away();
    let proxy = Proxy::start(config).await;
    is_replay(&proxy.send(Request::post("/done", "x")).await, &done);
    eventually("the window of what is settled is over", || async {
        proxy.send(Request::post("/done", "x")).await.header("idempotent-replayed").is_none().then_some(())
    })
    .await;
    let repeat = proxy.send(Request::post("/lost", "x")).await;
    repeat.expect_problem(409, "outcome-unknown");
    assert_eq!(repeat.operation(), lost.operation());
    assert_eq!(upstream.requests().iter().filter(|seen| seen.target == "/lost").count(), 1);
}

#[tokio::test]
async fn a_fresh_key_is_named_and_replays() {
    for (kind, digits) in [("uuidv7", false), ("snowflake", true)] {
        let upstream = Upstream::answering(Answer::status(201)).await;
        let proxy = Proxy::single(upstream.addr, &format!("idempotency: {{ key: {{ mint: {kind} }} }}")).await;
        let first = proxy.send(Request::post("/tips", "1 EUR")).await;
        let key = first.header("idempotency-key").expect("it is named").to_owned();
        assert_eq!(upstream.only().header("idempotency-key"), Some(&*key));
        assert_eq!(key.trim_matches('"').bytes().all(|byte| byte.is_ascii_digit()), digits, "{key}");
        is_replay(&proxy.send(Request::keyed("/tips", &key, "1 EUR")).await, &first);
        assert_eq!(upstream.count(), 1);
    }
}

async fn ids(proxy: &Proxy, query: &str) -> Vec<u64> {
    let reply = proxy.send(Request::post(&format!("/_mainstay/ids?{query}"), "")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let reply = reply.json();
    reply["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().parse().unwrap()).collect()
}

#[tokio::test]
async fn fresh_keys_never_go_back_across_a_kill() {
    let home = TempDir::new();
    let upstream = Upstream::answering(Answer::status(201)).await;
    let mut config = Config::single(upstream.addr, "idempotency: {}")
        .ledger(&format!("store: disk, path: \"{}\"", home.join("ledger").display()));
    let mut all = Vec::new();
    for _ in 0..3 {
        let mut proxy = Proxy::start(config.clone()).await;
        all.extend(ids(&proxy, "count=100&kind=snowflake").await);
        all.extend(ids(&proxy, "count=1&kind=snowflake").await);
        proxy.signal("KILL");
        proxy.ended().await;
        config.move_away();
    }
    assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "{all:?}");
    let proxy = Proxy::start(config).await;
    let refused = proxy.send(Request::post("/_mainstay/ids?kind=random", "")).await;
    refused.expect_problem(400, "bad-request");
}

#[tokio::test]
async fn the_published_policy_says_how_keys_are_made() {
    let upstream = Upstream::answering(Answer::status(201)).await;
    let proxy = likes(&upstream, "key: { from: \"{principal}:{path.id}\" }").await;
    let policy = &proxy.get("/_mainstay/idempotency").await.json()["routes"][0];
    assert_eq!(policy["key"]["from"], "{principal}:{path.id}");
    assert_eq!(policy["prefer"]["respond_async"], false);
}
