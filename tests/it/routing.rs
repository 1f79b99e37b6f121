//! Which route a request takes.

use mainstay_tests::prelude::*;

/// An upstream per name, each answering with its name.
async fn named(names: &[&'static str]) -> (Vec<Upstream>, Config) {
    let mut upstreams = Vec::new();
    let mut config = Config::new().policy("p", "timeout: 5s");
    for name in names {
        let upstream = Upstream::answering(Answer::ok(*name)).await;
        config = config.upstream(name, upstream.addr, "");
        upstreams.push(upstream);
    }
    (upstreams, config)
}

async fn check(proxy: &Proxy, request: Request, expected: &str) {
    let name = format!("{request:?}");
    let reply = proxy.send(request).await;
    if expected == "none" {
        reply.expect_problem(404, "no-route");
    } else {
        assert_eq!(reply.expect_upstream(200).text(), expected, "{name}");
    }
}

#[tokio::test]
async fn paths_match_exactly_by_segment_or_by_rest() {
    let (_upstreams, config) = named(&["exact", "param", "deep", "rest"]).await;
    let config = config
        .route("path: /exact", "exact", "p")
        .route("path: \"/users/{id}\"", "param", "p")
        .route("path: \"/users/{id}/orders/{order}\"", "deep", "p")
        .route("path: /static/**", "rest", "p");
    let proxy = Proxy::start(config).await;
    for (path, expected) in [
        ("/exact", "exact"),
        ("/exact?with=query", "exact"),
        ("/exact/more", "none"),
        ("/exac", "none"),
        ("/Exact", "none"),
        ("/users/42", "param"),
        ("/users/a%2Fb", "param"),
        ("/users/42/orders/7", "deep"),
        ("/users/42/orders", "none"),
        ("/users", "none"),
        ("/static", "rest"),
        ("/static/", "rest"),
        ("/static/a/b/c.css", "rest"),
        ("/staticfile", "none"),
        ("/", "none"),
    ] {
        check(&proxy, Request::get(path), expected).await;
    }
}

#[tokio::test]
async fn the_first_match_in_file_order_wins() {
    let (_upstreams, config) = named(&["first", "second", "third"]).await;
    let config = config
        .route("path: /a/special", "first", "p")
        .route("path: \"/a/{any}\"", "second", "p")
        .route("path: /a/unreachable", "third", "p")
        .route("path: /**", "third", "p");
    let proxy = Proxy::start(config).await;
    for (path, expected) in [("/a/special", "first"), ("/a/unreachable", "second"), ("/b", "third"), ("/", "third")] {
        check(&proxy, Request::get(path), expected).await;
    }
}

#[tokio::test]
async fn methods_hosts_and_headers_narrow_a_match() {
    let (_upstreams, config) = named(&["write", "shop", "beta", "both", "rest"]).await;
    let config = config
        .route("path: /x, methods: [POST, PUT]", "write", "p")
        .route("path: /x, host: shop.example, headers: { X-Beta: \"1\" }", "both", "p")
        .route("path: /x, host: shop.example", "shop", "p")
        .route("path: /x, headers: { X-Beta: \"1\" }", "beta", "p")
        .route("path: /x", "rest", "p");
    let proxy = Proxy::start(config).await;
    let get = || Request::get("/x");
    check(&proxy, Request::post("/x", "b"), "write").await;
    check(&proxy, Request::new("PUT", "/x"), "write").await;
    check(&proxy, get().header("Host", "shop.example"), "shop").await;
    check(&proxy, get().header("Host", "SHOP.example:8080"), "shop").await;
    check(&proxy, get().header("Host", "notshop.example"), "rest").await;
    check(&proxy, get().header("x-beta", "1"), "beta").await;
    check(&proxy, get().header("X-Beta", "2"), "rest").await;
    check(&proxy, get().header("Host", "shop.example").header("X-Beta", "1"), "both").await;
    check(&proxy, get(), "rest").await;
}

#[tokio::test]
async fn several_endpoints_all_get_traffic() {
    let (a, b) = (Upstream::answering(Answer::ok("a")).await, Upstream::answering(Answer::ok("b")).await);
    let config =
        Config::new().endpoints("app", &[a.addr, b.addr], "").policy("p", "timeout: 5s").route("path: /**", "app", "p");
    let proxy = Proxy::start(config).await;
    for _ in 0..100 {
        proxy.get("/").await.expect_upstream(200);
    }
    assert!(a.count() > 10 && b.count() > 10, "{} and {}", a.count(), b.count());
}

#[tokio::test]
async fn the_control_path_is_not_forwarded() {
    let upstream = Upstream::answering(Answer::ok("leaked")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    for target in [
        "/_mainstay/operations/00000000000000010000000000000001",
        "/_mainstay/idempotency",
        "/_mainstay/problems/timeout",
    ] {
        assert_ne!(proxy.get(target).await.text(), "leaked", "{target}");
    }
    assert_eq!(upstream.count(), 0);
}

/// A pattern alone does not say it: a route that keeps no keys may stand before.
#[tokio::test]
async fn whether_keys_are_kept_is_told_for_one_write() {
    let upstream = Upstream::answering(Answer::ok("done")).await;
    let keeps = "timeout: 5s, idempotency: { required: true }";
    let config = Config::new()
        .upstream("app", upstream.addr, "")
        .policy("keeps", keeps)
        .policy("free", "timeout: 5s")
        .route("path: /payments/free", "app", "free")
        .route("path: /payments/**, headers: { x-test: \"1\" }", "app", "free")
        .route("path: /payments/**, host: shop", "app", "keeps")
        .route("path: /payments/**, methods: [POST, GET]", "app", "keeps");
    let proxy = Proxy::start(config).await;
    let asked = async |query: &str, (name, value): (&'static str, &'static str)| {
        let target = format!("/_mainstay/idempotency{query}");
        proxy.send(Request::get(&target).header(name, value)).await.json()
    };
    let any = ("x-any", "1");
    // Each that is listed, by its methods.
    let kept = async |query: &str, header| {
        let routes = asked(query, header).await["routes"].clone();
        routes.as_array().unwrap().iter().map(|route| route["methods"].clone()).collect::<Vec<_>>()
    };
    let (of_shop, of_others) = (serde_json::json!(["POST", "PATCH"]), serde_json::json!(["POST"]));
    assert_eq!(kept("", any).await, vec![of_shop.clone(), of_others.clone()]);
    assert_eq!(kept("?method=PATCH&path=/payments/1", ("host", "shop")).await, [of_shop]);
    assert_eq!(kept("?method=POST&path=/payments/1", any).await, std::slice::from_ref(&of_others));
    assert_eq!(kept("?path=%2fpayments%2f1&method=POST", any).await, [of_others]);
    for (query, header) in [
        ("?method=POST&path=/payments/free", any),
        // As the router reads it.
        ("?method=POST&path=/payments/x/../%2566ree", any),
        ("?method=POST&path=/payments/1", ("x-test", "1")),
        // Its route keeps none for this method, or takes none.
        ("?method=GET&path=/payments/1", any),
        ("?method=PATCH&path=/payments/1", any),
        ("?method=PUT&path=/payments/1", ("host", "shop")),
        ("?method=POST&path=/other", any),
    ] {
        assert_eq!(kept(query, header).await, Vec::<serde_json::Value>::new(), "{query}");
    }
    for query in ["?method=POST", "?path=/payments/1", "?method=P%20T&path=/payments/1", "?methode=POST&path=/"] {
        proxy.get(&format!("/_mainstay/idempotency{query}")).await.expect_problem(400, "bad-request");
    }
}
