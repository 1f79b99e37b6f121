//! What a caller is told while the breaker is open.

use std::time::Duration;

/// The call was not made: the service behind is failing, and nothing reached it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the circuit breaker is open")]
pub struct Rejected {
    /// When a call may be let through again.
    pub retry_after: Duration,
}
