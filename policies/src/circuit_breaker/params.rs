//! The parameters of a circuit breaker.

use std::{num::NonZeroU32, time::Duration};

use http::StatusCode;

/// When calls stop, and how they start again.
#[derive(Clone, Debug, PartialEq)]
pub struct CircuitBreaker {
    /// Trips at this share of errors in the window (0 < ratio ≤ 1).
    pub error_ratio: Option<f64>,
    /// Trips at a share of slow calls in the window.
    pub slow_call: Option<SlowCall>,
    /// Trips on this many errors in the window.
    pub error_count: Option<NonZeroU32>,
    /// Trips on this many errors in a row; knows no window and no `min_requests`.
    pub consecutive_errors: Option<NonZeroU32>,
    /// The sliding window, in ten buckets.
    pub window: Duration,
    /// Completions in the window before a ratio or a count is judged.
    pub min_requests: NonZeroU32,
    /// How long the breaker stays open.
    pub open_duration: Duration,
    /// How it is probed.
    pub half_open: HalfOpen,
    /// What shares one breaker.
    pub scope: Scope,
    /// With [`Scope::Endpoint`]: the share of endpoints that may be taken out at once, in percent; one always may.
    pub max_ejection_percent: u32,
    /// Which responses are errors; empty means every 5xx.
    pub errors: Vec<StatusCode>,
}

/// What a slow call is, and how many are too many.
#[derive(Clone, Debug, PartialEq)]
pub struct SlowCall {
    /// A call is slow when it takes longer than this.
    pub duration: Duration,
    /// Trips at this share of slow calls.
    pub ratio: f64,
}

/// How a half-open breaker is probed.
#[derive(Clone, Debug, PartialEq)]
pub struct HalfOpen {
    /// Permits per half-open epoch, and good results needed to close.
    pub probes: NonZeroU32,
    /// A half-open epoch without a verdict reopens after this.
    pub timeout: Duration,
}

/// What shares one breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Every route to the upstream under this policy.
    Upstream,
    /// Each endpoint of the upstream.
    Endpoint,
    /// Each route.
    Route,
}

impl Default for CircuitBreaker {
    /// No condition is set: a breaker without one never trips, and configuration refuses it.
    fn default() -> Self {
        Self {
            error_ratio: None,
            slow_call: None,
            error_count: None,
            consecutive_errors: None,
            window: Duration::from_secs(10),
            min_requests: const { NonZeroU32::new(5).expect("5 is not zero") },
            open_duration: Duration::from_secs(5),
            half_open: HalfOpen::default(),
            scope: Scope::Upstream,
            // Envoy's 10 balances load between hosts; a breaker that stops calls to what fails must be able to stop them all.
            max_ejection_percent: 100,
            errors: Vec::new(),
        }
    }
}

impl Default for HalfOpen {
    /// One probe tells as much as several and costs one caller's patience. 10 s is longer than most calls may take, so that a
    /// slow answer still counts, and short enough that a probe which hangs does not keep the breaker from asking again.
    fn default() -> Self {
        Self { probes: NonZeroU32::MIN, timeout: Duration::from_secs(10) }
    }
}
