//! A keyed write whose answer is lost: wherever the connection dies, the evidence, the answer, the record and the effect agree.

use mainstay_tests::{
    h2_upstream::{H2Step, H2Upstream},
    prelude::*,
};

const POLICY: &str = "timeout: 600ms, idempotency: { required: true }";

struct Death {
    name: &'static str,
    accept: Accept,
    steps: Vec<Step>,
    status: u16,
    effects: usize,
}

fn deaths() -> Vec<Death> {
    let send = |bytes: &'static str| Step::Send(bytes.into());
    let on = |name, accept, status| Death { name, accept, steps: vec![], status, effects: 0 };
    let at = |name, steps, status, effects| Death { name, accept: Accept::Serve, steps, status, effects };
    vec![
        on("reset inside the head", Accept::ResetAfter(20), 502),
        on("close inside the head", Accept::CloseAfter(20), 502),
        on("nothing is read", Accept::Stall, 504),
        at("reset after the head", vec![Step::Reset], 502, 0),
        at("close after the head", vec![Step::Close], 502, 0),
        at("stall after the head", vec![Step::Stall], 504, 0),
        at("reset inside the body", vec![Step::BodyBytes(3), Step::Reset], 502, 0),
        at("reset after the request", vec![Step::Body, Step::Reset], 502, 1),
        at("close after the request", vec![Step::Body, Step::Close], 502, 1),
        at("stall after the request", vec![Step::Body, Step::Stall], 504, 1),
        at("reset inside the response head", vec![Step::Body, send("HTTP/1.1 201 Cr"), Step::Reset], 502, 1),
        at("close inside the response head", vec![Step::Body, send("HTTP/1.1 201 Cr"), Step::Close], 502, 1),
        at("stall inside the response head", vec![Step::Body, send("HTTP/1.1 201 Cr"), Step::Stall], 504, 1),
        at("only 100 Continue", vec![Step::Body, send("HTTP/1.1 100 Continue\r\n\r\n"), Step::Close], 502, 1),
        at("garbage", vec![Step::Body, send("what?\r\n\r\n"), Step::Close], 502, 1),
    ]
}

#[tokio::test]
async fn an_answer_lost_before_its_head_is_outcome_unknown() {
    for Death { name, accept, steps, status, effects } in deaths() {
        let upstream = Upstream::with(move |_| accept.clone(), move |_| steps.clone()).await;
        let proxy = Proxy::single(upstream.addr, POLICY).await;
        let first = proxy.send(Request::keyed("/pay", "k", "100 EUR")).await;
        assert_eq!((first.status, first.slug()), (status, Some("outcome-unknown")), "{name}: {}", first.text());
        let problem = first.json();
        assert_eq!((&problem["effect"], &problem["safe_to_use_new_key"]), (&"unknown".into(), &false.into()), "{name}");
        let document = proxy.operation(&first.operation()).await;
        assert_eq!(
            (&document["state"], &document["last_evidence"]),
            (&"unknown".into(), &"ambiguous".into()),
            "{name}"
        );
        assert_eq!(document["safe_to_use_new_key"], false, "{name}");
        for _ in 0..2 {
            let repeat = proxy.send(Request::keyed("/pay", "k", "100 EUR")).await;
            let problem = repeat.expect_problem(409, "outcome-unknown");
            assert_eq!(
                (&problem["safe_to_use_new_key"], repeat.operation()),
                (&false.into(), first.operation()),
                "{name}"
            );
        }
        assert_eq!((upstream.log().connections, upstream.effects("k")), (1, effects), "{name}: it was sent again");
    }
}

#[tokio::test]
async fn a_truncated_answer_is_no_answer() {
    let whole = [
        ("length", Answer::status(201).body("0123456789"), 5),
        ("chunked", Answer::status(201).body("0123456789").chunked(), 8),
    ];
    for (name, answer, missing) in whole {
        for end in [Step::Close, Step::Reset] {
            let (script, last) = (answer.clone(), end.clone());
            let upstream = Upstream::start(move |_| {
                let mut steps = script.cut(script.bytes().len() - missing);
                steps.extend([Step::Delay(Duration::from_millis(50)), last.clone()]);
                steps
            })
            .await;
            let proxy = Proxy::single(upstream.addr, POLICY).await;
            let mut client = proxy.connect().await;
            client.write(&Request::keyed("/pay", "k", "x").bytes()).await;
            if let Ok(reply) = client.try_reply().await {
                assert!(reply.status == 502 || !reply.body.complete, "{name} {end:?}: a clean answer: {reply:#?}");
            }
            let document = eventually("the operation is unknown", || async {
                let page = proxy.get("/_mainstay/operations?key=k").await;
                (page.status == 200 && page.json()["state"] == "unknown").then(|| page.json())
            })
            .await;
            assert_eq!(document["last_evidence"], "ambiguous", "{name} {end:?}");
            proxy.send(Request::keyed("/pay", "k", "x")).await.expect_problem(409, "outcome-unknown");
            assert_eq!(upstream.effects("k"), 1);
        }
    }
}

