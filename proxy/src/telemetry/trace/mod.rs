//! Spans: one for each request, one for each attempt, exported by OTLP.
//!
//! [`Tracing::start`] reads the caller's context, decides and draws ids; that much every request pays. A span is built only
//! if the trace is sampled *and* there is an exporter. Spans end in `finish`; one that is dropped before says so in
//! `error.type`, so a trace shows also the requests whose callers left.
//!
//! Sampling is parent-based: the caller's decision stands; where there is none, the trace id decides by `sample_ratio`, so
//! that every hop with the same ratio decides alike.
//!
//! Without an exporter there is no footprint: trace headers pass byte for byte and none is added, since a span that nobody
//! exports would be a hole between the caller's and the service's. Logs and documents then name the caller's trace, or one
//! that goes nowhere else.

mod attempt;
mod export;
mod otlp;
mod request;
mod span;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use http::HeaderMap;
use mainstay_policies::operation::TraceOrigin;
use opentelemetry::{
    KeyValue,
    trace::{SpanKind, TraceState},
};
use opentelemetry_sdk::{Resource, resource::TelemetryResourceDetector};
use tokio::time::Instant;

use self::{
    export::Exporter,
    span::{Anchor, Recorder, random_span_id},
};
use super::{
    metrics::SpanCounters,
    propagation::{
        Propagator,
        context::{Parent, TraceContext},
    },
};
use crate::config::model::{Otlp, Telemetry};

pub use self::{
    attempt::{AttemptSpan, AttemptStart, SpanFields, TraceHandle},
    request::{RequestInfo, RequestTrace},
};

/// How long the spans of a replaced exporter may take to leave.
const RETIRE_WITHIN: Duration = Duration::from_secs(2);

/// Starts traces; one for the process.
pub struct Tracing {
    settings: ArcSwap<Settings>,
    instance: String,
    counters: Arc<SpanCounters>,
}

/// What one configuration says; replaced as a whole.
struct Settings {
    /// What is read of a caller's context, and written where there is an exporter.
    propagator: Propagator,
    sampler: RatioSampler,
    destination: Option<Destination>,
    exporter: Option<Arc<Exporter>>,
}

/// What an exporter depends on: if this stays, it stays.
#[derive(Clone, PartialEq)]
struct Destination {
    service_name: String,
    resource: Vec<(String, String)>,
    otlp: Otlp,
}

impl Tracing {
    /// Traces as `telemetry` says. `instance` becomes `service.instance.id`.
    pub fn new(telemetry: &Telemetry, instance: &str, counters: Arc<SpanCounters>) -> Self {
        let tracing =
            Self { settings: ArcSwap::from_pointee(Settings::empty()), instance: instance.to_owned(), counters };
        tracing.apply(telemetry);
        tracing
    }

    /// Goes on as `telemetry` says. An exporter whose destination changed sends what it has and ends by itself.
    pub fn apply(&self, telemetry: &Telemetry) {
        let destination = telemetry.otlp.clone().map(|otlp| Destination {
            service_name: telemetry.service_name.clone(),
            resource: telemetry.resource.clone(),
            otlp,
        });
        let old = self.settings.load_full();
        let kept = old.destination == destination;
        let exporter = if kept { old.exporter.clone() } else { destination.as_ref().and_then(|to| self.exporter(to)) };
        self.settings.store(Arc::new(Settings {
            propagator: Propagator::new(&telemetry.propagation),
            sampler: RatioSampler::new(telemetry.sample_ratio),
            destination,
            exporter,
        }));
        if let Some(replaced) = old.exporter.as_ref().filter(|_| !kept) {
            replaced.retire(Instant::now() + RETIRE_WITHIN);
        }
    }

