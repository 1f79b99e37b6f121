//! Pages of other origins: preflights, and who may read which answer. `browser` shows the same in a real browser.

use mainstay_tests::prelude::*;

const SHOP: &str = "https://shop.example";

/// A listener for one origin, before a service that has opinions of its own.
fn config(upstream: &Upstream) -> Config {
    Config::new()
        .listener("cors: { origins: [\"https://shop.example\"], headers: [X-Tenant], expose: [X-Receipt] }")
        .upstream("app", upstream.addr, "")
        .policy("write", "timeout: 500ms, idempotency: { required: true }")
        .policy("read", "timeout: 500ms, rate_limit: { requests: 1, unit: 10m }")
        .route("path: /payments, methods: [POST]", "app", "write")
        .route("path: /payments, methods: [GET]", "app", "read")
}

async fn service() -> Upstream {
    Upstream::start(|seen| {
        if seen.target.contains("lost") {
            return vec![Step::Body, Step::Stall];
        }
        let answer = Answer::status(201).header("Access-Control-Allow-Origin", "*");
        answer.header("Access-Control-Expose-Headers", "X-Secret").header("X-Receipt", "7").steps()
    })
    .await
}

fn preflight(path: &str, origin: &str, method: &str) -> Request {
    let asked = Request::new("OPTIONS", path).header("Origin", origin);
    asked.header("Access-Control-Request-Method", method).header("Access-Control-Request-Headers", "idempotency-key")
}

fn names(reply: &Reply, header: &str) -> Vec<String> {
    reply.header(header).unwrap_or_default().split(", ").filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[track_caller]
fn readable(reply: &Reply) {
    assert_eq!(reply.headers("access-control-allow-origin"), [SHOP], "{:?}", reply.head);
    let exposed = names(reply, "access-control-expose-headers");
    for name in
        ["operation-location", "mainstay-error", "mainstay-outcome", "idempotent-replayed", "retry-after", "x-receipt"]
    {
        assert!(exposed.iter().any(|exposed| exposed == name), "{name}: {exposed:?}");
    }
    assert!(!exposed.iter().any(|exposed| exposed.eq_ignore_ascii_case("x-secret")), "{exposed:?}");
    assert!(reply.headers("vary").iter().any(|vary| vary.contains("Origin")), "{:?}", reply.head);
}

#[tokio::test]
async fn a_preflight_of_a_route_is_answered_here_with_what_the_routes_offer() {
    let upstream = service().await;
    let proxy = Proxy::start(config(&upstream)).await;
    let reply = proxy.send(preflight("/payments", SHOP, "POST")).await;
    assert_eq!(reply.status, 204, "{:?}", reply.head);
    assert_eq!(names(&reply, "access-control-allow-methods"), ["GET", "POST"]);
    assert_eq!(
        names(&reply, "access-control-allow-headers"),
        ["content-type", "idempotency-key", "prefer", "traceparent", "x-tenant"]
    );
    assert_eq!(reply.header("access-control-max-age"), Some("600"));
    readable(&reply);
    let own = proxy.send(preflight("/_mainstay/operations/1", SHOP, "GET")).await;
    assert_eq!((own.status, names(&own, "access-control-allow-methods").contains(&"GET".to_owned())), (204, true));
    assert_eq!(upstream.count(), 0, "no preflight reaches the service");
}

#[tokio::test]
async fn another_origin_and_another_path_are_offered_nothing() {
    let upstream = service().await;
    let proxy = Proxy::start(config(&upstream)).await;
    let thief = proxy.send(preflight("/payments", "https://thief.example", "POST")).await;
    assert_eq!(thief.status, 204, "{:?}", thief.head);
    for said in ["origin", "methods", "headers"] {
        assert_eq!(thief.header(&format!("access-control-allow-{said}")), None, "{:?}", thief.head);
    }
    assert_eq!(thief.header("vary"), Some("Origin"));
    let nowhere = proxy.send(preflight("/nowhere", SHOP, "POST")).await;
    nowhere.expect_problem(404, "no-route");
    readable(&nowhere);
}

#[tokio::test]
async fn every_answer_says_who_may_read_it() {
    let upstream = service().await;
    let proxy = Proxy::start(config(&upstream)).await;
    let send = async |request: Request| proxy.send(request.header("Origin", SHOP)).await;
    let first = send(Request::keyed("/payments", "k1", "one")).await;
    readable(first.expect_upstream(201));
    let replay = send(Request::keyed("/payments", "k1", "one")).await;
    assert_eq!(replay.header("idempotent-replayed"), Some("true"));
    readable(&replay);
    let reused = send(Request::keyed("/payments", "k1", "two")).await;
    reused.expect_problem(422, "key-reused");
    readable(&reused);
    let lost = send(Request::keyed("/payments?lost", "k2", "one")).await;
    lost.expect_problem(504, "outcome-unknown");
    readable(&lost);
    let operation = send(Request::get(lost.header("operation-location").unwrap())).await;
    assert_eq!(operation.status, 200);
    readable(&operation);
    readable(&send(Request::get("/payments")).await);
    let limited = send(Request::get("/payments")).await;
    limited.expect_problem(429, "rate-limited");
    readable(&limited);
    // Somebody who is no page at all sees that it depends.
    let nobody = proxy.send(Request::keyed("/payments", "k1", "one")).await;
    assert_eq!((nobody.header("access-control-allow-origin"), nobody.header("vary")), (None, Some("Origin")));
}

#[tokio::test]
async fn without_origins_the_service_speaks_for_itself() {
    let upstream = service().await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let reply = proxy.send(preflight("/payments", SHOP, "POST")).await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (201, Some("*")));
    assert_eq!(upstream.only().method, "OPTIONS");
}
