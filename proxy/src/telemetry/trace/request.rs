//! The span of a request.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::{HeaderMap, Method, StatusCode, Version};
use mainstay_policies::{
    grpc::Code,
    operation::{OperationId, State},
};
use opentelemetry::{KeyValue, Value, trace::SpanKind};
use tokio::time::Instant;

use super::{
    attempt::{AttemptSpan, AttemptStart, TraceHandle},
    span::{Recording, short_name},
};
use crate::telemetry::propagation::context::{Ids, TraceContext, TraceId};

/// The trace of one request. Every setter costs a branch if the span is not recorded.
///
/// It ends in [`finish`](Self::finish). Dropped before, it is recorded with `error.type: client_disconnected`.
pub struct RequestTrace {
    handle: TraceHandle,
    span: Option<Box<Recording>>,
}

/// What a server span says of its request. There is no query on purpose: queries carry secrets.
#[derive(Clone, Copy, Debug)]
pub struct RequestInfo<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path alone.
    pub path: &'a str,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The host it was sent to, without port.
    pub host: Option<&'a str>,
    /// The port beside it.
    pub port: Option<u16>,
    /// Who the client is.
    pub client: Option<IpAddr>,
    /// Who sent it: the client, or a front that it is behind.
    pub peer: Option<SocketAddr>,
    /// What the caller calls itself.
    pub user_agent: Option<&'a str>,
    /// The version of HTTP.
    pub version: Version,
    /// The listener's name.
    pub listener: &'a Arc<str>,
}

impl RequestTrace {
    pub(super) fn new(handle: TraceHandle, parent: Option<Ids>, kind: SpanKind, now: Instant) -> Self {
        let span = handle.recorder.as_ref().map(|recorder| {
            let parent = parent.map(|ids| ids.span_id);
            Box::new(Recording::new(Arc::clone(recorder), handle.cx, parent, kind, now))
        });
        Self { handle, span }
    }

    /// Our context in this trace.
    pub const fn context(&self) -> &TraceContext {
        &self.handle.cx
    }

    /// The trace id, for logs and documents.
    pub const fn trace_id(&self) -> TraceId {
        self.handle.cx.trace_id()
    }

    /// Whether the trace is sampled; there may be no exporter all the same.
    pub const fn sampled(&self) -> bool {
        self.handle.cx.sampled
    }

    /// Whether there is a span to describe.
    pub const fn is_recorded(&self) -> bool {
        self.span.is_some()
    }

    /// What starts attempts; it outlives this span, as an attempt outlives a caller that leaves.
    pub const fn handle(&self) -> &TraceHandle {
        &self.handle
    }

    /// A client span for one attempt: see [`TraceHandle::attempt`].
    pub fn attempt(&self, start: &AttemptStart<'_>, now: Instant) -> AttemptSpan {
        self.handle.attempt(start, now)
    }

    /// Writes the context of this span, not of an attempt, for a hop that has no span of its own.
    pub fn inject(&self, headers: &mut HeaderMap) {
        self.handle.propagator.inject(&self.handle.cx, headers);
    }

    /// Says what was asked for.
    pub fn describe(&mut self, request: &RequestInfo<'_>) {
        let Some(span) = &mut self.span else { return };
        span.rename(short_name(request.method));
        span.set_method(request.method);
        span.set_text("url.path", request.path);
        span.set("url.scheme", request.scheme);
        if let Some(host) = request.host {
            span.set_text("server.address", host);
        }
        if let Some(port) = request.port {
            span.set("server.port", i64::from(port));
        }
        if let Some(client) = request.client {
            span.set("client.address", client.to_canonical().to_string());
        }
        if let Some(peer) = request.peer {
            span.set("network.peer.address", peer.ip().to_canonical().to_string());
            span.set("network.peer.port", i64::from(peer.port()));
        }
        if let Some(user_agent) = request.user_agent {
            span.set_text("user_agent.original", user_agent);
        }
        if let Some(version) = protocol_version(request.version) {
            span.set("network.protocol.version", version);
        }
        span.set("mainstay.listener", Arc::clone(request.listener));
    }

    /// Says which route was taken. `pattern` is the route's path as configured.
    pub fn route(&mut self, method: &Method, pattern: &str, route: &Arc<str>, policy: &Arc<str>) {
        let Some(span) = &mut self.span else { return };
        span.rename(format!("{} {pattern}", short_name(method)));
        span.set("http.route", pattern.to_owned());
        span.set("mainstay.route", Arc::clone(route));
        span.set("mainstay.policy", Arc::clone(policy));
    }

    /// Says which operation this was and where it stood.
    pub fn operation(&mut self, id: OperationId, state: State) {
        let Some(span) = &mut self.span else { return };
        span.set("mainstay.operation.id", id.to_string());
        span.set("mainstay.operation.state", state.label());
    }

    /// Says what a span is about that no request began.
    pub fn name(&mut self, name: &'static str) {
        if let Some(span) = &mut self.span {
            span.rename(name);
        }
    }

    /// Any other attribute; `value` runs only if the span is recorded.
    pub fn set<V: Into<Value>>(&mut self, key: &'static str, value: impl FnOnce() -> V) {
        if let Some(span) = &mut self.span {
            span.set(key, value());
        }
    }

    /// A decision: `rate_limited`, `breaker_open`, `replayed`, `outcome_unknown`.
    pub fn event(&mut self, name: &'static str, now: Instant) {
        self.event_with(name, now, Vec::new);
    }

    /// A decision and what it rests on; `attributes` runs only if the span is recorded.
    pub fn event_with(&mut self, name: &'static str, now: Instant, attributes: impl FnOnce() -> Vec<KeyValue>) {
        if let Some(span) = &mut self.span {
            span.event(name, now, attributes());
        }
    }

    /// The status that the caller gets; a 5xx makes the span an error, a 4xx never does.
    pub fn status(&mut self, status: StatusCode) {
        if let Some(span) = &mut self.span {
            span.status(status);
        }
    }

    /// The code that a gRPC caller gets; one that blames the service makes the span an error.
    pub fn code(&mut self, code: Code) {
        if let Some(span) = &mut self.span {
            span.code(code);
            if code.twin().is_server_error() {
                span.error(code.name());
            }
        }
    }

    /// Why the request failed, as a short fixed phrase, such as a problem's slug.
    pub fn error(&mut self, error: &'static str) {
        if let Some(span) = &mut self.span {
            span.error(error);
        }
    }

    /// Ends the span: the response, body and all, has been handed over.
    pub fn finish(mut self, now: Instant) {
        if let Some(span) = self.span.take() {
            span.end(now);
        }
    }
}

impl Drop for RequestTrace {
    fn drop(&mut self) {
        if let Some(mut span) = self.span.take() {
            span.error("client_disconnected");
            span.end(Instant::now());
        }
    }
}

fn protocol_version(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        _ => None,
    }
}
