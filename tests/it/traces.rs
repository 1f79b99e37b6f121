//! Trace context in and out, and the spans that a collector receives.

use mainstay_tests::{
    authority::Authority,
    h2_upstream::{H2Step, H2Upstream},
    local::LocalFront,
    otlp::{Collector, attribute, hex},
    prelude::*,
    proxy::TempDir,
    tls::Server,
};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

async fn forwarded(propagation: &str, headers: &[(&str, &str)]) -> Seen {
    let collector = Collector::start().await;
    let propagation = if propagation.is_empty() { String::new() } else { format!(", propagation: [{propagation}]") };
    let telemetry = format!("telemetry: {{ otlp: {{ endpoint: \"http://{}\" }}{propagation} }}", collector.addr());
    forwarded_with(&telemetry, headers).await
}

async fn forwarded_with(telemetry: &str, headers: &[(&str, &str)]) -> Seen {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::start(Config::single(upstream.addr, "timeout: 5s").top(telemetry)).await;
    let request = headers.iter().fold(Request::get("/"), |request, (name, value)| request.header(name, value));
    proxy.send(request).await.expect_upstream(200);
    upstream.only()
}

/// (trace id, span id, flags) of a `traceparent`.
fn w3c(seen: &Seen) -> (String, String, String) {
    let all = seen.headers("traceparent");
    assert_eq!(all.len(), 1, "one traceparent: {seen:#?}");
    let parts: Vec<_> = all[0].split('-').map(str::to_owned).collect();
    let [version, trace, span, flags] = parts.try_into().unwrap();
    assert_eq!((version.as_str(), trace.len(), span.len()), ("00", 32, 16));
    assert!(trace != "0".repeat(32) && span != "0".repeat(16));
    (trace, span, flags)
}

/// Every field that says something of a trace, in order.
fn trace_fields(seen: &Seen) -> Vec<(String, String)> {
    let names = ["traceparent", "tracestate", "baggage", "b3", "uber-trace-id"];
    let is_one = |name: &str| names.contains(&name) || name.starts_with("x-b3-") || name.starts_with("uberctx-");
    let fields = seen.head.headers.0.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    let mut fields: Vec<_> = fields.filter(|(name, _)| is_one(name)).collect();
    fields.sort();
    fields
}

#[tokio::test]
async fn without_an_exporter_trace_headers_pass_byte_for_byte_and_none_is_added() {
    let parent = format!("00-{TRACE}-{PARENT}-00");
    let many = vec!["v=1"; 40].join(",");
    let jaeger = format!("{TRACE}:{PARENT}:0:1");
    let single = format!("{TRACE}-{PARENT}-1");
    for sent in [
        &[][..],
        &[("baggage", "user=7"), ("traceparent", &parent), ("tracestate", "vendor=1,other=2")],
        &[("b3", &single), ("uber-trace-id", &jaeger), ("uberctx-a", "1")],
        &[("x-b3-sampled", "1"), ("x-b3-spanid", PARENT), ("x-b3-traceid", TRACE)],
        // Nor is anything judged: not what is malformed, doubled, or longer than it may be.
        &[("traceparent", "nonsense"), ("tracestate", &many)],
        &[("b3", "0"), ("b3", "1"), ("traceparent", &parent), ("traceparent", &parent)],
    ] {
        for telemetry in ["", "telemetry: { propagation: [w3c, b3, b3multi, jaeger], sample_ratio: 1 }"] {
            let seen = forwarded_with(telemetry, sent).await;
            let mut sent: Vec<_> = sent.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            sent.sort();
            assert_eq!(trace_fields(&seen), sent, "{telemetry}");
        }
    }
}

#[tokio::test]
async fn without_an_exporter_logs_and_documents_name_the_callers_trace_or_one_that_goes_nowhere_else() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let config = Config::new().upstream("app", upstream.addr, "").policy("p", "timeout: 5s");
    let proxy = Proxy::start(config.route("path: /ok", "app", "p")).await;
    let parent = format!("00-{TRACE}-{PARENT}-01");
    let named = proxy.send(Request::get("/none").header("traceparent", &parent)).await;
    assert_eq!(named.expect_problem(404, "no-route")["trace_id"], TRACE);
    let (one, two) = (proxy.get("/none").await, proxy.get("/none").await);
    let id = |reply: &Reply| reply.expect_problem(404, "no-route")["trace_id"].as_str().unwrap().to_owned();
    assert!(id(&one).len() == 32 && id(&one) != id(&two), "{} and {}", id(&one), id(&two));
    proxy.get("/ok").await.expect_upstream(200);
    assert_eq!(trace_fields(&upstream.only()), []);
}

