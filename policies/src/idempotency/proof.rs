//! What a complete response proves about its write, and what is kept of it.
//!
//! [`outcome`] weighs a status and a body; here that becomes the end of an execution. gRPC has its outcome
//! elsewhere, and is heard here as well.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{Protection, Settlement, outcome, replay};
use crate::{
    evidence::Evidence,
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
    if is_grpc(headers) && status.is_success() {
        let code = trailers.and_then(|trailers| trailers.get("grpc-status")).or_else(|| headers.get("grpc-status"));
        let code = code.and_then(|value| value.to_str().ok()?.parse().ok());
        return grpc_settlement(protection, code, status, headers, body);
    }
    protection.settlement(status, headers, body)
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
                Settlement::Response { evidence, status, retained: Retained::None, of_state: false }
            }
            Evidence::Succeeded | Evidence::Failed | Evidence::Ongoing => {
                let retained = stored.map_or(Retained::StatusOnly, Retained::Stored);
                Settlement::Response { evidence, status, retained, of_state }
            }
        }
    }
}

/// Whether a message is one of gRPC.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    media_type_starts(headers, b"application/grpc")
}

/// Whether the media type of a message begins so, in whatever case.
pub fn media_type_starts(headers: &HeaderMap, prefix: &[u8]) -> bool {
    let value = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    value.len() >= prefix.len() && value[..prefix.len()].eq_ignore_ascii_case(prefix)
}

/// gRPC answers 200 whatever happened and tells the outcome in `grpc-status`. Codes by which a service says that it refused
/// are failures; the others (UNKNOWN, `DEADLINE_EXCEEDED`, ABORTED, INTERNAL, UNAVAILABLE, `DATA_LOSS`, CANCELLED) prove
/// nothing, and neither does a missing one.
fn grpc_settlement(
    protection: &Protection,
    code: Option<u16>,
    status: StatusCode,
    headers: &HeaderMap,
    body: Option<Bytes>,
) -> Settlement {
    const OK: u16 = 0;
    // INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED, FAILED_PRECONDITION, OUT_OF_RANGE, UNIMPLEMENTED,
    // UNAUTHENTICATED
    const REFUSALS: [u16; 8] = [3, 5, 6, 7, 9, 11, 12, 16];
    const ALREADY_EXISTS: u16 = 6;
    match code {
        Some(OK) => protection.settlement(status, headers, body),
        Some(code) if REFUSALS.contains(&code) => {
            let of_state = code == ALREADY_EXISTS;
            Settlement::Response { evidence: Evidence::Failed, status, retained: Retained::StatusOnly, of_state }
        }
        Some(_) | None => Settlement::Ambiguous { reason: "grpc_status", status: Some(status), stored: None },
    }
}

#[cfg(test)]
mod tests;