#[tokio::test]
async fn a_server_error_is_passed_on_recorded_as_unknown_and_replayed() {
    for status in [500, 502, 503, 504, 599] {
        let upstream = Upstream::answering(Answer::status(status).body("internal words")).await;
        let proxy = Proxy::single(upstream.addr, POLICY).await;
        let first = proxy.send(Request::keyed("/pay", "k", "x")).await;
        assert_eq!(first.expect_upstream(status).text(), "internal words");
        let document = proxy.operation(&first.operation()).await;
        assert_eq!((&document["state"], &document["http_status"]), (&"unknown".into(), &status.into()), "{document}");
        let repeat = proxy.send(Request::keyed("/pay", "k", "x")).await;
        assert_eq!((repeat.status, repeat.text().as_str()), (status, "internal words"), "a stored 5xx is replayed");
        assert_eq!(repeat.header("idempotent-replayed"), Some("true"));
        assert_eq!(upstream.count(), 1);
    }
}

#[tokio::test]
async fn a_408_proves_nothing() {
    let upstream = Upstream::answering(Answer::status(408)).await;
    let proxy = Proxy::single(upstream.addr, POLICY).await;
    let first = proxy.send(Request::keyed("/pay", "k", "x")).await;
    assert_eq!(proxy.operation(&first.operation()).await["state"], "unknown");
    proxy.send(Request::keyed("/pay", "k", "x")).await;
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn a_refused_connection_proves_that_nothing_happened() {
    let refusing = Refusing::new();
    let proxy = Proxy::single(refusing.addr, POLICY).await;
    for _ in 0..2 {
        let reply = proxy.send(Request::keyed("/pay", "k", "x")).await;
        assert_eq!(
            reply.expect_problem(502, "upstream-unreachable")["effect"],
            "none",
            "and the key is free each time"
        );
        let document = proxy.operation(&reply.operation()).await;
        assert_eq!(
            (&document["state"], &document["safe_to_use_new_key"]),
            (&"not_executed".into(), &true.into()),
            "{document}"
        );
    }
}

#[tokio::test]
async fn a_timeout_before_the_connection_proves_that_nothing_happened() {
    let hole = Blackhole::new();
    let config = Config::new().upstream("app", hole.addr, "connect_timeout: 9s").policy("p", POLICY);
    let proxy = Proxy::start(config.route("path: /**", "app", "p")).await;
    let reply = proxy.send(Request::keyed("/pay", "k", "x")).await;
    assert_eq!(reply.expect_problem(504, "timeout")["effect"], "none");
    assert_eq!(proxy.operation(&reply.operation()).await["state"], "not_executed");
}

#[tokio::test]
async fn a_refused_stream_proves_that_nothing_happened() {
    for (goaways, name) in [(0, "REFUSED_STREAM"), (9, "GOAWAY")] {
        let upstream = H2Upstream::with_goaway(goaways, |_| H2Step::Refuse).await;
        let config = Config::new().upstream("app", upstream.addr, "protocol: http2").policy("p", POLICY);
        let proxy = Proxy::start(config.route("path: /**", "app", "p")).await;
        let reply = proxy.send(Request::keyed("/pay", "k", "x")).await;
        assert_eq!((reply.status, &reply.json()["effect"]), (502, &"none".into()), "{name}: {}", reply.text());
        assert_eq!(proxy.operation(&reply.operation()).await["state"], "not_executed", "{name}");
    }
}

#[tokio::test]
async fn a_reset_stream_proves_nothing() {
    let upstream = H2Upstream::start(|_| H2Step::ResetUnanswered).await;
    let config = Config::new().upstream("app", upstream.addr, "protocol: http2").policy("p", POLICY);
    let proxy = Proxy::start(config.route("path: /**", "app", "p")).await;
    let reply = proxy.send(Request::keyed("/pay", "k", "x")).await;
    reply.expect_problem(502, "outcome-unknown");
    assert_eq!(proxy.operation(&reply.operation()).await["state"], "unknown");
}

#[tokio::test]
async fn a_late_answer_settles_what_had_timed_out() {
    for (status, state) in [(201, "succeeded"), (422, "failed")] {
        let gate = Gate::new();
        let held = gate.clone();
        let upstream = Upstream::start(move |_| Answer::status(status).body("late").behind(&held)).await;
        let proxy = Proxy::single(upstream.addr, "timeout: 300ms, idempotency: { required: true }").await;
        let first = proxy.send(Request::keyed("/pay", "k", "x")).await;
        first.expect_problem(504, "outcome-unknown");
        proxy.send(Request::keyed("/pay", "k", "x")).await.expect_problem(409, "outcome-unknown");
        gate.open();
        let document = proxy.operation_in(&first.operation(), state).await;
        assert_eq!((&document["source"], &document["http_status"]), (&"late_response".into(), &status.into()));
        let repeat = proxy.send(Request::keyed("/pay", "k", "x")).await;
        assert_eq!(
            (repeat.status, repeat.text().as_str(), repeat.header("idempotent-replayed")),
            (status, "late", Some("true"))
        );
        assert_eq!(upstream.count(), 1);
    }
}

#[tokio::test]
async fn an_attempt_timeout_leaves_the_attempt_open_for_a_late_answer() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Answer::status(201).behind(&held)).await;
    let proxy =
        Proxy::single(upstream.addr, "timeout: { total: 5s, attempt: 300ms }, idempotency: { required: true }").await;
    let first = proxy.send(Request::keyed("/pay", "k", "x")).await;
    first.expect_problem(504, "outcome-unknown");
    gate.open();
    proxy.operation_in(&first.operation(), "succeeded").await;
}

