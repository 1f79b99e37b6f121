//! How long the ledger's commits take, and how much each carries.

use std::{fmt, sync::Arc, time::Duration};

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, metrics::MetricType};

use super::{histogram::Histogram, recent::Counts};

/// What the ledger's writer tells as it goes; how full the ledger is can be read when it is asked for.
#[derive(Debug)]
pub struct LedgerMetrics {
    commits: Histogram,
    operations: Histogram,
}

/// A batch takes 512 at most.
const OPERATIONS: [u64; 15] = [1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512];
/// Each counts as a second in a histogram of seconds.
const OPERATIONS_US: [u64; 15] = {
    let (mut bounds, mut at) = (OPERATIONS, 0);
    while at < bounds.len() {
        bounds[at] *= 1_000_000;
        at += 1;
    }
    bounds
};

impl Default for LedgerMetrics {
    fn default() -> Self {
        Self { commits: Histogram::default(), operations: Histogram::with(&OPERATIONS_US) }
    }
}

impl LedgerMetrics {
    /// A commit took so long, and carried so many begins and changes, where that is known.
    pub fn committed(&self, took: Duration, operations: Option<usize>) {
        self.commits.observe(took);
        if let Some(operations) = operations {
            self.operations.observe(Duration::from_secs(operations as u64));
        }
    }
}

impl LedgerMetrics {
    /// How long commits took.
    pub(super) fn counts(&self) -> Counts {
        Counts::new(Default::default(), self.commits.counts())
    }
}

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if self.0.commits.is_empty() {
            return Ok(());
        }
        let (name, help) = ("mainstay_ledger_commit_duration_seconds", "How long the ledger's commits took");
        self.0.commits.encode(&mut encoder.encode_descriptor(name, help, None, MetricType::Histogram)?)?;
        if self.0.operations.is_empty() {
            return Ok(());
        }
        let (name, help) = ("mainstay_ledger_batch_operations", "Begins and changes that each commit carried");
        self.0.operations.encode(&mut encoder.encode_descriptor(name, help, None, MetricType::Histogram)?)
    }
}

/// The page's own hold on them.
#[derive(Debug)]
pub(super) struct Shown(pub(super) Arc<LedgerMetrics>);
