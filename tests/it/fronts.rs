//! Requests that come through others: who may say who is calling and for whom, and what nobody may say in trailers.

use http::{HeaderMap, HeaderName};
use mainstay_tests::{
    h2_upstream::{H2Step, H2Upstream},
    h2c::{H2Client, with_trailers},
    prelude::*,
};

const KEYED: &str = "timeout: 5s, idempotency: { required: true, principal: required }";

async fn proxy_with(upstream: &Upstream, policy: &str, listener: &str) -> Proxy {
    Proxy::start(Config::single(upstream.addr, policy).listener(listener)).await
}

#[tokio::test]
async fn a_principal_counts_from_whom_the_listener_trusts_and_is_taken_off_anybody_elses_request() {
    for (from, counts) in
        [("", true), (", from: [local]", true), (", from: [127.0.0.0/8]", true), (", from: [192.0.2.0/24]", false)]
    {
        let upstream = Upstream::answering(Answer::status(201)).await;
        let proxy = proxy_with(&upstream, KEYED, &format!("principal: {{ header: X-Tenant{from} }}")).await;
        let reply = proxy.send(Request::keyed("/", "k", "x").header("X-Tenant", "acme")).await;
        if counts {
            reply.expect_upstream(201);
            assert_eq!(upstream.only().headers("x-tenant"), ["acme"], "{from}");
        } else {
            reply.expect_problem(401, "principal-missing");
            assert_eq!(upstream.count(), 0);
            // What is not kept apart by principals passes, and nobody is named in it.
            proxy.send(Request::get("/").header("X-Tenant", "acme")).await.expect_upstream(201);
            assert_eq!(upstream.only().header("x-tenant"), None);
        }
    }
}

#[tokio::test]
async fn several_principals_of_a_stranger_are_taken_off_as_one_is() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = proxy_with(&upstream, "timeout: 5s", "principal: { header: X-Tenant, from: [192.0.2.0/24] }").await;
    let request = Request::get("/").header("X-Tenant", "acme").header("x-tenant", "evil");
    proxy.send(request).await.expect_upstream(200);
    assert_eq!(upstream.only().header("x-tenant"), None);
}

#[tokio::test]
async fn the_client_behind_a_trusted_front_is_the_right_most_address_that_is_not_trusted() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let policy = "access: { deny: [203.0.113.9] }";
    let listener = "client: { trusted: [local, 10.0.0.0/8] }";
    let proxy = proxy_with(&upstream, policy, listener).await;
    let get = |chain: &str| Request::get("/").header("X-Forwarded-For", chain);
    for denied in ["203.0.113.9", "192.0.2.1, 203.0.113.9", "203.0.113.9, 10.1.2.3", "203.0.113.9:4711"] {
        proxy.send(get(denied)).await.expect_problem(403, "forbidden");
    }
    // What stands left of a stranger was written by it.
    proxy.send(get("203.0.113.9, 192.0.2.1")).await.expect_upstream(200);
    let forwarded = proxy_with(&upstream, policy, "client: { header: Forwarded, trusted: [local] }").await;
    let denied = Request::get("/").header("Forwarded", "for=192.0.2.1, for=\"203.0.113.9:80\";proto=https");
    forwarded.send(denied).await.expect_problem(403, "forbidden");
    forwarded.send(get("203.0.113.9")).await.expect_upstream(200);
}

#[tokio::test]
async fn whom_a_stranger_says_it_forwards_for_reaches_neither_a_rule_nor_the_service() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    for listener in ["trust_deadline: false", "client: { trusted: [192.0.2.0/24] }"] {
        let proxy = proxy_with(&upstream, "access: { deny: [203.0.113.9] }", listener).await;
        let before = upstream.count();
        let request = Request::get("/")
            .header("Host", "shop.example")
            .header("X-Forwarded-For", "203.0.113.9")
            .header("X-Forwarded-Host", "evil.example")
            .header("X-Forwarded-Proto", "https")
            .header("X-Forwarded-Prefix", "/evil")
            .header("X-Real-IP", "203.0.113.9")
            .header("Forwarded", "for=203.0.113.9");
        proxy.send(request).await.expect_upstream(200);
        let seen = &upstream.requests()[before];
        assert_eq!(seen.headers("x-forwarded-for"), ["127.0.0.1"]);
        assert_eq!(seen.headers("x-forwarded-host"), ["shop.example"]);
        assert_eq!(seen.headers("x-forwarded-proto"), ["http"]);
        for name in ["x-forwarded-prefix", "x-real-ip", "forwarded"] {
            assert_eq!(seen.header(name), None, "{name}");
        }
    }
}