#[tokio::test]
async fn w3c_context_goes_on_under_a_new_span() {
    let parent = format!("00-{TRACE}-{PARENT}-01");
    let headers = [("traceparent", parent.as_str()), ("tracestate", "vendor=1,other=2"), ("baggage", "user=7")];
    let seen = forwarded("", &headers).await;
    let (trace, span, flags) = w3c(&seen);
    assert_eq!((trace.as_str(), flags.as_str()), (TRACE, "01"));
    assert_ne!(span, PARENT, "the upstream's parent is our attempt");
    assert_eq!((seen.header("tracestate"), seen.header("baggage")), (Some("vendor=1,other=2"), Some("user=7")));
}

#[tokio::test]
async fn a_decision_not_to_sample_is_kept() {
    let parent = format!("00-{TRACE}-{PARENT}-00");
    let (trace, _, flags) = w3c(&forwarded("", &[("traceparent", &parent)]).await);
    assert_eq!((trace.as_str(), flags.as_str()), (TRACE, "00"));
}

#[tokio::test]
async fn a_fresh_trace_begins_where_none_came() {
    let (one, two) = (w3c(&forwarded("", &[]).await).0, w3c(&forwarded("", &[]).await).0);
    assert_ne!(one, two);
}

#[tokio::test]
async fn a_broken_context_is_replaced() {
    let zeros = format!("00-{}-{PARENT}-01", "0".repeat(32));
    let upper = format!("00-{}-{PARENT}-01", TRACE.to_uppercase());
    for bad in [
        "",
        "nonsense",
        "00-short-short-01",
        zeros.as_str(),
        upper.as_str(),
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ] {
        let (trace, _, _) = w3c(&forwarded("", &[("traceparent", bad)]).await);
        assert_ne!(trace, TRACE, "{bad:?}");
    }
}

#[tokio::test]
async fn b3_single_goes_on() {
    let seen = forwarded("b3", &[("b3", &format!("{TRACE}-{PARENT}-1"))]).await;
    let parts: Vec<_> = seen.header("b3").expect("b3 out").split('-').collect();
    assert_eq!((parts[0], parts[2]), (TRACE, "1"));
    assert_ne!(parts[1], PARENT);
}

#[tokio::test]
async fn b3_multi_goes_on() {
    let headers = [("X-B3-TraceId", TRACE), ("X-B3-SpanId", PARENT), ("X-B3-Sampled", "1")];
    let seen = forwarded("b3multi", &headers).await;
    assert_eq!((seen.headers("x-b3-traceid"), seen.headers("x-b3-sampled")), (vec![TRACE], vec!["1"]));
    let spans = seen.headers("x-b3-spanid");
    assert!(spans.len() == 1 && spans[0] != PARENT && spans[0].len() == 16, "{spans:?}");
}

#[tokio::test]
async fn b3_in_several_headers_goes_on_where_nobody_chose_a_format() {
    let headers =
        [("X-B3-TraceId", TRACE), ("X-B3-SpanId", PARENT), ("X-B3-Sampled", "1"), ("X-B3-ParentSpanId", PARENT)];
    let seen = forwarded("", &headers).await;
    let (trace, span, flags) = w3c(&seen);
    assert_eq!((trace.as_str(), flags.as_str()), (TRACE, "01"));
    let several = ["x-b3-traceid", "x-b3-spanid", "x-b3-sampled"].map(|name| seen.headers(name));
    assert_eq!(
        several,
        [vec![TRACE], vec![span.as_str()], vec!["1"]],
        "a service that reads only these hears the same"
    );
    assert_eq!(seen.header("x-b3-parentspanid"), None);
}

#[tokio::test]
async fn jaeger_context_goes_on() {
    let seen = forwarded("jaeger", &[("uber-trace-id", &format!("{TRACE}:{PARENT}:0:1"))]).await;
    let parts: Vec<_> = seen.header("uber-trace-id").expect("uber-trace-id out").split(':').collect();
    assert_eq!((parts[0], parts[3]), (TRACE, "1"));
    assert_ne!(parts[1], PARENT);
}

#[tokio::test]
async fn a_later_format_is_read_when_the_first_is_absent() {
    for (name, value) in [("b3", format!("{TRACE}-{PARENT}-1")), ("uber-trace-id", format!("{TRACE}:{PARENT}:0:1"))] {
        let seen = forwarded("w3c, b3, jaeger", &[(name, &value)]).await;
        assert_eq!(w3c(&seen).0, TRACE, "{name}");
    }
}

#[tokio::test]
async fn the_first_format_in_order_wins() {
    let other = "1".repeat(32);
    let headers = [("traceparent", format!("00-{other}-{PARENT}-01")), ("b3", format!("{TRACE}-{PARENT}-1"))];
    let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let parts = forwarded("b3, w3c", &headers).await.header("b3").unwrap().to_owned();
    assert!(parts.starts_with(TRACE), "{parts}");
}

