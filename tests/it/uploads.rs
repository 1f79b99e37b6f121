//! The time of a request begins with its end: how long its body may take, and whose fault it is when it takes too long.

use mainstay_tests::{
    frames::{self, FrameClient},
    h2_upstream::{H2Step, H2Upstream},
    prelude::*,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

const TIMES: [&str; 2] =
    ["timeout: { total: 400ms, idle: 5s }", "timeout: { total: 9s, attempt: 400ms, idle: 5s }, retry: 0"];

const KEYED: &str = "idempotency: { required: true }";

/// Sends a body of ten bytes, one after another, over a second or more.
async fn drip(client: &mut Client, more: &str) {
    client.write(format!("POST / HTTP/1.1\r\nHost: a\r\n{more}Content-Length: 10\r\n\r\n").as_bytes()).await;
    for byte in b"0123456789" {
        tokio::time::sleep(Duration::from_millis(100)).await;
        client.write(&[*byte]).await;
    }
}

#[tokio::test]
async fn a_body_that_takes_longer_than_an_answer_may_is_no_timeout() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    for policy in TIMES {
        for (more, rules) in [("", String::new()), ("Idempotency-Key: k\r\n", format!(", {KEYED}"))] {
            let proxy = Proxy::single(upstream.addr, &format!("{policy}{rules}")).await;
            let mut client = proxy.connect().await;
            drip(&mut client, more).await;
            client.reply().await.expect_upstream(200);
            assert_eq!(upstream.requests().pop().unwrap().text(), "0123456789", "{policy}{rules}");
        }
    }
}

#[tokio::test]
async fn a_slow_upload_over_http2_is_no_timeout_either() {
    let upstream = H2Upstream::start(|_| H2Step::Answer(200, Vec::new(), "ok".into(), Vec::new())).await;
    let config = Config::new().upstream("app", upstream.addr, "protocol: http2").policy("p", TIMES[0]);
    let proxy = Proxy::start(config.route("path: /**", "app", "p")).await;
    let mut client = FrameClient::connect(proxy.addr).await;
    client.send(&FrameClient::post(1, "/", &[])).await;
    for n in 0..10 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        client.send(&frames::frame(frames::DATA, if n == 9 { frames::END_STREAM } else { 0 }, 1, b"x")).await;
    }
    let answer = client.answer(1).await;
    assert!(answer.iter().any(|frame| frame.kind == frames::DATA && frame.payload == b"ok"), "{answer:?}");
    assert_eq!(upstream.requests()[0].body.as_deref(), Some(&b"xxxxxxxxxx"[..]));
}

#[tokio::test]
async fn time_runs_from_the_end_of_the_body() {
    let upstream = Upstream::start(|_| vec![Step::Body, Step::Stall]).await;
    for (n, policy) in TIMES.iter().enumerate() {
        for (m, (more, rules, slug)) in
            [("", "", "timeout"), ("Idempotency-Key: k\r\n", KEYED, "outcome-unknown")].into_iter().enumerate()
        {
            let proxy = Proxy::single(upstream.addr, [policy, rules].join(", ").trim_end_matches(", ")).await;
            let mut client = proxy.connect().await;
            drip(&mut client, more).await;
            let ended = Instant::now();
            client.reply().await.expect_problem(504, slug);
            let took = ended.elapsed();
            assert!(took >= Duration::from_millis(390) && took < Duration::from_secs(3), "{policy}: {took:?}");
            upstream.wait_requests(2 * n + m + 1).await;
        }
    }
}

#[tokio::test]
async fn a_client_that_stalls_is_told_so_and_a_service_that_takes_nothing_times_out() {
    let never = Gate::new();
    let upstream = Upstream::start(move |_| vec![Step::BodyBytes(5), Step::Gate(never.clone())]).await;
    let proxy = Proxy::single(upstream.addr, "timeout: { total: 200ms, idle: 500ms }").await;
    let mut client = proxy.connect().await;
    let began = Instant::now();
    client.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello").await;
    let reply = client.reply().await;
    assert!(began.elapsed() >= Duration::from_millis(490), "{:?}", began.elapsed());
    let document = reply.expect_problem(408, "bad-request");
    assert!(document["detail"].as_str().unwrap().contains("timeout.idle"), "{document}");
    assert_eq!((document["effect"].as_str(), reply.header("connection")), (Some("unknown"), Some("close")));
    // More than all buffers on the way hold together.
    let stream = within("a connection", TcpStream::connect(proxy.addr)).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let writes = tokio::spawn(async move {
        writing.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n").await?;
        writing.write_all(&vec![b'x'; 100_000_000]).await?;
        std::future::pending::<std::io::Result<()>>().await
    });
    let mut start = [0; 12];
    within("an answer", reading.read_exact(&mut start)).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 504", "{}", String::from_utf8_lossy(&start));
    writes.abort();
}
