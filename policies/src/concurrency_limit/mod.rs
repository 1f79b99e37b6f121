//! The `concurrency_limit` policy: no more requests in flight than the service behind can take.
//!
//! A request holds its [`Permit`] until its response body ends. One that finds no place waits up to `max_wait`, first come,
//! first served, if fewer than `max_queue` wait already; else it is refused.
//!
//! With `adaptive`, the limit follows the service: on a drop or a latency over `threshold` it becomes
//! `max(min, floor(0.9 * limit))`, else it rises by 1, up to `max`, while `2 * in-flight >= limit`.
//!
//! ```
//! use std::{num::NonZeroU32, time::Duration};
//! use mainstay_policies::concurrency_limit::{ConcurrencyLimit, Limit};
//! use tokio::time::Instant;
//!
//! let one = NonZeroU32::MIN;
//! let params = ConcurrencyLimit { max_concurrent: one, max_wait: Duration::ZERO, max_queue: 0, adaptive: None };
//! let limit = Limit::new(params);
//! let permit = limit.try_acquire(Instant::now()).expect("nothing is in flight");
//! assert!(limit.try_acquire(Instant::now()).is_err());
//! drop(permit);
//! assert!(limit.try_acquire(Instant::now()).is_ok());
//! ```

mod adapt;
mod error;
mod layer;
mod limit;
mod params;
#[cfg(test)]
mod tests;

pub use error::*;
pub use layer::*;
pub use limit::*;
pub use params::*;
