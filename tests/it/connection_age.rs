//! `limits.max_connection_age`: clients' connections end between two requests, and nothing that is under way ends with them.

use mainstay_tests::{
    h2c::{H2Client, full},
    prelude::*,
};

/// Connections grow half a second old, and are left idle for `delay` then; the answer to `/slow` takes three times as long.
async fn proxy(delay: &str) -> (Upstream, Proxy) {
    let upstream = Upstream::start(|seen| {
        let answer = Answer::ok("x").steps();
        if seen.target == "/slow" {
            [vec![Step::Body, Step::Delay(Duration::from_millis(1500))], answer].concat()
        } else {
            answer
        }
    })
    .await;
    let config = Config::single(upstream.addr, "timeout: 20s")
        .top("limits: { max_connection_age: 500ms }")
        .top(&format!("drain: {{ delay: {delay}, timeout: 10s }}"));
    let proxy = Proxy::start(config).await;
    (upstream, proxy)
}

#[tokio::test]
async fn a_client_of_http1_is_told_with_an_answer() {
    let (upstream, proxy) = proxy("1m").await;
    let mut client = proxy.connect().await;
    let told = within("it is told", async {
        let mut answers = 0;
        loop {
            let reply = client.call(&Request::get("/")).await;
            answers += 1;
            assert_eq!(reply.status, 200, "what was asked in time is answered");
            if reply.header("connection") == Some("close") {
                return answers;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    client.expect_closed().await;
    assert_eq!(upstream.count(), told, "each request has its answer");
    // What is under way goes on to its end.
    let mut client = proxy.connect().await;
    let reply = client.call(&Request::get("/slow")).await;
    assert_eq!((reply.status, reply.text().as_str(), reply.header("connection")), (200, "x", Some("close")));
    client.expect_closed().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let (_upstream, proxy) = proxy("100ms").await;
    let mut client = proxy.connect().await;
    assert_eq!(client.call(&Request::get("/")).await.status, 200);
    client.expect_closed().await;
}

#[tokio::test]
async fn a_client_of_http2_is_told_and_its_streams_end() {
    let (_upstream, proxy) = proxy("1m").await;
    let two = H2Client::connect(proxy.addr).await;
    let slow = two.call(two.request("GET", "/slow").body(full("")).unwrap());
    let (reply, ()) = tokio::join!(slow, async {
        eventually("it is told to go", || async { two.sender().is_closed().then_some(()) }).await;
    });
    assert_eq!((reply.status, &*reply.body), (200, &b"x"[..]));
    let next = H2Client::connect(proxy.addr).await;
    assert_eq!(next.call(next.request("GET", "/").body(full("")).unwrap()).await.status, 200);
}