    fn exporter(&self, to: &Destination) -> Option<Arc<Exporter>> {
        // The environment was read with the configuration; the SDK's own reading of it would drop what is wrong in silence.
        let resource = Resource::builder_empty()
            .with_detector(Box::new(TelemetryResourceDetector))
            .with_attributes([
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("service.instance.id", self.instance.clone()),
            ])
            .with_attributes(to.resource.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())))
            .with_service_name(to.service_name.clone())
            .build();
        match Exporter::start(&to.otlp, &resource, Arc::clone(&self.counters)) {
            Ok(exporter) => Some(Arc::new(exporter)),
            Err(error) => {
                tracing::error!(%error, "no spans are exported");
                None
            }
        }
    }

    /// The trace of a request that arrived at `now` with these headers.
    pub fn start(&self, headers: &HeaderMap, now: Instant) -> RequestTrace {
        let settings = self.settings.load();
        let parent = settings.propagator.extract(headers);
        let cx = settings.context(parent.as_ref());
        let recorder = settings.exporter.as_ref().filter(|_| cx.sampled).map(|exporter| {
            Arc::new(Recorder {
                exporter: Arc::clone(exporter),
                anchor: Anchor::new(now),
                trace_state: span::trace_state(&cx, headers),
                about: None,
            })
        });
        let handle = TraceHandle { cx, propagator: settings.written(), recorder };
        RequestTrace::new(handle, parent.and_then(|parent| parent.ids), SpanKind::Server, now)
    }

    /// A trace of what nobody asked for, about the request of which `origin` is the span. Recorded if that one was; a trace
    /// of its own, since it may come a day later.
    pub fn start_about(&self, origin: Option<TraceOrigin>, now: Instant) -> RequestTrace {
        let settings = self.settings.load();
        let cx = TraceContext { sampled: origin.is_some(), ..settings.context(None) };
        let recorder = settings.exporter.as_ref().filter(|_| cx.sampled).map(|exporter| {
            Arc::new(Recorder {
                exporter: Arc::clone(exporter),
                anchor: Anchor::new(now),
                trace_state: TraceState::NONE,
                about: origin,
            })
        });
        let handle = TraceHandle { cx, propagator: settings.written(), recorder };
        RequestTrace::new(handle, None, SpanKind::Internal, now)
    }

    /// Sends what is queued, for at most `within`. Spans that end later are dropped and counted.
    pub async fn shutdown(&self, within: Duration) {
        let deadline = Instant::now() + within;
        if let Some(exporter) = &self.settings.load_full().exporter {
            exporter.retire(deadline);
            exporter.ended(deadline).await;
        }
    }
}

impl Settings {
    fn empty() -> Self {
        Self { propagator: Propagator::SILENT, sampler: RatioSampler::new(0.0), destination: None, exporter: None }
    }

    /// The formats that our context is written in.
    fn written(&self) -> Propagator {
        if self.exporter.is_some() { self.propagator } else { Propagator::SILENT }
    }

    /// Our span's context under that parent. Without an exporter there is no span, and nobody is told of one.
    fn context(&self, parent: Option<&Parent>) -> TraceContext {
        let ids = parent.and_then(|parent| parent.ids);
        let trace_id = ids.map_or_else(random_trace_id, |ids| ids.trace_id);
        TraceContext {
            trace_id,
            span_id: if self.exporter.is_some() { random_span_id() } else { 0 },
            sampled: parent.and_then(|parent| parent.decision).unwrap_or_else(|| self.sampler.samples(trace_id)),
            debug: parent.is_some_and(|parent| parent.debug),
            random: parent.is_some_and(|parent| parent.random),
            origin: parent.filter(|_| ids.is_some()).map(|parent| parent.format),
        }
    }
}

/// OpenTelemetry's `TraceIdRatioBased`, over the low 63 bits.
struct RatioSampler {
    below: u64,
}

impl RatioSampler {
    fn new(ratio: f64) -> Self {
        Self { below: (ratio.clamp(0.0, 1.0) * (1_u64 << 63) as f64) as u64 }
    }

    fn samples(&self, trace_id: u128) -> bool {
        (trace_id as u64) >> 1 < self.below
    }
}

fn random_trace_id() -> u128 {
    fastrand::u128(1..)
}
