//! Connections to an HTTP/2 upstream: how many, with how many streams, for how long, and what their end proves.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use futures_util::future::join_all;
use mainstay_tests::{
    frames::{self, END_STREAM, FrameUpstream},
    net::loopback,
    prelude::*,
};
use tokio::net::{TcpListener, TcpStream};

/// An upstream that holds every request until its gate opens, and counts.
#[derive(Clone)]
struct Counting {
    addr: std::net::SocketAddr,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    closed: AtomicUsize,
    open: AtomicUsize,
    most: AtomicUsize,
}

impl Counting {
    async fn start(streams: u32, gate: &Gate) -> Self {
        let listener = TcpListener::bind(loopback(0)).await.unwrap();
        let (addr, counts) = (listener.local_addr().unwrap(), Arc::new(Counts::default()));
        let (gate, shared) = (gate.clone(), counts.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream, streams, gate.clone(), shared.clone()));
            }
        });
        Self { addr, counts }
    }

    fn of(&self, count: fn(&Counts) -> &AtomicUsize) -> usize {
        count(&self.counts).load(Ordering::Relaxed)
    }

    async fn proxy(&self, more: &str) -> Proxy {
        let config = Config::new().upstream("app", self.addr, &format!("protocol: http2, {more}"));
        let config = config.policy("p", "timeout: 10s").route("path: /**", "app", "p");
        Proxy::start(config.top("limits: { workers: 1 }")).await
    }
}

async fn serve(stream: TcpStream, streams: u32, gate: Gate, counts: Arc<Counts>) {
    let mut builder = h2::server::Builder::new();
    let mut connection = builder.max_concurrent_streams(streams).handshake::<_, Bytes>(stream).await.unwrap();
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        let (gate, counts) = (gate.clone(), counts.clone());
        tokio::spawn(async move {
            let open = counts.open.fetch_add(1, Ordering::Relaxed) + 1;
            counts.most.fetch_max(open, Ordering::Relaxed);
            gate.passed().await;
            counts.open.fetch_sub(1, Ordering::Relaxed);
            drop(respond.send_response(http::Response::new(()), true));
        });
    }
    counts.closed.fetch_add(1, Ordering::Relaxed);
}

#[tokio::test]
async fn no_more_streams_than_a_server_takes_and_no_more_connections_than_allowed() {
    let gate = Gate::new();
    let upstream = Counting::start(2, &gate).await;
    let proxy = upstream.proxy("max_connections: 2").await;
    let addr = proxy.addr;
    let calls: Vec<_> = (0..12).map(|_| tokio::spawn(async move { Request::get("/").send(addr).await })).collect();
    eventually("two connections are full", || async { (upstream.of(|counts| &counts.open) == 4).then_some(()) }).await;
    gate.open();
    for reply in join_all(calls).await {
        assert_eq!(reply.unwrap().status, 200);
    }
    assert_eq!((upstream.of(|counts| &counts.most), upstream.of(|counts| &counts.connections)), (4, 2));
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let gate = Gate::new();
    gate.open();
    let upstream = Counting::start(100, &gate).await;
    let proxy = upstream.proxy("idle_timeout: 300ms").await;
    assert_eq!(proxy.get("/").await.status, 200);
    eventually("the connection is closed", || async { (upstream.of(|counts| &counts.closed) == 1).then_some(()) })
        .await;
    assert_eq!(proxy.get("/").await.status, 200);
    assert_eq!(upstream.of(|counts| &counts.connections), 2);
}

#[tokio::test]
async fn a_goaway_proves_nothing_of_a_stream_that_it_does_not_name() {
    let asked = AtomicUsize::new(0);
    let upstream = FrameUpstream::start(move |stream| match asked.fetch_add(1, Ordering::Relaxed) {
        0 => Vec::new(),
        // Stream 3 was not processed. What is promised on it all the same is an error, which is none of stream 1's.
        1 => [frames::goaway(1), frames::push_promise(3, 2)].concat(),
        _ => frames::headers(stream, END_STREAM, &[(":status", "200")]),
    })
    .await;
    let config = Config::new().upstream("app", upstream.addr, "protocol: http2").policy("p", "timeout: 5s, retry: 2");
    let proxy = Proxy::start(config.route("path: /**", "app", "p").top("limits: { workers: 1 }")).await;
    let addr = proxy.addr;
    let first = tokio::spawn(async move { Request::post("/first", "x").send(addr).await });
    eventually("the first is there", || async { (upstream.count() == 1).then_some(()) }).await;
    let second = proxy.send(Request::post("/second", "x")).await;
    let document = first.await.unwrap().expect_problem(502, "upstream-error");
    assert_eq!(document["effect"], "unknown");
    assert_eq!((second.status, upstream.count()), (200, 3), "the second, which was not processed, is sent again");
}

#[tokio::test]
async fn an_upstream_of_http1_is_sent_nothing_over_http2() {
    let upstream = Upstream::start(|_| vec![Step::Send(Answer::status(400).bytes())]).await;
    let config = Config::new().upstream("app", upstream.addr, "protocol: http2").policy("p", "timeout: 5s");
    let proxy = Proxy::start(config.route("path: /**", "app", "p")).await;
    let reply = proxy.send(Request::post("/", "x")).await;
    assert!(reply.header("mainstay-error").is_some(), "{reply:?}");
    assert_eq!((&reply.json()["effect"], upstream.log().connections), (&"none".into(), 1), "{reply:?}");
    // It may have taken the preface for requests; ours was not among them.
    assert!(upstream.log().requests.iter().all(|seen| seen.method != "POST"));
}
