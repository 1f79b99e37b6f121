//! How long attempts take, lately: percentiles over a sliding window, for hedging.
//!
//! Eight buckets per doubling, so a percentile is at most 9 % too high; six slices of five seconds, so it follows the service
//! within half a minute. A fixed 4 KiB per route.

use std::time::Duration;

use tokio::time::Instant;

const SLICES: usize = 6;
const SLICE: Duration = Duration::from_secs(5);
/// 2^16 ns (66 µs) and less is the first bucket; 2^36 ns (69 s) and more the last.
const FIRST_POWER: u32 = 16;
const PER_DOUBLING: u64 = 8;
const BUCKETS: usize = 20 * PER_DOUBLING as usize;
/// Fewer attempts than this say nothing about their slowest twentieth.
const MIN_SAMPLES: u64 = 20;

/// Latencies of the last half minute.
#[derive(Debug)]
pub(super) struct Latencies {
    epoch: Instant,
    head: u64,
    slices: Box<[[u32; BUCKETS]; SLICES]>,
}

impl Latencies {
    pub(super) fn new(epoch: Instant) -> Self {
        Self { epoch, head: 0, slices: Box::new([[0; BUCKETS]; SLICES]) }
    }

    pub(super) fn observe(&mut self, latency: Duration, now: Instant) {
        self.advance(now);
        let count = &mut self.slices[(self.head % SLICES as u64) as usize][bucket(latency)];
        *count = count.saturating_add(1);
    }

    /// A latency that `percent` of the attempts stay below; `None` while there are too few.
    pub(super) fn percentile(&mut self, percent: u8, now: Instant) -> Option<Duration> {
        self.advance(now);
        let count = |at: usize| self.slices.iter().map(|slice| u64::from(slice[at])).sum::<u64>();
        let total: u64 = (0..BUCKETS).map(count).sum();
        if total < MIN_SAMPLES {
            return None;
        }
        let rank = (total * u64::from(percent)).div_ceil(100).max(1);
        let mut seen = 0;
        (0..BUCKETS)
            .find(|at| {
                seen += count(*at);
                seen >= rank
            })
            .map(upper_bound)
    }

    fn advance(&mut self, now: Instant) {
        let slice = (now.saturating_duration_since(self.epoch).as_nanos() / SLICE.as_nanos()) as u64;
        if slice >= self.head.saturating_add(SLICES as u64) {
            self.slices.fill([0; BUCKETS]);
            self.head = slice;
        }
        while self.head < slice {
            self.head += 1;
            self.slices[(self.head % SLICES as u64) as usize] = [0; BUCKETS];
        }
    }
}

fn bucket(latency: Duration) -> usize {
    let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX).max(1);
    let power = nanos.ilog2();
    let Some(doublings) = power.checked_sub(FIRST_POWER) else { return 0 };
    // The three bits after the first one.
    let eighth = (nanos >> (power - 3)) & (PER_DOUBLING - 1);
    (u64::from(doublings) * PER_DOUBLING + eighth).min(BUCKETS as u64 - 1) as usize
}

fn upper_bound(bucket: usize) -> Duration {
    let (doublings, eighth) = (bucket as u64 / PER_DOUBLING, bucket as u64 % PER_DOUBLING);
    Duration::from_nanos((PER_DOUBLING + eighth + 1) << (u64::from(FIRST_POWER) - 3 + doublings))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_percentile_is_right_within_an_eighth_of_a_doubling() {
        let now = Instant::now();
        let mut latencies = Latencies::new(now);
        for ms in 1..=100 {
            latencies.observe(Duration::from_millis(ms), now);
        }
        for (percent, ms) in [(50, 50.0), (95, 95.0), (99, 99.0)] {
            let found = latencies.percentile(percent, now).unwrap().as_secs_f64() * 1000.0;
            assert!((ms..=ms * 1.126).contains(&found), "p{percent}: {found}");
        }
    }

    proptest! {
        /// Beside a list of all latencies of the last half minute, sorted.
        #[test]
        fn percentiles_agree_with_a_sorted_list(
            samples in prop::collection::vec((0_u64..3000, 66_000_u64..60_000_000_000), 20..200),
            percent in 1_u8..100,
        ) {
            let start = Instant::now();
            let mut latencies = Latencies::new(start);
            let mut kept: Vec<(u64, u64)> = Vec::new();
            let mut now_ms = 0;
            for (gap_ms, nanos) in samples {
                now_ms += gap_ms;
                let now = start + Duration::from_millis(now_ms);
                latencies.observe(Duration::from_nanos(nanos), now);
                kept.push((now_ms / 5000, nanos));
                let mut recent: Vec<u64> =
                    kept.iter().filter(|(slice, _)| slice + 6 > now_ms / 5000).map(|(_, nanos)| *nanos).collect();
                recent.sort_unstable();
                let found = latencies.percentile(percent, now);
                if recent.len() < 20 {
                    prop_assert_eq!(found, None);
                } else {
                    let rank = (recent.len() * usize::from(percent)).div_ceil(100);
                    let (exact, found) = (recent[rank - 1] as f64, found.unwrap().as_nanos() as f64);
                    prop_assert!((exact..=exact * 1.126).contains(&found), "{found}, exactly {exact}");
                }
            }
        }
    }

    #[test]
    fn too_few_samples_say_nothing_and_old_ones_are_forgotten() {
        let start = Instant::now();
        let mut latencies = Latencies::new(start);
        for n in 0..20 {
            assert_eq!(latencies.percentile(95, start), None, "{n} samples");
            latencies.observe(Duration::from_millis(10), start);
        }
        assert!(latencies.percentile(95, start + Duration::from_secs(29)).is_some());
        assert_eq!(latencies.percentile(95, start + Duration::from_secs(31)), None);
    }

    #[test]
    fn every_duration_has_a_bucket_that_bounds_it() {
        for nanos in [0, 1, 65_535, 65_536, 70_000, 1_000_000, 999_999_999, 60_000_000_000] {
            let latency = Duration::from_nanos(nanos);
            assert!(upper_bound(bucket(latency)) >= latency, "{nanos}");
        }
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    }
}
