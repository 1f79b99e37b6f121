//! `circuit_breaker`.

use std::{num::NonZeroU32, time::Duration};

use http::StatusCode;
use mainstay_policies::circuit_breaker::{CircuitBreaker, HalfOpen, Scope, SlowCall};
use serde_json::Value;

use crate::config::{
    decode::{Cx, Setting, any_of, or, section, words},
    definitions::Definitions,
    node::{At, Node},
};

section! {
    /// When calls to a failing upstream stop, and how they start again. At least one of `error_ratio`, `slow_call`,
    /// `error_count` and `consecutive_errors` is needed.
    RawCircuitBreaker {
        /// Trips at this share of errors in the window, above 0 and at most 1.
        error_ratio: f64,
        /// Trips at a share of slow calls in the window.
        slow_call: SlowCall,
        /// Trips on this many errors in the window.
        error_count: NonZeroU32,
        /// Trips on this many errors in a row, whatever the window holds.
        consecutive_errors: NonZeroU32,
        /// The sliding window. Default 10s.
        window: Duration,
        /// Completions in the window before a ratio or a count is judged. Default 5.
        min_requests: NonZeroU32,
        /// How long the breaker stays open. Default 5s.
        open_duration: Duration,
        /// How an open breaker is probed.
        half_open: HalfOpen,
        /// What shares one breaker. Default upstream.
        scope: Scope,
        /// With `scope: endpoint`: how many of the endpoints may be open at once, in percent; one always may. Default 100.
        max_ejection_percent: u32,
        /// Response statuses that are errors. Default: every 5xx.
        errors: Vec<StatusCode>,
    }
}

section! {
    /// What a slow call is, and how many are too many.
    RawSlowCall {
        /// A call is slow when it takes longer than this.
        duration: Duration = required,
        /// Trips at this share of slow calls, above 0 and at most 1. Default 0.5.
        ratio: f64,
    }
}

section! {
    /// How a half-open breaker is probed.
    RawHalfOpen {
        /// Requests let through, and good results needed to close. Default 1.
        probes: NonZeroU32,
        /// Reopens when the probes gave no verdict in this time. Default 10s.
        timeout: Duration,
    }
}

const RATIO: &str = "a ratio is above 0 and at most 1 (0.5 is half)";

fn is_ratio(ratio: f64) -> bool {
    ratio > 0.0 && ratio <= 1.0
}

impl Setting for CircuitBreaker {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if node.scalar().is_some() {
            let ratio = At { value: f64::decode(node, cx)?, at: node.at };
            let ratio = cx.ranged("circuit_breaker", Some(ratio), 1.0, |ratio| is_ratio(*ratio), RATIO);
            return Some(Self { error_ratio: Some(ratio), ..Self::default() });
        }
        let raw = RawCircuitBreaker::decode(node, cx)?;
        let conditions = ["error_ratio", "slow_call", "error_count", "consecutive_errors"];
        if conditions.iter().all(|key| node.lookup(key).is_none()) {
            return cx.error(
                node.at,
                "this circuit breaker has no condition and would never open",
                "give one of error_ratio, slow_call, error_count, consecutive_errors",
            );
        }
        let default = Self::default();
        let error_ratio =
            raw.error_ratio.map(|ratio| cx.ranged("error_ratio", Some(ratio), 1.0, |ratio| is_ratio(*ratio), RATIO));
        Some(Self {
            error_ratio,
            slow_call: value(raw.slow_call),
            error_count: value(raw.error_count),
            consecutive_errors: value(raw.consecutive_errors),
            window: cx.ranged(
                "window",
                raw.window,
                default.window,
                |window| *window >= Duration::from_millis(100),
                "it is at least 100ms: it has ten buckets",
            ),
            min_requests: or(raw.min_requests, default.min_requests),
            open_duration: cx.positive("open_duration", raw.open_duration, default.open_duration),
            half_open: or(raw.half_open, default.half_open),
            scope: or(raw.scope, default.scope),
            max_ejection_percent: cx.ranged(
                "max_ejection_percent",
                raw.max_ejection_percent,
                default.max_ejection_percent,
                |percent| (1..=100).contains(percent),
                "it is from 1 to 100; one endpoint may always be taken out",
            ),
            errors: or(raw.errors, default.errors),
        })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        any_of([f64::schema(definitions), RawCircuitBreaker::schema(definitions)])
    }
}

fn value<T>(setting: Option<At<T>>) -> Option<T> {
    setting.map(|setting| setting.value)
}

impl Setting for SlowCall {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let raw = RawSlowCall::decode(node, cx)?;
        Some(Self {
            duration: cx.positive("duration", raw.duration, Duration::from_secs(1)),
            // Half of all calls, as for `error_ratio` in the examples.
            ratio: cx.ranged("ratio", raw.ratio, 0.5, |ratio| is_ratio(*ratio), RATIO),
        })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        RawSlowCall::schema(definitions)
    }
}

impl Setting for HalfOpen {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let raw = RawHalfOpen::decode(node, cx)?;
        let default = Self::default();
        Some(Self {
            probes: or(raw.probes, default.probes),
            timeout: cx.positive("timeout", raw.timeout, default.timeout),
        })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        RawHalfOpen::schema(definitions)
    }
}

impl Setting for Scope {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &[("upstream", Self::Upstream), ("endpoint", Self::Endpoint), ("route", Self::Route)])
    }

    fn schema(_: &mut Definitions) -> Value {
        words(&["upstream", "endpoint", "route"])
    }
}
