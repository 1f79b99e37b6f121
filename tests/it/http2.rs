//! HTTP/2 with prior knowledge on both sides, and gRPC.

use futures_util::future::join_all;
use http::HeaderMap;
use mainstay_tests::{
    frames::{self, DATA, FrameClient, HEADERS, RST_STREAM},
    h2_upstream::{H2Step, H2Upstream},
    h2c::{H2Client, collect, full, with_trailers},
    prelude::*,
};

fn grpc_trailers() -> HeaderMap {
    HeaderMap::from_iter([("x-client-sum".parse().unwrap(), "7".parse().unwrap())])
}

async fn h2_proxy(upstream: &H2Upstream, policy: &str) -> Proxy {
    let config = Config::new().upstream("app", upstream.addr, "protocol: http2").policy("p", policy);
    Proxy::start(config.route("path: /**", "app", "p")).await
}

#[tokio::test]
async fn an_http2_client_reaches_an_http1_upstream() {
    let upstream = Upstream::answering(Answer::ok("from one").header("X-A", "b").header("Connection", "X-A2")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let client = H2Client::connect(proxy.addr).await;
    let reply = client.call(client.request("POST", "/h2?q=%20").body(full("to one")).unwrap()).await;
    assert_eq!((reply.status, &reply.body[..], &reply.headers["x-a"]), (200, &b"from one"[..], &"b".parse().unwrap()));
    assert!(!reply.headers.contains_key("connection"));
    let seen = upstream.only();
    assert_eq!((seen.target.as_str(), seen.text().as_str()), ("/h2?q=%20", "to one"));
    assert!(seen.head.start_line.ends_with("HTTP/1.1"));
    assert_eq!(seen.header("host"), Some(proxy.addr.to_string().as_str()), ":authority becomes Host");
}

#[tokio::test]
async fn an_http1_client_reaches_an_http2_upstream() {
    let upstream = H2Upstream::start(|_| H2Step::Answer(201, vec![("x-a", "b")], "from two".into(), vec![])).await;
    let proxy = h2_proxy(&upstream, "timeout: 5s").await;
    let request =
        Request::post("/a%2Fb?c", "to two").header("Connection", "X-P").header("X-P", "1").header("Keep-Alive", "9");
    let reply = proxy.send(request).await;
    assert_eq!((reply.expect_upstream(201).text().as_str(), reply.header("x-a")), ("from two", Some("b")));
    let seen = upstream.requests().remove(0);
    assert_eq!(
        (seen.head.uri.path_and_query().unwrap().as_str(), &seen.body.unwrap()[..]),
        ("/a%2Fb?c", &b"to two"[..])
    );
    assert_eq!(seen.head.uri.authority().map(http::uri::Authority::as_str), Some("app.test"));
    for name in ["connection", "x-p", "keep-alive", "transfer-encoding"] {
        assert!(!seen.head.headers.contains_key(name), "{name} went into HTTP/2");
    }
}

#[tokio::test]
async fn grpc_echo_passes_with_trailers_both_ways() {
    let upstream = H2Upstream::start(|_| H2Step::GrpcEcho).await;
    let proxy = h2_proxy(&upstream, "timeout: 5s").await;
    let client = H2Client::connect(proxy.addr).await;
    let request =
        client.request("POST", "/echo.Echo/Say").header("content-type", "application/grpc").header("te", "trailers");
    let body = with_trailers(&b"\0\0\0\0\x05hello"[..], grpc_trailers());
    let reply = client.call(request.body(body).unwrap()).await;
    assert_eq!((reply.status, &reply.body[..]), (200, &b"\0\0\0\0\x05hello"[..]));
    assert_eq!(reply.headers["content-type"], "application/grpc");
    let trailers = reply.trailers.expect("gRPC needs its trailers");
    assert_eq!(
        (&trailers["grpc-status"], &trailers["grpc-message"]),
        (&"0".parse().unwrap(), &"echoed".parse().unwrap())
    );
    let seen = upstream.requests().remove(0);
    assert_eq!(seen.trailers.expect("request trailers")["x-client-sum"], "7");
    assert_eq!(seen.head.headers["te"], "trailers", "a gRPC server refuses a request without it");
}

#[tokio::test]
async fn a_grpc_error_without_a_body_passes() {
    let answer =
        || H2Step::Answer(200, vec![("content-type", "application/grpc"), ("grpc-status", "5")], "".into(), vec![]);
    let upstream = H2Upstream::start(move |_| answer()).await;
    let proxy = h2_proxy(&upstream, "timeout: 5s").await;
    let client = H2Client::connect(proxy.addr).await;
    let reply = client.call(client.request("POST", "/a.B/C").header("te", "trailers").body(full("x")).unwrap()).await;
    assert_eq!((reply.status, &reply.headers["grpc-status"]), (200, &"5".parse().unwrap()));
}

#[tokio::test]
async fn http1_trailers_become_http2_trailers() {
    let upstream = Upstream::answering(Answer::ok("body").trailer("X-Sum", "9")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let client = H2Client::connect(proxy.addr).await;
    let reply = client.call(client.request("GET", "/").header("te", "trailers").body(full("")).unwrap()).await;
    assert_eq!((&reply.body[..], &reply.trailers.expect("trailers")["x-sum"]), (&b"body"[..], &"9".parse().unwrap()));
}

#[tokio::test]
async fn cookie_crumbs_are_joined_for_http1() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let client = H2Client::connect(proxy.addr).await;
    let request = client.request("GET", "/").header("cookie", "a=1").header("cookie", "b=2");
    assert_eq!(client.call(request.body(full("")).unwrap()).await.status, 200);
    assert_eq!(upstream.only().headers("cookie"), ["a=1; b=2"], "RFC 9113 section 8.2.3");
}

#[tokio::test]
async fn a_connection_carries_at_most_100_streams_at_once() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |seen| match seen.target.as_str() {
        "/first" => Answer::ok("first").steps(),
        _ => Answer::ok("ok").behind(&held),
    })
    .await;
    let proxy = Proxy::single(upstream.addr, "timeout: 10s").await;
    let client = H2Client::connect(proxy.addr).await;
    // After one exchange the client knows the server's settings.
    client.call(client.request("GET", "/first").body(full("")).unwrap()).await;
    let calls: Vec<_> = (0..130)
        .map(|_| tokio::spawn(client.sender().send_request(client.request("GET", "/held").body(full("")).unwrap())))
        .collect();
    upstream.wait_requests(101).await;
    let early = tokio::time::timeout(Duration::from_millis(300), upstream.wait_requests(102)).await;
    assert!(early.is_err(), "more than 100 streams were in flight");
    gate.open();
    for reply in within("every stream ends", join_all(calls)).await {
        assert_eq!(collect(reply.unwrap().unwrap()).await.status, 200);
    }
    assert_eq!(upstream.count(), 131);
}