async fn traced(upstream: &Upstream, policy: &str) -> (Collector, Proxy) {
    let collector = Collector::start().await;
    let telemetry = format!("telemetry: {{ otlp: {{ endpoint: \"http://{}\" }} }}", collector.addr());
    let proxy = Proxy::start(Config::single(upstream.addr, policy).top(&telemetry)).await;
    (collector, proxy)
}

fn of_kind(spans: &[Span], kind: SpanKind) -> Vec<&Span> {
    spans.iter().filter(|span| span.kind() == kind).collect()
}

#[tokio::test]
async fn a_server_span_and_a_client_span_per_attempt_are_exported() {
    let upstream = Upstream::start(|seen| Answer::status(if seen.index == 0 { 503 } else { 200 }).steps()).await;
    let (collector, proxy) = traced(&upstream, "timeout: 5s, retry: 1").await;
    let parent = format!("00-{TRACE}-{PARENT}-01");
    proxy.send(Request::get("/a?secret=1").header("traceparent", &parent)).await.expect_upstream(200);
    let spans = collector.trace(TRACE, 3).await;
    let (server, client) = (of_kind(&spans, SpanKind::Server), of_kind(&spans, SpanKind::Client));
    assert_eq!((server.len(), client.len()), (1, 2), "{spans:#?}");
    assert_eq!(hex(&server[0].parent_span_id), PARENT);
    for attempt in &client {
        assert_eq!(attempt.parent_span_id, server[0].span_id);
        assert!(attempt.end_time_unix_nano >= attempt.start_time_unix_nano && attempt.start_time_unix_nano > 0);
    }
    let sent: Vec<_> = upstream.requests().iter().map(|seen| w3c(seen).1).collect();
    let mut exported: Vec<_> = client.iter().map(|span| hex(&span.span_id)).collect();
    exported.sort_by_key(|id| sent.iter().position(|s| s == id));
    assert_eq!(exported, sent, "each attempt's span is the parent that its upstream was told");
    assert_eq!(attribute(&server[0].attributes, "http.request.method").as_deref(), Some("GET"));
    assert_eq!(attribute(&server[0].attributes, "http.response.status_code").as_deref(), Some("200"));
    let statuses: Vec<_> =
        client.iter().filter_map(|s| attribute(&s.attributes, "http.response.status_code")).collect();
    assert!(statuses.contains(&"503".to_owned()) && statuses.contains(&"200".to_owned()), "{statuses:?}");
    let (target, media) = &collector.posts()[0];
    assert_eq!((target.as_str(), media.as_deref()), ("/v1/traces", Some("application/x-protobuf")));
    let resource = collector.exports().remove(0).resource_spans.remove(0).resource.unwrap();
    assert_eq!(attribute(&resource.attributes, "service.name").as_deref(), Some("mainstay"));
}

#[tokio::test]
async fn spans_say_who_asked_and_whose_fault_it_was() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let (collector, proxy) = traced(&upstream, "rate_limit: { requests: 1, unit: 1h }").await;
    let parent = format!("00-{TRACE}-{PARENT}-01");
    let request = || Request::get("/a?secret=1").header("traceparent", &parent).header("User-Agent", "till/1");
    proxy.send(request()).await.expect_upstream(200);
    proxy.send(request()).await.expect_problem(429, "rate-limited");
    let spans = collector.trace(TRACE, 3).await;
    let (servers, clients) = (of_kind(&spans, SpanKind::Server), of_kind(&spans, SpanKind::Client));
    let url = format!("http://{}/a", upstream.addr);
    assert_eq!(attribute(&clients[0].attributes, "url.full"), Some(url));
    for (name, value) in [("user_agent.original", "till/1"), ("client.address", "127.0.0.1")] {
        assert_eq!(attribute(&servers[0].attributes, name).as_deref(), Some(value), "{name}");
    }
    let refused = servers.iter().find(|span| attribute(&span.attributes, "error.type").is_some()).unwrap();
    assert_eq!(attribute(&refused.attributes, "error.type").as_deref(), Some("rate-limited"));
    assert_eq!(refused.events[0].name, "rate_limited");
    assert_eq!(refused.status.clone().unwrap_or_default().code, 0, "a 4xx is no error of the server's");
}

