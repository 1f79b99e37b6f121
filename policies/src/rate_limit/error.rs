//! What a request is told that is over the limit.

use std::time::Duration;

use super::Usage;

/// Over the rate limit; nothing of the request reached the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("over the rate limit")]
pub struct RateLimited {
    /// When a request would be admitted.
    pub retry_after: Duration,
    /// How the limit stands.
    pub usage: Usage,
}
