//! Total, attempt and idle timeouts, and deadlines that travel.

use mainstay_tests::{
    h2_upstream::{H2Step, H2Upstream},
    h2c::{H2Client, full},
    prelude::*,
};
use tokio::time::Instant;

/// Fails unless `future` took at least `least`, and not much longer than a loaded machine explains.
async fn taking<T>(least: Duration, future: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let value = future.await;
    let took = began.elapsed();
    assert!(took >= least, "took only {took:?}");
    assert!(took < least + Duration::from_secs(2), "took {took:?}");
    value
}

#[tokio::test]
async fn the_total_timeout_answers_504_and_leaves_the_effect_open() {
    let upstream = Upstream::start(|_| vec![Step::Body, Step::Stall]).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 300ms").await;
    let reply = taking(Duration::from_millis(290), proxy.send(Request::post("/", "x"))).await;
    assert_eq!(reply.expect_problem(504, "timeout")["effect"], "unknown");
    upstream.wait("the attempt is given up", |log| log.peer_closed == 1).await;
}

#[tokio::test]
async fn a_timeout_before_anything_was_sent_has_no_effect() {
    let hole = Blackhole::new();
    let config = Config::new().upstream("app", hole.addr, "connect_timeout: 9s").policy("p", "timeout: 300ms");
    let proxy = Proxy::start(config.route("path: /**", "app", "p")).await;
    let reply = taking(Duration::from_millis(290), proxy.send(Request::post("/", "x"))).await;
    assert_eq!(reply.expect_problem(504, "timeout")["effect"], "none");
}

#[tokio::test]
async fn a_connect_timeout_means_unreachable() {
    let hole = Blackhole::new();
    let config = Config::new().upstream("app", hole.addr, "connect_timeout: 300ms").policy("p", "timeout: 9s");
    let proxy = Proxy::start(config.route("path: /**", "app", "p")).await;
    let reply = taking(Duration::from_millis(290), proxy.send(Request::post("/", "x"))).await;
    assert_eq!(reply.expect_problem(502, "upstream-unreachable")["effect"], "none");
}

