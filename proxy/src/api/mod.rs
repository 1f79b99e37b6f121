//! What the two interfaces that show operations share: the caller's on the data listeners ([`control`](crate::control)) and
//! the operators' on a listener of its own ([`admin`](crate::admin)). Documents, parameters, cursors, replies, and why there
//! is none.

pub(crate) mod document;
pub(crate) mod listing;
pub(crate) mod query;
pub(crate) mod reply;

use http::{HeaderName, StatusCode, header};
use mainstay_policies::problem::Problem;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) problem: Problem,
    pub(crate) status: StatusCode,
    /// In place of the problem's own, where the status says something more particular.
    pub(crate) title: Option<&'static str>,
    pub(crate) detail: String,
    /// A header that the answer carries beside its document.
    pub(crate) header: Option<(HeaderName, String)>,
}

impl Fault {
    pub(crate) fn new(problem: Problem, detail: impl Into<String>) -> Self {
        Self { problem, status: problem.status(), title: None, detail: detail.into(), header: None }
    }

    /// No such operation, or another caller's.
    pub(crate) fn absent(detail: &str) -> Self {
        Self::new(Problem::OperationNotFound, detail)
    }

    /// Nothing is served at this address.
    pub(crate) fn no_route(detail: &str) -> Self {
        Self::new(Problem::NoRoute, detail)
    }

    pub(crate) fn bad(detail: impl Into<String>) -> Self {
        Self::new(Problem::BadRequest, detail)
    }

    /// The same problem under another status, in that status' words.
    pub(crate) fn with(self, status: StatusCode, title: &'static str) -> Self {
        Self { status, title: Some(title), ..self }
    }

    /// The ledger cannot even be read.
    pub(crate) fn ledger() -> Self {
        Self::new(Problem::LedgerUnavailable, "The ledger cannot be read at the moment.")
    }

    /// The address takes other methods.
    pub(crate) fn method(methods: &[http::Method]) -> Self {
        let allow = methods.iter().map(http::Method::as_str).collect::<Vec<_>>().join(", ");
        let mut fault = Self::new(Problem::MethodNotAllowed, format!("This address answers {allow} only."));
        fault.header = Some((header::ALLOW, allow));
        fault
    }
}
