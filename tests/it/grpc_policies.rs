//! Breakers, adaptive limits, metrics and spans read a grpc-status, wherever it stands.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::future::join_all;
use mainstay_tests::{
    h2_upstream::{H2Step, H2Upstream},
    h2c::{H2Client, Whole, full},
    otlp::{Collector, attribute},
    prelude::*,
};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

const TYPE: (&str, &str) = ("content-type", "application/grpc");

/// An answer with this code: trailers-only, or in the trailers after a message.
fn answer(code: &'static str, in_head: bool) -> H2Step {
    if in_head {
        H2Step::Answer(200, vec![TYPE, ("grpc-status", code)], "".into(), vec![])
    } else {
        H2Step::Answer(200, vec![TYPE], (&b"\0\0\0\0\x01y"[..]).into(), vec![("grpc-status", code)])
    }
}

async fn call(client: &H2Client, fields: &[(&str, &str)]) -> Whole {
    let mut request =
        client.request("POST", "/a.B/C").header("content-type", "application/grpc").header("te", "trailers");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    client.call(request.body(full("x")).unwrap()).await
}

/// The code that a gRPC client reads, wherever it stands.
fn code(whole: &Whole) -> &str {
    let trailers = whole.trailers.as_ref().and_then(|trailers| trailers.get("grpc-status"));
    trailers.or_else(|| whole.headers.get("grpc-status")).map_or("none", |value| value.to_str().unwrap())
}

async fn before(upstream: &H2Upstream, policy: &str) -> (Proxy, H2Client) {
    let config = Config::new().upstream("app", upstream.addr, "protocol: http2").policy("p", policy);
    let proxy = Proxy::start(config.route("path: /**", "app", "p")).await;
    let client = H2Client::connect(proxy.addr).await;
    (proxy, client)
}

