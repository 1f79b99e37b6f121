//! What a limit tells of itself.

use std::time::Duration;

/// How a limit stands, for `x-ratelimit-limit`, `-remaining` and `-reset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Requests that can be admitted at once (`burst`), or per unit when paced, or in this second when warming up.
    pub limit: u64,
    /// Requests that would be admitted now.
    pub remaining: u64,
    /// The time until the limit is unused, if no request comes; while warming up, a second at least.
    pub reset: Duration,
}

#[cfg(test)]
mod tests;
