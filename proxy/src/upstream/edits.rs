//! What an upstream changes of every head that goes to it, whoever sends it: a first attempt, a retry, a write that is sent again
//! without its caller, a status query.
//!
//! It is done where a request goes out, and nowhere before: what is recorded of a write, and what its fingerprint is of, is the
//! request as it came. So no credential that is set here is ever stored, and a new one is with the next attempt.
//!
//! An upstream beyond our own systems (`forward: external`) learns nothing of them: not who calls the service, over which hosts
//! and addresses, in which trace, how long is waited, or what software stands there. `Via` alone stays, with the pseudonym by which
//! this proxy knows its own requests again.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, header::VIA};
use http_body::{Body, Frame, SizeHint};

use super::head::RequestHead;
use crate::{
    config::model::{self, Forward},
    wire::{
        body::{BoxError, ProxyBody, Stream},
        field_source::SetFields,
        forward::{is_of_a_front, remove_where},
    },
};

/// Names that belong to a trace or to what is handed along with one, of whatever kind.
const TRACE_NAMES: [&str; 21] = [
    // W3C.
    "traceparent",
    "tracestate",
    "tracechild",
    "traceresponse",
    "baggage",
    "correlation-context",
    // B3, in one field; in several by their prefix.
    "b3",
    // Jaeger.
    "uber-trace-id",
    "jaeger-debug-id",
    "jaeger-baggage",
    // OpenCensus over gRPC.
    "grpc-trace-bin",
    "grpc-tags-bin",
    // Clouds and vendors.
    "x-cloud-trace-context",
    "x-amzn-trace-id",
    "sentry-trace",
    "newrelic",
    "elastic-apm-traceparent",
    "sw8",
    "sw8-correlation",
    "sw8-x",
    "x-ot-span-context",
];

/// The same by how they begin.
const TRACE_PREFIXES: [&str; 5] = ["x-b3-", "uberctx-", "ot-tracer-", "ot-baggage-", "x-datadog-"];

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What is changed of every head that goes to one upstream.
pub(super) struct Edits {
    forward: Forward,
    remove: Vec<HeaderName>,
    /// Their values come from files.
    set: Option<Arc<SetFields>>,
}

impl Edits {
    /// Those of an upstream; `None` where every head passes as it is.
    pub(super) fn of(params: &model::Upstream, set: Option<&Arc<SetFields>>) -> Option<Arc<Self>> {
        let has_none = params.forward == Forward::Internal && params.remove.is_empty() && set.is_none();
        let edits = || Self { forward: params.forward, remove: params.remove.clone(), set: set.cloned() };
        (!has_none).then(|| Arc::new(edits()))
    }

    /// The fields as they go out, with what the attempt adds to them.
    pub(super) fn apply(&self, head: RequestHead<'_>) -> HeaderMap {
        let mut headers = head.headers.clone();
        if let Some(added) = head.added {
            added.apply(&mut headers);
            if self.forward == (Forward::External { trace: true }) {
                added.trace.as_w3c().inject(&mut headers);
            }
        }
        if let Forward::External { trace } = self.forward {
            conceal(&mut headers, trace);
        }
        for name in &self.remove {
            headers.remove(name);
        }
        if let Some(set) = &self.set {
            for (name, value) in set.config().iter() {
                headers.insert(name.clone(), value.clone());
            }
        }
        headers
    }

    /// A body with what may come behind it: what is taken out of the head must not stand in the trailers. Only a body that
    /// streams can have any.
    pub(super) fn apply_to_body(self: &Arc<Self>, body: ProxyBody) -> ProxyBody {
        match body {
            ProxyBody::Stream(body) => ProxyBody::stream(Edited { body, edits: self.clone() }),
            whole @ (ProxyBody::Empty | ProxyBody::Full(_)) => whole,
        }
    }

    /// Nothing in trailers is this proxy's own, so no trace stays.
    fn apply_to_trailers(&self, trailers: &mut HeaderMap) {
        if let Forward::External { .. } = self.forward {
            conceal(trailers, false);
        }
        for name in &self.remove {
            trailers.remove(name);
        }
    }
}

/// A body whose trailers tell no more than the head that it goes with.
struct Edited {
    body: Stream,
    edits: Arc<Edits>,
}

impl Body for Edited {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        let edited = |frame: Frame<Bytes>| match frame.into_trailers() {
            Ok(mut trailers) => {
                this.edits.apply_to_trailers(&mut trailers);
                Frame::trailers(trailers)
            }
            Err(data) => data,
        };
        Poll::Ready(frame.map(|frame| frame.map(edited)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Takes out what tells of our own systems.
fn conceal(headers: &mut HeaderMap, keeps_traceparent: bool) {
    // Ours is the last, whoever wrote it: this process, or one before it that had recorded the request.
    if let Some(own) = headers.get_all(VIA).iter().next_back().cloned() {
        headers.insert(VIA, own);
    }
    remove_where(headers, |name| is_telling(name) && !(keeps_traceparent && *name == TRACEPARENT));
}

/// Whether a field of this name tells of our own systems.
fn is_telling(name: &HeaderName) -> bool {
    let text = name.as_str();
    is_of_a_front(name)
        || text.starts_with("mainstay-")
        || TRACE_NAMES.contains(&text)
        || TRACE_PREFIXES.iter().any(|prefix| text.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_requests_own_is_never_taken_for_a_trace() {
        for name in [
            "host",
            "idempotency-key",
            "prefer",
            "x-request-id",
            "request-id",
            "traces",
            "x-b2-key",
            "x-forward",
            "via",
        ] {
            assert!(!is_telling(&HeaderName::from_static(name)), "{name}");
        }
    }

    #[test]
    fn of_all_the_ways_only_the_last_step_is_told() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("via", "1.1 front, 1.1 mainstay-0000000000000000"),
            ("via", "1.1 mainstay-1111111111111111"),
            ("traceparent", "00-1-2-01"),
            ("tracestate", "a=b"),
            ("x-b3-traceid", "1"),
            ("accept", "*/*"),
        ] {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        let mut traced = headers.clone();
        conceal(&mut headers, false);
        let left: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(left, [("via", "1.1 mainstay-1111111111111111"), ("accept", "*/*")]);
        conceal(&mut traced, true);
        assert_eq!((traced.len(), &traced["traceparent"]), (3, &"00-1-2-01".parse::<http::HeaderValue>().unwrap()));
    }
}