#[tokio::test]
async fn codes_that_blame_the_service_open_the_breaker_and_others_do_not() {
    for (failure, opens) in [
        ("2", true),
        ("4", true),
        ("13", true),
        ("14", true),
        ("15", true),
        ("5", false),
        ("12", false),
        ("8", false),
        ("10", false),
    ] {
        for in_head in [true, false] {
            for key in [None, Some("idempotency-key")] {
                let upstream = H2Upstream::start(move |_| answer(failure, in_head)).await;
                let breaker = "idempotency: { required: false }, \
                               circuit_breaker: { consecutive_errors: 3, open_duration: 10m }";
                let (_proxy, client) = before(&upstream, breaker).await;
                for n in 0..5 {
                    let value = n.to_string();
                    let fields: Vec<_> = key.map(|name| (name, value.as_str())).into_iter().collect();
                    call(&client, &fields).await;
                }
                let expected = if opens { 3 } else { 5 };
                assert_eq!(upstream.requests().len(), expected, "code {failure}, in head {in_head}, {key:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_grpc_web_answer_whose_code_is_in_its_body_is_no_error() {
    let web = ("content-type", "application/grpc-web+proto");
    let body = &b"\0\0\0\0\x01y\x80\0\0\0\x0fgrpc-status:0\r\n"[..];
    let upstream = H2Upstream::start(move |_| H2Step::Answer(200, vec![web], body.into(), vec![])).await;
    let (_proxy, client) = before(&upstream, "circuit_breaker: { consecutive_errors: 1, open_duration: 10m }").await;
    for _ in 0..3 {
        let request = client.request("POST", "/a.B/C").header(web.0, web.1).body(full("x")).unwrap();
        assert_eq!(client.call(request).await.body, body);
    }
}

#[tokio::test]
async fn how_long_a_stream_lasts_does_not_make_its_service_slow() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n";
    let upstream = Upstream::start(move |_| {
        let end = Step::Send("0\r\ngrpc-status: 0\r\n\r\n".into());
        vec![Step::Body, Step::Send(head.into()), Step::Delay(Duration::from_millis(400)), end]
    })
    .await;
    let breaker =
        "circuit_breaker: { slow_call: { duration: 300ms, ratio: 0.1 }, min_requests: 1, open_duration: 10m }";
    let proxy = Proxy::single(upstream.addr, breaker).await;
    let client = H2Client::connect(proxy.addr).await;
    for _ in 0..3 {
        assert_eq!(code(&call(&client, &[]).await), "0");
    }
}

#[tokio::test]
async fn a_stream_that_hangs_holds_no_probe_for_longer_than_its_time() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n";
    let hangs = Gate::new();
    let (gate, served) = (hangs.clone(), Arc::new(AtomicUsize::new(0)));
    let upstream = Upstream::start(move |_| match served.fetch_add(1, Ordering::SeqCst) {
        0 => vec![Step::Body, Step::Reset],
        1 => vec![Step::Body, Step::Send(head.into()), Step::Gate(gate.clone())],
        _ => vec![Step::Body, Step::Send(format!("{head}0\r\ngrpc-status: 0\r\n\r\n").into())],
    })
    .await;
    let breaker =
        "circuit_breaker: { consecutive_errors: 1, open_duration: 100ms, half_open: { probes: 1, timeout: 300ms } }";
    let proxy = Proxy::single(upstream.addr, breaker).await;
    let client = H2Client::connect(proxy.addr).await;
    assert_eq!(code(&call(&client, &[]).await), "2", "it opens");
    let probe = eventually("a probe whose stream hangs", || async {
        let request =
            client.request("POST", "/a.B/C").header("content-type", "application/grpc").header("te", "trailers");
        let response = client.start(request.body(full("x")).unwrap()).await.unwrap();
        (!response.headers().contains_key("mainstay-error")).then_some(response)
    })
    .await;
    assert_eq!(code(&call(&client, &[]).await), "14", "the one probe is out");
    eventually("another probe closes it", || async { (code(&call(&client, &[]).await) == "0").then_some(()) }).await;
    drop(probe);
    hangs.open();
    for _ in 0..3 {
        assert_eq!(code(&call(&client, &[]).await), "0", "what became of the first one is no matter now");
    }
}

#[tokio::test]
async fn an_adaptive_limit_falls_when_the_service_says_unavailable() {
    for in_head in [true, false] {
        let bad = Arc::new(AtomicUsize::new(6));
        let upstream = H2Upstream::start(move |_| {
            let left = bad.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            if left.is_ok() { answer("14", in_head) } else { H2Step::Stall }
        })
        .await;
        let policy =
            "timeout: 700ms, concurrency_limit: { max_concurrent: 4, adaptive: aimd, min: 1, max: 4, threshold: 9s }";
        let (_proxy, client) = before(&upstream, policy).await;
        for _ in 0..6 {
            assert_eq!(code(&call(&client, &[]).await), "14");
        }
        let crowd = join_all((0..4).map(|_| call(&client, &[]))).await;
        let refused =
            crowd.iter().filter(|whole| whole.headers.get("mainstay-error").is_some_and(|slug| slug == "overloaded"));
        assert_eq!(refused.count(), 3, "the limit is down to its minimum, in head {in_head}");
    }
}

#[tokio::test]
async fn metrics_and_spans_tell_a_call_by_its_code() {
    let upstream = H2Upstream::start(|seen| answer(["0", "5", "14"][seen.index % 3], seen.index >= 3)).await;
    let collector = Collector::start().await;
    let telemetry = format!("telemetry: {{ otlp: {{ endpoint: \"http://{}\" }} }}", collector.addr());
    let config =
        Config::new().upstream("app", upstream.addr, "protocol: http2").policy("p", "timeout: 5s").top(&telemetry);
    let proxy = Proxy::start(config.route("path: /**", "app", "p")).await;
    let client = H2Client::connect(proxy.addr).await;
    for trace in 1..=6 {
        let parent = format!("00-{}-b7ad6b7169203331-01", trace.to_string().repeat(32));
        call(&client, &[("traceparent", &parent)]).await;
    }
    for class in ["2xx", "4xx", "5xx"] {
        for (name, label) in [("mainstay_requests_total", "status"), ("mainstay_attempts_total", "result")] {
            eventually(&format!("two {class} in {name}"), || async {
                (proxy.metric(name, &[(label, class)]).await == Some(2.0)).then_some(())
            })
            .await;
        }
    }
    for trace in 1..=6_usize {
        let expected = ["0", "5", "14"][(trace - 1) % 3];
        for span in collector.trace(&trace.to_string().repeat(32), 2).await {
            assert_eq!(attribute(&span.attributes, "rpc.grpc.status_code").as_deref(), Some(expected), "{span:#?}");
            let is_error = span.status.clone().unwrap_or_default().code == 2;
            let is_fault = expected == "14" || (expected == "5" && span.kind() == SpanKind::Client);
            assert_eq!(is_error, is_fault, "{span:#?}");
        }
    }
}

#[tokio::test]
async fn a_fixed_fallback_is_no_answer_to_a_grpc_call_unless_it_is_one_of_grpc() {
    let refusing = Refusing::new();
    for (headers, expected) in [("", "14"), ("headers: { content-type: application/grpc, grpc-status: \"0\" }, ", "0")]
    {
        let policy = format!("fallback: {{ status: 200, {headers}body: \"\" }}");
        let proxy = Proxy::single(refusing.addr, &policy).await;
        let client = H2Client::connect(proxy.addr).await;
        assert_eq!(code(&call(&client, &[]).await), expected);
    }
}
