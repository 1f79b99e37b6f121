//! Calls of the service to others: an outbound listener serves its own routes and no other, and an inbound one none of them.

use mainstay_tests::{
    h2c::{H2Client, full},
    prelude::*,
};

/// One service behind, and one that it calls by the host `api.test`, over the listener `out`.
async fn both_ways(out: &str) -> (Upstream, Upstream, Proxy) {
    let (app, api) = (Upstream::answering(Answer::ok("app")).await, Upstream::answering(Answer::ok("api")).await);
    let config = Config::new()
        .upstream("app", app.addr, "")
        .upstream("api", api.addr, "")
        .policy("p", "timeout: 5s, idempotency: true")
        .also_listener("out", &format!("direction: outbound{out}"))
        .route("listener: out, host: api.test", "api", "p")
        .route("listener: out, host: odd.test, port: 8080", "api", "p")
        .route("path: /**", "app", "p");
    (app, api, Proxy::start(config).await)
}

fn to(host: &str, target: &str) -> Request {
    Request::get(target).header("Host", host)
}

#[tokio::test]
async fn a_route_serves_the_listeners_that_it_belongs_to() {
    let (app, api, proxy) = both_ways("").await;
    let out = proxy.config.address_of("out");
    // From outside, a name that is meant for calls out is a name like any other.
    for request in [to("api.test", "/x"), to("whoever", "http://api.test/x")] {
        assert_eq!(proxy.send(request).await.expect_upstream(200).text(), "app");
    }
    assert_eq!(api.count(), 0);
    for request in [to("api.test", "/x"), to("api.test:1234", "/x"), to("whoever", "http://api.test:80/x?y=z")] {
        assert_eq!(request.send(out).await.expect_upstream(200).text(), "api");
    }
    let seen = api.requests();
    assert_eq!((&*seen[2].target, seen[2].header("host")), ("/x?y=z", Some("api.test:80")), "{seen:#?}");
    assert_eq!(app.count(), 2, "the service is nobody's fallback");
    let line = eventually("an access line", || async {
        proxy.log().lines().find(|line| line.contains("\"target\":\"access\",\"listener\":\"out\"")).map(str::to_owned)
    });
    assert!(line.await.contains("\"direction\":\"outbound\""));
}

#[tokio::test]
async fn what_no_route_names_is_denied_and_never_reaches_the_service() {
    let (app, api, proxy) = both_ways("").await;
    let out = proxy.config.address_of("out");
    for (request, host) in [
        (to("other.test", "/"), "other.test"),
        (to("x", "http://other.test/_mainstay/keys"), "other.test"),
        // A port that is not the scheme's own has to be named by the route.
        (to("x", "http://api.test:81/"), "api.test"),
        (to("x", "http://odd.test/"), "odd.test"),
    ] {
        let document = request.send(out).await.expect_problem(403, "egress-denied");
        let detail =
            format!("no route of listener `out` names host `{host}`; add one, or allow a tunnel with `connect.allow`");
        assert_eq!((&document["detail"], &document["effect"]), (&detail.into(), &"none".into()));
    }
    assert_eq!((app.count(), api.count()), (0, 0));
    to("x", "http://odd.test:8080/").send(out).await.expect_upstream(200);
    assert_eq!(api.count(), 1);
}

#[tokio::test]
async fn what_was_asked_for_over_tls_never_goes_out_in_clear() {
    let (_, api, proxy) = both_ways("").await;
    let document = to("x", "https://api.test/").send(proxy.config.address_of("out")).await;
    let document = document.expect_problem(502, "upstream-unreachable");
    assert_eq!(
        (document["detail"].as_str(), document["effect"].as_str()),
        (Some("asked for https, the route leads to http"), Some("none"))
    );
    assert_eq!(api.count(), 0);
}

#[tokio::test]
async fn operations_are_read_here_only_by_who_asks_us() {
    let (app, api, proxy) = both_ways("").await;
    let out = proxy.config.address_of("out");
    let path = "/_mainstay/problems/loop";
    for target in [path.to_owned(), format!("http://{out}{path}"), format!("http://localhost:{}{path}", out.port())] {
        assert_eq!(to("api.test", &target).send(out).await.status, 200, "{target}");
    }
    assert_eq!((app.count(), api.count()), (0, 0));
    to("x", &format!("http://api.test{path}")).send(out).await.expect_upstream(200);
    assert_eq!(api.only().target, path);
}

/// Whoever calls out is the service, whatever it says of itself.
#[tokio::test]
async fn a_call_out_is_the_services_own() {
    let (_, api, proxy) = both_ways("").await;
    let out = proxy.config.address_of("out");
    let keyed = |token: &str| Request::keyed("http://api.test/pay", "one", "x").header("Authorization", token);
    let first = keyed("Bearer a").send(out).await;
    first.expect_upstream(200);
    // A token that was renewed meanwhile is no other caller.
    assert_eq!(keyed("Bearer b").send(out).await.header("idempotent-replayed"), Some("true"));
    assert_eq!(api.effects("one"), 1);
    let listed = Request::get("/_mainstay/operations?state=succeeded").send(out).await;
    assert_eq!(listed.json()["operations"].as_array().map(Vec::len), Some(1), "{}", listed.text());
}

