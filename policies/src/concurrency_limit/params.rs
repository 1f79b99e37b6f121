//! The parameters of a concurrency limit.

use std::{num::NonZeroU32, time::Duration};

/// How many requests may be in flight.
#[derive(Clone, Debug, PartialEq)]
pub struct ConcurrencyLimit {
    /// Requests in flight at most; with `adaptive`, where the limit starts.
    pub max_concurrent: NonZeroU32,
    /// How long a request may wait for a place; 0 refuses at once.
    pub max_wait: Duration,
    /// How many requests may wait.
    pub max_queue: u32,
    /// Whether the limit follows what the upstream can take.
    pub adaptive: Option<Aimd>,
}

/// Additive increase, multiplicative decrease.
#[derive(Clone, Debug, PartialEq)]
pub struct Aimd {
    /// The limit never falls below this.
    pub min: NonZeroU32,
    /// The limit never rises above this.
    pub max: NonZeroU32,
    /// A request slower than this counts as a drop.
    pub threshold: Duration,
}
