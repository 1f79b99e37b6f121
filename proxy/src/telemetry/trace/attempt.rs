//! The span of an attempt.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, Method, StatusCode};
use mainstay_policies::{grpc::Code, operation::TraceOrigin};
use opentelemetry::trace::SpanKind;
use tokio::time::Instant;

use super::span::{Recorder, Recording, random_span_id, short_name};
use crate::{
    config::model::{Endpoint, Propagation},
    telemetry::propagation::{
        Propagator,
        context::{TraceContext, TraceId},
    },
    wire::peer::Met,
};

/// Starts attempts in a request's trace; cheap to clone, and independent of the request's own span.
#[derive(Clone)]
pub struct TraceHandle {
    pub(super) cx: TraceContext,
    pub(super) propagator: Propagator,
    pub(super) recorder: Option<Arc<Recorder>>,
}

/// What a client span says of its attempt.
#[derive(Clone, Copy, Debug)]
pub struct AttemptStart<'a> {
    /// From 1.
    pub number: u32,
    /// The method.
    pub method: &'a Method,
    /// The path alone; for a status query its template, since the path holds the key.
    pub path: &'a str,
    /// The endpoint, as the configuration has it.
    pub endpoint: &'a Endpoint,
    /// The upstream's name.
    pub upstream: &'a Arc<str>,
    /// Why it is tried again; `None` for the first.
    pub retry_reason: Option<&'static str>,
}

impl TraceHandle {
    /// The trace id, for logs.
    pub const fn trace_id(&self) -> TraceId {
        self.cx.trace_id()
    }

    /// The request's span, if it is recorded.
    pub fn origin(&self) -> Option<TraceOrigin> {
        let (trace_id, span_id) = (self.cx.trace_id.to_be_bytes(), self.cx.span_id.to_be_bytes());
        self.recorder.as_ref().map(|_| TraceOrigin { trace_id, span_id })
    }

    /// A client span for one attempt, with an id of its own under the request's span.
    pub fn attempt(&self, start: &AttemptStart<'_>, now: Instant) -> AttemptSpan {
        let is_told = self.recorder.is_some() || !self.propagator.is_silent();
        let cx = if is_told { TraceContext { span_id: random_span_id(), ..self.cx } } else { self.cx };
        let span = self.recorder.as_ref().map(|recorder| {
            let recorder = Arc::clone(recorder);
            let mut span = Recording::new(recorder, cx, Some(self.cx.span_id), SpanKind::Client, now);
            span.rename(short_name(start.method));
            span.set_method(start.method);
            describe(&mut span, start);
            span.set_text("url.path", start.path);
            span.set("mainstay.upstream", Arc::clone(start.upstream));
            if start.number > 1 {
                span.set("http.request.resend_count", i64::from(start.number - 1));
            }
            if let Some(reason) = start.retry_reason {
                span.set("mainstay.retry.reason", reason);
            }
            Box::new(span)
        });
        AttemptSpan { cx, propagator: self.propagator, span }
    }
}

/// Where it goes. Of a Unix socket the address is its path, as the semantic conventions have it.
fn describe(span: &mut Recording, start: &AttemptStart<'_>) {
    let Endpoint { authority, is_secure, socket, .. } = start.endpoint;
    if let Some(path) = socket {
        span.set_text("server.address", &path.to_string_lossy());
        span.set("network.transport", "unix");
    } else {
        span.set_text("server.address", authority.host().trim_matches(['[', ']']));
        if let Some(port) = authority.port_u16() {
            span.set("server.port", i64::from(port));
        }
    }
    let scheme = if *is_secure { "https" } else { "http" };
    span.set_text("url.full", &format!("{scheme}://{authority}{}", start.path));
}

/// The header fields that name a span to the next hop, in every configured format.
#[derive(Clone, Copy, Debug)]
pub struct SpanFields {
    cx: TraceContext,
    propagator: Propagator,
}

impl SpanFields {
    /// Those of `cx`, in the formats of `propagator`.
    pub const fn new(cx: TraceContext, propagator: Propagator) -> Self {
        Self { cx, propagator }
    }

    /// The same as `traceparent`, whatever the formats; nothing where nothing is told.
    pub(crate) fn as_w3c(&self) -> Self {
        let propagator =
            if self.propagator.is_silent() { Propagator::SILENT } else { Propagator::new(&[Propagation::W3c]) };
        Self { cx: self.cx, propagator }
    }

    /// Hands each, name and value, to `put`.
    pub fn write(&self, put: &mut impl FnMut(&'static str, &[u8])) {
        self.propagator.write(&self.cx, put);
    }

    /// Whether the field `name` of a request with these `headers` must not stand beside them.
    pub fn replaces(&self, name: &HeaderName, headers: &HeaderMap) -> bool {
        self.propagator.replaces(&self.cx, name, headers)
    }

    /// Puts them into `headers`, in place of what was there.
    pub fn inject(&self, headers: &mut HeaderMap) {
        self.propagator.inject(&self.cx, headers);
    }
}

/// The trace of one attempt.
///
/// It ends in [`finish`](Self::finish). Dropped before, it is recorded with `error.type: cancelled`.
pub struct AttemptSpan {
    cx: TraceContext,
    propagator: Propagator,
    span: Option<Box<Recording>>,
}

impl AttemptSpan {
    /// The context that the upstream sees as its parent.
    pub const fn context(&self) -> &TraceContext {
        &self.cx
    }

    /// Its trace, if the span is exported: whoever is given the trace finds the attempt there.
    pub fn exported_trace(&self) -> Option<String> {
        self.span.is_some().then(|| self.cx.trace_id().to_string())
    }

    /// Where it is noted whom it is sent to, if somebody will read that.
    pub(crate) fn met(&mut self) -> Option<Arc<Met>> {
        self.span.as_mut().map(|span| span.met())
    }

    /// What the upstream is told of it.
    pub const fn fields(&self) -> SpanFields {
        SpanFields::new(self.cx, self.propagator)
    }

    /// Writes this attempt's context in every configured format, in place of what was there.
    pub fn inject(&self, headers: &mut HeaderMap) {
        self.fields().inject(headers);
    }

    /// Something that befell this attempt.
    pub fn event(&mut self, name: &'static str, now: Instant) {
        if let Some(span) = &mut self.span {
            span.event(name, now, Vec::new());
        }
    }

    /// The upstream's status; a 4xx or 5xx makes the span an error.
    pub fn status(&mut self, status: StatusCode) {
        if let Some(span) = &mut self.span {
            span.status(status);
        }
    }

    /// The code of its gRPC answer; any but OK makes the span an error.
    pub fn code(&mut self, code: Code) {
        if let Some(span) = &mut self.span {
            span.code(code);
            if code != Code::Ok {
                span.error(code.name());
            }
        }
    }

    /// What is left of it, for whoever learns later how it ended; this one is over.
    pub(crate) fn take(&mut self) -> Self {
        Self { cx: self.cx, propagator: self.propagator, span: self.span.take() }
    }

    /// Why the attempt failed: [`Cause::label`](mainstay_policies::evidence::Cause::label).
    pub fn error(&mut self, error: &'static str) {
        if let Some(span) = &mut self.span {
            span.error(error);
        }
    }

    /// Ends the span.
    pub fn finish(mut self, now: Instant) {
        if let Some(span) = self.span.take() {
            span.end(now);
        }
    }
}

impl Drop for AttemptSpan {
    fn drop(&mut self) {
        if let Some(mut span) = self.span.take() {
            span.error("cancelled");
            span.end(Instant::now());
        }
    }
}
