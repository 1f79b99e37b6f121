//! `telemetry`.

use std::{num::NonZeroUsize, time::Duration};

use http::{HeaderName, HeaderValue, Uri, uri::Scheme};
use serde_json::{Value, json};
use tracing_subscriber::filter::Targets;

use super::tls::RawCredentials;
use crate::config::{
    decode::{Cx, Setting, any_of, or, section, words},
    definitions::Definitions,
    model::{Compression, HeaderSource, LogFormat, Logs, Otlp, Propagation, TRACE_ID, Telemetry},
    node::{At, Node},
    report::{Issue, suggest},
    scalars::Named,
};
use crate::wire::tls::{ClientTls, MinVersion};

/// The OTLP exporter's own default.
const OTLP_TIMEOUT: Duration = Duration::from_secs(10);
/// The OpenTelemetry SDK's own default.
const OTLP_QUEUE: NonZeroUsize = NonZeroUsize::new(2048).expect("2048 is not zero");

section! {
    /// Traces and logs.
    RawTelemetry {
        /// `service.name` of spans. Default: `OTEL_SERVICE_NAME`, else mainstay.
        service_name: String,
        /// Where spans go: the base URL of an OTLP/HTTP receiver, a map, or `none`. Default: `OTEL_EXPORTER_OTLP_ENDPOINT`,
        /// else none: then trace headers pass as they came, and none is added.
        otlp: MaybeOtlp,
        /// Formats of trace context, in order of preference; `b3` reads both forms of B3. Written only where spans are
        /// exported. Default [w3c, b3, jaeger].
        propagation: Vec<Propagation>,
        /// The share of new traces that are sampled, 0 to 1. Default 1.
        sample_ratio: f64,
        /// Where people look at a trace: `http://jaeger/trace/{trace_id}`. Operators are shown the link.
        trace_url: TraceUrl,
        /// Program log and access log.
        logs: Logs,
    }
}

section! {
    /// An OTLP/HTTP receiver.
    RawOtlp {
        /// Base URL, such as `http://jaeger:4318` or `https://otlp.example.com`; `/v1/traces` is appended.
        endpoint: OtlpEndpoint = required,
        /// Bounds one export. Default 10s.
        timeout: Duration,
        /// Spans waiting at most; more are dropped and counted. Default 2048.
        queue: NonZeroUsize,
        /// `gzip`: what is sent is packed, which costs some CPU beside the traffic and saves nine tenths of the network's.
        /// Default: `OTEL_EXPORTER_OTLP_COMPRESSION`, else none.
        compression: Compression,
        /// How an `https://` receiver is known. Default: by public authorities.
        tls: RawOtlpTls,
        /// Fields that each export carries: a text, or `{ file, prefix }`, read for each export. They are never shown.
        /// Default: those of `OTEL_EXPORTER_OTLP_HEADERS`.
        headers: Named<HeaderSource>,
    }
}

section! {
    /// How an `https://` receiver is known.
    RawOtlpTls {
        /// The authorities that its certificate may be from, and no others. Default: `OTEL_EXPORTER_OTLP_CERTIFICATE`, else
        /// `SSL_CERT_FILE`, else Mozilla's.
        ca_file: String,
        /// Our certificate with its key, in one file.
        bundle_file: String,
        /// Our certificate, for a receiver that asks for one.
        cert_file: String,
        /// The key of that certificate.
        key_file: String,
        /// The oldest TLS that is spoken, "1.2" or "1.3". Default "1.2".
        min_version: MinVersion,
    }
}

section! {
    /// A value in a file.
    RawHeaderFile {
        /// Its first line is the value.
        file: String = required,
        /// What stands before it, such as `Bearer `. Default: nothing.
        prefix: String,
    }
}

impl Setting for HeaderSource {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if node.scalar().is_some() {
            return HeaderValue::decode(node, cx).map(Self::Text);
        }
        let raw = RawHeaderFile::decode(node, cx)?;
        Some(Self::File { file: raw.file?.value.into(), prefix: or(raw.prefix, String::new()) })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        any_of([HeaderValue::schema(definitions), RawHeaderFile::schema(definitions)])
    }
}

