//! The harness against itself, so that a broken harness does not look like a broken proxy.

use std::io::ErrorKind;

use mainstay_tests::{
    h2_upstream::{H2Step, H2Upstream},
    h2c::{H2Client, full},
    prelude::*,
};
use tokio::net::TcpStream;

#[tokio::test]
async fn client_and_upstream_agree_on_every_framing() {
    let upstream = Upstream::start(|seen| match seen.target.as_str() {
        "/length" => Answer::ok("body").steps(),
        "/chunked" => Answer::ok("body").chunked().steps(),
        "/trailer" => Answer::ok("body").trailer("X-Sum", "42").steps(),
        "/close" => Answer::ok("body").until_close().steps(),
        other => panic!("no script for {other}"),
    })
    .await;
    for target in ["/length", "/chunked", "/trailer", "/close"] {
        for request in [Request::post(target, "sent"), Request::post(target, "sent").chunked(), Request::get(target)] {
            let reply = request.send(upstream.addr).await;
            assert_eq!((reply.status, reply.text().as_str(), reply.body.complete), (200, "body", true), "{target}");
            let sum = reply.body.trailers.value("x-sum");
            assert_eq!(sum, (target == "/trailer").then_some("42"));
        }
    }
    upstream.wait_completed(12).await;
    assert_eq!(upstream.requests().iter().filter(|r| r.text() == "sent").count(), 8);
}

#[tokio::test]
async fn keep_alive_connections_count_once_and_effects_count_every_time() {
    let upstream = Upstream::answering(Answer::ok("done")).await;
    let mut client = Client::connect(upstream.addr).await;
    for _ in 0..3 {
        client.call(&Request::keyed("/", "k", "body")).await.expect_upstream(200);
    }
    assert_eq!((upstream.log().connections, upstream.count(), upstream.effects("k")), (1, 3, 3));
    assert_eq!(upstream.requests()[2].nth, 2);
}

#[tokio::test]
async fn a_request_that_was_not_read_whole_has_no_effect() {
    let upstream = Upstream::start(|_| vec![Step::BodyBytes(2), Step::Reset]).await;
    let mut client = Client::connect(upstream.addr).await;
    client.write(&Request::keyed("/", "k", "body").bytes()).await;
    assert!(client.try_reply().await.is_err());
    assert_eq!((upstream.count(), upstream.effects("k")), (1, 0));
}

#[tokio::test]
async fn accept_scripts_end_connections_as_they_say() {
    for (accept, reset) in
        [(Accept::Reset, true), (Accept::ResetAfter(4), true), (Accept::Close, false), (Accept::CloseAfter(4), false)]
    {
        let name = format!("{accept:?}");
        let upstream = Upstream::with(move |_| accept.clone(), |_| vec![]).await;
        let mut client = Client::connect(upstream.addr).await;
        client.write(b"GET / HTTP/1.1\r\n").await;
        let error = client.try_reply().await.unwrap_err();
        assert_eq!(error.kind() == ErrorKind::ConnectionReset, reset, "{name}: {error}");
    }
}

#[tokio::test]
async fn truncated_bodies_are_reported_as_incomplete() {
    let upstream = Upstream::start(|seen| {
        let answer =
            if seen.target == "/chunked" { Answer::ok("long body").chunked() } else { Answer::ok("long body") };
        let all = answer.bytes().len();
        let mut steps = answer.cut(all - 7);
        steps.push(Step::Close);
        steps
    })
    .await;
    for target in ["/length", "/chunked"] {
        let reply = Request::get(target).send(upstream.addr).await;
        assert_eq!((reply.status, reply.body.complete), (200, false), "{target}");
    }
}

#[tokio::test]
async fn refusing_and_blackhole_addresses_behave() {
    let refusing = Refusing::new();
    let error = TcpStream::connect(refusing.addr).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    let blackhole = Blackhole::new();
    let silent = tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(blackhole.addr)).await;
    assert!(silent.is_err(), "a connection to a full queue was completed");
}

#[tokio::test]
async fn gates_hold_an_answer_until_they_are_opened() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Answer::ok("late").behind(&held)).await;
    let mut client = Client::connect(upstream.addr).await;
    client.write(&Request::get("/").bytes()).await;
    upstream.wait_requests(1).await;
    gate.open();
    client.reply().await.expect_upstream(200);
}

#[tokio::test]
async fn the_oracle_finds_each_kind_of_breach() {
    let reply = |status, body: &str| {
        let mut reply = Reply { status, ..Reply::default() };
        reply.body.data = body.as_bytes().to_vec();
        reply
    };
    let oracle = Oracle::new();
    for (key, status, body) in [("same", 201, "a"), ("same", 201, "a"), ("other", 201, "a"), ("other", 201, "b")] {
        oracle.saw(key, &reply(status, body));
    }
    assert_eq!(oracle.breaches(|_| 1).len(), 1, "one key was answered in two ways");
    assert_eq!(oracle.breaches(|key| if key == "same" { 2 } else { 1 }).len(), 2, "and one had two effects");
    assert_eq!(oracle.breaches(|key| usize::from(key != "same")).len(), 2, "or none");
}

#[tokio::test]
async fn the_http2_upstream_plays_each_step() {
    let upstream = H2Upstream::start(|seen| match seen.head.uri.path() {
        "/answer" => H2Step::Answer(201, vec![("x-a", "b")], "hello".into(), vec![("x-end", "1")]),
        "/echo" => H2Step::GrpcEcho,
        "/refuse" => H2Step::Refuse,
        "/after" => H2Step::ResetAfterHead,
        _ => H2Step::ResetUnanswered,
    })
    .await;
    let client = H2Client::connect(upstream.addr).await;
    let answer = client.call(client.request("POST", "/answer").body(full("x")).unwrap()).await;
    assert_eq!((answer.status, &answer.body[..]), (201, &b"hello"[..]));
    assert_eq!(answer.trailers.unwrap()["x-end"], "1");
    let echo = client.call(client.request("POST", "/echo").body(full("ping")).unwrap()).await;
    assert_eq!((&echo.body[..], &echo.trailers.unwrap()["grpc-status"]), (&b"ping"[..], &"0".parse().unwrap()));
    for path in ["/refuse", "/reset"] {
        assert!(client.start(client.request("POST", path).body(full("x")).unwrap()).await.is_err(), "{path}");
    }
    assert!(client.start(client.request("GET", "/after").body(full("")).unwrap()).await.is_ok());
    assert_eq!((upstream.connections(), upstream.requests().len()), (1, 5));
}

#[tokio::test]
async fn the_http2_upstream_can_go_away_before_it_processed_anything() {
    let upstream = H2Upstream::with_goaway(1, |_| H2Step::GrpcEcho).await;
    let first = H2Client::connect(upstream.addr).await;
    assert!(first.start(first.request("POST", "/").body(full("x")).unwrap()).await.is_err());
    let second = H2Client::connect(upstream.addr).await;
    assert_eq!(second.call(second.request("POST", "/").body(full("x")).unwrap()).await.status, 200);
    assert_eq!(upstream.requests().len(), 1);
}
