//! What the operators' interface says of the last minute: of all, of each route, of what cannot be reached; and how it is read.

use mainstay_tests::{in_the_end, prelude::*};
use serde_json::{Value, json};

use super::{
    admin::{act, etag, lose, losing, proxy_before, seen},
    operate::typed,
};

/// Waits until `found` finds what it looks for in the document at `target`.
async fn eventually_seen<T>(proxy: &Proxy, target: &str, found: impl Fn(&Value) -> Option<T>) -> T {
    eventually(target, || async { found(&seen(proxy, target).await.json()) }).await
}

#[tokio::test]
async fn the_last_minute_is_told_of_all_and_of_each_route() {
    let upstream = Upstream::start(|seen| match seen.target.as_str() {
        "/pay" => vec![Step::Body, Step::Reset],
        "/bad" => Answer::status(500).steps(),
        _ => Answer::ok("fine").steps(),
    })
    .await;
    let config = Config::new()
        .upstream("app", upstream.addr, "")
        .policy("p", "timeout: 5s, idempotency: { required: true }, circuit_breaker: { consecutive_errors: 99 }")
        .route("path: /pay, methods: [POST]", "app", "p")
        .policy("r", "timeout: 5s, rate_limit: { requests: 4, unit: 1h }")
        .route("path: /**", "app", "r")
        .admin();
    let proxy = Proxy::start(config).await;
    for target in ["/a", "/b", "/bad", "/c", "/over"] {
        proxy.get(target).await;
    }
    lose(&proxy, "k").await;
    let traffic = eventually_seen(&proxy, "/status", |status| {
        let traffic = status["traffic"].clone();
        (traffic["requests"] == 6).then_some(traffic)
    })
    .await;
    assert_eq!((&traffic["errors"], &traffic["limited"], &traffic["retried"]), (&2.into(), &1.into(), &0.into()));
    assert_eq!(traffic["error_share"], 0.3333, "{traffic}");
    assert!(traffic["rate"].as_f64() > Some(0.0) && traffic["p99_ms"].as_f64() >= traffic["p50_ms"].as_f64());
    let routes = seen(&proxy, "/routes").await.json();
    let (pay, all) = (&routes["routes"][0], &routes["routes"][1]);
    assert_eq!((&pay["requests"], &pay["doubted"], &pay["ok_share"]), (&1.into(), &1.into(), &0.0.into()), "{pay}");
    assert_eq!((&pay["breaker"], &all["breaker"]), (&"closed".into(), &Value::Null));
    assert_eq!((&all["requests"], &all["limited"], &all["ok_share"]), (&5.into(), &1.into(), &0.8.into()), "{all}");
    assert!(all["p50_ms"].is_number() && all["in_flight"] == 0, "{all}");
    // As `mainstay check` prints it.
    let worst = &all["worst_case"];
    assert_eq!((&worst["latency_ms"], &worst["attempts"]), (&5000.into(), &1.into()), "{worst}");
    assert!(worst["latency_because"].as_str().is_some_and(|because| because.contains("timeout.total")), "{worst}");
}

