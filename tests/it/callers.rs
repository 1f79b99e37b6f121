//! Whose a key is where nobody has said who is calling: of the host that was called, and of the credentials that it was first
//! used with.

use mainstay_tests::{prelude::*, proxy::TempDir};

const KEYED: &str = "timeout: 5s, idempotency: { required: true }";

/// A service that makes another answer each time, so that it shows whose answer came back.
async fn counting() -> Upstream {
    Upstream::start(|seen| Answer::status(201).body(format!("answer {}", seen.index)).steps()).await
}

fn pay(name: &str, value: &str) -> Request {
    Request::keyed("/pay", "k", "x").header(name, value)
}

#[tokio::test]
async fn another_callers_credentials_get_neither_the_answer_nor_an_execution() {
    for (name, mine, other) in [
        ("Authorization", "Bearer ann", "Bearer bob"),
        ("Proxy-Authorization", "Basic YW5u", "Basic Ym9i"),
        ("Cookie", "session=ann", "session=bob"),
        ("X-Api-Key", "ann", "bob"),
    ] {
        let upstream = counting().await;
        let proxy = Proxy::single(upstream.addr, KEYED).await;
        let first = proxy.send(pay(name, mine)).await;
        first.expect_upstream(201);
        for foreign in [pay(name, other), Request::keyed("/pay", "k", "x")] {
            let refused = proxy.send(foreign).await;
            let document = refused.expect_problem(409, "caller-differs");
            assert_eq!((document["effect"].as_str(), refused.header("operation-location")), (Some("none"), None));
            assert_eq!(refused.header("mainstay-outcome"), Some("none"));
            let detail = document["detail"].as_str().unwrap_or_default();
            assert!(detail.contains("same Authorization") && detail.contains("`principal`"), "{detail}");
            assert!(!refused.text().contains("answer"), "{}", refused.text());
        }
        let replay = proxy.send(pay(name, mine)).await;
        assert_eq!((replay.expect_upstream(201).text(), upstream.count()), (first.text(), 1), "{name}");
    }
}

#[tokio::test]
async fn whoever_proved_nothing_is_answered_again_only_without_credentials() {
    let upstream = counting().await;
    let proxy = Proxy::single(upstream.addr, KEYED).await;
    proxy.send(Request::keyed("/pay", "k", "x")).await.expect_upstream(201);
    proxy.send(pay("Authorization", "Bearer bob")).await.expect_problem(409, "caller-differs");
    let replay = proxy.send(Request::keyed("/pay", "k", "x")).await;
    assert_eq!((replay.header("idempotent-replayed"), upstream.count()), (Some("true"), 1));
}

#[tokio::test]
async fn a_key_that_a_refused_write_freed_is_bound_anew() {
    let upstream = Upstream::start(|seen| Answer::status(if seen.index == 0 { 401 } else { 201 }).steps()).await;
    let proxy = Proxy::single(upstream.addr, KEYED).await;
    let refused = proxy.send(pay("Authorization", "Bearer stale")).await.expect_upstream(401).operation();
    let made = proxy.send(pay("Authorization", "Bearer fresh")).await.expect_upstream(201).operation();
    // At the old address nobody reads that all is undone, and only who may see what came of it is told where that is.
    let address = format!("/_mainstay/operations/{refused}");
    for (token, shown) in [("Bearer stale", None), ("Bearer fresh", Some(format!("/_mainstay/operations/{made}")))] {
        let read = || Request::get(&address).header("Authorization", token);
        let document = proxy.send(read()).await.json();
        assert_eq!((&document["state"], &document["safe_to_use_new_key"]), (&"not_executed".into(), &false.into()));
        assert_eq!(document["superseded_by"].as_str(), shown.as_deref(), "{document}");
        let page = proxy.send(read().header("Accept", "text/html")).await.text();
        assert!(page.contains(if shown.is_some() { "It is done" } else { "It is not known here" }), "{page}");
        assert_eq!(page.contains(&made), shown.is_some(), "{page}");
    }
    proxy.send(pay("Authorization", "Bearer stale")).await.expect_problem(409, "caller-differs");
    let replay = proxy.send(pay("Authorization", "Bearer fresh")).await;
    assert_eq!((replay.header("idempotent-replayed"), upstream.count()), (Some("true"), 2));
}

#[tokio::test]
async fn credentials_do_not_count_where_the_policy_or_a_principal_says_so() {
    let ignoring = "timeout: 5s, idempotency: { required: true, credentials: ignore }";
    for (policy, listener) in [(ignoring, ""), (KEYED, "principal: { header: X-Tenant }")] {
        let upstream = counting().await;
        let mut config = Config::single(upstream.addr, policy);
        if !listener.is_empty() {
            config = config.listener(listener);
        }
        let proxy = Proxy::start(config).await;
        let as_tenant = |token| pay("Authorization", token).header("X-Tenant", "acme");
        proxy.send(as_tenant("Bearer old")).await.expect_upstream(201);
        let replay = proxy.send(as_tenant("Bearer renewed")).await;
        assert_eq!((replay.header("idempotent-replayed"), upstream.count()), (Some("true"), 1), "{policy} {listener}");
    }
}

