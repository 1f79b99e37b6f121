//! Access lists: who may send what, on a route and on a listener.

use mainstay_tests::prelude::*;

#[tokio::test]
async fn a_route_refuses_what_its_list_denies_and_nothing_of_it_goes_upstream() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    for (list, request, admitted) in [
        ("allow: [127.0.0.0/8]", Request::get("/"), true),
        ("allow: [10.0.0.0/8]", Request::get("/"), false),
        ("allow: [10.0.0.0/8]", Request::get("/").header("X-Forwarded-For", "10.0.0.1"), false),
        ("deny: [{ client: 127.0.0.1, methods: [DELETE] }]", Request::new("DELETE", "/"), false),
        ("deny: [{ client: 127.0.0.1, methods: [DELETE] }]", Request::get("/"), true),
        ("deny: [{ path: /admin/** }]", Request::get("/admin"), false),
        ("deny: [{ path: /admin/** }]", Request::get("/%61dmin/x?y"), false),
        ("deny: [{ path: /admin/** }]", Request::get("/x/../admin/x"), false),
        ("deny: [{ path: /admin/** }]", Request::get("/administrator"), true),
        ("deny: [{ path: /admin/** }]", Request::get("//admin/x"), false),
        ("deny: [{ path: /admin/** }]", Request::get("/x%2f..%2Fadmin/x"), false),
        ("deny: [{ path: /admin/** }]", Request::get("/%5cadmin"), false),
        ("deny: [{ path: /admin/** }]", Request::get("/admin;v=1/x"), false),
        ("deny: [{ path: /admin/** }]", Request::get("/x/..;/admin"), false),
        ("deny: [{ path: /admin/** }]", Request::get("/./admin"), false),
        ("deny: [{ path: /admin/** }]", Request::get("/admin/../x"), false),
        ("deny: [{ path: /admin/** }]", Request::get("/x//y;z/%2e/w"), true),
        ("allow: [{ path: /open/** }]", Request::get("/open/x"), true),
        ("allow: [{ path: /open/** }]", Request::get("/open/..%2fadmin"), false),
        ("allow: [{ path: /open/** }]", Request::get("/open/../admin"), false),
        ("allow: [127.0.0.1], deny: [127.0.0.1]", Request::get("/"), false),
        ("allow: [{ methods: [GET] }]", Request::post("/", "x"), false),
    ] {
        let before = upstream.count();
        let proxy = Proxy::single(upstream.addr, &format!("access: {{ {list} }}")).await;
        let reply = proxy.send(request.clone()).await;
        if admitted {
            reply.expect_upstream(200);
        } else {
            let document = reply.expect_problem(403, "forbidden");
            assert_eq!(document["effect"], "none");
        }
        assert_eq!(upstream.count() - before, usize::from(admitted), "{list}: {request:?}");
    }
}

#[tokio::test]
async fn a_listener_refuses_on_every_path_its_own_included() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let config = Config::single(upstream.addr, "timeout: 5s").listener("access: { allow: [192.0.2.0/24] }");
    let proxy = Proxy::start(config).await;
    for path in ["/", "/_mainstay/operations"] {
        proxy.get(path).await.expect_problem(403, "forbidden");
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn who_is_refused_uses_up_no_limit() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let policy = "access: { deny: [{ methods: [POST] }] }, rate_limit: { requests: 1, unit: 10m }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    for _ in 0..3 {
        proxy.send(Request::post("/", "x")).await.expect_problem(403, "forbidden");
    }
    proxy.get("/").await.expect_upstream(200);
}
