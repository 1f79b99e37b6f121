//! The `retry` policy: another attempt, when it is safe, useful and affordable.
//!
//! A retry must pass five questions, asked in this order by [`Attempts::next`]:
//!
//! 1. *Worth it?* The outcome is listed in `on`. A total timeout never is.
//! 2. *Safe?* The request is [`Repeatable::Always`], or the attempt provably never reached the application
//!    ([`Sent::No`](crate::evidence::Sent::No)).
//! 3. *Allowed?* Fewer than `max_retries` retries were made.
//! 4. *In time?* The wait ends before the total time does. The wait before retry `k` is uniform in
//!    `[0, min(max, base * multiplier^(k-1))]` with full jitter and exactly that bound with none, or comes from a schedule,
//!    and is never shorter than the `Retry-After` of a 429 or 503.
//! 5. *Affordable?* The shared budget has a whole retry left:
//!    `balance = min_retries_per_sec * ttl + percent/100 * originals - retries`, each counted for `ttl`.
//!
//! A *hedge* is another attempt beside a slow one: sent when the first has not answered `after` a time or a percentile of the
//! route's own latencies of the last half minute, paid for from the same budget; the first good answer wins, the others are
//! dropped. Only for safe methods: both attempts may be processed. The proxy races them; this room says when
//! ([`Retrier::hedge_after`]) and whether ([`Attempts::hedge`]).
//!
//! ```
//! use std::time::Duration;
//! use mainstay_policies::{
//!     evidence::{AttemptError, Cause, Sent},
//!     retry::{Decision, Outcome, Repeatable, Retrier, Retry, Stop},
//! };
//! use tokio::time::Instant;
//!
//! let retrier = Retrier::new(Retry { max_retries: 1, ..Retry::default() });
//! let mut attempts = retrier.start(Instant::now());
//! let reset = AttemptError::new(Cause::Reset, Sent::Maybe);
//! let left = Some(Duration::from_secs(2));
//!
//! // A write whose connection died may have happened: it is not sent again.
//! let decision = attempts.next(&Outcome::Error(&reset), Repeatable::OnlyIfUnsent, left, Instant::now(), 0);
//! assert_eq!(decision, Decision::Stop(Stop::Unsafe));
//!
//! // A read is.
//! let decision = attempts.next(&Outcome::Error(&reset), Repeatable::Always, left, Instant::now(), 0);
//! assert!(matches!(decision, Decision::Retry { reason: "reset", .. }));
//! ```

mod backoff;
mod budget;
mod decide;
mod latency;
mod layer;
mod params;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use decide::*;
pub use layer::*;
pub use params::*;
