//! What a request is told that finds no place.

use std::time::Duration;

/// Too many requests are in flight; nothing of this one reached the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many requests in flight")]
pub struct Overloaded {
    /// By which rule.
    pub by: OverloadedBy,
    /// When to try again. Nobody knows when a place is free, so it is the least that can be said in `Retry-After`: a second.
    pub retry_after: Duration,
}

impl Overloaded {
    pub(super) const FULL: Self = Self { by: OverloadedBy::Places, retry_after: Duration::from_secs(1) };
    pub(super) const SHED: Self = Self { by: OverloadedBy::Cpu, ..Self::FULL };
}

/// The rule by which too many requests were in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverloadedBy {
    /// Every place was taken, and none became free in time.
    Places,
    /// The CPU is busy, and the service was never seen to work at so many at once.
    Cpu,
}