#[tokio::test]
async fn after_late_response_the_attempt_is_given_up() {
    let upstream = Upstream::start(|_| vec![Step::Body, Step::Stall]).await;
    let proxy =
        Proxy::single(upstream.addr, "timeout: 200ms, idempotency: { required: true, late_response: 500ms }").await;
    let first = proxy.send(Request::keyed("/pay", "k", "x")).await;
    first.expect_problem(504, "outcome-unknown");
    assert_eq!(upstream.log().peer_closed, 0, "the attempt was given up at once");
    upstream.wait("the attempt is given up", |log| log.peer_closed == 1).await;
    assert_eq!(proxy.operation(&first.operation()).await["state"], "unknown");
}

#[tokio::test]
async fn a_client_that_leaves_does_not_cancel_its_write() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Answer::status(201).body("made").behind(&held)).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 9s, idempotency: { required: true }").await;
    let mut client = proxy.connect().await;
    client.write(&Request::keyed("/pay", "k", "x").bytes()).await;
    upstream.wait_completed(1).await;
    client.reset();
    proxy.send(Request::keyed("/pay", "k", "x")).await.expect_problem(409, "in-progress");
    gate.open();
    let replay = eventually("the write ends without its client", || async {
        let reply = proxy.send(Request::keyed("/pay", "k", "x")).await;
        (reply.status == 201).then_some(reply)
    })
    .await;
    assert_eq!((replay.text().as_str(), replay.header("idempotent-replayed")), ("made", Some("true")));
    assert_eq!(upstream.effects("k"), 1);
    assert_eq!(upstream.log().peer_closed, 0);
}

#[tokio::test]
async fn a_client_that_leaves_before_its_body_is_whole_leaves_no_record() {
    let upstream = Upstream::answering(Answer::status(201)).await;
    let proxy = Proxy::single(upstream.addr, POLICY).await;
    let mut client = proxy.connect().await;
    client.write(b"POST /pay HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Length: 10\r\n\r\nhalf").await;
    drop(client);
    let whole = proxy.send(Request::keyed("/pay", "k", "0123456789")).await;
    assert_eq!(whole.expect_upstream(201).header("idempotent-replayed"), None);
    assert_eq!(upstream.only().text(), "0123456789");
}

#[tokio::test]
async fn a_write_on_a_dying_pooled_connection_is_unknown_and_not_repeated() {
    let upstream = Upstream::start(|seen| {
        let mut steps = Answer::status(201).steps();
        if seen.connection == 0 {
            steps.push(Step::ResetOnNextByte);
        }
        steps
    })
    .await;
    let config = Config::single(upstream.addr, "timeout: 5s, retry: 3, idempotency: { required: true }");
    let proxy = Proxy::start(config.top("limits: { workers: 1 }")).await;
    proxy.send(Request::keyed("/pay", "one", "x")).await.expect_upstream(201);
    let second = proxy.send(Request::keyed("/pay", "two", "x")).await;
    if second.status != 201 {
        second.expect_problem(502, "outcome-unknown");
        assert_eq!(upstream.log().connections, 1, "it was sent again");
    }
    assert!(upstream.effects("two") <= 1);
}

#[tokio::test]
async fn random_deaths_never_break_a_promise() {
    let deaths = deaths();
    let upstream = Upstream::start(move |seen| match seen.index % 5 {
        0..3 => Answer::status(201).body(format!("made {}", seen.index)).steps(),
        _ => deaths[3 + seen.index % (deaths.len() - 3)].steps.clone(),
    })
    .await;
    let proxy = Proxy::single(upstream.addr, "timeout: 300ms, retry: 2, idempotency: { required: true }").await;
    let oracle = Oracle::new();
    let clients = (0..8).map(|client| {
        let (proxy, oracle) = (&proxy, &oracle);
        async move {
            for n in 0..12 {
                let key = format!("c{client}-{n}");
                for _ in 0..3 {
                    oracle.saw(&key, &proxy.send(Request::keyed("/pay", &key, "x")).await);
                }
            }
        }
    });
    futures_util::future::join_all(clients).await;
    oracle.judge(&upstream);
}