#[tokio::test]
async fn client_spans_say_whom_they_led_to_and_what_was_spoken() {
    let (authority, home) = (Authority::new("right"), TempDir::new());
    let own = authority.issue("own", "DNS:localhost");
    let one = Upstream::answering(Answer::ok("one")).await;
    let two = H2Upstream::start(|_| H2Step::Answer(200, vec![], "two".into(), vec![])).await;
    let versions = &[&rustls::version::TLS12];
    let old = Server { versions, ..Server::of(&own) }.before(one.addr).await;
    let new =
        Server { alpn: &[b"h2"], versions: &[&rustls::version::TLS13], ..Server::of(&own) }.before(two.addr).await;
    let path = home.join("app.sock");
    let _socket = LocalFront::before(&path, one.addr);
    let tls = format!("tls: {{ ca_file: {} }}", authority.cert().display());
    let at = |scheme, addr: std::net::SocketAddr| format!("{scheme}://localhost:{}", addr.port());
    let there = |addr: std::net::SocketAddr| (addr.ip().to_string(), Some(addr.port().to_string()));
    for (endpoint, more, peer, http, version) in [
        (format!("http://{}", one.addr), String::new(), there(one.addr), "1.1", None),
        (at("http", two.addr), "protocol: http2".to_owned(), there(two.addr), "2", None),
        (at("https", old.addr), tls.clone(), there(old.addr), "1.1", Some("1.2")),
        (at("https", new.addr), tls, there(new.addr), "2", Some("1.3")),
        (format!("unix:{}", path.display()), String::new(), (path.display().to_string(), None), "1.1", None),
    ] {
        let collector = Collector::start().await;
        let telemetry = format!("telemetry: {{ otlp: {{ endpoint: \"http://{}\" }} }}", collector.addr());
        let config = Config::new().upstream_at("app", &endpoint, &more).policy("p", "timeout: 5s");
        let proxy = Proxy::start(config.route("path: /**", "app", "p").top(&telemetry)).await;
        let parent = format!("00-{TRACE}-{PARENT}-01");
        // The second goes over the connection of the first, where both are the same worker's.
        for _ in 0..2 {
            proxy.send(Request::get("/a").header("traceparent", &parent)).await.expect_upstream(200);
        }
        let spans = collector.trace(TRACE, 4).await;
        for span in of_kind(&spans, SpanKind::Client) {
            let said = |key| attribute(&span.attributes, key);
            if !endpoint.starts_with("unix:") {
                assert_eq!(said("url.full"), Some(format!("{endpoint}/a")));
            }
            assert_eq!(
                (said("network.peer.address"), said("network.peer.port")),
                (Some(peer.0.clone()), peer.1.clone())
            );
            assert_eq!(said("network.protocol.version").as_deref(), Some(http), "{endpoint}");
            assert_eq!(said("tls.protocol.version").as_deref(), version, "{endpoint}");
        }
    }
}

#[tokio::test]
async fn a_keyed_write_names_its_operation_and_never_its_key() {
    let upstream = Upstream::answering(Answer::status(201).body("secret-answer")).await;
    let (collector, proxy) = traced(&upstream, "idempotency: { required: true }").await;
    let request =
        Request::keyed("/", "secret-key", "secret-body").header("traceparent", &format!("00-{TRACE}-{PARENT}-01"));
    let reply = proxy.send(request.header("Authorization", "Bearer secret-token")).await;
    let spans = collector.trace(TRACE, 2).await;
    let server = of_kind(&spans, SpanKind::Server);
    assert_eq!(attribute(&server[0].attributes, "mainstay.operation.id"), Some(reply.operation()));
    assert_eq!(attribute(&server[0].attributes, "mainstay.operation.state").as_deref(), Some("succeeded"));
    let shown = format!("{spans:?}");
    assert!(!shown.contains("secret"), "{shown}");
}

#[tokio::test]
async fn an_unsampled_request_is_not_exported() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let (collector, proxy) = traced(&upstream, "timeout: 5s").await;
    let unsampled = "2".repeat(32);
    proxy
        .send(Request::get("/").header("traceparent", &format!("00-{unsampled}-{PARENT}-00")))
        .await
        .expect_upstream(200);
    proxy.send(Request::get("/").header("traceparent", &format!("00-{TRACE}-{PARENT}-01"))).await.expect_upstream(200);
    collector.trace(TRACE, 2).await;
    assert!(collector.spans().iter().all(|span| hex(&span.trace_id) != unsampled));
}

#[tokio::test]
async fn a_collector_that_is_down_or_silent_costs_nothing() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let silent = Upstream::with(|_| Accept::Stall, |_| vec![]).await;
    let refusing = Refusing::new();
    for addr in [silent.addr, refusing.addr] {
        let telemetry = format!("telemetry: {{ otlp: {{ endpoint: \"http://{addr}\", queue: 16 }} }}");
        let mut proxy = Proxy::start(Config::single(upstream.addr, "timeout: 5s").top(&telemetry)).await;
        let began = tokio::time::Instant::now();
        for _ in 0..200 {
            proxy.get("/").await.expect_upstream(200);
        }
        assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
        assert!(proxy.runs());
        assert!(proxy.terminate().await.success(), "the exit waits for no collector");
    }
}
