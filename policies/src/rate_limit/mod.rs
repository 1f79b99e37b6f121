//! The `rate_limit` policy: how many requests are admitted in a time.
//!
//! With `T = unit / requests`:
//!
//! * `reject` is GCRA: `tat' = max(tat, now) + T`; admit iff `tat' - now <= burst * T`; stored only on admission.
//! * `queue` paces: `slot = max(now, last + T)`; a wait over `max_wait` is refused and books nothing.
//! * `warm_up` follows Sentinel's curve with fractional tokens (see `warm_up.rs`), `warm_up_queue` paces with
//!   `T = 1 / allowed rate`.
//!
//! Times are kept in units of `1/requests` nanosecond, in which `T` is a whole number: 7 requests a second pace as exactly as 5.
//!
//! At most `max_keys` keys are remembered. A key that is idle, so that forgetting it changes nothing, makes room for a new one.
//! If none is found, new keys share one limit among them until there is room: nobody goes unlimited and nobody who is
//! limited is forgotten.
//!
//! A limit whose `scope` is the service is one for all replicas: each runs the same algorithm at its share of it (`share.rs`), by
//! what all of them tell each other they were asked for (`peers.rs`). A share `f` makes the unit `unit / f` and the burst `f *
//! burst`, at least one.
//!
//! ```
//! use std::{num::NonZeroU32, time::Duration};
//! use mainstay_policies::rate_limit::{Admission, Limiter, RateLimit};
//! use tokio::time::Instant;
//!
//! let limiter = Limiter::new(RateLimit::per(NonZeroU32::MIN, Duration::from_secs(1)));
//! let now = Instant::now();
//! assert!(matches!(limiter.admit(b"", now), Admission::Admitted(_)));
//! assert!(matches!(limiter.admit(b"", now), Admission::Rejected { .. }));
//! ```

mod error;
mod gcra;
mod layer;
mod limiter;
mod pace;
mod params;
mod peers;
mod share;
mod state;
mod table;
#[cfg(test)]
mod tests;
mod ticks;
mod usage;
mod warm_up;

pub use crate::caller::Caller;
pub use error::*;
pub use layer::*;
pub use limiter::*;
pub use params::*;
pub use peers::{LIMITS_TOLD, LimitId, Peers, SharedLimit};
pub use usage::{KeyUsage, TopKeys, Usage};