#[tokio::test]
async fn the_quarter_of_an_hour_has_a_point_for_each_five_seconds() {
    let upstream = losing().await;
    let proxy = proxy_before(&upstream).await;
    assert!(seen(&proxy, "/status").await.json()["series"].is_null(), "only where it is asked for");
    proxy.get("/").await.expect_upstream(200);
    lose(&proxy, "k").await;
    let series = in_the_end("a point has the write in doubt", || async {
        let series = seen(&proxy, "/status?series=true").await.json()["series"].clone();
        let is_in_doubt = series["in_doubt"].as_array()?.last()? == 1;
        is_in_doubt.then_some(series)
    })
    .await;
    assert_eq!(series["interval_ms"], 5000);
    let all = |name: &str| series[name].as_array().expect("a list").clone();
    assert_eq!([all("rate").len(), all("errors").len(), all("p99_ms").len()], [all("in_doubt").len(); 3]);
    let sum = |name: &str| all(name).iter().filter_map(Value::as_f64).sum::<f64>();
    assert!(sum("rate") > sum("errors") && sum("errors") > 0.0 && sum("p99_ms") > 0.0, "{series}");
    proxy.operate(Request::get("/status?series=yes")).await.expect_problem(400, "bad-request");
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_reached_is_named_with_its_cause() {
    let upstream = Upstream::answering(Answer::ok("x")).await;
    let gone = free_addr();
    let config = Config::new()
        .endpoints("two", &[upstream.addr, gone], "")
        .policy("p", "timeout: 5s, retry: { max_retries: 2 }")
        .route("path: /**", "two", "p")
        .admin();
    let proxy = Proxy::start(config).await;
    assert_eq!(seen(&proxy, "/status").await.json()["upstreams"], json!([]));
    let two = eventually("an attempt finds nobody there", || async {
        proxy.get("/").await;
        let status = seen(&proxy, "/status").await.json();
        status["upstreams"].get(0).cloned()
    })
    .await;
    assert_eq!((&two["name"], &two["up"], &two["total"]), (&"two".into(), &1.into(), &2.into()));
    let endpoint = &two["endpoints"][0];
    assert_eq!((&endpoint["address"], &endpoint["cause"]), (&gone.to_string().into(), &"connection refused".into()));
    assert!(endpoint["failures_last_minute"].as_u64() > Some(0), "{endpoint}");
}

#[tokio::test]
async fn an_endpoint_tells_its_rate_its_slowness_and_what_went_wrong_last() {
    let upstream = Upstream::start(|seen| match seen.target.as_str() {
        "/bad" => Answer::status(503).steps(),
        "/cut" => vec![Step::Body, Step::Reset],
        _ => Answer::ok("fine").steps(),
    })
    .await;
    let proxy = Proxy::start(Config::single(upstream.addr, "timeout: 5s").admin()).await;
    let endpoint = async || seen(&proxy, "/upstreams").await.json()["upstreams"][0]["endpoints"][0].clone();
    let idle = endpoint().await;
    assert_eq!(
        (&idle["rate"], &idle["p99_ms"], &idle["last_error"]),
        (&json!(0.0), &Value::Null, &Value::Null),
        "{idle}"
    );
    assert_eq!((&idle["unreachable_because"], &idle["failures_last_minute"]), (&Value::Null, &json!(0)));
    for (target, cause) in [("/a", None), ("/bad", Some("http_503")), ("/b", Some("http_503")), ("/cut", Some("reset"))]
    {
        proxy.get(target).await;
        let seen = eventually(target, || async {
            let seen = endpoint().await;
            let is_there = seen["last_error"]["cause"].as_str() == cause;
            is_there.then_some(seen)
        })
        .await;
        assert_eq!(seen["last_error"]["at"].is_string(), cause.is_some(), "{seen}");
    }
    let seen = endpoint().await;
    assert_eq!((&seen["attempts"], &seen["errors"]), (&json!(4), &json!(2)), "{seen}");
    assert!(seen["rate"].as_f64() > Some(0.0) && seen["p99_ms"].as_f64() > Some(0.0), "{seen}");
    let (_, shown, _) = typed(&proxy, &["upstreams"]).await;
    assert!(shown.contains("reset, ") && shown.contains(" ago"), "{shown}");
}

#[tokio::test]
async fn a_route_tells_what_became_of_its_requests_in_five_minutes() {
    let (gate, never) = (Gate::new(), Gate::new());
    let (held, closed) = (gate.clone(), never.clone());
    let upstream = Upstream::start(move |seen| match seen.target.as_str() {
        "/slow" => Answer::ok("late").behind(&closed),
        "/bad" => Answer::status(503).steps(),
        "/held" => Answer::ok("fine").behind(&held),
        _ => Answer::ok("fine").header("Cache-Control", "max-age=60").steps(),
    })
    .await;
    let mut config = Config::new().upstream("app", upstream.addr, "");
    for (name, policy) in [
        ("slow", "timeout: 100ms"),
        (
            "bad",
            "retry: { max_retries: 1, budget: none, backoff: { base: 1ms } }, circuit_breaker: { consecutive_errors: 2, open_duration: 60s }",
        ),
        ("kept", "cache: {}"),
        ("few", "rate_limit: { requests: 2, unit: 1h }"),
        ("held", "timeout: 9s, concurrency_limit: { max_concurrent: 1, max_queue: 2, max_wait: 9s }"),
    ] {
        config = config.policy(name, policy).route(&format!("path: /{name}"), "app", name);
    }
    let proxy = Proxy::start(config.admin()).await;
    for (target, times) in [("/slow", 1), ("/bad", 2), ("/kept", 3), ("/few", 3)] {
        for _ in 0..times {
            proxy.get(target).await;
        }
    }
    let opened = async {
        eventually_seen(&proxy, "/limits", |limits| {
            let mut routes = limits["routes"].as_array().into_iter().flatten();
            routes.any(|route| route["concurrency_limit"]["queued"] == 1).then_some(())
        })
        .await;
        gate.open();
    };
    tokio::join!(proxy.get("/held"), proxy.get("/held"), opened);
    for (at, expected) in [
        json!({ "admitted": 1, "timed_out": 1 }),
        json!({ "admitted": 2, "retried": 1, "broken": 1 }),
        json!({ "admitted": 3, "cache_hits": 1 }),
        json!({ "admitted": 2, "limited": 1 }),
        json!({ "admitted": 2, "queued": 1 }),
    ]
    .into_iter()
    .enumerate()
    {
        eventually_seen(&proxy, "/routes", |routes| {
            let five = &routes["routes"][at]["five_minutes"];
            // No more than a handful was sent: a count that has run backwards would be millions.
            assert!(
                five.as_object().is_some_and(|five| five.values().all(|count| count.as_u64() <= Some(9))),
                "{five}"
            );
            let is_reached = |(name, count): (&String, &Value)| five[name].as_u64() >= count.as_u64();
            expected.as_object().expect("an object").iter().all(is_reached).then_some(())
        })
        .await;
    }
    let routes = seen(&proxy, "/routes").await.json();
    assert!(routes["five_minutes_ms"].as_u64().is_some_and(|window| window <= 330_000), "{routes}");
    assert_eq!(routes["routes"][0]["five_minutes"].as_object().map(serde_json::Map::len), Some(9));
}

#[tokio::test]
async fn an_open_breaker_says_why_since_when_and_when_it_is_tried_again() {
    let upstream = Upstream::answering(Answer::status(500)).await;
    let policy = "circuit_breaker: { consecutive_errors: 2, open_duration: 60s }";
    let proxy = Proxy::start(Config::single(upstream.addr, policy).admin()).await;
    let before = seen(&proxy, "/breakers").await.json()["breakers"][0].clone();
    assert!(before["since"].is_null() && before["why"].is_null() && before["probes_in_ms"].is_null(), "{before}");
    for _ in 0..2 {
        proxy.get("/").await.expect_upstream(500);
    }
    proxy.get("/").await.expect_problem(503, "circuit-open");
    let status = seen(&proxy, "/status").await.json();
    let open = &status["breakers"][0];
    assert_eq!((&open["state"], &open["why"]["condition"]), (&"open".into(), &"consecutive_errors".into()), "{open}");
    assert_eq!((&open["why"]["value"], &open["why"]["threshold"]), (&2.0.into(), &2.0.into()));
    assert!(open["since"].is_string() && open["forced_by"].is_null(), "{open}");
    assert!((1..=60_000).contains(&open["probes_in_ms"].as_u64().unwrap()), "{open}");
    assert_eq!(seen(&proxy, "/routes").await.json()["routes"][0]["breaker"], "open");
}

#[tokio::test]
async fn json_is_indented_for_people() {
    let upstream = losing().await;
    let proxy = proxy_before(&upstream).await;
    let by = |target: &str, agent: &str| Request::get(target).header("User-Agent", agent);
    for (target, agent, is_indented) in [
        ("/breakers", "x", false),
        ("/breakers?pretty", "x", true),
        ("/breakers", "curl/8.5.0", true),
        ("/breakers?pretty=false", "curl/8.5.0", false),
        ("/operations?limit=2&pretty=true", "x", true),
        ("/nothing", "curl/8.5.0", true),
    ] {
        let text = proxy.operate(by(target, agent)).await.text();
        assert_eq!(text.contains("{\n  \""), is_indented, "{target} {agent}: {text}");
    }
    proxy.operate(by("/breakers?pretty=yes", "x")).await.expect_problem(400, "bad-request");
}

#[tokio::test]
async fn the_index_names_every_address_that_the_document_has() {
    let upstream = losing().await;
    let proxy = proxy_before(&upstream).await;
    let index = seen(&proxy, "/").await.json();
    let described = seen(&proxy, "/openapi.json").await.json();
    let methods = described["paths"].as_object().unwrap().values().map(|methods| methods.as_object().unwrap().len());
    let documents = index["documents"].as_array().unwrap();
    assert_eq!(documents.len(), methods.sum::<usize>());
    assert!(documents.iter().any(|it| it["path"] == "/status" && it["method"] == "GET" && it["summary"].is_string()));
}

#[tokio::test]
async fn the_trail_is_read_by_actor_action_and_age_in_pages() {
    let upstream = losing().await;
    let proxy = proxy_before(&upstream).await;
    let id = lose(&proxy, "k").await;
    for (actor, action) in
        [("ana", "resolve"), ("bob", "query"), ("ana", "query"), ("bob", "resolve"), ("ana", "query")]
    {
        let tag = etag(&proxy, &id).await;
        let body = json!({ "actor": actor, "reason": "x" });
        act(&proxy, &format!("/operations/{id}:{action}"), Some(&tag), body).await;
    }
    // An order without a state is none; a question that cannot be asked is refused, and a row.
    for (query, expected) in [
        ("", &["ana query", "ana query", "bob query"][..]),
        ("?actor=ana", &["ana query", "ana query"]),
        ("?action=query&actor=bob", &["bob query"]),
        ("?action=resolve", &[]),
        ("?newer=1h", &["ana query", "ana query", "bob query"]),
        ("?newer=0s", &[]),
    ] {
        let page = seen(&proxy, &format!("/audit{query}")).await.json();
        let rows = page["entries"].as_array().unwrap().iter();
        let rows: Vec<String> =
            rows.map(|row| format!("{} {}", row["actor"].as_str().unwrap(), row["action"].as_str().unwrap())).collect();
        assert_eq!(rows, expected, "{query}");
    }
    let (mut target, mut numbers) = ("/audit?actor=ana&limit=1".to_owned(), Vec::new());
    loop {
        let page = seen(&proxy, &target).await.json();
        numbers.extend(page["entries"].as_array().unwrap().iter().map(|row| row["number"].as_u64().unwrap()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        target = format!("/audit?actor=ana&limit=1&cursor={next}");
    }
    assert_eq!(numbers, [3, 2]);
}
