//! An OTLP/HTTP receiver that decodes the real protobuf.

use std::{fmt::Write as _, io::Read as _, net::SocketAddr};

use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::Span,
};
use prost::Message;

use crate::{eventually, script::Answer, upstream::Upstream};

/// A collector.
pub struct Collector {
    upstream: Upstream,
}

impl Collector {
    /// Listens.
    pub async fn start() -> Self {
        Self {
            upstream: Upstream::answering(Answer::status(200).header("Content-Type", "application/x-protobuf")).await,
        }
    }

    /// Its base URL's address.
    pub fn addr(&self) -> SocketAddr {
        self.upstream.addr
    }

    /// The exports' targets and content types.
    pub fn posts(&self) -> Vec<(String, Option<String>)> {
        let requests = self.upstream.requests();
        requests.iter().map(|r| (r.target.clone(), r.header("content-type").map(str::to_owned))).collect()
    }

    /// A field of the first export.
    pub fn field(&self, name: &str) -> Option<String> {
        self.upstream.requests().first()?.header(name).map(str::to_owned)
    }

    /// Resource attributes and spans received so far.
    pub fn exports(&self) -> Vec<ExportTraceServiceRequest> {
        let requests = self.upstream.requests();
        let whole = requests.iter().filter(|request| request.body.complete);
        whole
            .map(|seen| {
                let body = match seen.header("content-encoding") {
                    Some("gzip") => unpacked(&seen.body.data),
                    Some(other) => panic!("an export packed as {other}"),
                    None => seen.body.data.clone(),
                };
                ExportTraceServiceRequest::decode(body.as_slice()).expect("an OTLP trace export")
            })
            .collect()
    }

    /// Every span received so far.
    pub fn spans(&self) -> Vec<Span> {
        let resources = self.exports().into_iter().flat_map(|export| export.resource_spans);
        resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }

    /// Waits until the trace has at least `n` spans.
    pub async fn trace(&self, trace_id: &str, n: usize) -> Vec<Span> {
        eventually(&format!("{n} spans of trace {trace_id}"), || async {
            let spans: Vec<_> = self.spans().into_iter().filter(|span| hex(&span.trace_id) == trace_id).collect();
            (spans.len() >= n).then_some(spans)
        })
        .await
    }
}

fn unpacked(body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(body).read_to_end(&mut bytes).expect("a whole gzip stream");
    bytes
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}

/// An attribute's value as text.
pub fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|kv| kv.key == key)?.value.as_ref()?.value.as_ref()?;
    Some(match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(flag) => flag.to_string(),
        Value::DoubleValue(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}