#[tokio::test]
async fn the_attempt_timeout_ends_one_attempt_before_the_total() {
    let upstream = Upstream::start(|_| vec![Step::Body, Step::Stall]).await;
    let proxy = Proxy::single(upstream.addr, "timeout: { total: 9s, attempt: 300ms }").await;
    let reply = taking(Duration::from_millis(290), proxy.send(Request::post("/", "x"))).await;
    assert_eq!(reply.expect_problem(504, "timeout")["effect"], "unknown");
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn an_attempt_timeout_of_a_get_is_retried() {
    let upstream = Upstream::start(|seen| match seen.index {
        0 => vec![Step::Stall],
        _ => Answer::ok("second").steps(),
    })
    .await;
    let proxy = Proxy::single(upstream.addr, "timeout: { total: 9s, attempt: 300ms }, retry: 1").await;
    let reply = proxy.get("/").await;
    assert_eq!(reply.expect_upstream(200).text(), "second");
    assert_eq!(reply.header("mainstay-attempts"), Some("2"));
}

#[tokio::test]
async fn the_total_timeout_covers_every_attempt_and_every_wait() {
    let upstream = Upstream::start(|_| vec![Step::Stall]).await;
    let policy = "timeout: { total: 700ms, attempt: 200ms }, retry: { max_retries: 50, budget: none }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    let reply = taking(Duration::from_millis(400), proxy.get("/")).await;
    reply.expect_problem(504, "timeout");
    assert!((2..=5).contains(&upstream.count()), "{} attempts", upstream.count());
}

#[tokio::test]
async fn the_total_timeout_ends_with_the_head_and_lets_a_slow_body_pass() {
    let upstream = Upstream::start(|_| {
        vec![
            Step::Send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nslow".into()),
            Step::Delay(Duration::from_millis(700)),
            Step::Send("body".into()),
        ]
    })
    .await;
    let proxy = Proxy::single(upstream.addr, "timeout: 300ms").await;
    assert_eq!(proxy.get("/").await.expect_upstream(200).text(), "slowbody");
}

#[tokio::test]
async fn silence_in_a_response_body_is_cut_off_by_idle() {
    let upstream =
        Upstream::start(|_| vec![Step::Send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nslow".into()), Step::Stall])
            .await;
    let proxy = Proxy::single(upstream.addr, "timeout: { total: 5s, idle: 400ms }").await;
    let reply = taking(Duration::from_millis(390), proxy.get("/")).await;
    assert!(!reply.body.complete, "the body was ended as if it were whole");
    upstream.wait("the upstream connection is closed", |log| log.peer_closed == 1).await;
}

#[tokio::test]
async fn silence_in_a_request_body_is_cut_off_by_idle() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: { total: 9s, idle: 400ms }").await;
    let mut client = proxy.connect().await;
    client.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nslow").await;
    upstream.wait("the upstream connection is given up", |log| log.peer_closed == 1).await;
    assert_eq!(upstream.log().completed, 0);
}

#[tokio::test]
async fn a_body_that_keeps_moving_is_not_idle() {
    let upstream = Upstream::start(|_| {
        let mut steps = vec![Step::Send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n".into())];
        for _ in 0..8 {
            steps.extend([Step::Delay(Duration::from_millis(100)), Step::Send("x".into())]);
        }
        steps
    })
    .await;
    let proxy = Proxy::single(upstream.addr, "timeout: { total: 5s, idle: 500ms }").await;
    assert_eq!(proxy.get("/").await.expect_upstream(200).text(), "xxxxxxxx");
}

fn deadline(seen: &Seen) -> u64 {
    let all = seen.headers("mainstay-deadline-ms");
    assert_eq!(all.len(), 1, "one deadline: {seen:#?}");
    all[0].parse().unwrap()
}

#[tokio::test]
async fn the_remaining_time_is_sent_upstream_and_shrinks_with_each_attempt() {
    let upstream = Upstream::start(|seen| match seen.index {
        0 => Answer::status(503).after(Duration::from_millis(300)),
        _ => Answer::ok("ok").steps(),
    })
    .await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s, retry: 1").await;
    proxy.get("/").await.expect_upstream(200);
    let seen = upstream.requests();
    let (first, second) = (deadline(&seen[0]), deadline(&seen[1]));
    assert!((3000..=5000).contains(&first), "{first}");
    assert!(second <= first - 290, "{first}, then {second}");
}

#[tokio::test]
async fn a_deadline_from_the_client_is_ignored_unless_trusted() {
    let upstream = Upstream::start(|_| Answer::ok("ok").after(Duration::from_millis(500))).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    proxy.send(Request::get("/").header("Mainstay-Deadline-Ms", "100")).await.expect_upstream(200);
    assert!(deadline(&upstream.only()) > 1000);
}

#[tokio::test]
async fn a_trusted_smaller_deadline_is_honoured_and_a_larger_one_extends_nothing() {
    let upstream = Upstream::start(|_| vec![Step::Body, Step::Stall]).await;
    let proxy = Proxy::start(Config::single(upstream.addr, "timeout: 800ms").listener("trust_deadline: true")).await;
    let smaller = Request::get("/").header("Mainstay-Deadline-Ms", "300");
    taking(Duration::from_millis(290), proxy.send(smaller)).await.expect_problem(504, "timeout");
    let larger = Request::get("/").header("Mainstay-Deadline-Ms", "60000");
    taking(Duration::from_millis(790), proxy.send(larger)).await.expect_problem(504, "timeout");
    let seen = upstream.requests();
    assert!(deadline(&seen[0]) <= 300 && deadline(&seen[1]) <= 800);
}

#[tokio::test]
async fn an_unreadable_trusted_deadline_does_no_harm() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::start(Config::single(upstream.addr, "timeout: 5s").listener("trust_deadline: true")).await;
    for value in ["", "soon", "-5", "99999999999999999999999", "1.5"] {
        let reply = proxy.send(Request::get("/").header("Mainstay-Deadline-Ms", value)).await;
        assert!(reply.status == 200 || reply.status == 400, "{value:?}: {reply:#?}");
    }
}

/// `grpc-timeout` in milliseconds.
fn grpc_ms(value: &str) -> u64 {
    let (number, unit) = value.split_at(value.len() - 1);
    assert!(number.len() <= 8, "at most eight digits: {value}");
    let number: u64 = number.parse().unwrap();
    match unit {
        "H" => number * 3_600_000,
        "M" => number * 60_000,
        "S" => number * 1000,
        "m" => number,
        "u" => number / 1000,
        "n" => number / 1_000_000,
        other => panic!("unit {other}"),
    }
}

#[tokio::test]
async fn a_grpc_calls_own_deadline_passes_only_ever_shortened_whoever_sent_it() {
    let upstream = H2Upstream::start(|_| H2Step::GrpcEcho).await;
    for (timeout, listener) in [("4s", "trust_deadline: true"), ("4s", ""), ("{ total: 4s, attempt: 700ms }", "")] {
        let attempt = if timeout == "4s" { u64::MAX } else { 700 };
        let policy = format!("timeout: {timeout}, idempotency: {{ required: false }}");
        let config = Config::new().upstream("app", upstream.addr, "protocol: http2").policy("p", &policy);
        let config = config.route("path: /**", "app", "p");
        let config = if listener.is_empty() { config } else { config.listener(listener) };
        let proxy = Proxy::start(config).await;
        let client = H2Client::connect(proxy.addr).await;
        for (keyed, (sent, given)) in [false, true].into_iter().flat_map(|keyed| {
            [(Some("900m"), 900), (Some("60S"), 60_000), (Some("2000000u"), 2000), (None, 0)].map(|sent| (keyed, sent))
        }) {
            let mut request =
                client.request("POST", "/a.B/C").header("content-type", "application/grpc").header("te", "trailers");
            if let Some(sent) = sent {
                request = request.header("grpc-timeout", sent);
            }
            if keyed {
                request = request.header("idempotency-key", format!("k{given}"));
            }
            let whole = client.call(request.body(full("x")).unwrap()).await;
            assert_eq!(whole.trailers.unwrap()["grpc-status"], "0", "{:?}", whole.headers);
            let seen = upstream.requests().pop().unwrap();
            let got = seen.head.headers.get("grpc-timeout").map(|value| grpc_ms(value.to_str().unwrap()));
            let Some(_) = sent else {
                assert_eq!(got, None, "none is invented");
                continue;
            };
            let (got, most) = (got.unwrap(), given.min(attempt));
            assert!(got <= most && got + 600 >= most, "{sent:?} became {got} ms under {timeout}");
        }
    }
}

#[tokio::test]
async fn a_grpc_callers_deadline_ends_its_call_on_any_listener() {
    let upstream = H2Upstream::start(|_| H2Step::Stall).await;
    let config = Config::new().upstream("app", upstream.addr, "protocol: http2").policy("p", "timeout: 9s");
    let proxy = Proxy::start(config.route("path: /**", "app", "p")).await;
    let client = H2Client::connect(proxy.addr).await;
    let request = client.request("POST", "/a.B/C").header("content-type", "application/grpc");
    let request = request.header("grpc-timeout", "300m").body(full("x")).unwrap();
    let whole = taking(Duration::from_millis(290), client.call(request)).await;
    assert_eq!((whole.status, &whole.headers["grpc-status"]), (200, &"4".parse().unwrap()));
}

#[tokio::test]
async fn a_stream_outlasts_the_total_time_once_its_head_has_come() {
    let upstream = Upstream::start(|_| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n";
        vec![
            Step::Body,
            Step::Send(format!("{head}1\r\na\r\n").into()),
            Step::Delay(Duration::from_millis(900)),
            Step::Send("1\r\nb\r\n0\r\ngrpc-status: 0\r\n\r\n".into()),
        ]
    })
    .await;
    let proxy = Proxy::single(upstream.addr, "timeout: 400ms, idempotency: { required: false }").await;
    let client = H2Client::connect(proxy.addr).await;
    for (key, deadline) in [(None, None), (Some("1"), None), (None, Some("60S")), (Some("2"), Some("60S"))] {
        let mut request = client.request("POST", "/a.B/C").header("content-type", "application/grpc");
        for (name, value) in [("idempotency-key", key), ("grpc-timeout", deadline)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let whole = client.call(request.header("te", "trailers").body(full("x")).unwrap()).await;
        assert_eq!((whole.status, &whole.body[..]), (200, &b"ab"[..]));
        assert_eq!(whole.trailers.unwrap()["grpc-status"], "0", "{key:?} {deadline:?}");
        let seen = upstream.requests().pop().unwrap();
        let told = seen.header("grpc-timeout").map(grpc_ms);
        assert!(told.is_none_or(|told| told > 10_000), "the service is not told to cut it, either: {told:?}");
        assert_eq!(told.is_some(), deadline.is_some());
    }
}
