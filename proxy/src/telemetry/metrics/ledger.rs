//! How long the ledger's commits take.

use std::{fmt, sync::Arc, time::Duration};

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, metrics::MetricType};

use super::histogram::Histogram;

/// What the ledger's writer tells as it goes; how full the ledger is can be read when it is asked for.
#[derive(Debug, Default)]
pub struct LedgerMetrics {
    commits: Histogram,
}

impl LedgerMetrics {
    /// A commit took so long.
    pub fn committed(&self, took: Duration) {
        self.commits.observe(took);
    }
}

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if self.0.commits.is_empty() {
            return Ok(());
        }
        let (name, help) = ("mainstay_ledger_commit_duration_seconds", "How long the ledger's commits took");
        self.0.commits.encode(&mut encoder.encode_descriptor(name, help, None, MetricType::Histogram)?)
    }
}

/// The page's own hold on them.
#[derive(Debug)]
pub(super) struct Shown(pub(super) Arc<LedgerMetrics>);
