//! The warm-up curve against a model that remembers everything and is written as the curve is described.

use std::{num::NonZeroU32, time::Duration};

use proptest::prelude::*;
use tokio::time::Instant;

use crate::rate_limit::*;

const SECOND: u64 = 1_000_000_000;
/// The trailing second is counted in twentieths.
const BUCKET: u64 = SECOND / 20;

struct Model {
    rate: f64,
    cold_rate: f64,
    warning: f64,
    max: f64,
    slope: f64,
    store: f64,
    /// The second that is being counted.
    second: u64,
    admissions: Vec<u64>,
}

impl Model {
    fn new(rate: u32, period: u64, factor: f64) -> Self {
        let (rate, period) = (f64::from(rate), period as f64);
        let warning = period * rate / (factor - 1.0);
        let max = warning + 2.0 * period * rate / (1.0 + factor);
        let slope = (factor - 1.0) / rate / (max - warning);
        let (second, admissions) = (0, Vec::new());
        Self { rate, cold_rate: rate / factor, warning, max, slope, store: max, second, admissions }
    }

    /// The rate that is allowed now, for which the seconds since the last look are accounted for.
    fn allowed(&mut self, now: u64) -> f64 {
        while self.second < now / SECOND {
            let admitted = self.admissions.iter().filter(|at| **at / SECOND == self.second).count() as f64;
            if self.store <= self.warning || admitted < (self.cold_rate + 1e-6).floor() {
                self.store = (self.store + self.rate).min(self.max);
            }
            self.store = (self.store - admitted).max(0.0);
            self.second += 1;
        }
        let above = self.store - self.warning;
        if above <= 0.0 { self.rate } else { 1.0 / (above * self.slope + 1.0 / self.rate) }
    }

    fn admits(&mut self, now: u64) -> bool {
        let allowed = self.allowed(now);
        let trailing = self.admissions.iter().filter(|at| **at / BUCKET + 20 > now / BUCKET).count() as f64;
        let admits = trailing + 1.0 <= allowed + 1e-6;
        if admits {
            self.admissions.push(now);
        }
        admits
    }
}

/// A tenth of a millisecond to half a second between requests, and now and then a rest.
fn gaps() -> impl Strategy<Value = Vec<u64>> {
    let gap = prop_oneof![20 => 100_000_u64..5_000_000, 5 => 0_u64..500_000_000, 1 => 0..8 * SECOND];
    prop::collection::vec(gap, 1..600)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn warming_agrees_with_a_model_that_remembers_everything(
        rate in 6_u32..300,
        factor in 1.5_f64..6.0,
        period in 1_u64..12,
        gaps in gaps(),
    ) {
        let warm_up = WarmUp { period: Duration::from_secs(period), cold_factor: factor };
        let requests = NonZeroU32::new(rate).unwrap();
        let behavior = Behavior::WarmUp(warm_up);
        let limiter = Limiter::new(RateLimit { behavior, ..RateLimit::per(requests, Duration::from_secs(1)) });
        let epoch: Instant = limiter.epoch();
        let mut now = 0;
        let mut model = Model::new(rate, period, factor);
        for (n, gap) in gaps.iter().enumerate() {
            now += gap;
            let admitted = matches!(limiter.admit(b"", epoch + Duration::from_nanos(now)), Admission::Admitted(_));
            // The model's first second is that of the first request.
            if n == 0 { model.second = now / SECOND; }
            prop_assert_eq!(admitted, model.admits(now), "request {} at {} ns, {} in store", n, now, model.store);
        }
    }

    /// Paced by the rate that the curve allows: a slot follows the last one by its reverse, and what would wait too long
    /// neither waits nor warms the service.
    #[test]
    fn a_warming_queue_agrees_with_a_model_that_remembers_everything(
        rate in 6_u32..300,
        factor in 1.5_f64..6.0,
        period in 1_u64..12,
        max_wait_ms in 0_u64..2000,
        gaps in gaps(),
    ) {
        let warm_up = WarmUp { period: Duration::from_secs(period), cold_factor: factor };
        let requests = NonZeroU32::new(rate).unwrap();
        let behavior = Behavior::WarmUpQueue { warm_up, max_wait: Duration::from_millis(max_wait_ms) };
        let limiter = Limiter::new(RateLimit { behavior, ..RateLimit::per(requests, Duration::from_secs(1)) });
        let epoch: Instant = limiter.epoch();
        let mut now = 0;
        let mut model = Model::new(rate, period, factor);
        let mut last: Option<f64> = None;
        for (n, gap) in gaps.iter().enumerate() {
            now += gap;
            if n == 0 { model.second = now / SECOND; }
            let interval = 1e9 / model.allowed(now);
            let slot = last.map_or(now as f64, |last| (last + interval).max(now as f64));
            let wait = slot - now as f64;
            let most = max_wait_ms as f64 * 1e6;
            let waits = match limiter.admit(b"", epoch + Duration::from_nanos(now)) {
                Admission::Admitted(_) => Some(0),
                Admission::Wait(slot, _) => {
                    let until = slot.until();
                    slot.taken();
                    Some((until - epoch).as_nanos() as u64 - now)
                }
                Admission::Rejected { .. } => None,
            };
            // The slots are whole nanoseconds, those of the model are not.
            let rounding = 2.0 * (n + 1) as f64;
            match waits {
                Some(waits) => {
                    prop_assert!((waits as f64 - wait).abs() <= rounding, "request {n} waits {waits}, not {wait}");
                    prop_assert!(waits as f64 <= most + 1.0);
                    last = Some((now + waits) as f64);
                    model.admissions.push(now);
                }
                None => prop_assert!(wait + rounding > most, "request {n} would have waited {wait} of {most}"),
            }
        }
    }
}
