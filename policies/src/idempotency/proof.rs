//! What a complete response proves about its write, and what is kept of it.
//!
//! [`outcome`] weighs a status and a body; here that becomes the end of an execution. gRPC has its outcome
//! elsewhere, and is heard here as well.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{Protection, Settlement, outcome, replay};
pub use crate::grpc::is_grpc;
use crate::{
    evidence::Evidence,
    grpc::{Code, Dialect, GRPC_MESSAGE, GRPC_STATUS, GRPC_STATUS_DETAILS},
    operation::{Retained, StoredResponse},
};

/// A complete response as a witness of its write, whether it speaks HTTP or gRPC.
#[derive(Clone, Copy, Debug)]
pub struct Testimony<'a> {
    /// Whether the request was a gRPC call: then an answer that is none of gRPC has no code, and proves nothing.
    pub to_grpc: bool,
    /// Its status.
    pub status: StatusCode,
    /// Its head.
    pub headers: &'a HeaderMap,
    /// Its trailers, if it had any.
    pub trailers: Option<&'a HeaderMap>,
}

impl Testimony<'_> {
    /// How it settles its operation. `body` is `None` where it was not kept whole.
    pub fn settlement(&self, protection: &Protection, body: Option<Bytes>) -> Settlement {
        if self.tells_code() {
            if let Some(body) = &body
                && let Some(code) = self.code_in_body(body)
            {
                return protection.grpc_web_settlement(self, code, body.clone());
            }
            let is_empty = body.is_some_and(|body| body.is_empty());
            return protection.grpc_settlement(self, is_empty);
        }
        protection.settlement(self.status, self.headers, body)
    }

    /// The status that it stands for: its own, or the twin of its code. Clients read a missing code as UNKNOWN. `body` is `None`
    /// where it was not kept whole.
    pub fn status_meant(&self, body: Option<&[u8]>) -> StatusCode {
        if !self.tells_code() {
            return self.status;
        }
        let code = self.code().or_else(|| self.code_in_body(body?));
        code.unwrap_or(Code::Unknown).twin()
    }

    /// Whether it says, as far as it has come, that its attempt did nothing.
    pub fn proves_nothing_was_done(&self, protection: &Protection) -> bool {
        let outcomes = &protection.params.outcome;
        let evidence = if self.tells_code() {
            self.code().map_or(Evidence::Ambiguous, |code| outcome::classify_grpc(outcomes, code))
        } else {
            outcome::classify(outcomes, self.status, self.headers, None)
        };
        evidence == Evidence::NotExecuted
    }

    /// Whether it tells its outcome by a code of gRPC, and not by its status.
    fn tells_code(&self) -> bool {
        let is_good = self.status.is_success() || self.to_grpc && self.status.is_redirection();
        is_good && (self.to_grpc || is_grpc(self.headers))
    }

    /// The code that gRPC-Web tells at the end of a body, where no field tells one.
    fn code_in_body(&self, body: &[u8]) -> Option<Code> {
        let dialect = Dialect::of(self.headers).filter(|_| self.code().is_none())?;
        Code::in_body(dialect, body)
    }

    /// Its code. One that is missing is not the service's word, and proves nothing.
    fn code(&self) -> Option<Code> {
        self.trailers.and_then(Code::in_fields).or_else(|| Code::in_fields(self.headers))
    }
}

