//! CONNECT on an outbound listener: tunnels where they are allowed, HTTP where a route leads there in clear, and else nothing.

use mainstay_tests::prelude::*;
use tokio::{io::AsyncReadExt, io::AsyncWriteExt, net::TcpListener};

async fn proxy_with(api: &Upstream, settings: &str) -> Proxy {
    let config = Config::single(free_addr(), "timeout: 5s")
        .upstream("api", api.addr, "")
        .also_listener("out", &format!("direction: outbound{settings}"))
        .route("listener: out, host: api.test", "api", "p")
        .route("listener: out, host: odd.test, port: 8080", "api", "p");
    Proxy::start(config).await
}

async fn connect(proxy: &Proxy, target: &str) -> (Client, Reply) {
    let mut client = Client::connect(proxy.config.address_of("out")).await;
    client.write(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n").as_bytes()).await;
    let reply = client.reply_to("CONNECT").await;
    (client, reply)
}

#[tokio::test]
async fn an_allowed_tunnel_carries_bytes_both_ways_and_is_counted() {
    let api = Upstream::answering(Answer::ok("api")).await;
    let far = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = far.local_addr().unwrap().to_string();
    let proxy = proxy_with(&api, &format!(", connect: {{ allow: ['{target}'] }}")).await;
    let (mut client, reply) = connect(&proxy, &target).await;
    assert_eq!((reply.status, reply.headers("content-length").len()), (200, 0), "{reply:?}");
    let (mut peer, _) = within("the tunnel's far end", far.accept()).await.unwrap();
    // Neither end speaks HTTP.
    client.write(b"\x16\x03\x01ping").await;
    let mut bytes = [0; 7];
    within("bytes out", peer.read_exact(&mut bytes)).await.unwrap();
    assert_eq!(&bytes, b"\x16\x03\x01ping");
    peer.write_all(b"pong").await.unwrap();
    assert_eq!(within("bytes back", client.wire.take(4)).await.unwrap(), b"pong");
    assert_eq!(proxy.metric("mainstay_connections_open", &[]).await.map(|open| open >= 1.0), Some(true));
    drop(client);
    assert_eq!(within("the end goes on", peer.read(&mut bytes)).await.unwrap(), 0);
    eventually("an access line", || async {
        let log = proxy.log();
        log.lines().any(|line| line.contains("CONNECT") && line.contains(&target)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_tunnel_to_a_host_in_clear_is_read_as_http_and_routed() {
    let api = Upstream::answering(Answer::ok("api")).await;
    let proxy = proxy_with(&api, "").await;
    for target in ["api.test:80", "odd.test:8080"] {
        let (mut client, reply) = connect(&proxy, target).await;
        assert_eq!(reply.status, 200, "{target}");
        for _ in 0..2 {
            let reply = client.call(&Request::get("/inside").header("Host", target)).await;
            assert_eq!(reply.expect_upstream(200).text(), "api");
        }
    }
    assert!(api.count() == 4 && api.requests().iter().all(|seen| seen.target == "/inside"), "{:?}", api.requests());
    // What is no HTTP ends the connection, and reaches nobody.
    let (mut client, _) = connect(&proxy, "api.test:80").await;
    client.write(b"\x16\x03\x01\x00\x05hello\r\n\r\n").await;
    within("the connection ends", client.wire.until_closed()).await;
    assert_eq!(api.count(), 4);
}

#[tokio::test]
async fn other_tunnels_are_refused_with_what_to_do() {
    let api = Upstream::answering(Answer::ok("api")).await;
    let proxy = proxy_with(&api, ", connect: { allow: ['*.tunnel.test:443', 'nobody.invalid:443'] }").await;
    for (target, detail) in [
        ("api.test:443", "call http://api.test/ through this proxy: Mainstay opens the TLS connection itself"),
        (
            "tunnel.test:443",
            "no route of listener `out` names host `tunnel.test`; add one, or allow a tunnel with `connect.allow`",
        ),
        (
            "a.tunnel.test:80",
            "no route of listener `out` names host `a.tunnel.test`; add one, or allow a tunnel with `connect.allow`",
        ),
    ] {
        let (_, reply) = connect(&proxy, target).await;
        assert_eq!((reply.status, reply.slug()), (403, Some("egress-denied")), "{target}");
        let document = reply.json();
        assert_eq!((document["detail"].as_str(), document["effect"].as_str()), (Some(detail), Some("none")));
    }
    let (_, reply) = connect(&proxy, "nobody.invalid:443").await;
    assert_eq!((reply.status, reply.slug()), (502, Some("upstream-unreachable")));
    for target in ["api.test", "http://api.test/", "api.test:0"] {
        let (_, reply) = connect(&proxy, target).await;
        assert_eq!((reply.status, reply.slug()), (400, Some("bad-request")), "{target}");
    }
    assert_eq!(api.count(), 0);
}

#[tokio::test]
async fn callers_of_the_service_get_no_tunnel() {
    let api = Upstream::answering(Answer::ok("api")).await;
    let proxy = proxy_with(&api, "").await;
    let mut client = proxy.connect().await;
    client.write(b"CONNECT api.test:80 HTTP/1.1\r\nHost: api.test:80\r\n\r\n").await;
    client.reply().await.expect_problem(400, "bad-request");
}
