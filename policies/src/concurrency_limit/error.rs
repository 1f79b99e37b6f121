//! What a request is told that finds no place.

use std::time::Duration;

/// Too many requests are in flight; nothing of this one reached the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many requests in flight")]
pub struct Overloaded {
    /// When to try again. Nobody knows when a place is free, so it is the least that can be said in `Retry-After`: a second.
    pub retry_after: Duration,
}

impl Overloaded {
    pub(super) const NOW: Self = Self { retry_after: Duration::from_secs(1) };
}
