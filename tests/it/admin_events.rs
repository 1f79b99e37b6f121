//! `GET /events`: what happens, as it happens, and who may watch.

use mainstay_tests::prelude::*;
use serde_json::{Value, json};

use super::admin::{act, lose, losing, proxy_before};

/// Somebody who watches.
pub(super) struct Watching {
    client: Client,
    /// What came and was not looked at yet.
    text: String,
}

impl Watching {
    /// Watches, and has been told so.
    pub(super) async fn on(proxy: &Proxy, query: &str) -> Self {
        let mut watching = Self::mute(proxy, query).await;
        let head = watching.client.head().await;
        assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")), "{head:?}");
        watching.event("hello").await;
        watching
    }

    /// Asks, and reads nothing.
    async fn mute(proxy: &Proxy, query: &str) -> Self {
        let admin = proxy.config.admin.expect("an operators' listener");
        let mut client = Client::connect(admin).await;
        client.write(&Request::get(&format!("/events{query}")).header("Host", &admin.to_string()).bytes()).await;
        Self { client, text: String::new() }
    }

    /// The next event of that name.
    pub(super) async fn event(&mut self, name: &str) -> Value {
        let begins = format!("event: {name}\ndata: ");
        within(&format!("an event {name}"), async {
            loop {
                if let Some((_, rest)) = self.text.split_once(&begins)
                    && let Some((data, rest)) = rest.split_once("\n\n")
                {
                    let document = serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"));
                    let rest = rest.to_owned();
                    self.text = rest;
                    return document;
                }
                let more = self.client.wire.some().await.expect("the stream goes on");
                assert!(!more.is_empty(), "the stream has ended: {}", self.text);
                self.text += &String::from_utf8_lossy(&more);
            }
        })
        .await
    }
}

#[tokio::test]
async fn requests_and_operations_are_told_and_hold_no_key() {
    let upstream = losing().await;
    let proxy = proxy_before(&upstream).await;
    let mut watching = Watching::on(&proxy, "").await;
    proxy.get("/read?token=s3cret").await.expect_upstream(200);
    let request = watching.event("request").await;
    for (name, expected) in [
        ("method", json!("GET")),
        ("route", json!("/**")),
        ("upstream", json!("app")),
        ("status", json!(200)),
        ("attempts", json!(1)),
        ("outcome", json!("ok")),
        ("endpoint", json!(upstream.addr.to_string())),
        ("operation", Value::Null),
        ("left_out", json!(0)),
    ] {
        assert_eq!(request[name], expected, "{name}: {request}");
    }
    assert!(request["duration_ms"].as_f64() > Some(0.0) && request["trace_id"].as_str().unwrap().len() == 32);
    let id = lose(&proxy, "a-secret-key").await;
    let mut both = [watching.event("operation").await, watching.event("request").await];
    // A write is put in doubt before its caller is told.
    let [operation, request] = &mut both;
    assert_eq!((&operation["operation"], &operation["state"]), (&json!(id), &json!("unknown")), "{operation}");
    assert_eq!((&request["operation"], &request["outcome"]), (&json!(id), &json!("outcome-unknown")), "{request}");
    assert_eq!(request["key_hash"].as_str().map(str::len), Some(8), "{request}");
    let told = format!("{both:?}");
    assert!(!told.contains("a-secret-key") && !told.contains("s3cret") && !told.contains("100 EUR"), "{told}");
    let body = json!({ "state": "succeeded", "actor": "ana", "reason": "seen" });
    act(&proxy, &format!("/operations/{id}:resolve"), Some("*"), body).await;
    let settled = watching.event("operation").await;
    assert_eq!((&settled["before"], &settled["state"]), (&json!("unknown"), &json!("succeeded")), "{settled}");
    assert_eq!(settled["source"], "operator");
}

#[tokio::test]
async fn breakers_are_told_to_those_who_want_breakers() {
    let upstream = Upstream::answering(Answer::status(500)).await;
    let policy = "circuit_breaker: { consecutive_errors: 2, open_duration: 60s }";
    let proxy = Proxy::start(Config::single(upstream.addr, policy).admin()).await;
    let mut watching = Watching::on(&proxy, "?kind=breaker,config").await;
    for _ in 0..2 {
        proxy.get("/").await.expect_upstream(500);
    }
    let opened = watching.event("breaker").await;
    assert_eq!((&opened["breaker"], &opened["state"]), (&json!("p@app"), &json!("open")), "{opened}");
    assert_eq!(opened["why"]["condition"], "consecutive_errors");
    let why = json!({ "state": "closed", "actor": "ana", "reason": "a test" });
    act(&proxy, "/breakers/p@app:force", None, why).await;
    assert_eq!(watching.event("breaker").await["state"], "forced_closed");
    assert!(!watching.text.contains("event: request"), "{}", watching.text);
}

#[tokio::test]
async fn it_runs_with_the_access_log_off_and_ends_with_the_process() {
    let upstream = Upstream::answering(Answer::ok("x")).await;
    let config = Config::single(upstream.addr, "timeout: 5s").top("telemetry: { logs: { access: false } }").admin();
    let mut proxy = Proxy::start(config).await;
    let mut watching = Watching::on(&proxy, "?kind=request").await;
    proxy.get("/").await.expect_upstream(200);
    assert_eq!(watching.event("request").await["status"], 200);
    proxy.terminate().await;
    within("the stream ends", async { while watching.client.wire.some().await.is_ok_and(|more| !more.is_empty()) {} })
        .await;
}

#[tokio::test]
async fn readers_that_never_read_are_few_and_in_nobodys_way() {
    let upstream = Upstream::answering(Answer::ok("fine")).await;
    let proxy = Proxy::start(Config::single(upstream.addr, "timeout: 5s").admin()).await;
    for kind in ["?kind=", "?kind=nothing", "?kind=request,", "?what=request"] {
        proxy.operate(Request::get(&format!("/events{kind}"))).await.expect_problem(400, "bad-request");
    }
    let mut stalled = Vec::new();
    for _ in 0..7 {
        // Its place is certain once it is answered.
        let mut watching = Watching::mute(&proxy, "").await;
        assert_eq!(watching.client.head().await.status, 200);
        stalled.push(watching);
    }
    let mut reading = Watching::on(&proxy, "").await;
    let full = Watching::mute(&proxy, "").await.client.reply().await;
    full.expect_problem(503, "overloaded");
    assert_eq!(full.header("retry-after"), Some("5"), "{full:?}");
    let before = proxy.rss();
    let mut client = proxy.connect().await;
    for _ in 0..3_000 {
        client.call(&Request::get("/")).await.expect_upstream(200);
    }
    let grown = proxy.rss().saturating_sub(before);
    assert!(grown < 8 * 1024 * 1024, "{grown} bytes");
    assert_eq!(reading.event("request").await["status"], 200);
    drop(stalled);
    eventually("a place is free", || async {
        let mut watching = Watching::mute(&proxy, "").await;
        (watching.client.head().await.status == 200).then_some(())
    })
    .await;
}
