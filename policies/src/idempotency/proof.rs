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
    grpc::{Code, GRPC_MESSAGE, GRPC_STATUS, GRPC_STATUS_DETAILS},
    operation::{Retained, StoredResponse},
};

/// How a complete response settles its operation, whether it speaks HTTP or gRPC. `body` is `None` where it was not kept whole.
pub fn settlement(
    protection: &Protection,
    status: StatusCode,
    headers: &HeaderMap,
    body: Option<Bytes>,
    trailers: Option<&HeaderMap>,
) -> Settlement {
    if speaks_grpc(status, headers) {
        let is_empty = body.is_some_and(|body| body.is_empty());
        return protection.grpc_settlement(status, headers, trailers, is_empty);
    }
    protection.settlement(status, headers, body)
}

/// Whether a response tells its outcome by a code of gRPC, and not by its status.
fn speaks_grpc(status: StatusCode, headers: &HeaderMap) -> bool {
    status.is_success() && is_grpc(headers)
}

/// The code of a complete gRPC response. One that is missing is not the service's word, and proves nothing.
fn code(headers: &HeaderMap, trailers: Option<&HeaderMap>) -> Option<Code> {
    trailers.and_then(Code::in_fields).or_else(|| Code::in_fields(headers))
}

/// The status that a complete response stands for: its own, or the twin of its code. Clients read a missing code as UNKNOWN.
pub fn status_meant(status: StatusCode, headers: &HeaderMap, trailers: Option<&HeaderMap>) -> StatusCode {
    if speaks_grpc(status, headers) { code(headers, trailers).unwrap_or(Code::Unknown).twin() } else { status }
}

/// Whether a response says, as far as it has come, that its attempt did nothing.
pub fn proves_nothing_was_done(
    protection: &Protection,
    status: StatusCode,
    headers: &HeaderMap,
    trailers: Option<&HeaderMap>,
) -> bool {
    let outcomes = &protection.params.outcome;
    let evidence = if speaks_grpc(status, headers) {
        code(headers, trailers).map_or(Evidence::Ambiguous, |code| outcome::classify_grpc(outcomes, code))
    } else {
        outcome::classify(outcomes, status, headers, None)
    };
    evidence == Evidence::NotExecuted
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
    fn grpc_settlement(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        trailers: Option<&HeaderMap>,
        is_empty: bool,
    ) -> Settlement {
        let Some(code) = code(headers, trailers) else {
            return Settlement::Ambiguous { reason: "grpc_status", status: Some(status), stored: None };
        };
        let evidence = outcome::classify_grpc(&self.params.outcome, code);
        let of_state = evidence == Evidence::Failed && outcome::grpc_speaks_of_state(&self.params.outcome, code);
        let retained = match evidence {
            Evidence::Ambiguous => {
                return Settlement::Ambiguous { reason: code.reason(), status: Some(code.twin()), stored: None };
            }
            Evidence::NotExecuted => Retained::None,
            // What a failure says is in its fields; messages before it are none of its matter.
            _ if is_empty || evidence == Evidence::Failed => {
                Retained::Stored(Arc::new(self.trailers_only(status, headers, trailers)))
            }
            Evidence::Succeeded | Evidence::Failed | Evidence::Ongoing => Retained::StatusOnly,
        };
        Settlement::Response { evidence, status: code.twin(), code: Some(code), retained, of_state }
    }

    /// A gRPC response without a message, as its repeats get it: all in the head.
    fn trailers_only(&self, status: StatusCode, head: &HeaderMap, trailers: Option<&HeaderMap>) -> StoredResponse {
        let mut headers = replay::kept_headers(head, &self.params.replay_headers);
        for name in [GRPC_STATUS, GRPC_MESSAGE, GRPC_STATUS_DETAILS] {
            if let Some(value) = trailers.and_then(|fields| fields.get(&name)).or_else(|| head.get(&name)) {
                headers.insert(name, value.clone());
            }
        }
        StoredResponse { status, headers, body: Bytes::new() }
    }
}

/// Whether the media type of a message begins so, in whatever case.
pub fn media_type_starts(headers: &HeaderMap, prefix: &[u8]) -> bool {
    let value = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    value.len() >= prefix.len() && value[..prefix.len()].eq_ignore_ascii_case(prefix)
}

#[cfg(test)]
mod tests;
