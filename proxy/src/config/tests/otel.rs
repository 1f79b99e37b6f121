//! The standard variables of OpenTelemetry beneath the configuration.

use std::path::Path;

use super::good::EXAMPLE;
use crate::config::{
    ConfigErrors, hash,
    load::parse_with,
    model::{Compression, Config, HeaderSource},
    show,
};

fn try_read(telemetry: &str, variables: &[(&str, &str)]) -> Result<std::sync::Arc<Config>, ConfigErrors> {
    let lookup = |name: &str| {
        let found = variables.iter().find(|(other, _)| *other == name);
        found.map(|(_, value)| (*value).to_owned()).or_else(|| super::environment(name))
    };
    parse_with("mainstay.yaml", &format!("{EXAMPLE}{telemetry}\n"), &lookup).map(|loaded| loaded.config)
}

#[track_caller]
fn read(telemetry: &str, variables: &[(&str, &str)]) -> std::sync::Arc<Config> {
    try_read(telemetry, variables).unwrap_or_else(|errors| panic!("refused:\n{errors}"))
}

fn endpoint(config: &Config) -> Option<String> {
    config.telemetry.otlp.as_ref().map(|otlp| otlp.endpoint.to_string())
}

const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://otlp.example:4318");
const HEADERS: (&str, &str) = ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20s3cret,x-org=shop%2Cpay");
const CERTIFICATE: (&str, &str) = ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/etc/otlp/ca.pem");

#[test]
fn the_environment_says_what_the_configuration_does_not() {
    let config = read("", &[ENDPOINT, HEADERS, CERTIFICATE, ("OTEL_SERVICE_NAME", "pay-mainstay")]);
    let otlp = config.telemetry.otlp.as_ref().unwrap();
    assert_eq!(otlp.endpoint, "https://otlp.example:4318");
    assert_eq!(otlp.tls.as_ref().unwrap().ca_file.as_deref(), Some(Path::new("/etc/otlp/ca.pem")));
    let text = |value| HeaderSource::Text(http::HeaderValue::from_static(value));
    let fields: Vec<_> = otlp.headers.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    assert_eq!(fields, [("authorization", text("Bearer s3cret")), ("x-org", text("shop,pay"))]);
    assert_eq!(config.telemetry.service_name, "pay-mainstay");
}

#[test]
fn the_configuration_wins_key_by_key() {
    for (telemetry, expected) in [
        ("telemetry: { otlp: none }", None),
        ("telemetry: { otlp: 'http://written:4318' }", Some("http://written:4318/")),
        ("telemetry: { otlp: { endpoint: 'http://written:4318' } }", Some("http://written:4318/")),
        ("telemetry: { otlp: { timeout: 3s } }", Some("https://otlp.example:4318/")),
        ("telemetry: { service_name: written }", Some("https://otlp.example:4318/")),
        ("", Some("https://otlp.example:4318/")),
    ] {
        let config = read(telemetry, &[ENDPOINT, CERTIFICATE]);
        assert_eq!(endpoint(&config).as_deref(), expected, "{telemetry}");
    }
    let written = "telemetry: { service_name: written, otlp: { endpoint: 'https://o', headers: { x-own: a }, tls: { min_version: '1.3' } } }";
    let config = read(written, &[HEADERS, CERTIFICATE, ("OTEL_SERVICE_NAME", "other")]);
    let otlp = config.telemetry.otlp.as_ref().unwrap();
    assert_eq!(otlp.headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["x-own"]);
    assert!(otlp.tls.as_ref().unwrap().ca_file.is_some(), "what `tls` leaves open is filled in");
    assert_eq!(config.telemetry.service_name, "written");
}

#[test]
fn how_exports_are_packed_is_said_by_the_configuration_or_else_by_the_environment() {
    let packed = |telemetry: &str, value| {
        let config = read(telemetry, &[ENDPOINT, ("OTEL_EXPORTER_OTLP_COMPRESSION", value)]);
        config.telemetry.otlp.as_ref().map(|otlp| otlp.compression)
    };
    for (telemetry, value, expected) in [
        ("", "", Some(Compression::None)),
        ("", "gzip", Some(Compression::Gzip)),
        ("telemetry: { otlp: 'https://written:4318' }", "gzip", Some(Compression::Gzip)),
        ("telemetry: { otlp: { compression: none } }", "gzip", Some(Compression::None)),
        ("telemetry: { otlp: { compression: gzip } }", "none", Some(Compression::Gzip)),
        ("telemetry: { otlp: none }", "gzip", None),
    ] {
        assert_eq!(packed(telemetry, value), expected, "{telemetry} {value}");
    }
}

