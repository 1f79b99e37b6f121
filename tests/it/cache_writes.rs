//! What a write makes the cache forget, whoever learns of it and however late.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use mainstay_tests::prelude::*;
use serde_json::json;

use super::admin::{act, etag};

/// Reads are cached; writes on `/posts` lose their answer, and the service says so of itself when it is `open`.
const READ: &str = "cache: {}, timeout: 5s";

/// Fills the cache and gives the text of each path.
async fn texts(proxy: &Proxy, paths: &[&str]) -> Vec<String> {
    let mut texts = Vec::new();
    for path in paths {
        texts.push(proxy.get(path).await.expect_upstream(200).text());
    }
    texts
}

fn changed<'a>(paths: &[&'a str], before: &[String], after: &[String]) -> Vec<&'a str> {
    let pairs = paths.iter().zip(before.iter().zip(after));
    pairs.filter(|(_, (before, after))| before != after).map(|(path, _)| *path).collect()
}

/// Answers reads with a number that grows, writes as `write` says.
async fn service(write: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) -> Upstream {
    Upstream::start(move |seen| match seen.method.as_str() {
        "GET" => Answer::ok(format!("{}", seen.index)).header("Cache-Control", "max-age=600").steps(),
        _ => write(seen),
    })
    .await
}

fn config(upstream: &Upstream, write: &str) -> Config {
    Config::new()
        .upstream("app", upstream.addr, "")
        .policy("read", READ)
        .policy("write", write)
        .route("path: /**, methods: [GET]", "app", "read")
        .route("path: \"/posts/{id}\"", "app", "write")
        .route("path: /**", "app", "write")
}

#[tokio::test]
async fn the_places_that_an_answer_names_are_forgotten_on_the_same_origin() {
    let upstream = service(|seen| match seen.header("x-refused") {
        Some(_) => Answer::status(409).header("Location", "/made").steps(),
        None => Answer::status(201)
            .header("Location", seen.header("x-location").unwrap_or("/made"))
            .header("Content-Location", "../list?page=2")
            .steps(),
    })
    .await;
    let proxy = Proxy::start(config(&upstream, "timeout: 5s, idempotency: { required: false }")).await;
    let paths = ["/made", "/list", "/list?page=1", "/other"];
    for write in [Request::post("/posts/1", "x"), Request::keyed("/posts/1", "k1", "x")] {
        let before = texts(&proxy, &paths).await;
        assert_eq!(texts(&proxy, &paths).await, before);
        proxy.send(write.clone()).await.expect_upstream(201);
        let after = texts(&proxy, &paths).await;
        assert_eq!(changed(&paths, &before, &after), ["/made", "/list", "/list?page=1"], "{write:?}");
    }
    let before = texts(&proxy, &paths).await;
    proxy.send(Request::post("/posts/1", "x").header("X-Location", "http://elsewhere/other")).await;
    let after = texts(&proxy, &paths).await;
    assert!(!changed(&paths, &before, &after).contains(&"/other"), "another origin's word");
    proxy.send(Request::post("/posts/1", "x").header("X-Refused", "1")).await.expect_upstream(409);
    assert_eq!(texts(&proxy, &paths).await, after, "a refused write changed nothing");
}

#[tokio::test]
async fn a_write_whose_client_left_is_taken_for_one_that_happened() {
    let upstream = service(|_| vec![Step::Body, Step::Stall]).await;
    let proxy = Proxy::start(config(&upstream, "timeout: 30s")).await;
    let before = texts(&proxy, &["/posts/1", "/posts/2"]).await;
    let mut client = proxy.connect().await;
    client.write(&Request::post("/posts/1", "x").bytes()).await;
    upstream.wait("the write", |log| log.requests.iter().any(|seen| seen.method == "POST")).await;
    client.reset();
    eventually("forgotten", || async { (texts(&proxy, &["/posts/1"]).await[0] != before[0]).then_some(()) }).await;
    assert_eq!(texts(&proxy, &["/posts/2"]).await[0], before[1], "only that");
}

const ASKED: &str = "timeout: 5s, cache: { invalidate: [\"/lists/{any}\"] }, idempotency: { required: true, \
    status: { request: \"GET /by-ref/{key}\", schedule: { first: SCHEDULE, max: 1h }, \
    rules: [{ status: 200, json: { /state: SUCCESS }, then: succeeded }] } }";

/// Loses the answers to writes; says of them what it knows once it is open.
async fn losing() -> (Upstream, Arc<AtomicBool>) {
    let open = Arc::new(AtomicBool::new(false));
    let is_open = open.clone();
    let upstream = Upstream::start(move |seen| match seen.method.as_str() {
        "POST" => vec![Step::Body, Step::Reset],
        _ if seen.target.starts_with("/by-ref/") => {
            let known = is_open.load(Ordering::SeqCst);
            Answer::json(if known { 200 } else { 500 }, "{\"state\":\"SUCCESS\"}").steps()
        }
        _ => Answer::ok(format!("{}", seen.index)).header("Cache-Control", "max-age=600").steps(),
    })
    .await;
    (upstream, open)
}

#[tokio::test]
async fn a_write_that_is_settled_later_is_forgotten_then() {
    let paths = ["/posts/1", "/lists/new", "/users/1"];
    for who in ["resolver", "repeat", "operator", "operator asks"] {
        let (upstream, open) = losing().await;
        let policy = ASKED.replace("SCHEDULE", if who == "resolver" { "300ms" } else { "1h" });
        let proxy = Proxy::start(config(&upstream, &policy).admin()).await;
        let lost = proxy.send(Request::keyed("/posts/1", "k", "x")).await;
        lost.expect_problem(502, "outcome-unknown");
        // Read while the write was still on its way inside the service: what was before it.
        let before = texts(&proxy, &paths).await;
        open.store(true, Ordering::SeqCst);
        let id = lost.operation();
        match who {
            "repeat" => assert_eq!(proxy.send(Request::keyed("/posts/1", "k", "x")).await.status, 200),
            "operator" | "operator asks" => {
                let mut word = json!({ "actor": "ana", "reason": "looked it up" });
                let what = if who == "operator" { "resolve" } else { "query" };
                if who == "operator" {
                    word["state"] = "succeeded".into();
                }
                let tag = etag(&proxy, &id).await;
                let reply = act(&proxy, &format!("/operations/{id}:{what}"), Some(&tag), word).await;
                assert_eq!(reply.status, 200, "{reply:#?}");
            }
            _ => {}
        }
        proxy.operation_in(&id, "succeeded").await;
        let after = texts(&proxy, &paths).await;
        assert_eq!(changed(&paths, &before, &after), ["/posts/1", "/lists/new"], "by {who}");
    }
}
