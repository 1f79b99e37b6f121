//! How an execution ended.

use std::sync::Arc;

use http::StatusCode;

use crate::{
    evidence::Evidence,
    grpc::Code,
    operation::{Retained, StoredResponse},
};

/// How an execution ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Settlement {
    /// Proven: the last attempt did nothing.
    NotExecuted {
        /// A short fixed phrase: `connect_error`, `circuit-open`.
        reason: &'static str,
    },
    /// Nothing is proven.
    Ambiguous {
        /// A short fixed phrase: `attempt_timeout`, `reset`.
        reason: &'static str,
        /// The upstream's status, if there was one.
        status: Option<StatusCode>,
        /// The upstream's own answer, a 5xx for example: repeats get it too.
        stored: Option<Arc<StoredResponse>>,
    },
    /// A complete response.
    Response {
        /// What it proves.
        evidence: Evidence,
        /// Its status; for gRPC the twin of its code.
        status: StatusCode,
        /// Its code, if it is one of gRPC.
        code: Option<Code>,
        /// What is kept of it.
        retained: Retained,
        /// It may only say how another attempt of the same write has left things ("exists already"), and the policy does not
        /// say that it means more.
        of_state: bool,
    },
}

/// The reason of an operation that was settled by a response.
pub fn response_reason(status: StatusCode, code: Option<Code>) -> Arc<str> {
    match code {
        Some(code) => code.reason().into(),
        None => format!("http_{}", status.as_u16()).into(),
    }
}

impl Settlement {
    /// What it proves by itself, whatever else is known of the operation.
    pub const fn evidence(&self) -> Evidence {
        match self {
            Self::NotExecuted { .. } => Evidence::NotExecuted,
            Self::Ambiguous { .. } => Evidence::Ambiguous,
            Self::Response { evidence, .. } => *evidence,
        }
    }
}