#[tokio::test]
async fn users_behind_a_front_have_limits_of_their_own_and_those_of_ipv6_one_per_network() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let policy = "rate_limit: { requests: 1, unit: 10m, key: client_ip }";
    let proxy = proxy_with(&upstream, policy, "client: { trusted: [local], prefix6: 56 }").await;
    let get = |client: &str| Request::get("/").header("X-Forwarded-For", client);
    for (client, admitted) in [
        ("192.0.2.1", true),
        ("192.0.2.2", true),
        ("192.0.2.1", false),
        // A forged entry makes nobody somebody else.
        ("198.51.100.1, 192.0.2.1", false),
        ("2001:db8:0:100::1", true),
        ("2001:db8:0:1ff::2", false),
        ("2001:db8:0:200::1", true),
    ] {
        let reply = proxy.send(get(client)).await;
        assert_eq!(reply.status, if admitted { 200 } else { 429 }, "{client}");
    }
}

#[tokio::test]
async fn the_log_names_the_client_and_not_the_front() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = proxy_with(&upstream, "timeout: 5s", "client: { trusted: [local] }").await;
    proxy.send(Request::get("/seen").header("X-Forwarded-For", "192.0.2.77")).await.expect_upstream(200);
    eventually("the access line", || async { proxy.log().contains("192.0.2.77\"").then_some(()) }).await;
}

#[tokio::test]
async fn a_request_that_comes_back_is_a_loop() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let first = proxy.get("/").await;
    let via = upstream.only().header("via").expect("a name").to_owned();
    assert_eq!(first.header("via"), Some(&*via), "the answer names the same one");
    let again = proxy.send(Request::get("/").header("Via", &format!("1.0 front, {via}"))).await;
    assert_eq!(again.expect_problem(508, "loop")["effect"], "none");
    assert_eq!(upstream.count(), 1);
    // Another one in front is none.
    let other = Proxy::single(proxy.addr, "timeout: 5s").await;
    other.get("/").await.expect_upstream(200);
    assert_eq!(upstream.count(), 2);
}

/// Two proxies, each before the other: a request ends after one round.
#[tokio::test]
async fn a_circle_of_proxies_answers() {
    let planned = free_addr();
    let near = Proxy::single(planned, "timeout: 5s").await;
    let mut config = Config::single(near.addr, "timeout: 5s");
    config.data = planned;
    let far = Proxy::start(config).await;
    // Unless somebody else has taken the address meanwhile.
    if far.addr == planned {
        assert_eq!(near.get("/").await.status, 508);
    }
}

/// What no trailer may say, whoever sends it.
const FORBIDDEN: [&str; 14] = [
    "idempotency-key",
    "authorization",
    "cookie",
    "x-forwarded-for",
    "x-forwarded-host",
    "forwarded",
    "x-real-ip",
    "host",
    "content-length",
    "content-type",
    "mainstay-outcome",
    "mainstay-error",
    "operation-location",
    "idempotent-replayed",
];

/// What HTTP/1.1 alone has.
const OF_HTTP1: [&str; 4] = ["connection", "keep-alive", "transfer-encoding", "upgrade"];

/// What the configuration of these tests makes a name of the caller, or of the write.
const NAMES: [&str; 2] = ["x-tenant", "x-key"];

/// A proxy that knows both.
async fn naming(config: Config) -> Proxy {
    let policy = "timeout: 5s, idempotency: { key: { header: X-Key } }";
    let config = config.policy("p", policy).route("path: /**", "app", "p");
    Proxy::start(config.listener("principal: { header: X-Tenant }")).await
}

