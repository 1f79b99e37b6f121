//! What an attempt or a status query proved, and what is known of an attempt that brought back no answer.
//!
//! A timeout says nothing about whether a write happened, so every failed attempt carries the one fact on which each retry
//! and each idempotency decision rests: whether any byte of the request may have reached the application.

use std::fmt;

use http::StatusCode;

/// Whether the application may have seen the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sent {
    /// Proven: no byte of the request reached the application. Repeating is always safe.
    No,
    /// Not proven either way: the application may have acted.
    Maybe,
}

/// Why an attempt ended without a complete answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// No connection: refused, unreachable, unresolvable, or not up within `connect_timeout`. Always [`Sent::No`].
    Connect,
    /// The TLS handshake failed. Always [`Sent::No`].
    Tls,
    /// The peer or our own connection handed the request back unprocessed: unsent on a closed connection, HTTP/2
    /// `REFUSED_STREAM`, or GOAWAY below our stream (RFC 9113 section 8.7). Always [`Sent::No`].
    Refused,
    /// The connection was reset or closed before a complete answer.
    Reset,
    /// The peer answered with something that is not HTTP.
    Malformed,
    /// The request's own body broke off or stalled: the caller's doing, and no sign of the upstream's health.
    RequestBody,
    /// The attempt's own time ran out.
    AttemptTimeout,
    /// The request's total time ran out.
    TotalTimeout,
    /// The process ended before an answer came: no sign of the upstream's health.
    Drain,
}

impl Cause {
    /// The bounded label for metrics and spans (`error.type`).
    pub const fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect_error",
            Self::Tls => "tls_error",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Malformed => "malformed",
            Self::RequestBody => "request_body",
            Self::AttemptTimeout => "attempt_timeout",
            Self::TotalTimeout => "timeout",
            Self::Drain => "drain",
        }
    }

    /// Whether time, rather than the transport, ended the attempt.
    pub const fn is_timeout(self) -> bool {
        matches!(self, Self::AttemptTimeout | Self::TotalTimeout)
    }
}

/// An attempt that ended without a response head. The upstream is at fault, or time is.
#[derive(Debug)]
pub struct AttemptError {
    /// Why it ended.
    pub cause: Cause,
    /// Whether the application may have acted.
    pub sent: Sent,
    /// The status of a final answer that cannot be passed on: its status line was read, so it is evidence.
    pub status: Option<StatusCode>,
    /// What happened more exactly than the cause says, from a bounded set of words.
    pub detail: Option<&'static str>,
    /// The transport's own words, for logs only: never shown to a caller.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl AttemptError {
    /// An error of `cause` with what is known of the request.
    pub const fn new(cause: Cause, sent: Sent) -> Self {
        Self { cause, sent, status: None, detail: None, source: None }
    }

    /// The same error with the status that was read before it.
    #[must_use]
    pub const fn with_status(mut self, status: Option<StatusCode>) -> Self {
        self.status = status;
        self
    }

    /// The same error, named more exactly, such as `dns` or `eof`.
    #[must_use]
    pub const fn named(mut self, detail: &'static str) -> Self {
        self.detail = Some(detail);
        self
    }

    /// What happened, in one bounded word for logs: `refused`, `connect_timeout`, `dns`, `reset`, `eof`, `attempt_timeout`, …
    pub fn word(&self) -> &'static str {
        self.detail.unwrap_or(match self.cause {
            // `refused` is a connection that was.
            Cause::Refused => "not_taken",
            cause => cause.label(),
        })
    }

    /// The same error with the transport's words attached.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for AttemptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.cause.label())?;
        f.write_str(match self.sent {
            Sent::No => " (nothing was sent)",
            Sent::Maybe => " (the request may have been processed)",
        })
    }
}

impl std::error::Error for AttemptError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

/// What an attempt or a status query proved about an operation (the design's five kinds).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// Proven: the service did nothing. The key is free again.
    NotExecuted,
    /// Proven: the service did it.
    Succeeded,
    /// Proven: the service decided against it.
    Failed,
    /// The service is still at it.
    Ongoing,
    /// Nothing is proven.
    Ambiguous,
}

impl Evidence {
    /// The name used in documents, metrics and configuration.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NotExecuted => "not_executed",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Ongoing => "ongoing",
            Self::Ambiguous => "ambiguous",
        }
    }
}

/// What a rule's match proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The evidence stands as it is.
    Evidence(Evidence),
    /// The service does not know the write: proves `not_executed` only once it cannot arrive any more.
    NotFound,
}
