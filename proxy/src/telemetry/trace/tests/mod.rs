mod reached;
mod receiver;

use std::num::NonZeroUsize;

use http::{Method, StatusCode, Version};
use mainstay_policies::operation::{OperationId, State};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode as SpanStatus};

use self::receiver::{Answer, Receiver, attribute};
use super::*;
use crate::config::model::{Compression, Endpoint, LogFormat, Logs, Propagation};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// Longer than any test should take, short enough not to hang a build.
const PATIENCE: Duration = Duration::from_secs(20);

fn telemetry(endpoint: Option<&str>, sample_ratio: f64) -> Telemetry {
    Telemetry {
        service_name: "shop".to_owned(),
        resource: Vec::new(),
        otlp: endpoint.map(|endpoint| Otlp {
            endpoint: endpoint.parse().unwrap(),
            timeout: Duration::from_millis(500),
            queue: NonZeroUsize::new(64).unwrap(),
            compression: Compression::None,
            tls: None,
            headers: Vec::new(),
        }),
        propagation: vec![Propagation::W3c, Propagation::B3],
        sample_ratio,
        logs: Logs { format: LogFormat::Json, level: "info".to_owned(), access: false },
        trace_url: None,
    }
}

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

fn tracing_to(endpoint: &str, ratio: f64) -> (Tracing, Arc<SpanCounters>) {
    let counters = Arc::new(SpanCounters::default());
    (Tracing::new(&telemetry(Some(endpoint), ratio), "instance-1", Arc::clone(&counters)), counters)
}

fn offline(ratio: f64) -> Tracing {
    Tracing::new(&telemetry(None, ratio), "instance-1", Arc::default())
}

fn url(receiver: &Receiver) -> String {
    format!("http://{}", receiver.address)
}

fn in_clear(authority: &str) -> Endpoint {
    let authority = authority.parse().unwrap();
    Endpoint { authority, is_rooted: false, is_secure: false, socket: None, service: None }
}

/// A request of which the first attempt fails and the second brings an answer.
fn retried_request(tracing: &Tracing) -> (TraceContext, [TraceContext; 2]) {
    let (method, upstream, route, policy) = (Method::POST, "app".into(), "pay".into(), "write".into());
    let endpoint = in_clear("payments:9000");
    let incoming = headers(&[("traceparent", PARENT), ("tracestate", "vendor=1")]);
    let now = Instant::now();
    let mut trace = tracing.start(&incoming, now);
    trace.describe(&RequestInfo {
        method: &method,
        path: "/payments/7",
        scheme: "http",
        host: Some("shop.example"),
        port: Some(8443),
        client: Some("203.0.113.9".parse().unwrap()),
        peer: Some("[::ffff:192.0.2.7]:4711".parse().unwrap()),
        user_agent: Some("till/1"),
        version: Version::HTTP_11,
        listener: &"inbound".into(),
    });
    trace.route(&method, "/payments/{id}", &route, &policy);
    let start = AttemptStart {
        number: 1,
        method: &method,
        path: "/payments/7",
        endpoint: &endpoint,
        upstream: &upstream,
        retry_reason: None,
    };
    let mut first = trace.attempt(&start, now);
    let firsts = *first.context();
    first.error("reset");
    first.finish(now);
    let mut second = trace.attempt(&AttemptStart { number: 2, retry_reason: Some("reset"), ..start }, now);
    let seconds = *second.context();
    second.status(StatusCode::OK);
    second.finish(now + Duration::from_millis(5));
    trace.event_with("replayed", now, || vec![KeyValue::new("why", "test")]);
    trace.operation(OperationId { seq: 1, tag: 2 }, State::Succeeded);
    trace.status(StatusCode::OK);
    let own = *trace.context();
    trace.finish(now + Duration::from_millis(7));
    (own, [firsts, seconds])
}

fn by_id(spans: &[Span], cx: &TraceContext) -> Span {
    spans.iter().find(|span| span.span_id == cx.span_id.to_be_bytes()).unwrap().clone()
}

