//! The parameters of a rate limit.

use std::{num::NonZeroU32, time::Duration};

use http::HeaderName;

/// How many requests are admitted in a time.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimit {
    /// Requests per `unit`.
    pub requests: NonZeroU32,
    /// The time in which `requests` are admitted.
    pub unit: Duration,
    /// Requests that may arrive at once; by default `requests`.
    pub burst: NonZeroU32,
    /// What shares one limit.
    pub key: Key,
    /// Live keys at most; idle ones are evicted.
    pub max_keys: usize,
    /// What happens to a request over the limit.
    pub behavior: Behavior,
    /// Whether `x-ratelimit-*` response headers are sent.
    pub headers: bool,
    /// Whose limit it is.
    pub scope: Scope,
}

/// Whose limit it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Each replica's own.
    #[default]
    Replica,
    /// One for all replicas of the service, who [tell each other](super::Peers) what they were asked for.
    Service,
}

/// What shares one limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The whole route.
    Route,
    /// Each principal.
    Principal,
    /// Each client address.
    ClientIp,
    /// Each value of a request header; requests without it share one limit.
    Header(HeaderName),
}

/// What happens to a request over the limit.
#[derive(Clone, Debug, PartialEq)]
pub enum Behavior {
    /// It is refused.
    Reject,
    /// It waits for its slot, up to `max_wait` (uniform pacing).
    Queue {
        /// The longest wait; 0 admits only what needs none.
        max_wait: Duration,
    },
    /// It is refused, by a limit that rises from cold to full (Sentinel's curve).
    WarmUp(WarmUp),
    /// It waits for its slot, at a pace that rises from cold to full.
    WarmUpQueue {
        /// The curve.
        warm_up: WarmUp,
        /// The longest wait.
        max_wait: Duration,
    },
}

/// The warm-up curve.
#[derive(Clone, Debug, PartialEq)]
pub struct WarmUp {
    /// The time from cold to full under saturation.
    pub period: Duration,
    /// The full rate divided by the cold rate; more than 1.
    pub cold_factor: f64,
}

impl RateLimit {
    /// What is left of it for a replica that has this fraction of it.
    pub(super) fn part(&self, fraction: f64) -> Self {
        // Less than a millionth is as good as nothing, and would overflow the unit.
        let fraction = fraction.clamp(1e-6, 1.0);
        let burst = NonZeroU32::new((f64::from(self.burst.get()) * fraction) as u32).unwrap_or(NonZeroU32::MIN);
        Self { unit: self.unit.div_f64(fraction), burst, ..self.clone() }
    }

    /// `requests` per `unit`, refused beyond, one limit for the whole route.
    pub fn per(requests: NonZeroU32, unit: Duration) -> Self {
        Self {
            requests,
            unit,
            burst: requests,
            key: Key::Route,
            max_keys: 100_000,
            behavior: Behavior::Reject,
            headers: false,
            scope: Scope::Replica,
        }
    }
}