fn as_map(names: &[&'static str]) -> HeaderMap {
    names.iter().map(|name| (HeaderName::from_static(name), "evil".parse().unwrap())).collect()
}

/// A request with trailers, over HTTP/1.1.
async fn send_http1(proxy: &Proxy, names: &[&str]) {
    let mut raw = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n".to_vec();
    for name in names {
        raw.extend_from_slice(format!("{name}: evil\r\n").as_bytes());
    }
    raw.extend_from_slice(b"\r\n");
    let mut client = proxy.connect().await;
    client.write(&raw).await;
    client.reply().await.expect_upstream(200);
}

/// The same over HTTP/2.
async fn send_http2(proxy: &Proxy, names: &[&'static str]) {
    let client = H2Client::connect(proxy.addr).await;
    let body = with_trailers("x", as_map(names));
    assert_eq!(client.call(client.request("POST", "/").body(body).unwrap()).await.status, 200);
}

#[tokio::test]
async fn what_a_head_may_not_say_no_trailer_of_a_request_says() {
    let kept = ["x-checksum"];
    let common = [&FORBIDDEN[..], &NAMES, &kept].concat();
    let http1 = [&common[..], &OF_HTTP1].concat();

    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = naming(Config::new().upstream("app", upstream.addr, "")).await;
    send_http1(&proxy, &http1).await;
    send_http2(&proxy, &common).await;
    let seen = upstream.requests();
    assert_eq!(seen.len(), 2);
    for request in seen {
        let names: Vec<_> = request.body.trailers.0.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, kept, "{:?}", request.head);
    }

    let upstream = H2Upstream::start(|_| H2Step::Answer(200, vec![], "ok".into(), vec![])).await;
    let proxy = naming(Config::new().upstream("app", upstream.addr, "protocol: http2")).await;
    send_http1(&proxy, &http1).await;
    send_http2(&proxy, &common).await;
    let seen = upstream.requests();
    assert_eq!(seen.len(), 2);
    for request in seen {
        assert_eq!(request.trailers, Some(as_map(&kept)), "{:?}", request.head);
    }
    // Nothing but what may not be said: the body ends without a section.
    send_http2(&proxy, &FORBIDDEN).await;
    assert_eq!(upstream.requests()[2].trailers.clone().unwrap_or_default(), HeaderMap::new());
}

/// A field that `Connection` names is the connection's, wherever it stands.
#[tokio::test]
async fn what_connection_names_goes_on_in_no_trailer_either() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let raw = "POST / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Hop\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\
               x-hop: mine\r\nx-checksum: 1\r\n\r\n";
    let mut client = proxy.connect().await;
    client.write(raw.as_bytes()).await;
    client.reply().await.expect_upstream(200);
    let seen = upstream.only();
    let names: Vec<_> = seen.body.trailers.0.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    assert_eq!(names, ["x-checksum"]);
}

/// What came back in trailers, over HTTP/1.1 and HTTP/2.
async fn trailers_of(proxy: &Proxy) -> [Vec<String>; 2] {
    let asks = Request::get("/").header("TE", "trailers").header("Connection", "te");
    let reply = proxy.send(asks).await;
    let http1 = reply.expect_upstream(200).body.trailers.0.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    let client = H2Client::connect(proxy.addr).await;
    let request = client.request("GET", "/").header("te", "trailers");
    let whole = client.call(request.body(mainstay_tests::h2c::full("")).unwrap()).await;
    let http2 = whole.trailers.unwrap_or_default().keys().map(ToString::to_string).collect();
    [http1, http2]
}

#[tokio::test]
async fn what_a_head_may_not_say_no_trailer_of_an_answer_says() {
    let kept = "grpc-status";
    let mut answer = Answer::ok("ok").chunked().trailer(kept, "0");
    for name in FORBIDDEN.iter().chain(&OF_HTTP1) {
        answer = answer.trailer(name, "evil");
    }
    let upstream = Upstream::answering(answer).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    assert_eq!(trailers_of(&proxy).await, [vec![kept.to_owned()], vec![kept.to_owned()]], "over HTTP/1.1");

    let said: Vec<_> = FORBIDDEN.into_iter().chain([kept]).map(|name| (name, "0")).collect();
    let upstream = H2Upstream::start(move |_| H2Step::Answer(200, vec![], "ok".into(), said.clone())).await;
    let config = Config::new().upstream("app", upstream.addr, "protocol: http2").policy("p", "timeout: 5s");
    let proxy = Proxy::start(config.route("path: /**", "app", "p")).await;
    assert_eq!(trailers_of(&proxy).await, [vec![kept.to_owned()], vec![kept.to_owned()]], "over HTTP/2");
}
