//! The retry budget: how much load retries may add to a route.
//!
//! `balance = min_retries_per_sec * ttl + percent/100 * originals - retries`, both counted over the last `ttl`; a retry needs
//! a balance of at least 1. Counts are whole and weighed only when read, so any percentage acts as it says.
//!
//! Memory is bounded whatever the rate: time is cut into [`BUCKETS`] slices of `ttl`. An entry counts for at least `ttl` and at
//! most one slice (under 1 %) longer, never shorter; so within one `ttl` the count is exact.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::Budget;

const BUCKETS: usize = 128;
/// One more than the slices in a `ttl`: the slice in which an entry turns `ttl` old still counts.
const RING: usize = BUCKETS + 1;
/// What sums of decimal fractions may lose in binary: ten originals at 10 % are one retry.
const ROUNDING: f64 = 1e-9;

/// What was spent and earned lately; shared by every request of a route policy.
#[derive(Debug)]
pub(super) struct Balance {
    epoch: Instant,
    slice_nanos: u64,
    window: Mutex<Window>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    originals: u64,
    retries: u64,
}

#[derive(Debug)]
struct Window {
    /// The newest slice, counted from the epoch.
    head: u64,
    ring: Box<[Counts; RING]>,
    total: Counts,
}

impl Balance {
    pub(super) fn new(ttl: Duration) -> Self {
        Self::with_epoch(ttl, Instant::now())
    }

    fn with_epoch(ttl: Duration, epoch: Instant) -> Self {
        Self {
            epoch,
            slice_nanos: u64::try_from(ttl.as_nanos() / BUCKETS as u128).unwrap_or(u64::MAX).max(1),
            window: Mutex::new(Window { head: 0, ring: Box::new([Counts::default(); RING]), total: Counts::default() }),
        }
    }

    /// The same history seen through another `ttl`.
    pub(super) fn resized(&self, ttl: Duration) -> Self {
        let new = Self::with_epoch(ttl, self.epoch);
        let old = self.window.lock();
        {
            let mut window = new.window.lock();
            let first = old.head.saturating_sub(BUCKETS as u64);
            for slice in first..=old.head {
                let counts = old.ring[ring_index(slice)];
                window.advance(slice.saturating_mul(self.slice_nanos) / new.slice_nanos);
                window.add(counts);
            }
        }
        new
    }

    /// An original request arrived.
    pub(super) fn deposit(&self, now: Instant) {
        let slice = self.slice(now);
        let mut window = self.window.lock();
        window.advance(slice);
        window.add(Counts { originals: 1, retries: 0 });
    }

    /// Takes one retry if the balance has it; looks and takes under one lock, so it cannot overspend.
    pub(super) fn withdraw(&self, params: &Budget, now: Instant) -> bool {
        let slice = self.slice(now);
        let mut window = self.window.lock();
        window.advance(slice);
        let affordable = balance(params, window.total) >= 1.0 - ROUNDING;
        if affordable {
            window.add(Counts { originals: 0, retries: 1 });
        }
        affordable
    }

    pub(super) fn balance(&self, params: &Budget, now: Instant) -> f64 {
        let slice = self.slice(now);
        let mut window = self.window.lock();
        window.advance(slice);
        balance(params, window.total)
    }

    fn slice(&self, now: Instant) -> u64 {
        let age = now.saturating_duration_since(self.epoch).as_nanos();
        u64::try_from(age).unwrap_or(u64::MAX) / self.slice_nanos
    }
}

/// Negative or undefined parameters count as 0.
fn balance(params: &Budget, total: Counts) -> f64 {
    let floor = params.min_retries_per_sec.max(0.0) * params.ttl.as_secs_f64();
    let earned = params.percent.max(0.0) * total.originals as f64 / 100.0;
    floor + earned - total.retries as f64
}

impl Window {
    /// Moves to `slice`; a thread that read the clock a little earlier counts into the newest slice.
    fn advance(&mut self, slice: u64) {
        if slice <= self.head {
            return;
        }
        if slice - self.head >= RING as u64 {
            self.ring.fill(Counts::default());
            self.total = Counts::default();
        } else {
            for expired in self.head + 1..=slice {
                let counts = std::mem::take(&mut self.ring[ring_index(expired)]);
                self.total.originals -= counts.originals;
                self.total.retries -= counts.retries;
            }
        }
        self.head = slice;
    }

    fn add(&mut self, counts: Counts) {
        let bucket = &mut self.ring[ring_index(self.head)];
        bucket.originals += counts.originals;
        bucket.retries += counts.retries;
        self.total.originals += counts.originals;
        self.total.retries += counts.retries;
    }
}

const fn ring_index(slice: u64) -> usize {
    (slice % RING as u64) as usize
}
