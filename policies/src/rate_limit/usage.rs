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

/// How the limit stands for one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUsage {
    /// Half of the key's hash, which tells it from others for as long as the process lives; of the key nothing else is kept.
    pub key: u64,
    /// How it stands.
    pub usage: Usage,
}

/// Those that have used most of their limit, the most first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopKeys {
    /// Only those that are not idle.
    pub keys: Vec<KeyUsage>,
    /// Whether all keys were looked at.
    pub is_complete: bool,
}

#[cfg(test)]
mod tests;
