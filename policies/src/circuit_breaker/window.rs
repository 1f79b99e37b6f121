//! Counts over a sliding window of ten buckets.

use std::time::Duration;

use tokio::time::Instant;

const BUCKETS: u64 = 10;

/// What completed in one bucket, or in the whole window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls.
    pub requests: u64,
    /// Those of them that failed.
    pub errors: u64,
    /// Those of them that were slow.
    pub slow: u64,
}

/// A completion counts for at most the window and at least nine tenths of it.
#[derive(Debug)]
pub(super) struct Window {
    epoch: Instant,
    bucket_nanos: u64,
    head: u64,
    buckets: [Counts; BUCKETS as usize],
    total: Counts,
}

impl Window {
    pub(super) fn new(window: Duration, epoch: Instant) -> Self {
        Self {
            epoch,
            bucket_nanos: (u64::try_from(window.as_nanos()).unwrap_or(u64::MAX) / BUCKETS).max(1),
            head: 0,
            buckets: [Counts::default(); BUCKETS as usize],
            total: Counts::default(),
        }
    }

    pub(super) fn clear(&mut self) {
        self.buckets.fill(Counts::default());
        self.total = Counts::default();
    }

    /// Counts a completion in the newest bucket; what the window holds with it.
    pub(super) fn add(&mut self, error: bool, slow: bool) -> Counts {
        let bucket = &mut self.buckets[(self.head % BUCKETS) as usize];
        for counts in [bucket, &mut self.total] {
            counts.requests += 1;
            counts.errors += u64::from(error);
            counts.slow += u64::from(slow);
        }
        self.total
    }

    /// The counts of each bucket at `now`, the oldest first.
    pub(super) fn buckets(&mut self, now: Instant) -> [Counts; BUCKETS as usize] {
        self.at(now);
        let mut oldest_first = self.buckets;
        // The place after the newest one is that of the oldest.
        oldest_first.rotate_left(((self.head + 1) % BUCKETS) as usize);
        oldest_first
    }

    /// The counts at `now`; a thread that read the clock a little earlier sees the newest bucket.
    pub(super) fn at(&mut self, now: Instant) -> Counts {
        let age = u64::try_from(now.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX);
        let bucket = age / self.bucket_nanos;
        if bucket >= self.head.saturating_add(BUCKETS) {
            self.clear();
            self.head = bucket;
        }
        while self.head < bucket {
            self.head += 1;
            let expired = std::mem::take(&mut self.buckets[(self.head % BUCKETS) as usize]);
            self.total.requests -= expired.requests;
            self.total.errors -= expired.errors;
            self.total.slow -= expired.slow;
        }
        self.total
    }
}