#[tokio::test]
async fn a_receiver_gets_the_server_span_of_a_request() {
    let mut receiver = Receiver::start(&[]).await;
    let (tracing, counters) = tracing_to(&url(&receiver), 0.0);
    let (own, _) = retried_request(&tracing);
    tracing.shutdown(PATIENCE).await;
    let request = receiver.request().await;
    let resource = request.resource_spans[0].resource.clone().unwrap().attributes;
    assert_eq!(attribute(&resource, "service.name").unwrap(), "shop");
    assert_eq!(attribute(&resource, "service.instance.id").unwrap(), "instance-1");
    assert_eq!(counters.total_exported(), 3);

    let span = by_id(&request.resource_spans[0].scope_spans[0].spans, &own);
    assert_eq!(span.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes());
    assert_eq!(span.parent_span_id, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
    assert_eq!(span.trace_state, "vendor=1");
    assert_eq!(span.kind(), SpanKind::Server);
    assert_eq!(span.name, "POST /payments/{id}");
    assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, 7_000_000);
    assert_eq!(span.status.unwrap().code(), SpanStatus::Unset);
    assert_eq!(span.events[0].name, "replayed");
    assert_eq!(attribute(&span.events[0].attributes, "why").unwrap(), "test");
    let expected = [
        ("http.request.method", "POST"),
        ("url.path", "/payments/7"),
        ("url.scheme", "http"),
        ("http.route", "/payments/{id}"),
        ("http.response.status_code", "200"),
        ("server.address", "shop.example"),
        ("server.port", "8443"),
        ("client.address", "203.0.113.9"),
        ("network.peer.address", "192.0.2.7"),
        ("network.peer.port", "4711"),
        ("user_agent.original", "till/1"),
        ("network.protocol.version", "1.1"),
        ("mainstay.listener", "inbound"),
        ("mainstay.route", "pay"),
        ("mainstay.policy", "write"),
        ("mainstay.operation.id", "00000000000000010000000000000002"),
        ("mainstay.operation.state", "succeeded"),
    ];
    for (key, value) in expected {
        assert_eq!(attribute(&span.attributes, key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(span.attributes.len(), expected.len());
}

#[tokio::test]
async fn a_receiver_gets_a_client_span_for_each_attempt() {
    let mut receiver = Receiver::start(&[]).await;
    let (tracing, _) = tracing_to(&url(&receiver), 0.0);
    let (own, [first, second]) = retried_request(&tracing);
    tracing.shutdown(PATIENCE).await;
    let spans = receiver.spans().await;
    let (first, second) = (by_id(&spans, &first), by_id(&spans, &second));
    for span in [&first, &second] {
        assert_eq!(span.trace_id, own.trace_id.to_be_bytes());
        assert_eq!(span.parent_span_id, own.span_id.to_be_bytes());
        assert_eq!(span.kind(), SpanKind::Client);
        assert_eq!(attribute(&span.attributes, "server.address").unwrap(), "payments");
        assert_eq!(attribute(&span.attributes, "server.port").unwrap(), "9000");
        assert_eq!(attribute(&span.attributes, "mainstay.upstream").unwrap(), "app");
    }
    assert_eq!(attribute(&first.attributes, "error.type").unwrap(), "reset");
    assert_eq!(first.status.unwrap().code(), SpanStatus::Error);
    assert_eq!(attribute(&first.attributes, "http.request.resend_count"), None);
    assert_eq!(attribute(&second.attributes, "http.request.resend_count").unwrap(), "1");
    assert_eq!(attribute(&second.attributes, "mainstay.retry.reason").unwrap(), "reset");
    assert_eq!(attribute(&second.attributes, "error.type"), None);
}

#[tokio::test]
async fn the_service_sees_the_attempt_as_its_parent() {
    let receiver = Receiver::start(&[]).await;
    let (tracing, _) = tracing_to(&url(&receiver), 1.0);
    let mut forwarded = headers(&[("traceparent", PARENT), ("tracestate", "vendor=1"), ("baggage", "a=1")]);
    let trace = tracing.start(&forwarded, Instant::now());
    let (endpoint, upstream) = (in_clear("a:1"), "app".into());
    let start = AttemptStart {
        number: 1,
        method: &Method::GET,
        path: "/",
        endpoint: &endpoint,
        upstream: &upstream,
        retry_reason: None,
    };
    let attempt = trace.attempt(&start, Instant::now());
    attempt.inject(&mut forwarded);
    let parent = Propagator::new(&[Propagation::W3c]).extract(&forwarded).unwrap().ids.unwrap();
    assert_eq!(parent.trace_id, trace.context().trace_id);
    assert_eq!(parent.span_id, attempt.context().span_id);
    assert_ne!(parent.span_id, trace.context().span_id);
    assert_eq!(forwarded["tracestate"], "vendor=1");
    assert_eq!(forwarded["baggage"], "a=1");
}

#[test]
fn without_an_exporter_nothing_is_written_whatever_came() {
    let tracing = offline(1.0);
    for fields in [
        &[][..],
        &[("traceparent", PARENT), ("tracestate", "vendor=1")],
        &[("traceparent", "nonsense"), ("tracestate", "vendor=1"), ("b3", "0"), ("b3", "1"), ("uber-trace-id", "")],
    ] {
        let came: HeaderMap = headers(fields);
        let mut forwarded = came.clone();
        let trace = tracing.start(&came, Instant::now());
        let (endpoint, upstream) = (in_clear("a:1"), "app".into());
        let start = AttemptStart {
            number: 1,
            method: &Method::GET,
            path: "/",
            endpoint: &endpoint,
            upstream: &upstream,
            retry_reason: None,
        };
        trace.attempt(&start, Instant::now()).inject(&mut forwarded);
        trace.inject(&mut forwarded);
        tracing.start_about(trace.handle().origin(), Instant::now()).inject(&mut forwarded);
        assert_eq!(forwarded, came);
    }
}

#[tokio::test]
async fn a_server_error_marks_the_server_span_and_a_client_error_does_not() {
    let mut receiver = Receiver::start(&[]).await;
    let (tracing, _) = tracing_to(&url(&receiver), 1.0);
    for status in [StatusCode::BAD_GATEWAY, StatusCode::NOT_FOUND] {
        let mut trace = tracing.start(&HeaderMap::new(), Instant::now());
        trace.status(status);
        trace.finish(Instant::now());
    }
    tracing.shutdown(PATIENCE).await;
    let spans = receiver.spans().await;
    assert_eq!(attribute(&spans[0].attributes, "error.type").unwrap(), "502");
    assert_eq!(spans[0].status.as_ref().unwrap().code(), SpanStatus::Error);
    assert_eq!(attribute(&spans[1].attributes, "error.type"), None);
    assert_eq!(spans[1].status.as_ref().unwrap().code(), SpanStatus::Unset);
    assert!(spans[0].parent_span_id.is_empty(), "it began here");
}

#[tokio::test]
async fn spans_that_are_dropped_say_so() {
    let mut receiver = Receiver::start(&[]).await;
    let (tracing, _) = tracing_to(&url(&receiver), 1.0);
    let trace = tracing.start(&HeaderMap::new(), Instant::now());
    let (endpoint, upstream) = (in_clear("a:1"), "app".into());
    let start = AttemptStart {
        number: 1,
        method: &Method::GET,
        path: "/",
        endpoint: &endpoint,
        upstream: &upstream,
        retry_reason: None,
    };
    drop(trace.attempt(&start, Instant::now()));
    drop(trace);
    tracing.shutdown(PATIENCE).await;
    let spans = receiver.spans().await;
    assert_eq!(attribute(&spans[0].attributes, "error.type").unwrap(), "cancelled");
    assert_eq!(attribute(&spans[1].attributes, "error.type").unwrap(), "client_disconnected");
}

#[tokio::test]
async fn an_unknown_method_and_a_long_path_stay_bounded() {
    let mut receiver = Receiver::start(&[]).await;
    let (tracing, _) = tracing_to(&url(&receiver), 1.0);
    let mut trace = tracing.start(&HeaderMap::new(), Instant::now());
    let path = format!("/{}", "ä".repeat(40_000));
    trace.describe(&RequestInfo {
        method: &Method::from_bytes(b"BREW").unwrap(),
        path: &path,
        scheme: "http",
        host: None,
        port: None,
        client: None,
        peer: None,
        user_agent: None,
        version: Version::HTTP_2,
        listener: &"inbound".into(),
    });
    for _ in 0..100 {
        trace.event("rate_limited", Instant::now());
    }
    trace.finish(Instant::now());
    tracing.shutdown(PATIENCE).await;
    let span = receiver.spans().await.remove(0);
    assert_eq!(span.name, "HTTP");
    assert_eq!(attribute(&span.attributes, "http.request.method").unwrap(), "_OTHER");
    assert_eq!(attribute(&span.attributes, "http.request.method_original").unwrap(), "BREW");
    assert_eq!(attribute(&span.attributes, "url.path").unwrap().len(), 1023);
    assert_eq!((span.events.len(), span.dropped_events_count), (32, 68));
}

#[tokio::test]
async fn a_trace_that_is_not_sampled_sends_nothing() {
    let mut receiver = Receiver::start(&[]).await;
    let (tracing, counters) = tracing_to(&url(&receiver), 0.0);
    tracing.start(&HeaderMap::new(), Instant::now()).finish(Instant::now());
    tracing.shutdown(PATIENCE).await;
    assert!(!receiver.has_more());
    assert_eq!(counters.total_exported() + counters.total_dropped(), 0);
}

#[track_caller]
fn check_decision(ratio: f64, fields: &[(&'static str, &str)], sampled: bool) -> TraceContext {
    let cx = *offline(ratio).start(&headers(fields), Instant::now()).context();
    assert_eq!(cx.sampled, sampled, "{fields:?} at {ratio}");
    assert_ne!(cx.trace_id, 0);
    cx
}

#[test]
fn the_callers_decision_stands_and_the_ratio_decides_where_there_is_none() {
    check_decision(0.0, &[("traceparent", PARENT)], true);
    check_decision(1.0, &[("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")], false);
    check_decision(0.0, &[], false);
    check_decision(1.0, &[], true);
    // B3 may bring ids without a decision, and a decision without ids.
    let undecided = ("b3", "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7");
    check_decision(0.0, &[undecided], false);
    let cx = check_decision(1.0, &[undecided], true);
    assert_eq!(cx.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
    let cx = check_decision(1.0, &[("b3", "0")], false);
    assert_eq!(cx.origin, None, "the trace begins here");
    check_decision(0.0, &[("b3", "d")], true);
    // Nonsense in every format counts as nothing.
    check_decision(1.0, &[("traceparent", "00-x"), ("b3", "nonsense")], true);
}

#[test]
fn the_ratio_samples_its_share_of_traces() {
    let sampler = RatioSampler::new(0.25);
    let taken = (0..10_000).filter(|_| sampler.samples(random_trace_id())).count();
    assert!((2_200..2_800).contains(&taken), "{taken} of 10 000");
    assert!(RatioSampler::new(1.0).samples(u128::MAX));
    assert!(!RatioSampler::new(0.0).samples(1));
}

#[test]
fn ids_do_not_repeat() {
    let tracing = offline(0.0);
    let ids: std::collections::HashSet<_> =
        (0..1000).map(|_| tracing.start(&HeaderMap::new(), Instant::now()).context().trace_id).collect();
    assert_eq!(ids.len(), 1000);
}

/// Ends `count` spans and says how long that took.
fn flood(tracing: &Tracing, count: u64) -> Duration {
    let began = Instant::now();
    for _ in 0..count {
        tracing.start(&HeaderMap::new(), began).finish(began);
    }
    began.elapsed()
}

#[tokio::test]
async fn a_collector_that_is_down_blocks_nothing_and_every_span_is_counted() {
    let vacant = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", vacant.local_addr().unwrap());
    drop(vacant);
    let (tracing, counters) = tracing_to(&endpoint, 1.0);
    let took = flood(&tracing, 5_000);
    assert!(took < Duration::from_secs(2), "{took:?}");
    tracing.shutdown(PATIENCE).await;
    assert_eq!((counters.total_exported(), counters.total_dropped()), (0, 5_000));
}

#[tokio::test]
async fn a_collector_that_never_answers_fills_a_bounded_queue_and_no_more() {
    let mut receiver = Receiver::start(&[Answer::Silence; 100]).await;
    let (tracing, counters) = tracing_to(&url(&receiver), 1.0);
    flood(&tracing, 10);
    // The first export is under way, so the queue is all the room there is: 64 spans of the next thousand.
    let mut taken = receiver.spans().await.len();
    flood(&tracing, 1_000);
    let began = Instant::now();
    tracing.shutdown(Duration::from_secs(2)).await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    taken += receiver.spans().await.len();
    assert!(taken <= 10 + 64, "{taken} were taken");
    assert!(!receiver.has_more());
    assert_eq!((counters.total_exported(), counters.total_dropped()), (0, 1_010));
}

#[tokio::test]
async fn export_goes_on_after_garbage() {
    let mut receiver = Receiver::start(&[Answer::Garbage]).await;
    let (tracing, counters) = tracing_to(&url(&receiver), 1.0);
    flood(&tracing, 1);
    assert_eq!(receiver.spans().await.len(), 1);
    flood(&tracing, 2);
    tracing.shutdown(PATIENCE).await;
    // In one request, or in two if the exporter woke up between them.
    let mut total = 0;
    while total < 2 {
        total += receiver.spans().await.len();
    }
    assert_eq!((counters.total_exported(), counters.total_dropped()), (2, 1));
}

#[tokio::test]
async fn a_collector_that_asks_to_wait_gets_the_batch_again() {
    let mut receiver = Receiver::start(&[Answer::Unavailable]).await;
    let (tracing, counters) = tracing_to(&url(&receiver), 1.0);
    flood(&tracing, 3);
    tracing.shutdown(PATIENCE).await;
    assert_eq!(receiver.spans().await, receiver.spans().await);
    assert_eq!((counters.total_exported(), counters.total_dropped()), (3, 0));
}

#[tokio::test]
async fn spans_after_shutdown_are_counted_as_dropped() {
    let receiver = Receiver::start(&[]).await;
    let (tracing, counters) = tracing_to(&url(&receiver), 1.0);
    let late = tracing.start(&HeaderMap::new(), Instant::now());
    tracing.shutdown(PATIENCE).await;
    drop(late);
    assert_eq!((counters.total_exported(), counters.total_dropped()), (0, 1));
}

#[tokio::test]
async fn a_new_endpoint_takes_over_and_the_old_one_gets_what_was_queued() {
    let (mut old, mut new) = (Receiver::start(&[]).await, Receiver::start(&[]).await);
    let (tracing, counters) = tracing_to(&url(&old), 1.0);
    flood(&tracing, 2);
    tracing.apply(&telemetry(Some(&url(&new)), 1.0));
    flood(&tracing, 3);
    assert_eq!(old.spans().await.len(), 2);
    tracing.shutdown(PATIENCE).await;
    assert_eq!(new.spans().await.len(), 3);
    assert_eq!(counters.total_dropped(), 0);
}

#[tokio::test]
async fn the_same_endpoint_keeps_its_exporter() {
    let mut receiver = Receiver::start(&[]).await;
    let (tracing, _) = tracing_to(&url(&receiver), 1.0);
    flood(&tracing, 1);
    tracing.apply(&telemetry(Some(&url(&receiver)), 0.0));
    flood(&tracing, 1);
    tracing.apply(&telemetry(Some(&url(&receiver)), 1.0));
    flood(&tracing, 1);
    tracing.shutdown(PATIENCE).await;
    assert_eq!(receiver.spans().await.len(), 2, "one batch, without the span that was not sampled");
    assert!(!receiver.has_more());
}

#[test]
fn an_endpoint_that_cannot_be_used_leaves_requests_alone() {
    let tracing = Tracing::new(&telemetry(Some("https://collector:4318"), 1.0), "i", Arc::default());
    assert!(tracing.start(&HeaderMap::new(), Instant::now()).sampled());
}
/// The data path may move them between tasks, and keeps an attempt longer than its request.
#[test]
fn traces_can_be_sent_and_kept() {
    fn check<T: Send + 'static>(_: &T) {}
    let trace = offline(0.0).start(&HeaderMap::new(), Instant::now());
    check(&trace);
    check(trace.handle());
}
