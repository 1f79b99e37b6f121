//! What became of spans.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter},
};

/// Spans exported and dropped.
#[derive(Debug, Default)]
pub struct SpanCounters {
    exported: AtomicU64,
    queue_full: AtomicU64,
    export_failed: AtomicU64,
    shutdown: AtomicU64,
}

impl SpanCounters {
    pub(in crate::telemetry) fn exported(&self, spans: u64) {
        self.exported.fetch_add(spans, Relaxed);
    }

    pub(in crate::telemetry) fn dropped_queue_full(&self, spans: u64) {
        self.queue_full.fetch_add(spans, Relaxed);
    }

    pub(in crate::telemetry) fn dropped_export_failed(&self, spans: u64) {
        self.export_failed.fetch_add(spans, Relaxed);
    }

    pub(in crate::telemetry) fn dropped_shutdown(&self, spans: u64) {
        self.shutdown.fetch_add(spans, Relaxed);
    }

    /// Spans that a collector took.
    pub fn total_exported(&self) -> u64 {
        self.exported.load(Relaxed)
    }

    /// Spans that none took, for whatever reason.
    pub fn total_dropped(&self) -> u64 {
        self.dropped().iter().map(|(_, count)| count).sum()
    }

    fn dropped(&self) -> [(&'static str, u64); 3] {
        [
            ("queue_full", self.queue_full.load(Relaxed)),
            ("export_failed", self.export_failed.load(Relaxed)),
            ("shutdown", self.shutdown.load(Relaxed)),
        ]
    }
}

impl Collector for SpanCounters {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let exported = ConstCounter::new(self.total_exported());
        exported.encode(encoder.encode_descriptor(
            "mainstay_spans_exported",
            "Spans that the collector took",
            None,
            MetricType::Counter,
        )?)?;
        let mut dropped =
            encoder.encode_descriptor("mainstay_spans_dropped", "Spans that were lost", None, MetricType::Counter)?;
        for (reason, count) in self.dropped() {
            ConstCounter::new(count).encode(dropped.encode_family(&[("reason", reason)])?)?;
        }
        Ok(())
    }
}
