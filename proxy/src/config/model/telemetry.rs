//! What is told of requests, and to whom.

use std::{num::NonZeroUsize, time::Duration};

use http::HeaderName;

pub use crate::wire::field_source::HeaderSource;
use crate::wire::tls::ClientTls;

/// What stands for a trace in its URL.
pub const TRACE_ID: &str = "{trace_id}";

/// Traces and logs.
#[derive(Clone, Debug, PartialEq)]
pub struct Telemetry {
    /// `service.name`.
    pub service_name: String,
    /// More attributes of the resource, from `OTEL_RESOURCE_ATTRIBUTES`. They are an instance's own (its pod, its node), so
    /// they are no part of what is shown and compared.
    pub resource: Vec<(String, String)>,
    /// Where spans go: the OTLP/HTTP base URL, for example `http://jaeger:4318`.
    pub otlp: Option<Otlp>,
    /// Formats of trace context, in order of preference.
    pub propagation: Vec<Propagation>,
    /// The share of new traces that are sampled, 0 to 1; a caller's own decision is kept.
    pub sample_ratio: f64,
    /// Where people look at a trace; [`TRACE_ID`] stands for which.
    pub trace_url: Option<String>,
    /// Program log and access log.
    pub logs: Logs,
}

/// An OTLP receiver.
#[derive(Clone, Debug, PartialEq)]
pub struct Otlp {
    /// Base URL; `/v1/traces` is appended.
    pub endpoint: http::Uri,
    /// Bounds one export.
    pub timeout: Duration,
    /// Spans waiting at most; more are dropped and counted.
    pub queue: NonZeroUsize,
    /// How what is sent is packed.
    pub compression: Compression,
    /// How an `https://` receiver is known.
    pub tls: Option<Box<ClientTls>>,
    /// What each export carries beside its own fields.
    pub headers: Vec<(HeaderName, HeaderSource)>,
}

/// How the body of an export is packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// As it is.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
}

/// A format of trace context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// W3C `traceparent`, `tracestate`, `baggage`.
    W3c,
    /// B3, one header.
    B3,
    /// B3, several headers.
    B3Multi,
    /// `uber-trace-id`.
    Jaeger,
}

/// Program log and access log.
#[derive(Clone, Debug, PartialEq)]
pub struct Logs {
    /// JSON or text.
    pub format: LogFormat,
    /// A `tracing` filter, for example `info` or `mainstay=debug`.
    pub level: String,
    /// A line per request.
    pub access: bool,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One object a line.
    Json,
    /// For people.
    Text,
}
