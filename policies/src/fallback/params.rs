//! The parameters of a fallback.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

/// What a caller gets instead of a failure, and of which.
#[derive(Clone, Debug, PartialEq)]
pub struct Fallback {
    /// Failures that call for it.
    pub on: Vec<Reason>,
    /// What the caller gets.
    pub to: To,
}

/// A failure that may call for a fallback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The breaker made no call.
    CircuitOpen,
    /// The concurrency limit refused.
    Overloaded,
    /// The rate limit refused.
    RateLimited,
    /// Time ran out.
    Timeout,
    /// The service answered 5xx, or could not be reached.
    ServerError,
}

/// Where a fallback comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum To {
    /// An answer that never changes.
    Answer(Answer),
    /// Another upstream, by name, in the time that is left.
    Upstream(Arc<str>),
    /// The cache's last good answer, if it has not been stale for longer.
    Stale(Duration),
}

/// An answer that never changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Reason {
    /// Every reason: what `on` is by default.
    pub const ALL: [Self; 5] =
        [Self::CircuitOpen, Self::Overloaded, Self::RateLimited, Self::Timeout, Self::ServerError];

    /// The name in configuration, metrics and the `Mainstay-Fallback` header.
    pub const fn label(self) -> &'static str {
        match self {
            Self::CircuitOpen => "circuit-open",
            Self::Overloaded => "overloaded",
            Self::RateLimited => "rate-limited",
            Self::Timeout => "timeout",
            Self::ServerError => "5xx",
        }
    }
}

impl Answer {
    /// An answer with a status and nothing else.
    pub fn status(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Bytes::new() }
    }
}
