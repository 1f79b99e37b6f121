//! The `circuit_breaker` policy: calls to a service that fails are not made.
//!
//! ```text
//!            a condition is met                open_duration passed, next call
//!   closed ─────────────────────▶ open ────────────────────────────────────▶ half-open
//!     ▲                            ▲    a bad probe, or no verdict in time       │ │
//!     │                            └─────────────────────────────────────────────┘ │
//!     └────────────────────────────── `probes` good probes ────────────────────────┘
//! ```
//!
//! * Judged on every completion. Over the sliding window, once it holds `min_requests`: errors/requests ≥ `error_ratio`, slow
//!   calls/requests ≥ `slow_call.ratio`, errors ≥ `error_count`. Apart from window and minimum: `consecutive_errors` in a row.
//! * Every change of state begins a new epoch; a result of another epoch is ignored. So calls admitted before the trip decide
//!   nothing about the probes.
//! * With one breaker per endpoint ([`Breaker::in_group`]), `max_ejection_percent` bounds how many are open at once.
//! * A permit that is dropped without a result is a cancel: no sample, and a probe's place is free again.
//!
//! ```
//! use std::num::NonZeroU32;
//! use mainstay_policies::circuit_breaker::{Breaker, CallOutcome, CircuitBreaker};
//! use tokio::time::Instant;
//!
//! let params = CircuitBreaker { consecutive_errors: NonZeroU32::new(1), ..CircuitBreaker::default() };
//! let breaker = Breaker::new(params);
//! let now = Instant::now();
//! breaker.acquire(now).expect("closed").record(CallOutcome::Error, now);
//! let rejected = breaker.acquire(now).expect_err("open");
//! assert_eq!(rejected.retry_after.as_secs(), 5);
//! ```

mod breaker;
mod ejection;
mod error;
mod layer;
mod machine;
mod params;
#[cfg(test)]
mod tests;
mod window;

pub use breaker::*;
pub use ejection::Ejections;
pub use error::*;
pub use layer::*;
pub use machine::{CallOutcome, Forced, Snapshot, State, Transitions, Trip};
pub use params::*;
pub use window::Counts;
