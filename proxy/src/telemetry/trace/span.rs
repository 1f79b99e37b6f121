//! A span while it is being recorded.

use std::{borrow::Cow, sync::Arc, time::SystemTime};

use http::{HeaderMap, HeaderName, Method, StatusCode};
use mainstay_policies::{grpc::Code, operation::TraceOrigin};
use opentelemetry::{
    InstrumentationScope, KeyValue, SpanId, TraceFlags, TraceId, Value,
    trace::{Event, Link, SpanContext, SpanKind, Status, TraceState},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use tokio::time::Instant;

use super::export::Exporter;
use crate::{
    config::model::Propagation,
    telemetry::propagation::context::TraceContext,
    wire::peer::{Met, Peer, Place},
};

/// Attributes and events of one span at most (the SDK's default is 128 of each; ours have about 20).
const MAX_ATTRIBUTES: usize = 32;
const MAX_EVENTS: usize = 32;
/// Bytes of a path or a host that a span keeps, so that a full queue of spans has a bound in bytes.
const MAX_TEXT: usize = 1024;

/// What all spans of one sampled trace share.
pub(super) struct Recorder {
    pub(super) exporter: Arc<Exporter>,
    pub(super) anchor: Anchor,
    pub(super) trace_state: TraceState,
    /// The request that all spans of this trace are about, if it has a trace of its own.
    pub(super) about: Option<TraceOrigin>,
}

/// Wall time read once per trace; everything after is measured on the monotonic clock, so spans never overlap wrongly.
pub(super) struct Anchor {
    wall: SystemTime,
    instant: Instant,
}

impl Anchor {
    #[expect(clippy::disallowed_methods, reason = "spans need nanoseconds; the injected clock has milliseconds")]
    pub(super) fn new(now: Instant) -> Self {
        Self { wall: SystemTime::now(), instant: now }
    }

    fn at(&self, now: Instant) -> SystemTime {
        self.wall + now.saturating_duration_since(self.instant)
    }
}

/// The `tracestate` beside the `traceparent` that this trace continues, for the exported span.
pub(super) fn trace_state(cx: &TraceContext, headers: &HeaderMap) -> TraceState {
    const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
    if cx.origin != Some(Propagation::W3c) {
        return TraceState::NONE;
    }
    let lists = headers.get_all(TRACESTATE).iter().filter_map(|list| list.to_str().ok()).collect::<Vec<_>>();
    lists.join(",").parse().unwrap_or(TraceState::NONE)
}

/// A span that will be exported.
pub(super) struct Recording {
    pub(super) recorder: Arc<Recorder>,
    cx: TraceContext,
    parent_span_id: Option<u64>,
    kind: SpanKind,
    started: Instant,
    name: Cow<'static, str>,
    attributes: Vec<KeyValue>,
    dropped_attributes: u32,
    events: Vec<Event>,
    dropped_events: u32,
    status: Option<StatusCode>,
    error: Option<&'static str>,
    /// Whom it is sent to, of an attempt.
    met: Option<Arc<Met>>,
}

impl Recording {
    pub(super) fn new(
        recorder: Arc<Recorder>,
        cx: TraceContext,
        parent_span_id: Option<u64>,
        kind: SpanKind,
        started: Instant,
    ) -> Self {
        Self {
            recorder,
            cx,
            parent_span_id,
            kind,
            started,
            name: Cow::Borrowed("HTTP"),
            attributes: Vec::with_capacity(16),
            dropped_attributes: 0,
            events: Vec::new(),
            dropped_events: 0,
            status: None,
            error: None,
            met: None,
        }
    }

    pub(super) fn rename(&mut self, name: impl Into<Cow<'static, str>>) {
        self.name = name.into();
    }

    /// Sets an attribute; the last value of a key stands.
    pub(super) fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        let value = value.into();
        if let Some(known) = self.attributes.iter_mut().find(|known| known.key.as_str() == key) {
            known.value = value;
        } else if self.attributes.len() < MAX_ATTRIBUTES {
            self.attributes.push(KeyValue::new(key, value));
        } else {
            self.dropped_attributes += 1;
        }
    }

    /// Sets a text from the request, cut to its bound.
    pub(super) fn set_text(&mut self, key: &'static str, text: &str) {
        self.set(key, cut(text).to_owned());
    }

    pub(super) fn set_method(&mut self, method: &Method) {
        let known = known_method(method);
        self.set("http.request.method", known);
        if known == OTHER_METHOD {
            self.set_text("http.request.method_original", method.as_str());
        }
    }

    pub(super) fn event(&mut self, name: &'static str, now: Instant, attributes: Vec<KeyValue>) {
        if self.events.len() < MAX_EVENTS {
            self.events.push(Event::new(name, self.recorder.anchor.at(now), attributes, 0));
        } else {
            self.dropped_events += 1;
        }
    }

    pub(super) fn status(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// The code of a gRPC answer (semantic conventions of RPC).
    pub(super) fn code(&mut self, code: Code) {
        self.set("rpc.system", "grpc");
        self.set("rpc.grpc.status_code", code as i64);
    }

    pub(super) fn error(&mut self, error: &'static str) {
        self.error = Some(error);
    }

    /// Where it is noted whom the attempt is sent to.
    pub(super) fn met(&mut self) -> Arc<Met> {
        Arc::clone(self.met.get_or_insert_default())
    }

    /// Whom it was sent to (semantic conventions of network and TLS attributes).
    fn peer(&mut self, Peer { place, http, tls }: Peer) {
        match place {
            Some(Place::Network(address)) => {
                self.set("network.peer.address", address.ip().to_string());
                self.set("network.peer.port", i64::from(address.port()));
            }
            Some(Place::Local(path)) => self.set_text("network.peer.address", &path),
            None => {}
        }
        self.set("network.protocol.version", http);
        if let Some(version) = tls {
            self.set("tls.protocol.version", version);
        }
    }

    /// Ends the span and offers it to the exporter.
    pub(super) fn end(mut self, now: Instant) {
        if let Some(peer) = self.met.as_ref().and_then(|met| met.last()) {
            self.peer(peer);
        }
        if let Some(status) = self.status {
            self.set("http.response.status_code", i64::from(status.as_u16()));
        }
        let failed = self.error.is_some() || self.status.is_some_and(|status| self.is_failure(status));
        if let Some(error) = self.error {
            self.set("error.type", error);
        } else if let Some(status) = self.status.filter(|_| failed) {
            self.set("error.type", status.as_str().to_owned());
        }
        let is_callers = self.kind == SpanKind::Server && self.status.is_some_and(|status| status.is_client_error());
        let recorder = Arc::clone(&self.recorder);
        recorder.exporter.offer(self.into_data(now, failed && !is_callers));
    }

    /// HTTP semantic conventions, "Status": a 4xx is an error to the client that got it, not to the server that gave it.
    fn is_failure(&self, status: StatusCode) -> bool {
        status.is_server_error() || (self.kind == SpanKind::Client && status.is_client_error())
    }

    fn into_data(self, now: Instant, failed: bool) -> SpanData {
        let mut events = SpanEvents::default();
        events.events = self.events;
        events.dropped_count = self.dropped_events;
        let anchor = &self.recorder.anchor;
        SpanData {
            span_context: SpanContext::new(
                TraceId::from_bytes(self.cx.trace_id.to_be_bytes()),
                SpanId::from_bytes(self.cx.span_id.to_be_bytes()),
                TraceFlags::SAMPLED,
                false,
                self.recorder.trace_state.clone(),
            ),
            parent_span_id: self.parent_span_id.map_or(SpanId::INVALID, |id| SpanId::from_bytes(id.to_be_bytes())),
            parent_span_is_remote: self.kind == SpanKind::Server && self.parent_span_id.is_some(),
            start_time: anchor.at(self.started),
            end_time: anchor.at(now.max(self.started)),
            span_kind: self.kind,
            name: self.name,
            attributes: self.attributes,
            dropped_attributes_count: self.dropped_attributes,
            events,
            links: links(self.recorder.about),
            status: if failed { Status::error("") } else { Status::Unset },
            instrumentation_scope: InstrumentationScope::builder("mainstay")
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
        }
    }
}

fn links(about: Option<TraceOrigin>) -> SpanLinks {
    let mut links = SpanLinks::default();
    links.links.extend(about.map(|origin| {
        let (trace_id, span_id) = (TraceId::from_bytes(origin.trace_id), SpanId::from_bytes(origin.span_id));
        Link::with_context(SpanContext::new(trace_id, span_id, TraceFlags::SAMPLED, true, TraceState::NONE))
    }));
    links
}

pub(super) const OTHER_METHOD: &str = "_OTHER";

/// The method, if it is one of RFC 9110 or RFC 5789: an unknown one must not become an unbounded value.
pub(super) fn known_method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "CONNECT" => "CONNECT",
        "OPTIONS" => "OPTIONS",
        "TRACE" => "TRACE",
        "PATCH" => "PATCH",
        _ => OTHER_METHOD,
    }
}

/// The start of the text, at most [`MAX_TEXT`] bytes.
pub(super) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
}

pub(super) fn random_span_id() -> u64 {
    fastrand::u64(1..)
}

/// A span's name begins with the method, or with `HTTP` where the method is not a known one.
pub(super) fn short_name(method: &Method) -> &'static str {
    let known = known_method(method);
    if known == OTHER_METHOD { "HTTP" } else { known }
}
