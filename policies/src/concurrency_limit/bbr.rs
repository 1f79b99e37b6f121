//! Load shedding on CPU; pure. The formula stands in the room's documentation.

use std::time::Duration;

use tokio::time::Instant;

use super::Bbr;

/// As in Kratos: fine enough that the busiest one is a peak, and coarse enough that it is no accident.
const BUCKETS: usize = 100;

/// Requests that the service answered in one bucket's time.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    passes: u32,
    /// How long all of them together held a place.
    held_nanos: u64,
}

/// What a service was seen to take, and whether a request is one too many.
#[derive(Debug)]
pub(super) struct Shedder {
    params: Bbr,
    epoch: Instant,
    bucket_nanos: u64,
    /// The bucket that is being filled, counted from `epoch`.
    head: u64,
    /// The bucket of number `n` lies at `n % BUCKETS`.
    buckets: [Bucket; BUCKETS],
    /// By every bucket but the head, so it changes only when the head moves.
    capacity: Option<u32>,
    /// When a request was shed last while the CPU was busy.
    last_shed: Option<Instant>,
}

impl Shedder {
    pub(super) fn new(params: Bbr, epoch: Instant) -> Self {
        let nanos = u64::try_from(params.window.as_nanos()).unwrap_or(u64::MAX);
        Self {
            params,
            epoch,
            bucket_nanos: (nanos / BUCKETS as u64).max(1),
            head: 0,
            buckets: [Bucket::default(); BUCKETS],
            capacity: None,
            last_shed: None,
        }
    }

    /// A request that held a place for `held` was answered.
    pub(super) fn passed(&mut self, held: Duration, now: Instant) {
        self.advance(now);
        let bucket = &mut self.buckets[slot(self.head)];
        bucket.passes = bucket.passes.saturating_add(1);
        bucket.held_nanos = bucket.held_nanos.saturating_add(u64::try_from(held.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Whether a request that comes while `in_flight` others hold a place is one too many. `cpu` is the share in use, from 0
    /// to 1, if it is known.
    pub(super) fn sheds(&mut self, in_flight: u32, cpu: Option<f64>, now: Instant) -> bool {
        if !self.is_armed(cpu, now) {
            return false;
        }
        let Some(capacity) = self.capacity(now) else { return false };
        let over = in_flight > capacity.max(1);
        if over && self.is_busy(cpu) {
            self.last_shed = Some(now);
        }
        over
    }

    /// Whether requests over the capacity are shed now.
    pub(super) fn is_armed(&self, cpu: Option<f64>, now: Instant) -> bool {
        let is_cooling = self.last_shed.is_some_and(|shed| now.saturating_duration_since(shed) < self.params.cool_off);
        is_cooling || self.is_busy(cpu)
    }

    /// How many requests the service was seen to work at without making them wait; `None` if none was answered in the window.
    pub(super) fn capacity(&mut self, now: Instant) -> Option<u32> {
        self.advance(now);
        self.capacity
    }

    fn is_busy(&self, cpu: Option<f64>) -> bool {
        cpu.is_some_and(|cpu| cpu >= f64::from(self.params.cpu_percent) / 100.0)
    }

    /// Makes the bucket of `now` the head. A thread that read the clock a little earlier sees the newest one.
    fn advance(&mut self, now: Instant) {
        let age = u64::try_from(now.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX);
        let bucket = age / self.bucket_nanos;
        if bucket <= self.head {
            return;
        }
        if bucket - self.head >= BUCKETS as u64 {
            self.buckets.fill(Bucket::default());
        } else {
            (self.head + 1..=bucket).for_each(|fresh| self.buckets[slot(fresh)] = Bucket::default());
        }
        self.head = bucket;
        self.capacity = self.estimate();
    }

    /// The highest throughput times the lowest latency, to the nearest whole request. The head is empty here.
    fn estimate(&self) -> Option<u32> {
        let answered = || self.buckets.iter().filter(|bucket| bucket.passes > 0);
        let passes = answered().map(|bucket| bucket.passes).max()?;
        let latency_nanos = answered().map(|bucket| bucket.held_nanos / u64::from(bucket.passes)).min()?;
        let bucket_nanos = u128::from(self.bucket_nanos);
        let twice = 2 * u128::from(passes) * u128::from(latency_nanos);
        Some(u32::try_from((twice + bucket_nanos) / (2 * bucket_nanos)).unwrap_or(u32::MAX))
    }
}

fn slot(bucket: u64) -> usize {
    (bucket % BUCKETS as u64) as usize
}

#[cfg(test)]
mod tests;