#[tokio::test]
async fn many_streams_share_one_upstream_connection() {
    let upstream = H2Upstream::start(|_| H2Step::GrpcEcho).await;
    let proxy = h2_proxy(&upstream, "timeout: 10s").await;
    let client = H2Client::connect(proxy.addr).await;
    let calls = (0..50).map(|n| {
        let request = client.request("POST", "/").body(full(format!("body {n}"))).unwrap();
        let client = &client;
        async move { (n, client.call(request).await) }
    });
    for (n, reply) in join_all(calls).await {
        assert_eq!((reply.status, reply.body), (200, format!("body {n}").into()), "streams were mixed up");
    }
    assert!(upstream.connections() <= 8, "{} connections for 50 streams", upstream.connections());
}

#[tokio::test]
async fn a_cancelled_stream_ends_the_request_upstream() {
    let upstream = Upstream::start(|_| vec![Step::Stall]).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 60s").await;
    let client = H2Client::connect(proxy.addr).await;
    let call = tokio::spawn(client.sender().send_request(client.request("GET", "/").body(full("")).unwrap()));
    upstream.wait_requests(1).await;
    call.abort();
    upstream.wait("the upstream connection is closed", |log| log.peer_closed >= 1).await;
}

#[tokio::test]
async fn a_stream_reset_after_the_head_is_a_truncation() {
    let upstream = H2Upstream::start(|_| H2Step::ResetAfterHead).await;
    let proxy = h2_proxy(&upstream, "timeout: 5s").await;
    let mut client = proxy.connect().await;
    client.write(&Request::get("/").bytes()).await;
    let reply = client.try_reply().await;
    assert!(!reply.is_ok_and(|r| r.status == 200 && r.body.complete), "a clean end");
}