#[tokio::test]
async fn a_service_that_hands_on_via_goes_in_no_circle() {
    let (app, api, proxy) = both_ways("").await;
    let out = proxy.config.address_of("out");
    proxy.get("/").await.expect_upstream(200);
    let inbound = app.only().header("via").expect("a name").to_owned();
    to("api.test", "/").header("Via", &inbound).send(out).await.expect_upstream(200);
    let both = api.only().headers("via").join(", ");
    to("api.test", "/").header("Via", &both).send(out).await.expect_problem(508, "loop");
    assert_eq!(api.count(), 1);
}

#[tokio::test]
async fn a_local_port_of_one_upstream_takes_http2_as_well() {
    let (app, api) = (Upstream::answering(Answer::ok("app")).await, Upstream::answering(Answer::ok("api")).await);
    let config = Config::single(app.addr, "timeout: 5s")
        .upstream("api", api.addr, "")
        .also_listener("out", "direction: outbound")
        .route("listener: [out]", "api", "p");
    let proxy = Proxy::start(config).await;
    let client = H2Client::connect(proxy.config.address_of("out")).await;
    assert_eq!(client.call(client.request("GET", "/").body(full("")).unwrap()).await.status, 200);
    assert_eq!((api.count(), app.count()), (1, 0));
}

/// At the end of a pod the service still needs its calls: it ends before this process does, or at the same time.
#[tokio::test]
async fn the_services_own_calls_notice_no_drain_and_outlast_its_callers() {
    let gate = Gate::new();
    let held = gate.clone();
    let app = Upstream::start(move |_| Answer::ok("app").behind(&held)).await;
    let api = Upstream::answering(Answer::ok("api")).await;
    let config = Config::single(app.addr, "timeout: 9s")
        .upstream("api", api.addr, "")
        .also_listener("out", "direction: outbound")
        .route("listener: out", "api", "p")
        .top("drain: { delay: 0s, timeout: 30s }")
        .admin();
    let mut proxy = Proxy::start(config).await;
    let out = proxy.config.address_of("out");
    let mut inbound = proxy.connect().await;
    inbound.write(&Request::get("/").bytes()).await;
    app.wait_requests(1).await;
    let mut kept = Client::connect(out).await;
    proxy.operate(Request::post("/drain", "{}").header("Content-Type", "application/json")).await;
    let calls = async |kept: &mut Client| {
        let reply = kept.call(&Request::get("/")).await;
        reply.expect_upstream(200);
        assert_eq!(reply.header("connection"), None, "nobody is told to go elsewhere");
    };
    calls(&mut kept).await;
    proxy.signal("TERM");
    eventually("callers are not taken any more", || async {
        tokio::net::TcpStream::connect(proxy.addr).await.is_err().then_some(())
    })
    .await;
    calls(&mut kept).await;
    Request::get("/").send(out).await.expect_upstream(200);
    gate.open();
    assert_eq!(inbound.reply().await.expect_upstream(200).text(), "app");
    assert!(proxy.ended().await.success());
}

#[tokio::test]
async fn mistakes_about_directions_are_told_before_the_start() {
    for (listeners, route, said) in [
        (
            "out: { address: 127.0.0.1:15001, direction: outbound }",
            "path: /**",
            "no route belongs to outbound listener `out`",
        ),
        ("out: { address: 127.0.0.1:15001, direction: outbound }", "listener: ouut", "did you mean `out`?"),
        (
            "out: { address: 0.0.0.0:15001, direction: outbound }",
            "listener: out",
            "can be reached from beyond this host",
        ),
        ("out: { address: 127.0.0.1:15001, trust_network: true }", "listener: out", "remove `trust_network`"),
        ("out: { address: 127.0.0.1:15001, connect: { allow: ['a.test:443'] } }", "listener: out", "remove `connect`"),
        (
            "out: { address: 127.0.0.1:15001, direction: outbound, connect: { allow: [a.test] } }",
            "listener: out",
            "`a.test` names no port",
        ),
        (
            "out: { address: 127.0.0.1:15001, direction: outbound, principal: { header: X-A } }",
            "listener: out",
            "every caller of an outbound listener is `local`",
        ),
        ("out: { address: 127.0.0.1:9000 }", "listener: out", "requests would go round in a circle"),
        ("out: { address: '[::]:9000' }", "path: /**", "is listener `out` of this configuration"),
    ] {
        let dir = mainstay_tests::proxy::TempDir::new();
        let file = dir.join("mainstay.yaml");
        let text = format!(
            "listeners: {{ {listeners} }}\nupstreams: {{ app: {{ endpoints: ['http://localhost:9000'] }} }}\n\
             routes: [{{ match: {{ {route} }}, upstream: app }}]\n"
        );
        std::fs::write(&file, &text).unwrap();
        let checked = mainstay_tests::proxy::run(&["check", file.to_str().unwrap()]).await;
        let output = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
        assert_eq!(checked.status.code(), Some(1), "{text}{output}");
        assert!(output.contains(said), "{said:?} is not in {output}");
    }
}