section! {
    /// Program log and access log.
    RawLogs {
        /// `json`: one object a line; `text`: for people. Default json.
        format: LogFormat,
        /// off, error, warn, info, debug, trace, or a filter such as `info,mainstay=debug`. Default info.
        level: Level,
        /// A line per request. Default true.
        access: bool,
    }
}

/// Everything that a trial wants to see; production lowers `sample_ratio`.
pub(crate) fn default_telemetry() -> Telemetry {
    Telemetry {
        service_name: "mainstay".into(),
        resource: Vec::new(),
        otlp: None,
        propagation: vec![Propagation::W3c, Propagation::B3, Propagation::Jaeger],
        sample_ratio: 1.0,
        trace_url: None,
        logs: default_logs(),
    }
}

fn default_logs() -> Logs {
    Logs { format: LogFormat::Json, level: "info".into(), access: true }
}

impl Setting for Telemetry {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let raw = RawTelemetry::decode(node, cx)?;
        let default = default_telemetry();
        if let Some(formats) = &raw.propagation {
            let repeated = formats.value.iter().enumerate().any(|(i, format)| formats.value[..i].contains(format));
            if repeated {
                cx.error::<()>(formats.at, "`propagation` names a format twice", "name each format once");
            }
        }
        Some(Self {
            service_name: or(raw.service_name, default.service_name),
            resource: default.resource,
            otlp: raw.otlp.and_then(|otlp| otlp.value.0),
            propagation: or(raw.propagation, default.propagation),
            sample_ratio: cx.ranged(
                "sample_ratio",
                raw.sample_ratio,
                default.sample_ratio,
                |ratio| (0.0..=1.0).contains(ratio),
                "it is from 0 (none) to 1 (all)",
            ),
            trace_url: raw.trace_url.map(|url| url.value.0),
            logs: or(raw.logs, default.logs),
        })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        RawTelemetry::schema(definitions)
    }
}

/// A URL with `{trace_id}` in it.
pub(crate) struct TraceUrl(String);

impl Setting for TraceUrl {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let text = String::decode(node, cx)?;
        let is_url = text.starts_with("http://") || text.starts_with("https://");
        if is_url && text.contains(TRACE_ID) && !text.contains(char::is_whitespace) {
            return Some(Self(text));
        }
        cx.mismatch(node, "a URL with {trace_id} in it: http://jaeger/trace/{trace_id}")
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({ "type": "string", "pattern": r"^https?://\S*\{trace_id\}\S*$" })
    }
}

/// `none`, a URL or a map.
pub(crate) struct MaybeOtlp(Option<Otlp>);

impl Setting for MaybeOtlp {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if node.is_word("none") {
            return Some(Self(None));
        }
        if node.scalar().is_some() {
            let endpoint = OtlpEndpoint::decode(node, cx)?.0;
            return Some(Self(Some(Otlp {
                endpoint,
                timeout: OTLP_TIMEOUT,
                queue: OTLP_QUEUE,
                compression: Compression::None,
                tls: None,
                headers: Vec::new(),
            })));
        }
        let raw = RawOtlp::decode(node, cx)?;
        let endpoint = raw.endpoint?.value.0;
        let timeout = cx.positive("timeout", raw.timeout, OTLP_TIMEOUT);
        let is_secure = endpoint.scheme() == Some(&Scheme::HTTPS);
        if let Some(At { at, .. }) = raw.tls.as_ref().filter(|_| !is_secure) {
            return cx.error(*at, "`tls` is given for an endpoint in clear", "write it with https://, or remove `tls`");
        }
        let tls = raw.tls.map(|At { value: raw, .. }| {
            let RawOtlpTls { ca_file, bundle_file, cert_file, key_file, min_version } = raw;
            Box::new(ClientTls {
                ca_file: ca_file.map(|file| file.value.into()),
                credentials: RawCredentials { bundle_file, cert_file, key_file }.resolve(cx),
                min_version: or(min_version, MinVersion::default()),
            })
        });
        let mut headers = Vec::new();
        for (name, source) in raw.headers.map(|headers| headers.value.0).unwrap_or_default() {
            match HeaderName::try_from(&name.value) {
                Ok(found) => headers.push((found, source)),
                Err(_) => {
                    cx.error::<()>(
                        name.at,
                        format!("`{}` is no name of a header", name.value),
                        "such as Authorization",
                    )?;
                }
            }
        }
        let (queue, compression) = (or(raw.queue, OTLP_QUEUE), or(raw.compression, Compression::None));
        Some(Self(Some(Otlp { endpoint, timeout, queue, compression, tls, headers })))
    }

    fn schema(definitions: &mut Definitions) -> Value {
        any_of([words(&["none"]), OtlpEndpoint::schema(definitions), RawOtlp::schema(definitions)])
    }
}

