//! Sentinel's warm-up curve with fractional tokens.
//!
//! With `C` the full rate per second, `W` the period and `cf` the cold factor: a store of tokens is full when the service is cold,
//! `max = warning + 2*W*C/(1+cf)`, and the rate is full once it has sunk to `warning = W*C/(cf-1)`. In between the rate is
//! `R = 1/((store-warning)*slope + 1/C)`, `slope = (cf-1)/C/(max-warning)`, which at `max` is `C/cf`.
//! Each second, if `store <= warning` or less than `C/cf` was admitted, the store gains `C`, not above `max`; then it loses what
//! was admitted. A request is admitted if those of the trailing second, itself included, are at most `R`; below one a second, one
//! per `1/R`.
//!
//! "Less than `C/cf`" means one more would have fitted: at 100/3 per second 33 is all there can be, and a comparison of fractions
//! would keep the service cold for ever. For the same reason a "second" is longer where `C/cf` is below one.

use std::time::Duration;

use super::{RateLimit, Usage, WarmUp, ticks::Verdict};

const SECOND: u64 = 1_000_000_000;
const BUCKETS: u64 = 20;
const BUCKET: u64 = SECOND / BUCKETS;
/// What the curve's arithmetic may lose.
const ROUNDING: f64 = 1e-6;

#[derive(Clone, Debug, Default)]
pub(super) struct Warmth {
    /// Tokens above which nothing is stored, and how many are; `None` before the first request: full.
    store: Option<(f64, f64)>,
    /// The "second" that is being counted, and what it admitted.
    period: u64,
    admitted: u64,
    head: u64,
    buckets: [u32; BUCKETS as usize],
    /// The last admission, for rates below one a second.
    last: Option<u64>,
}

struct Curve {
    rate: f64,
    cold_rate: f64,
    warning: f64,
    max: f64,
    slope: f64,
    period_nanos: u64,
}

impl Curve {
    /// A cold factor of at most 1, or no period, is no warm-up: the rate is always full.
    fn new(params: &RateLimit, warm_up: &WarmUp) -> Self {
        let unit = params.unit.as_secs_f64().max(1e-9);
        let rate = f64::from(params.requests.get()) / unit;
        let period = warm_up.period.as_secs_f64();
        let factor = warm_up.cold_factor;
        if factor.is_nan() || factor <= 1.0 || period <= 0.0 {
            return Self { rate, cold_rate: rate, warning: 0.0, max: 0.0, slope: 0.0, period_nanos: SECOND };
        }
        let warning = period * rate / (factor - 1.0);
        let span = 2.0 * period * rate / (1.0 + factor);
        let cold_rate = rate / factor;
        let seconds = (1.0 / cold_rate - ROUNDING).ceil().clamp(1.0, 1e9);
        Self {
            rate,
            cold_rate,
            warning,
            max: warning + span,
            slope: (factor - 1.0) / rate / span,
            period_nanos: seconds as u64 * SECOND,
        }
    }

    fn allowed(&self, store: f64) -> f64 {
        if store <= self.warning { self.rate } else { 1.0 / ((store - self.warning) * self.slope + 1.0 / self.rate) }
    }
}

impl Warmth {
    pub(super) fn admit(&mut self, params: &RateLimit, warm_up: &WarmUp, now: u64) -> Verdict {
        let allowed = self.advance(&Curve::new(params, warm_up), now);
        let trailing: u32 = self.buckets.iter().sum();
        let spacing = (SECOND as f64 / allowed).min(u64::MAX as f64) as u64;
        let free = if allowed + ROUNDING < 1.0 {
            self.last.is_none_or(|last| last.saturating_add(spacing) <= now)
        } else {
            f64::from(trailing) + 1.0 <= allowed + ROUNDING
        };
        let left = (allowed + ROUNDING - f64::from(trailing) - f64::from(u8::from(free))).max(0.0);
        let usage = Usage {
            limit: (allowed + ROUNDING).max(1.0) as u64,
            remaining: left as u64,
            reset: Duration::from_nanos(spacing.max(SECOND)),
        };
        if free {
            self.count();
            self.last = Some(now);
            return Verdict::Admit(usage);
        }
        let retry_after = if allowed + ROUNDING < 1.0 {
            self.last.map_or(0, |last| last.saturating_add(spacing).saturating_sub(now))
        } else {
            self.until_oldest_leaves(now)
        };
        Verdict::Reject { retry_after: Duration::from_nanos(retry_after), usage }
    }

    /// The full rate divided by the allowed one.
    pub(super) fn slowdown(&mut self, params: &RateLimit, warm_up: &WarmUp, now: u64) -> f64 {
        let curve = Curve::new(params, warm_up);
        curve.rate / self.advance(&curve, now)
    }

    pub(super) fn count(&mut self) {
        self.admitted += 1;
        let bucket = &mut self.buckets[(self.head % BUCKETS) as usize];
        *bucket = bucket.saturating_add(1);
    }

    pub(super) fn uncount(&mut self) {
        self.admitted = self.admitted.saturating_sub(1);
    }

    pub(super) fn is_cold(&mut self, params: &RateLimit, warm_up: &WarmUp, now: u64) -> bool {
        let curve = Curve::new(params, warm_up);
        self.advance(&curve, now);
        let full = self.store.is_none_or(|(_, store)| store >= curve.max);
        full && self.admitted == 0 && self.buckets.iter().all(|count| *count == 0)
    }

    /// Accounts for the time up to `now`; returns the allowed rate.
    fn advance(&mut self, curve: &Curve, now: u64) -> f64 {
        self.advance_buckets(now / BUCKET);
        let period = now / curve.period_nanos;
        let (max, mut store) = self.store.unwrap_or((curve.max, curve.max));
        if (max - curve.max).abs() > f64::EPSILON * max {
            // Another rate or curve: as warm as before. Periods may be counted otherwise now, so one is taken to have passed.
            store = if max > 0.0 { store / max * curve.max } else { curve.max };
            self.period = period.saturating_sub(1);
        }
        if self.period > period + 1 {
            // Periods became longer; a thread that read the clock a little earlier is at most one behind.
            self.period = period;
        }
        if self.store.is_none() {
            self.period = period;
        }
        if period > self.period {
            let seconds = (curve.period_nanos / SECOND) as f64;
            let expected = (curve.cold_rate * seconds + ROUNDING).floor();
            if store <= curve.warning || (self.admitted as f64) < expected {
                store = (store + curve.rate * seconds).min(curve.max);
            }
            store = (store - self.admitted as f64).max(0.0);
            // The periods since then admitted nothing.
            let quiet = (period - self.period - 1) as f64;
            store = (store + quiet * curve.rate * seconds).min(curve.max);
            self.admitted = 0;
            self.period = period;
        }
        self.store = Some((curve.max, store));
        curve.allowed(store)
    }

    fn advance_buckets(&mut self, bucket: u64) {
        if bucket >= self.head.saturating_add(BUCKETS) {
            self.buckets.fill(0);
            self.head = bucket;
        }
        while self.head < bucket {
            self.head += 1;
            self.buckets[(self.head % BUCKETS) as usize] = 0;
        }
    }

    fn until_oldest_leaves(&self, now: u64) -> u64 {
        let oldest = self.head.saturating_sub(BUCKETS - 1);
        let first = (oldest..=self.head).find(|bucket| self.buckets[(bucket % BUCKETS) as usize] > 0);
        first.map_or(0, |bucket| ((bucket + BUCKETS) * BUCKET).saturating_sub(now))
    }
}

#[cfg(test)]
mod tests;
