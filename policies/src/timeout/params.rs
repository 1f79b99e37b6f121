//! The parameters of a timeout policy.

use std::time::Duration;

/// How long a request, an attempt and a silence may last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeout {
    /// Bounds everything from the end of the request to the response's head.
    pub total: Duration,
    /// Bounds one attempt, to the response's head; `None` leaves it to `total`.
    pub attempt: Option<Duration>,
    /// Bounds silence in a body, in either direction.
    pub idle: Duration,
}

impl Default for Timeout {
    /// 15 s is Envoy's default route timeout, so moving behind Mainstay does not change what a caller waits for; 5 min of
    /// silence is Envoy's stream idle timeout.
    fn default() -> Self {
        Self { total: Duration::from_secs(15), attempt: None, idle: Duration::from_mins(5) }
    }
}
