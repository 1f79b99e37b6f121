//! Where an HTTP/1 message ends, and what its connection may do then: the corners in which a client, a proxy before us, or a
//! service could take one thing for another.

use mainstay_tests::{
    h2c::{H2Client, full},
    prelude::*,
};

/// Waits until the connection ends, and tells whether that was in order.
async fn ends_in_order(client: &mut Client) -> bool {
    let end = async {
        loop {
            match client.wire.some().await {
                Ok(bytes) if bytes.is_empty() => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    };
    within("the connection ends", end).await
}

#[tokio::test]
async fn an_early_answer_is_the_last_on_a_connection_whose_client_was_not_told_to_send_its_body() {
    let upstream = Upstream::start(|seen| match seen.target.as_str() {
        "/early" => vec![Step::Send(Answer::ok("early").bytes()), Step::Stall],
        "/refused" => vec![Step::Send(Answer::status(417).body("no").bytes()), Step::Stall],
        _ => Answer::ok("smuggled").steps(),
    })
    .await;
    let config = Config::new().upstream("app", upstream.addr, "").policy("p", "timeout: 5s");
    let config = config.route("path: /early", "app", "p").route("path: /refused", "app", "p");
    let proxy = Proxy::start(config.route("path: /smuggled", "app", "p")).await;
    for (target, status) in [("/nowhere", 404), ("/early", 200), ("/refused", 417)] {
        for framing in ["Content-Length: 40", "Transfer-Encoding: chunked"] {
            let mut client = proxy.connect().await;
            let head = format!("POST {target} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n{framing}\r\n\r\n");
            client.write(head.as_bytes()).await;
            let reply = client.reply().await;
            let told = (reply.status, reply.interim.len(), reply.header("connection"));
            assert_eq!(told, (status, 0, Some("close")), "{target}, {framing}: {reply:#?}");
            // Not the body that was announced, but what a proxy that shares its connections would send next.
            client.write(b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n").await;
            client.expect_closed().await;
        }
    }
    assert!(upstream.requests().iter().all(|seen| seen.target != "/smuggled"), "{:#?}", upstream.requests());
}

#[tokio::test]
async fn an_early_error_says_that_the_rest_of_the_upload_is_not_read() {
    let early =
        |status| Upstream::start(move |_| vec![Step::Send(Answer::status(status).body("no").bytes()), Step::Stall]);
    for (status, told) in [(403, Some("close")), (503, Some("close")), (200, None)] {
        let upstream = early(status).await;
        let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
        let mut client = proxy.connect().await;
        client.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nthe beginning").await;
        assert_eq!(client.reply().await.expect_upstream(status).header("connection"), told, "{status}");
        if told.is_some() {
            assert!(ends_in_order(&mut client).await, "{status}");
        }
    }
}

#[tokio::test]
async fn a_client_that_sends_its_body_without_being_told_keeps_its_connection() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let mut client = proxy.connect().await;
    for _ in 0..2 {
        let reply = client.call(&Request::post("/", "the body").header("Expect", "100-continue")).await;
        assert_eq!((reply.expect_upstream(200).header("connection"), reply.interim.len()), (None, 0), "{reply:#?}");
    }
    assert!(upstream.requests().iter().all(|seen| seen.text() == "the body"));
}

#[tokio::test]
async fn an_upload_that_outlives_its_answer_counts_as_a_connection_in_use() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |seen| match seen.target.as_str() {
        "/early" => vec![Step::Send(Answer::ok("early").bytes()), Step::Gate(held.clone()), Step::Body],
        _ => Answer::ok("ok").steps(),
    })
    .await;
    let config = Config::new().upstream("app", upstream.addr, "max_connections: 1").policy("p", "timeout: 500ms");
    let config = config.route("path: /**", "app", "p").top("limits: { workers: 1 }");
    let proxy = Proxy::start(config).await;
    let mut uploader = proxy.connect().await;
    uploader.write(b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nhalf").await;
    assert_eq!(uploader.reply().await.expect_upstream(200).text(), "early");
    let document = proxy.get("/next").await.expect_problem(504, "timeout");
    assert_eq!((&document["effect"], upstream.log().connections), (&"none".into(), 1), "a second connection");
    gate.open();
    uploader.write(b"half").await;
    upstream.wait_completed(1).await;
    assert_eq!(upstream.requests()[0].text(), "halfhalf");
    eventually("its place is free", || async { (proxy.get("/next").await.status == 200).then_some(()) }).await;
    // And so it is if the client leaves in the middle.
    let mut uploader = proxy.connect().await;
    uploader.write(b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nhalf").await;
    assert_eq!(uploader.reply().await.expect_upstream(200).text(), "early");
    uploader.reset();
    eventually("its place is free", || async { (proxy.get("/next").await.status == 200).then_some(()) }).await;
}

/// A body of chunks that begins, and then does what `steps` say.
async fn chunks_then(steps: Vec<Step>) -> Upstream {
    Upstream::start(move |_| {
        let part = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n";
        [vec![Step::Body, Step::Send(part.into())], steps.clone()].concat()
    })
    .await
}

/// Asks as HTTP/1.0 does, reads the head, and leaves the rest.
async fn ask_in_http_1_0(proxy: &Proxy) -> Client {
    let mut client = proxy.connect().await;
    client.write(b"GET / HTTP/1.0\r\n\r\n").await;
    assert!(client.any_head().await.start_line.contains("200"));
    client
}

#[tokio::test]
async fn whatever_cuts_an_answer_off_it_never_looks_whole_to_a_client_of_http_1_0() {
    let more = vec![Step::Repeat(format!("2710\r\n{}\r\n", "x".repeat(10_000)).into(), 4000), Step::Stall];
    for (name, steps, signal) in [
        ("the upstream closes", vec![Step::Close], None),
        ("the upstream resets", vec![Step::Delay(Duration::from_millis(50)), Step::Reset], None),
        ("the upstream speaks nonsense", vec![Step::Send("nonsense\r\n".into()), Step::Stall], None),
        ("the upstream falls silent", vec![Step::Stall], None),
        ("the client does not read and is swept away", more, None),
        ("the drain ends", vec![Step::Stall], Some("TERM")),
        ("the proxy dies", vec![Step::Stall], Some("KILL")),
    ] {
        let upstream = chunks_then(steps).await;
        let idle = if signal.is_some() { "60s" } else { "600ms" };
        let config = Config::single(upstream.addr, &format!("timeout: {{ total: 5s, idle: {idle} }}"));
        let proxy = Proxy::start(config.top("drain: { delay: 0s, timeout: 300ms }")).await;
        let mut client = ask_in_http_1_0(&proxy).await;
        if let Some(signal) = signal {
            proxy.signal(signal);
        }
        if name.contains("swept") {
            eventually("it is swept away", || async {
                (proxy.metric("mainstay_connections_open", &[]).await == Some(0.0)).then_some(())
            })
            .await;
        }
        assert!(!ends_in_order(&mut client).await, "{name}: the end looks like that of a whole answer");
    }
}

#[tokio::test]
async fn a_whole_answer_ends_in_order_for_a_client_of_http_1_0() {
    for size in [0, 10, 3_000_000] {
        let upstream = Upstream::answering(Answer::ok(vec![b'x'; size]).chunked()).await;
        let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
        let mut client = ask_in_http_1_0(&proxy).await;
        // Late, so that most of it waits in the kernel when the proxy closes.
        eventually("the proxy has let go of it, or waits for the client", || async {
            let open = proxy.metric("mainstay_connections_open", &[]).await;
            (open == Some(0.0) || size > 1_000_000).then_some(())
        })
        .await;
        let mut body = Body::default();
        within("the answer", client.wire.body(Framing::UntilClose, &mut body)).await.expect("an end in order");
        assert_eq!(body.len, size as u64);
    }
}

#[tokio::test]
async fn a_change_of_protocol_that_nobody_asked_for_is_no_answer() {
    let policies = [
        ("plain", "timeout: 3s"),
        ("cached", "timeout: 3s, cache: {}"),
        ("fallback", "timeout: 3s, fallback: { on: [circuit-open], status: 200, body: x }"),
        ("retried", "timeout: 3s, retry: 2"),
        ("keyed", "timeout: 3s, idempotency: { required: true }"),
    ];
    let switch =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
    for (name, policy) in policies {
        let upstream = Upstream::start(move |_| vec![Step::Body, Step::Send(switch.into()), Step::Stall]).await;
        let proxy = Proxy::single(upstream.addr, policy).await;
        let mut client = proxy.connect().await;
        if name == "keyed" {
            let request = Request::keyed("/", "k", "x").header("Connection", "upgrade").header("Upgrade", "chat");
            let document = client.call(&request).await.expect_problem(502, "outcome-unknown");
            assert_eq!(document["effect"], "unknown");
        } else {
            client.call(&Request::get("/")).await.expect_problem(502, "upstream-error");
        }
        upstream.wait("its connection is closed", |log| log.peer_closed >= 1).await;
        // The client's own is in order.
        client.call(&Request::get("/_mainstay/problems")).await.expect_upstream(200);
    }
}

const ONLY_TRAILERS: &str =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n0\r\nX-Sum: 7\r\n\r\n";

#[tokio::test]
async fn an_answer_that_has_nothing_but_trailers_keeps_them() {
    // All at once, and by pieces.
    let (head, rest) = ONLY_TRAILERS.split_at(ONLY_TRAILERS.len() - 17);
    let pause = Step::Delay(Duration::from_millis(30));
    for steps in [vec![Step::Send(ONLY_TRAILERS.into())], vec![Step::Send(head.into()), pause, Step::Send(rest.into())]]
    {
        for policy in ["timeout: 3s", "timeout: 3s, retry: 2", "timeout: 3s, cache: {}"] {
            let given = steps.clone();
            let upstream = Upstream::start(move |_| [vec![Step::Body], given.clone()].concat()).await;
            let proxy = Proxy::single(upstream.addr, policy).await;
            let mut client = proxy.connect().await;
            let asks = Request::get("/").header("TE", "trailers").header("Connection", "te");
            let reply = client.call(&asks).await;
            assert_eq!(reply.expect_upstream(200).body.trailers.value("x-sum"), Some("7"), "{policy}: {reply:#?}");
            assert_eq!(reply.body.len, 0);
            // Who did not ask gets a whole answer without them.
            let reply = client.call(&Request::get("/")).await;
            assert_eq!((reply.expect_upstream(200).body.len, reply.body.trailers.0.len()), (0, 0), "{policy}");
            let client = H2Client::connect(proxy.addr).await;
            let whole = client.call(client.request("GET", "/").body(full("")).unwrap()).await;
            assert_eq!(whole.trailers.expect("trailers over HTTP/2")["x-sum"], "7", "{policy}");
        }
    }
}

#[tokio::test]
async fn a_request_that_has_nothing_but_trailers_keeps_them() {
    for policy in ["timeout: 3s", "timeout: 3s, retry: 2"] {
        let upstream = Upstream::answering(Answer::ok("ok")).await;
        let proxy = Proxy::single(upstream.addr, policy).await;
        let mut client = proxy.connect().await;
        for _ in 0..2 {
            let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n";
            client.write(format!("{head}0\r\nX-Sum: 7\r\n\r\n").as_bytes()).await;
            client.reply().await.expect_upstream(200);
        }
        for seen in upstream.requests() {
            assert_eq!((seen.body.trailers.value("x-sum"), seen.body.len), (Some("7"), 0), "{policy}: {seen:#?}");
        }
    }
}

#[tokio::test]
async fn an_option_of_the_connection_that_is_no_text_saves_no_field_that_is_listed_beside_it() {
    let upstream = Upstream::start(|_| {
        let answer = b"HTTP/1.1 200 OK\r\nConnection: \xff, x-private\r\nX-Private: 1\r\nContent-Length: 2\r\n\r\nok";
        vec![Step::Body, Step::Send(answer[..].into())]
    })
    .await;
    let proxy = Proxy::single(upstream.addr, "timeout: 3s").await;
    let mut client = proxy.connect().await;
    client.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: \xe9\xff, X-Private\r\nX-Private: 1\r\n\r\n").await;
    let reply = client.reply().await;
    assert_eq!((reply.expect_upstream(200).header("x-private"), reply.header("connection")), (None, None));
    assert_eq!((upstream.only().header("x-private"), upstream.only().header("connection")), (None, None));
}
