//! A latency histogram without a lock: two atomic additions per observation.
//!
//! `prometheus_client`'s own takes a mutex, which the threads that serve one route would share.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use prometheus_client::encoding::{MetricEncoder, NoLabelSet};

/// Upper bounds of how long writes are in doubt, in microseconds: from a late answer's moment to the day after which a person is
/// called.
pub(super) const DOUBT_US: [u64; 15] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    900_000_000,
    3_600_000_000,
    14_400_000_000,
    43_200_000_000,
    86_400_000_000,
];

/// Upper bounds in microseconds: from what the proxy itself adds to the longest usual timeout, about 2.5 times apart.
const BOUNDS_US: [u64; 15] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 30_000_000,
];

/// Buckets of a histogram: one for each bound, and one for what is above all of them.
pub(super) const BUCKETS: usize = BOUNDS_US.len() + 1;

/// The duration that such a share of what the buckets of a histogram with the usual bounds hold did not exceed, in milliseconds:
/// somewhere between the bounds of its bucket, as far as its place in it goes, and the highest bound for what is above all.
pub(super) fn quantile(buckets: &[u32; BUCKETS], share: f64) -> Option<f64> {
    let all: u64 = buckets.iter().map(|count| u64::from(*count)).sum();
    let (rank, mut below, mut low) = (share * all as f64, 0.0, 0.0);
    for (at, count) in buckets.iter().enumerate() {
        let Some(high) = BOUNDS_US.get(at).map(|bound| *bound as f64 / 1e3) else { break };
        let count = f64::from(*count);
        if count > 0.0 && below + count >= rank {
            return Some(low + (high - low) * (rank - below) / count);
        }
        (below, low) = (below + count, high);
    }
    (all > 0).then_some(low)
}

/// A histogram of durations, in seconds.
#[derive(Debug)]
pub(super) struct Histogram {
    bounds_us: &'static [u64; BOUNDS_US.len()],
    sum_ns: AtomicU64,
    /// Observations at or below the bound of the same index and above the one before; the last is everything above.
    buckets: [AtomicU64; BUCKETS],
}

impl Default for Histogram {
    fn default() -> Self {
        Self::with(&BOUNDS_US)
    }
}

impl Histogram {
    /// An empty one with other bounds.
    pub(super) fn with(bounds_us: &'static [u64; BOUNDS_US.len()]) -> Self {
        Self { bounds_us, sum_ns: AtomicU64::default(), buckets: Default::default() }
    }

    /// Whether nothing was observed.
    pub(super) fn is_empty(&self) -> bool {
        self.buckets.iter().all(|count| count.load(Relaxed) == 0)
    }

    /// How many are in each bucket.
    pub(super) fn counts(&self) -> [u64; BUCKETS] {
        std::array::from_fn(|at| self.buckets[at].load(Relaxed))
    }

    /// The upper bound, in seconds, of the bucket that holds such a duration.
    pub(super) fn bound_of(&self, duration: Duration) -> f64 {
        let ns = nanos(duration);
        let bound = self.bounds_us.iter().find(|bound| ns <= **bound * 1_000);
        bound.map_or(f64::INFINITY, |bound| *bound as f64 / 1e6)
    }

    pub(super) fn observe(&self, duration: Duration) {
        let ns = nanos(duration);
        self.buckets[self.bucket(ns)].fetch_add(1, Relaxed);
        self.sum_ns.fetch_add(ns, Relaxed);
    }

    /// Counts an observation whose sum nobody asks for: one addition.
    pub(super) fn count(&self, duration: Duration) {
        self.buckets[self.bucket(nanos(duration))].fetch_add(1, Relaxed);
    }

    /// Most observations are short, so the scan from below is short too.
    fn bucket(&self, ns: u64) -> usize {
        self.bounds_us.iter().position(|bound| ns <= bound * 1_000).unwrap_or(BOUNDS_US.len())
    }

    pub(super) fn encode(&self, encoder: &mut MetricEncoder<'_>) -> std::fmt::Result {
        let bounds = self.bounds_us.iter().map(|bound| *bound as f64 / 1e6).chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(self.buckets.iter().map(|count| count.load(Relaxed))).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(self.sum_ns.load(Relaxed) as f64 / 1e9, count, &buckets, None)
    }
}

/// Nanoseconds, as far as 64 bits go (584 years).
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
