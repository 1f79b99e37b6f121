//! Why a keyed request is not executed.

use std::{borrow::Cow, time::Duration};

use http::StatusCode;

use super::{KeyError, standing::until_due};
use crate::{
    operation::{Operation, OperationId, UnixMillis, ledger::LedgerError},
    problem::{Effect, Problem},
};

/// A keyed request that is not executed, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The problem type.
    pub problem: Problem,
    /// Usually [`Problem::status`].
    pub status: StatusCode,
    /// What happened and what to do, for the caller.
    pub detail: Cow<'static, str>,
    /// The operation under this key, where there is one.
    pub operation: Option<OperationId>,
    /// When to come back.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal with the problem's usual status.
    pub fn new(problem: Problem, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { problem, status: problem.status(), detail: detail.into(), operation: None, retry_after: None }
    }

    /// What is known about the effect of the write that the key names: of this request, where it is not that write's.
    pub const fn effect(&self) -> Effect {
        match self.problem {
            Problem::InProgress | Problem::OutcomeUnknown | Problem::ResponseNotRetained | Problem::KeyExpired => {
                Effect::Unknown
            }
            _ => Effect::None,
        }
    }

    /// The same, with the address of the operation that it is about.
    #[must_use]
    pub fn about(mut self, operation: &Operation) -> Self {
        self.operation = Some(operation.id);
        self
    }

    pub(super) const fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    pub(super) fn ledger_unavailable(error: &LedgerError) -> Self {
        let detail = match error {
            LedgerError::Full => {
                "The ledger holds as many operations as it may. Nothing was sent; repeat with the same key."
            }
            _ => "The ledger cannot take writes. Nothing was sent; repeat with the same key.",
        };
        Self::new(Problem::LedgerUnavailable, detail).after(SOON)
    }

    /// The ledger is kept elsewhere, and has not been reached since the start.
    pub(super) fn never_reached() -> Self {
        Self::ledger_unavailable(&LedgerError::Unavailable(String::new()))
    }

    pub(super) fn key_reused() -> Self {
        let detail = "This key was used for a request with another method, host, path or content. \
                      Use a fresh key for a new request, or repeat the first one unchanged.";
        Self::new(Problem::KeyReused, detail)
    }

    /// The key belongs to a caller with other credentials: nothing of its operation is said.
    pub(super) fn caller_differs() -> Self {
        let detail = "This key was first used with other credentials. Nothing was sent. To repeat that request, send the \
                      same Authorization, Proxy-Authorization, Cookie and X-Api-Key with it; for a new one, use a fresh \
                      key. Whoever runs this proxy can declare `principal` on its listener instead, which also lets \
                      tokens be renewed.";
        Self::new(Problem::CallerDiffers, detail)
    }

    /// The answer to a repeat of a write that the service decided against, in words that nobody heard.
    pub fn write_failed(operation: &Operation) -> Self {
        let detail = "The service decided against this write; what it answered is not known. Nothing was done: to try \
                      again, send a new write with a fresh key.";
        Self::new(Problem::WriteFailed, detail).about(operation)
    }

    /// The answer to a repeat while nobody knows the outcome.
    pub(super) fn outcome_unknown(operation: &Operation, now: UnixMillis) -> Self {
        let detail = if operation.attention.is_some() {
            "It is not known whether this write happened. A person has been called; nothing will change by itself before. \
             Do not use a new key: read the operation until it is settled, then repeat with the same key."
        } else {
            "It is not known whether this write happened. Do not use a new key: \
             read the operation until it is settled, then repeat with the same key."
        };
        let mut refusal = Self::new(Problem::OutcomeUnknown, detail).about(operation).after(until_due(operation, now));
        refusal.status = StatusCode::CONFLICT;
        refusal
    }
}

impl From<KeyError> for Refusal {
    fn from(error: KeyError) -> Self {
        Self::new(Problem::KeyInvalid, error.to_string())
    }
}

/// A wait that costs a caller little.
pub(super) const SOON: Duration = Duration::from_secs(1);
