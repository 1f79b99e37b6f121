//! Where spans go, and under which name, by the standard variables of OpenTelemetry.

use mainstay_tests::{
    authority::Authority,
    otlp::{Collector, attribute},
    prelude::*,
    proxy::Launch,
    tls::Server,
};

const EXPORTS: &str = "telemetry: { otlp: \"http://127.0.0.1:9\" }";
const SECRET: &str = "token-that-nobody-may-see";

async fn launched(upstream: &Upstream, telemetry: &str, launch: &Launch) -> Proxy {
    let config = Config::single(upstream.addr, "timeout: 1s").admin().top(telemetry);
    Proxy::launch(config, launch).await.unwrap_or_else(|log| panic!("{log}"))
}

/// The attributes of the first export's resource, and the field of that name.
async fn exported(collector: &Collector, proxy: &Proxy, field: &str) -> (Vec<(String, String)>, Option<String>) {
    proxy.get("/").await.expect_upstream(200);
    let export = eventually("an export", || async { collector.exports().into_iter().next() }).await;
    let resource = export.resource_spans.into_iter().next().and_then(|spans| spans.resource).expect("a resource");
    let names = resource.attributes.iter().map(|it| it.key.clone());
    let read = |name: String| attribute(&resource.attributes, &name).map(|value| (name, value));
    (names.filter_map(read).collect(), collector.field(field))
}

fn has(attributes: &[(String, String)], name: &str, value: &str) -> bool {
    let found: Vec<_> = attributes.iter().filter(|(other, _)| other == name).collect();
    found.len() == 1 && found[0].1 == value
}

#[tokio::test]
async fn the_environment_alone_says_where_spans_go_how_the_receiver_is_known_and_who_sends_them() {
    let authority = Authority::new("right");
    let upstream = Upstream::answering(Answer::ok("x")).await;
    let collector = Collector::start().await;
    let front = Server::of(&authority.issue("own", "DNS:localhost")).before(collector.addr()).await;
    let launch = Launch::default()
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", format!("https://localhost:{}", front.addr.port()))
        .with("OTEL_EXPORTER_OTLP_HEADERS", format!("Authorization=Bearer%20{SECRET},x-org=shop"))
        .with("OTEL_EXPORTER_OTLP_CERTIFICATE", authority.cert().display().to_string())
        .with("OTEL_SERVICE_NAME", "payments-mainstay")
        .with("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=payments-0,service.instance.id=own,service.name=other");
    let proxy = launched(&upstream, "", &launch).await;
    let (attributes, field) = exported(&collector, &proxy, "authorization").await;
    assert_eq!(field, Some(format!("Bearer {SECRET}")));
    for (name, value) in [
        ("service.name", "payments-mainstay"),
        ("k8s.pod.name", "payments-0"),
        ("service.instance.id", "own"),
        ("service.version", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(has(&attributes, name, value), "{name}: {attributes:?}");
    }
    let shown = proxy.operate(Request::get("/config")).await.text();
    assert!(shown.contains("from ${OTEL_EXPORTER_OTLP_ENDPOINT}"), "{shown}");
    assert!(!shown.contains(SECRET) && !proxy.log().contains(SECRET));
}

#[tokio::test]
async fn the_configuration_wins_over_the_environment() {
    let upstream = Upstream::answering(Answer::ok("x")).await;
    let (written, other) = (Collector::start().await, Collector::start().await);
    let launch = Launch::default()
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", other.addr()))
        .with("OTEL_EXPORTER_OTLP_HEADERS", format!("x-from=environment,x-more={SECRET}"))
        .with("OTEL_SERVICE_NAME", "environment");
    let telemetry = format!(
        "telemetry: {{ service_name: written, otlp: {{ endpoint: \"http://{}\", headers: {{ x-from: written }} }} }}",
        written.addr()
    );
    let proxy = launched(&upstream, &telemetry, &launch).await;
    let (attributes, field) = exported(&written, &proxy, "x-from").await;
    assert_eq!((field.as_deref(), written.field("x-more")), (Some("written"), None));
    assert!(has(&attributes, "service.name", "written"), "{attributes:?}");
    assert!(other.exports().is_empty());
}

#[tokio::test]
async fn exports_are_packed_where_the_configuration_or_else_the_environment_says_so() {
    const VARIABLE: &str = "OTEL_EXPORTER_OTLP_COMPRESSION";
    let upstream = Upstream::answering(Answer::ok("x")).await;
    for (written, variable, expected) in [
        ("", None, None),
        (", compression: gzip", None, Some("gzip")),
        ("", Some("gzip"), Some("gzip")),
        (", compression: none", Some("gzip"), None),
        (", compression: gzip", Some("none"), Some("gzip")),
    ] {
        let collector = Collector::start().await;
        let telemetry = format!("telemetry: {{ otlp: {{ endpoint: \"http://{}\"{written} }} }}", collector.addr());
        let launch = variable.map_or_else(Launch::default, |value| Launch::default().with(VARIABLE, value));
        let proxy = launched(&upstream, &telemetry, &launch).await;
        // What comes is unpacked and read.
        let (attributes, field) = exported(&collector, &proxy, "content-encoding").await;
        assert_eq!(field.as_deref(), expected, "{written} {variable:?}");
        assert!(has(&attributes, "service.name", "mainstay"), "{attributes:?}");
    }
}

#[tokio::test]
async fn an_exporter_that_is_switched_off_stays_off_and_trace_headers_pass_as_they_came() {
    let upstream = Upstream::answering(Answer::ok("x")).await;
    let launch = Launch::default().with("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9");
    let proxy = launched(&upstream, "telemetry: { otlp: none }", &launch).await;
    proxy.get("/").await.expect_upstream(200);
    assert_eq!(upstream.requests()[0].header("traceparent"), None);
}

#[tokio::test]
async fn a_variable_that_cannot_be_meant_is_refused_by_its_name_with_the_cure_and_without_its_value() {
    let upstream = Upstream::answering(Answer::ok("x")).await;
    for (name, value, wanted) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317", "expected the base URL of an OTLP/HTTP receiver"),
        ("OTEL_RESOURCE_ATTRIBUTES", SECRET, "write key=value,key=value"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "none, gzip"),
    ] {
        let config = Config::single(upstream.addr, "timeout: 1s");
        let config = if name.ends_with("COMPRESSION") { config.top(EXPORTS) } else { config };
        let launch = Launch::default().with(name, value);
        let log = Proxy::launch(config, &launch).await.err().expect("it does not start");
        assert!(log.contains(&format!("{name}: ")) && log.contains(wanted), "{log}");
        assert!(!log.contains(SECRET), "{log}");
    }
}
