//! Hand-computed cases, and the rule against a model that keeps everything it ever saw.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::{BUCKETS, Bbr, Shedder};

const BUSY: Option<f64> = Some(0.8);
const IDLE: Option<f64> = Some(0.799);

/// Ten seconds, so that a bucket is 100 ms.
fn params() -> Bbr {
    Bbr { cpu_percent: 80, window: Duration::from_secs(10), cool_off: Duration::from_secs(1) }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A service that answered `passes` requests, of `held_ms` each, in the bucket that begins at `at_ms`.
fn seen(answered: &[(u64, u32, u64)]) -> (Shedder, Instant) {
    let epoch = Instant::now();
    let mut shedder = Shedder::new(params(), epoch);
    for (at_ms, passes, held_ms) in answered {
        (0..*passes).for_each(|_| shedder.passed(ms(*held_ms), epoch + ms(*at_ms)));
    }
    (shedder, epoch)
}

#[test]
fn the_capacity_is_the_highest_throughput_times_the_lowest_latency() {
    for (answered, at_ms, capacity) in [
        // 20 in 100 ms are 200 a second; at 50 ms each, ten are at work.
        (&[(0, 20, 50)][..], 100, Some(10)),
        // The peak of one bucket and the latency of another: 20 / 100 ms * 30 ms.
        (&[(0, 20, 50), (100, 2, 30)], 200, Some(6)),
        // The mean of a bucket counts, not its quickest: (10 ms + 50 ms) / 2 at 2 / 100 ms is 0.6.
        (&[(0, 1, 10), (0, 1, 50)], 100, Some(1)),
        // 1 / 100 ms * 40 ms is less than a half.
        (&[(0, 1, 40)], 100, Some(0)),
        (&[(0, 1, 50)], 100, Some(1)),
        // What is still being filled does not count...
        (&[(0, 20, 50), (100, 90, 1)], 199, Some(10)),
        (&[(0, 20, 50), (100, 90, 1)], 200, Some(1)),
        (&[(0, 20, 50)], 99, None),
        // ... nor what is older than the window: the bucket of 0 ms is the last of 99 before the one of 9 900 ms.
        (&[(0, 20, 50), (5000, 10, 50)], 9_999, Some(10)),
        (&[(0, 20, 50), (5000, 10, 50)], 10_000, Some(5)),
        (&[(0, 20, 50)], 10_000, None),
        (&[(0, 20, 50)], 1_000_000, None),
        (&[], 500, None),
    ] {
        let (mut shedder, epoch) = seen(answered);
        assert_eq!(shedder.capacity(epoch + ms(at_ms)), capacity, "{answered:?} at {at_ms} ms");
    }
}

#[test]
fn a_request_is_shed_only_on_a_busy_cpu_and_beyond_the_capacity() {
    for (in_flight, cpu, shed) in
        [(10, BUSY, false), (11, BUSY, true), (1000, IDLE, false), (1000, None, false), (1000, Some(1.0), true)]
    {
        let (mut shedder, epoch) = seen(&[(0, 20, 50)]);
        assert_eq!(shedder.sheds(in_flight, cpu, epoch + ms(100)), shed, "{in_flight} in flight, CPU {cpu:?}");
    }
}

#[test]
fn two_are_left_in_flight_whatever_the_estimate() {
    let (mut shedder, epoch) = seen(&[(0, 1, 1)]);
    assert_eq!(shedder.capacity(epoch + ms(100)), Some(0));
    assert!(!shedder.sheds(1, BUSY, epoch + ms(100)));
    assert!(shedder.sheds(2, BUSY, epoch + ms(100)));
}

#[test]
fn nothing_is_shed_while_nothing_is_known() {
    let (mut shedder, epoch) = seen(&[]);
    assert!(!shedder.sheds(u32::MAX, Some(1.0), epoch + ms(100)));
}

#[test]
fn the_rule_holds_for_a_while_after_the_cpu_has_calmed() {
    let (mut shedder, epoch) = seen(&[(0, 20, 50)]);
    assert!(!shedder.sheds(11, IDLE, epoch + ms(100)), "nothing was shed before");
    assert!(shedder.sheds(11, BUSY, epoch + ms(200)));
    assert!(shedder.sheds(11, IDLE, epoch + ms(300)));
    assert!(!shedder.sheds(10, IDLE, epoch + ms(300)), "the capacity is still to be had");
    assert!(shedder.is_armed(IDLE, epoch + ms(1199)));
    assert!(shedder.sheds(11, IDLE, epoch + ms(1199)), "what is shed on an idle CPU does not put off the end");
    assert!(!shedder.is_armed(IDLE, epoch + ms(1200)));
    assert!(!shedder.sheds(11, IDLE, epoch + ms(1200)));
}

#[test]
fn without_a_cool_off_an_idle_cpu_ends_it_at_once() {
    let epoch = Instant::now();
    let mut shedder = Shedder::new(Bbr { cool_off: Duration::ZERO, ..params() }, epoch);
    (0..20).for_each(|_| shedder.passed(ms(50), epoch));
    assert!(shedder.sheds(11, BUSY, epoch + ms(100)));
    assert!(!shedder.sheds(11, IDLE, epoch + ms(100)));
}

/// The rule as it is written, from a list of everything.
struct Naive {
    epoch: Instant,
    bucket: Duration,
    passed: Vec<(Instant, Duration)>,
    last_shed: Option<Instant>,
}

impl Naive {
    fn bucket_of(&self, at: Instant) -> u128 {
        at.duration_since(self.epoch).as_nanos() / self.bucket.as_nanos()
    }

    fn capacity(&self, now: Instant) -> Option<u128> {
        let current = self.bucket_of(now);
        let whole = (current.saturating_sub(BUCKETS as u128 - 1)..current).map(|bucket| {
            let held: Vec<u128> = self
                .passed
                .iter()
                .filter(|(at, _)| self.bucket_of(*at) == bucket)
                .map(|(_, held)| held.as_nanos())
                .collect();
            (held.len() as u128, held.iter().sum::<u128>())
        });
        let answered: Vec<(u128, u128)> = whole.filter(|(passes, _)| *passes > 0).collect();
        let most = answered.iter().map(|(passes, _)| *passes).max()?;
        let quickest = answered.iter().map(|(passes, held)| held / passes).min()?;
        Some((2 * most * quickest + self.bucket.as_nanos()) / (2 * self.bucket.as_nanos()))
    }

    fn sheds(&mut self, in_flight: u32, cpu: f64, now: Instant) -> bool {
        let is_busy = cpu >= 0.8;
        let is_cooling = self.last_shed.is_some_and(|at| now - at < Duration::from_secs(1));
        let shed = (is_busy || is_cooling)
            && self.capacity(now).is_some_and(|capacity| u128::from(in_flight) > capacity.max(1));
        if shed && is_busy {
            self.last_shed = Some(now);
        }
        shed
    }
}

#[derive(Clone, Debug)]
enum Event {
    Wait(Duration),
    Passed(Duration),
    Asked { in_flight: u32, cpu: f64 },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0_u64..400).prop_map(|wait| Event::Wait(ms(wait))),
        1 => (0_u64..30_000).prop_map(|wait| Event::Wait(ms(wait))),
        8 => (0_u64..2_000_000).prop_map(|held| Event::Passed(Duration::from_micros(held))),
        6 => (0_u32..40, prop_oneof![Just(0.3), Just(0.8), Just(1.0)])
            .prop_map(|(in_flight, cpu)| Event::Asked { in_flight, cpu }),
    ]
}

proptest! {
    #[test]
    fn it_decides_as_a_model_that_keeps_everything(events in prop::collection::vec(event(), 1..300)) {
        let epoch = Instant::now();
        let mut shedder = Shedder::new(params(), epoch);
        let mut naive = Naive { epoch, bucket: ms(100), passed: Vec::new(), last_shed: None };
        let mut now = epoch;
        for event in events {
            match event {
                Event::Wait(wait) => now += wait,
                Event::Passed(held) => {
                    shedder.passed(held, now);
                    naive.passed.push((now, held));
                }
                Event::Asked { in_flight, cpu } => {
                    prop_assert_eq!(shedder.capacity(now).map(u128::from), naive.capacity(now));
                    prop_assert_eq!(shedder.sheds(in_flight, Some(cpu), now), naive.sheds(in_flight, cpu, now));
                }
            }
        }
    }
}
