//! What a caller can be refused for.

use std::{borrow::Cow, time::Duration};

use http::StatusCode;
use mainstay_policies::{
    concurrency_limit::Overloaded,
    evidence::{AttemptError, Sent},
    idempotency::Refusal,
    operation::OperationId,
    problem::{Effect, Problem},
};

use crate::wire::http1::head;

/// Why a request got no answer from the upstream.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The caller asked for something that is not there or not valid.
    Request(Problem, Cow<'static, str>),
    /// The request's head is refused before it is read as a request.
    Head(head::Refused),
    /// Over the rate limit.
    RateLimited { retry_after: Duration },
    /// Over the concurrency limit.
    Overloaded(Overloaded),
    /// Its body would have to be held whole, and as many bytes are held as may be.
    NoMemory,
    /// The breaker is open.
    CircuitOpen { retry_after: Duration },
    /// The last attempt failed.
    Attempt(AttemptError),
    /// The service answered a keyed write, and its answer cannot be passed on; the status settled the write.
    NotPassable { status: StatusCode, effect: Effect },
    /// The total time ran out between attempts or in the queue of a limiter.
    NoTime(Sent),
    /// This process ends, and nothing of the request was sent, or nothing that could have changed anything.
    Draining,
    /// The idempotency policy refuses.
    Refused(Refusal),
    /// A keyed write whose outcome nobody knows; the status says why: 504 time, 502 transport, 409 a repeat.
    OutcomeUnknown { status: StatusCode, operation: OperationId },
    /// The ledger failed before the write was sent.
    LedgerUnavailable,
}

impl Failure {
    /// Why nothing was sent, as an operation's reason.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::CircuitOpen { .. } => "circuit_open",
            Self::NoTime(_) => "deadline_passed",
            Self::Draining => "drain",
            _ => "refused",
        }
    }
}