#[tokio::test]
async fn problem_documents_reach_http2_clients() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let config =
        Config::new().upstream("app", upstream.addr, "").policy("p", "timeout: 1s").route("path: /only", "app", "p");
    let proxy = Proxy::start(config).await;
    let client = H2Client::connect(proxy.addr).await;
    let reply = client.call(client.request("GET", "/other").body(full("")).unwrap()).await;
    assert_eq!((reply.status, &reply.headers["mainstay-error"]), (404, &"no-route".parse().unwrap()));
    assert_eq!(reply.headers["content-type"], "application/problem+json");
}

/// A place for one, an upstream whose answer stops midway until the gate opens, and a client that has the answer's head.
async fn one_place(initial_window: u32) -> (Upstream, Gate, Proxy, FrameClient) {
    let gate = Gate::new();
    let behind = gate.clone();
    let upstream = Upstream::start(move |seen| match seen.target.as_str() {
        "/long" => vec![
            Step::Send("HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n".into()),
            Step::Gate(behind.clone()),
            Step::Send(vec![b'x'; 200_000].into()),
        ],
        _ => Answer::ok("ok").steps(),
    })
    .await;
    let policy = "timeout: { total: 20s, idle: 1s }, concurrency_limit: { max_concurrent: 1 }";
    let proxy = Proxy::start(Config::single(upstream.addr, policy).top("limits: { workers: 1 }")).await;
    let mut client = FrameClient::connect(proxy.addr).await;
    client.send(&[frames::initial_window(initial_window), FrameClient::get(1, "/long")].concat()).await;
    assert_eq!(client.frame(1).await.kind, HEADERS);
    proxy.get("/").await.expect_problem(503, "overloaded");
    (upstream, gate, proxy, client)
}

async fn expect_place(proxy: &Proxy) {
    eventually("the place is free", || async { (proxy.get("/").await.status == 200).then_some(()) }).await;
}

#[tokio::test]
async fn a_client_whose_window_stays_closed_holds_nothing_for_longer_than_idle() {
    let (upstream, gate, proxy, mut client) = one_place(0).await;
    gate.open();
    expect_place(&proxy).await;
    upstream.wait("its upstream connection is closed", |log| log.peer_closed >= 1).await;
    // The connection serves on, and the stream has no clean end.
    client.send(&FrameClient::get(3, "/")).await;
    assert_eq!(client.frame(3).await.kind, HEADERS);
    client.send(&frames::window_update(1, 1)).await;
    assert_eq!(client.frame(1).await.kind, RST_STREAM);
}

#[tokio::test]
async fn a_client_that_closes_its_window_while_the_upstream_is_silent_holds_nothing_either() {
    let (_upstream, gate, proxy, mut client) = one_place(65_535).await;
    client.send(&frames::initial_window(0)).await;
    client.taken_in().await;
    gate.open();
    expect_place(&proxy).await;
}

#[tokio::test]
async fn a_client_that_takes_its_answer_slowly_gets_all_of_it() {
    let (_upstream, gate, _proxy, mut client) = one_place(0).await;
    gate.open();
    let mut taken = 0;
    while taken < 60_000 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        client.send(&frames::window_update(1, 10_000)).await;
        let mut room = 10_000;
        while room > 0 {
            let frame = client.frame(1).await;
            assert_eq!(frame.kind, DATA, "after {taken} bytes");
            (taken, room) = (taken + frame.payload.len(), room - frame.payload.len());
        }
    }
}