#[test]
fn without_an_endpoint_or_with_empty_variables_nothing_is_exported() {
    for variables in [&[HEADERS, CERTIFICATE] as &[_], &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")], &[]] {
        assert_eq!(endpoint(&read("", variables)), None, "{variables:?}");
    }
}

#[test]
fn a_certificate_for_an_endpoint_in_clear_is_no_fault() {
    let clear = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://10.0.0.7:4318");
    assert!(read("", &[clear, CERTIFICATE]).telemetry.otlp.as_ref().unwrap().tls.is_none());
}

#[test]
fn resource_attributes_are_decoded_and_name_the_service_where_nothing_else_does() {
    let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=pay-0, team=a%3Db ,service.name=from-all,,empty=");
    let config = read("", &[attributes]);
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(config.telemetry.resource, [pair("k8s.pod.name", "pay-0"), pair("team", "a=b"), pair("empty", "")]);
    assert_eq!(config.telemetry.service_name, "from-all");
    let named = read("", &[attributes, ("OTEL_SERVICE_NAME", "own")]);
    assert_eq!(named.telemetry.service_name, "own");
}

#[test]
fn replicas_on_other_nodes_have_the_same_configuration() {
    let of = |node: &str, pod: &str| {
        let (endpoint, pod) = (format!("http://{node}:4318"), format!("k8s.pod.name={pod}"));
        hash(&read("", &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), ("OTEL_RESOURCE_ATTRIBUTES", &pod)]))
    };
    assert_eq!(of("10.0.0.7", "pay-0"), of("10.0.0.8", "pay-1"));
}

#[test]
fn what_is_secret_is_shown_nowhere() {
    let shown = show(&read("", &[ENDPOINT, HEADERS]));
    assert!(shown.contains("«from ${OTEL_EXPORTER_OTLP_ENDPOINT}»") && shown.contains("(set)"), "{shown}");
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[test]
fn what_is_wrong_names_the_variable_and_the_cure_and_no_value() {
    let headers = |value| [ENDPOINT, ("OTEL_EXPORTER_OTLP_HEADERS", value)];
    for (variables, wanted) in [
        (
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318")] as &[_],
            "OTEL_EXPORTER_OTLP_ENDPOINT: this is not the address of an OTLP receiver\n   = expected the base URL of an \
             OTLP/HTTP receiver: http://jaeger:4318",
        ),
        (
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://u:pa55word@jaeger:4318")],
            "OTEL_EXPORTER_OTLP_ENDPOINT: a receiver's address cannot hold credentials",
        ),
        (
            &headers("a=1,Bearer pa55word"),
            "OTEL_EXPORTER_OTLP_HEADERS: part 2 of `OTEL_EXPORTER_OTLP_HEADERS` is not key=value\n   = write key=value,",
        ),
        (
            &headers("authorization=pa55word%0A"),
            "OTEL_EXPORTER_OTLP_HEADERS: what came from `${OTEL_EXPORTER_OTLP_HEADERS}` is not a header value",
        ),
        (&headers("a b=pa55word"), "OTEL_EXPORTER_OTLP_HEADERS: `a b` is not a name"),
        (
            &[("OTEL_RESOURCE_ATTRIBUTES", "team=a,pay-0")],
            "OTEL_RESOURCE_ATTRIBUTES: part 2 of `OTEL_RESOURCE_ATTRIBUTES` is not key=value",
        ),
        (&[("OTEL_RESOURCE_ATTRIBUTES", "team=%ff")], "OTEL_RESOURCE_ATTRIBUTES: part 1 of"),
    ] {
        let told = try_read("", variables).expect_err("it is refused").to_string();
        assert!(told.contains(wanted) && !told.contains("pa55word"), "{told}\nwanted: {wanted}");
    }
}