/// The base URL of an OTLP/HTTP receiver.
pub(crate) struct OtlpEndpoint(Uri);

impl Setting for OtlpEndpoint {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let expected = "the base URL of an OTLP/HTTP receiver: http://jaeger:4318";
        let Some(scalar) = node.scalar() else {
            return cx.mismatch(node, expected);
        };
        let Ok(uri) = scalar.text.parse::<Uri>() else {
            return cx.mismatch(node, expected);
        };
        match uri.scheme_str() {
            Some("http" | "https") if uri.query().is_none() && !scalar.text.contains('@') => {}
            _ if scalar.text.contains('@') => {
                let issue = Issue::new(node.at, "a receiver's address cannot hold credentials");
                cx.issues.push(Issue { secret: true, ..issue.help("write http://host:port") });
                return None;
            }
            _ => {
                return cx.error(
                    node.at,
                    "this is not the address of an OTLP receiver",
                    format!("expected {expected}"),
                );
            }
        }
        if uri.path().ends_with("/v1/traces") {
            return cx.error(node.at, "`/v1/traces` is appended by itself", format!("expected {expected}"));
        }
        Some(Self(uri))
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({ "type": "string", "pattern": format!("^https?://|{}", crate::config::decode::ENV) })
    }
}

/// The formats by the words used for them, here and in `config show`.
pub(crate) const PROPAGATION: [(&str, Propagation); 4] = [
    ("w3c", Propagation::W3c),
    ("b3", Propagation::B3),
    ("b3multi", Propagation::B3Multi),
    ("jaeger", Propagation::Jaeger),
];

impl Setting for Propagation {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &PROPAGATION)
    }

    fn schema(_: &mut Definitions) -> Value {
        words(&PROPAGATION.map(|(word, _)| word))
    }
}

impl Setting for Logs {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let raw = RawLogs::decode(node, cx)?;
        let default = default_logs();
        Some(Self {
            format: or(raw.format, default.format),
            level: raw.level.map_or(default.level, |level| level.value.0),
            access: or(raw.access, default.access),
        })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        RawLogs::schema(definitions)
    }
}

impl Setting for Compression {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &[("none", Self::None), ("gzip", Self::Gzip)])
    }

    fn schema(_: &mut Definitions) -> Value {
        words(&["none", "gzip"])
    }
}

impl Setting for LogFormat {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &[("json", Self::Json), ("text", Self::Text)])
    }

    fn schema(_: &mut Definitions) -> Value {
        words(&["json", "text"])
    }
}

/// A `tracing` filter.
pub(crate) struct Level(String);

impl Setting for Level {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
        let text = String::decode(node, cx)?;
        // A lone word that is no level would be taken for the name of a module, and silence everything else.
        let lone = !text.contains(['=', ',', '[']);
        if lone && !LEVELS.contains(&text.as_str()) {
            let help = suggest(&text, LEVELS).unwrap_or_else(|| format!("one of {}", LEVELS.join(", ")));
            let shown = crate::config::node::shorten(&text);
            return cx.error(node.at, format!("`{shown}` is not a log level"), help);
        }
        match text.parse::<Targets>() {
            Ok(_) => Some(Self(text)),
            Err(_) => cx.mismatch(node, "a level or a filter such as info,mainstay=debug"),
        }
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({ "type": "string", "examples": ["info", "info,mainstay=debug"] })
    }
}
