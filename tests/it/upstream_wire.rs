//! What an upstream sends that nobody asked for, too early, or without end: it reaches no other request, and costs little.

use mainstay_tests::prelude::*;

const STRAY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";

/// One worker, so that a connection that could be used again would be.
async fn one_worker(upstream: &Upstream, policy: &str) -> Proxy {
    Proxy::start(Config::single(upstream.addr, policy).top("limits: { workers: 1 }")).await
}

/// Fails unless what follows an answer is dropped together with its connection, before the next request.
async fn poisons(name: &'static str, method: &'static str, steps: Vec<Step>) {
    let upstream = Upstream::start(move |seen| match seen.target.as_str() {
        "/first" => [vec![Step::Body], steps.clone(), vec![Step::Stall]].concat(),
        _ => Answer::ok("next").steps(),
    })
    .await;
    let proxy = one_worker(&upstream, "timeout: 5s").await;
    let mut client = proxy.connect().await;
    client.call(&Request::new(method, "/first")).await;
    upstream.wait(name, |log| log.peer_closed == 1).await;
    let next = client.call(&Request::post("/next", "x")).await;
    assert_eq!((next.expect_upstream(200).text().as_str(), upstream.log().connections), ("next", 2), "{name}");
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_is_never_taken_for_the_next() {
    let behind = |answer: &str| vec![Step::Send(format!("{answer}{STRAY}").into())];
    poisons("behind a length", "GET", behind("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")).await;
    poisons("behind nothing", "GET", behind("HTTP/1.1 204 No Content\r\n\r\n")).await;
    poisons(
        "behind chunks",
        "GET",
        behind("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    )
    .await;
    poisons("a body for HEAD", "HEAD", behind("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")).await;
    let later = vec![
        Step::Send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".into()),
        Step::Delay(Duration::from_millis(20)),
        Step::Send(STRAY.into()),
    ];
    poisons("a moment later", "GET", later).await;
    let large = format!("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n{}", "x".repeat(300_000));
    poisons("behind a large body", "GET", behind(&large)).await;
}

#[tokio::test]
async fn some_interim_responses_pass_and_a_flood_of_them_is_a_502() {
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
    let upstream = Upstream::start(move |seen| {
        let times = if seen.target == "/flood" { 100_000 } else { 20 };
        let mut steps = Answer::ok("final").steps();
        steps.insert(1, Step::Repeat(early.into(), times));
        steps
    })
    .await;
    let proxy = one_worker(&upstream, "timeout: 5s").await;
    let document = proxy.send(Request::post("/flood", "x")).await.expect_problem(502, "upstream-error");
    assert_eq!(document["effect"], "unknown");
    assert_eq!(proxy.get("/some").await.expect_upstream(200).text(), "final");
}

#[tokio::test]
async fn endless_chunk_extensions_and_trailers_break_the_answer_off() {
    for (name, part) in [("extensions", "2;"), ("size", "2"), ("trailers", "2\r\nok\r\n0\r\nx: ")] {
        let upstream = Upstream::start(move |_| {
            let head = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n.\r\n{part}");
            vec![Step::Body, Step::Send(head.into()), Step::Repeat(" x".repeat(1024).into(), 10_000), Step::Stall]
        })
        .await;
        let proxy = one_worker(&upstream, "timeout: 5s").await;
        let mut client = proxy.connect().await;
        client.write(&Request::get("/").bytes()).await;
        let reply = client.try_reply().await;
        assert!(!reply.is_ok_and(|reply| reply.body.complete), "{name}: a clean end");
    }
}

#[tokio::test]
async fn an_upload_goes_on_beside_an_answer_that_came_before_its_end() {
    let upstream = Upstream::start(|_| {
        let begun = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nearly";
        vec![Step::BodyBytes(5), Step::Send(begun.into()), Step::BodyBytes(500_000), Step::Send("end".into())]
    })
    .await;
    let proxy = one_worker(&upstream, "timeout: 5s").await;
    let mut client = proxy.connect().await;
    client.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500005\r\n\r\nfirst").await;
    assert_eq!(client.head().await.status, 200);
    assert_eq!(client.wire.take(5).await.unwrap(), b"early");
    client.write(&vec![b'x'; 500_000]).await;
    assert_eq!(within("the rest", client.wire.take(3)).await.unwrap(), b"end", "the upstream has not got all of it");
}

#[tokio::test]
async fn a_head_may_arrive_in_any_pieces() {
    let upstream = Upstream::start(|_| {
        let answer =
            "HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Whole: yes\r\n\r\nok";
        let pieces = answer
            .as_bytes()
            .chunks(3)
            .flat_map(|piece| [Step::Send(piece.to_vec().into()), Step::Delay(Duration::from_millis(1))]);
        std::iter::once(Step::Body).chain(pieces).collect()
    })
    .await;
    let proxy = one_worker(&upstream, "timeout: 5s").await;
    for _ in 0..2 {
        let reply = proxy.get("/").await;
        assert_eq!((reply.expect_upstream(200).text().as_str(), reply.header("x-whole")), ("ok", Some("yes")));
    }
    assert_eq!(upstream.log().connections, 1, "the connection was not used again");
}

#[tokio::test]
async fn a_connection_that_must_not_be_used_again_is_not() {
    for (name, head) in [
        ("close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"),
        ("HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ] {
        let upstream = Upstream::start(move |_| vec![Step::Body, Step::Send(head.into()), Step::Stall]).await;
        let proxy = one_worker(&upstream, "timeout: 5s").await;
        for n in 1..=2 {
            assert_eq!(proxy.get("/").await.expect_upstream(200).text(), "ok", "{name}");
            upstream.wait(name, |log| log.peer_closed == n && log.connections == n).await;
        }
    }
}
