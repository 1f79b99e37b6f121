//! The `concurrency_limit` policy: no more requests in flight than the service behind can take.
//!
//! A request holds its [`Permit`] until its response body ends. One that finds no place waits up to `max_wait`, first come,
//! first served, if fewer than `max_queue` wait already; else it is refused.
//!
//! With `adaptive`, the limit follows the service: on a drop or a latency over `threshold` it becomes
//! `max(min, floor(0.9 * limit))`, else it rises by 1, up to `max`, while `2 * in-flight >= limit`: [`Aimd`].
//!
//! [`Bbr`] leaves the limit where it is and looks at the CPU instead, as Kratos and Sentinel's system rule do. With the window
//! in 100 buckets, of which the one that is being filled does not count,
//!
//! ```text
//! capacity = round(most requests answered in one bucket / bucket's length * lowest mean time in place of any bucket)
//! shed     = in-flight > max(1, capacity) and (cpu >= threshold or last shed on a busy CPU < cool_off ago)
//! ```
//!
//! In-flight are those that hold a place, without the one that asks. By Little's law the capacity is what was in the service
//! when it worked at its fastest and nobody waited in it; what is beyond that only waits there, on a CPU that has no more to
//! give. A time in place ends with the response's body, as the place does, so the two fit each other; streams that last
//! belong on a route of their own. What failed is no sample: an error is quick and shows no capacity. Before anything was
//! answered in the window nothing is known, and `max_concurrent` holds alone. A request that is shed does not wait, for
//! waiting is what the rule is there to end.
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
mod bbr;
mod cpu;
mod error;
mod layer;
mod limit;
mod params;
#[cfg(test)]
mod tests;

pub use cpu::*;
pub use error::*;
pub use layer::*;
pub use limit::*;
pub use params::*;