#[tokio::test]
async fn nothing_is_found_by_a_key_that_is_bound_to_others() {
    let upstream = counting().await;
    let proxy = Proxy::single(upstream.addr, KEYED).await;
    let id = proxy.send(pay("Authorization", "Bearer ann")).await.operation();
    let by_key = |token: &str| Request::get("/_mainstay/operations?key=k").header("Authorization", token);
    let found = proxy.send(by_key("Bearer ann")).await;
    assert_eq!((found.status, found.json()["id"].as_str()), (200, Some(&*id)));
    let absent = proxy.get("/_mainstay/operations?key=never-used").await;
    for hidden in [by_key("Bearer bob"), Request::get("/_mainstay/operations?key=k")] {
        let hidden = proxy.send(hidden).await;
        assert_eq!((hidden.status, hidden.slug()), (404, absent.slug()));
        assert_eq!(hidden.json()["detail"], absent.json()["detail"], "it looks like any key that nobody used");
    }
    let batch = |token: &str| {
        Request::post("/_mainstay/operations:batchGet", r#"{"keys":["k"]}"#).header("Authorization", token)
    };
    assert_eq!(proxy.send(batch("Bearer ann")).await.json()["operations"][0]["id"].as_str(), Some(&*id));
    assert_eq!(proxy.send(batch("Bearer bob")).await.json()["operations"][0]["not_found"], true);
}

/// Nor is the service asked about it on another's behalf.
#[tokio::test]
async fn the_service_is_not_asked_about_a_key_that_is_bound_to_others() {
    let upstream = Upstream::answering(Answer::json(201, "{}")).await;
    let policy = "timeout: 1s, idempotency: { late_response: 1s, status: { request: \"GET /by-ref/{key}\", \
                  settle_after: 60s, rules: [{ status: 201, then: succeeded }] } }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    proxy.send(pay("Authorization", "Bearer ann")).await.expect_upstream(201);
    let before = upstream.count();
    assert_eq!(proxy.get("/_mainstay/operations?key=k&path=/pay").await.status, 404);
    assert_eq!(upstream.count(), before, "nothing was asked");
}

#[tokio::test]
async fn a_listing_is_for_those_who_are_named() {
    let upstream = counting().await;
    let proxy = Proxy::single(upstream.addr, KEYED).await;
    let refused = proxy.get("/_mainstay/operations?state=succeeded").await.expect_problem(403, "forbidden");
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("ask by key")), "{refused}");
    let named = |more: &str| Config::single(upstream.addr, KEYED).listener("principal: { header: X-Tenant }").top(more);
    let proxy = Proxy::start(named("")).await;
    proxy.get("/_mainstay/operations").await.expect_problem(401, "principal-missing");
    let own = |target| Request::get(target).header("X-Tenant", "acme");
    assert_eq!(proxy.send(own("/_mainstay/operations?state=succeeded")).await.status, 200);
    let proxy = Proxy::start(named("control: { list: off }")).await;
    proxy.send(own("/_mainstay/operations")).await.expect_problem(403, "forbidden");
}

#[tokio::test]
async fn one_key_for_two_hosts_is_two_requests() {
    let upstream = counting().await;
    let proxy = Proxy::single(upstream.addr, KEYED).await;
    let to = |host| Request::keyed("/pay", "k", "x").header("Host", host);
    let first = proxy.send(to("shop.example")).await;
    first.expect_upstream(201);
    let other = proxy.send(to("other.example")).await;
    other.expect_problem(422, "key-reused");
    assert_eq!(other.header("operation-location"), first.header("operation-location"));
    for same in ["SHOP.example", "shop.example:8443"] {
        assert_eq!(
            proxy.send(to(same)).await.expect_upstream(201).header("idempotent-replayed"),
            Some("true"),
            "{same}"
        );
    }
    assert_eq!(upstream.count(), 1);
}

/// Each replica is called by an address of its own, and a forwarded port by `localhost`.
#[tokio::test]
async fn addresses_and_localhost_are_one_host() {
    let upstream = counting().await;
    let proxy = Proxy::single(upstream.addr, KEYED).await;
    for host in ["10.0.0.7:8080", "10.0.0.8", "[::1]:8080", "localhost:9000"] {
        proxy.send(Request::keyed("/pay", "k", "x").header("Host", host)).await.expect_upstream(201);
    }
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn what_a_key_is_bound_to_outlives_a_restart() {
    let dir = TempDir::new();
    let upstream = counting().await;
    let config = || {
        let path = dir.join("ledger");
        Config::single(upstream.addr, KEYED).ledger(&format!("store: disk, path: \"{}\"", path.display()))
    };
    let proxy = Proxy::start(config()).await;
    proxy.send(pay("Authorization", "Bearer ann").header("Host", "shop.example")).await.expect_upstream(201);
    drop(proxy);
    let proxy = Proxy::start(config()).await;
    let again = |token, host| pay("Authorization", token).header("Host", host);
    proxy.send(again("Bearer bob", "shop.example")).await.expect_problem(409, "caller-differs");
    let strange = proxy.send(again("Bearer bob", "other.example")).await;
    strange.expect_problem(422, "key-reused");
    assert_eq!(strange.header("operation-location"), None, "another caller learns no address");
    proxy.send(again("Bearer ann", "other.example")).await.expect_problem(422, "key-reused");
    let replay = proxy.send(again("Bearer ann", "shop.example")).await;
    assert_eq!((replay.header("idempotent-replayed"), upstream.count()), (Some("true"), 1));
}
