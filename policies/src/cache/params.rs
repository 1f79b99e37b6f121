//! The parameters of a cache.

use std::time::Duration;

/// What a cache keeps, and how long beyond its freshness it may answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Bytes of all answers with their headers and keys.
    pub max_bytes: u64,
    /// Bytes of one answer's body; a larger one passes and is not kept.
    pub max_body: usize,
    /// How long a stale answer may stand in for a failure, where the answer itself says nothing.
    pub stale_if_error: Duration,
    /// How long a stale answer may be given while it is being revalidated, where the answer itself says nothing.
    pub stale_while_revalidate: Duration,
}

impl Default for Cache {
    /// 64 MiB beside a service are noticed by nobody; 1 MiB is what keyed writes may have, too. Nothing stale unless asked for.
    fn default() -> Self {
        Self {
            max_bytes: 64 * 1024 * 1024,
            max_body: 1024 * 1024,
            stale_if_error: Duration::ZERO,
            stale_while_revalidate: Duration::ZERO,
        }
    }
}