impl Protection {
    /// How a complete HTTP response settles its operation. `body` is `None` where it was not kept whole: streamed, or over
    /// `max_response`.
    pub fn settlement(&self, status: StatusCode, headers: &HeaderMap, body: Option<Bytes>) -> Settlement {
        let evidence = outcome::classify(&self.params.outcome, status, headers, body.as_deref());
        let of_state = outcome::speaks_of_state(&self.params.outcome, status, headers, body.as_deref());
        let stored = body.filter(|body| body.len() <= self.params.max_response).map(|body| {
            let headers = replay::kept_headers(headers, &self.params.replay_headers);
            Arc::new(StoredResponse { status, headers, body })
        });
        match evidence {
            Evidence::Ambiguous => {
                // Any other status would, replayed, claim an outcome that nobody knows.
                let stored = stored.filter(|_| status.is_server_error());
                let reason = if status.is_server_error() { "http_5xx" } else { "http_no_proof" };
                Settlement::Ambiguous { reason, status: Some(status), stored }
            }
            Evidence::NotExecuted => {
                Settlement::Response { evidence, status, code: None, retained: Retained::None, of_state: false }
            }
            Evidence::Succeeded | Evidence::Failed | Evidence::Ongoing => {
                let retained = stored.map_or(Retained::StatusOnly, Retained::Stored);
                Settlement::Response { evidence, status, code: None, retained, of_state }
            }
        }
    }

    /// How a complete gRPC response settles its operation: by its code, as HTTP would by the code's twin.
    fn grpc_settlement(&self, response: &Testimony<'_>, is_empty: bool) -> Settlement {
        let Some(code) = response.code() else {
            return Settlement::Ambiguous { reason: "grpc_status", status: Some(response.status), stored: None };
        };
        let evidence = outcome::classify_grpc(&self.params.outcome, code);
        let of_state = evidence == Evidence::Failed && outcome::grpc_speaks_of_state(&self.params.outcome, code);
        let retained = match evidence {
            Evidence::Ambiguous => {
                return Settlement::Ambiguous { reason: code.reason(), status: Some(code.twin()), stored: None };
            }
            Evidence::NotExecuted => Retained::None,
            // What a failure says is in its fields; messages before it are none of its matter.
            _ if is_empty || evidence == Evidence::Failed => Retained::Stored(Arc::new(self.trailers_only(response))),
            Evidence::Succeeded | Evidence::Failed | Evidence::Ongoing => Retained::StatusOnly,
        };
        Settlement::Response { evidence, status: code.twin(), code: Some(code), retained, of_state }
    }

    /// The same where the code stands in the body: what is kept of it is whole.
    fn grpc_web_settlement(&self, response: &Testimony<'_>, code: Code, body: Bytes) -> Settlement {
        let evidence = outcome::classify_grpc(&self.params.outcome, code);
        let of_state = evidence == Evidence::Failed && outcome::grpc_speaks_of_state(&self.params.outcome, code);
        let retained = match evidence {
            Evidence::Ambiguous => {
                return Settlement::Ambiguous { reason: code.reason(), status: Some(code.twin()), stored: None };
            }
            Evidence::NotExecuted => Retained::None,
            _ if body.len() > self.params.max_response => Retained::StatusOnly,
            Evidence::Succeeded | Evidence::Failed | Evidence::Ongoing => {
                let headers = replay::kept_headers(response.headers, &self.params.replay_headers);
                Retained::Stored(Arc::new(StoredResponse { status: response.status, headers, body }))
            }
        };
        Settlement::Response { evidence, status: code.twin(), code: Some(code), retained, of_state }
    }

    /// A gRPC response without a message, as its repeats get it: all in the head.
    fn trailers_only(&self, response: &Testimony<'_>) -> StoredResponse {
        let mut headers = replay::kept_headers(response.headers, &self.params.replay_headers);
        for name in [GRPC_STATUS, GRPC_MESSAGE, GRPC_STATUS_DETAILS] {
            let told = response.trailers.and_then(|fields| fields.get(&name));
            if let Some(value) = told.or_else(|| response.headers.get(&name)) {
                headers.insert(name, value.clone());
            }
        }
        StoredResponse { status: response.status, headers, body: Bytes::new() }
    }
}

/// Whether the media type of a message begins so, in whatever case.
pub fn media_type_starts(headers: &HeaderMap, prefix: &[u8]) -> bool {
    let value = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    value.len() >= prefix.len() && value[..prefix.len()].eq_ignore_ascii_case(prefix)
}

#[cfg(test)]
mod tests;
