//! What is counted for a record, a response and a request in memory.

use http::HeaderMap;

use crate::operation::{Operation, Retained, StoredRequest, StoredResponse};

/// Bytes that a record costs beside its response: the record, its share of the indexes, and the allocator's rounding.
pub(super) const RECORD_BYTES: u64 = 640;

pub(super) fn size_of_record(operation: &Operation) -> u64 {
    let response = match &operation.retained {
        Retained::Stored(response) => size_of_response(response),
        Retained::None | Retained::StatusOnly => 0,
    };
    let texts = operation.reason.len() + operation.status_target.as_ref().map_or(0, |target| target.len());
    RECORD_BYTES + (texts + response) as u64
}

fn size_of_response(response: &StoredResponse) -> usize {
    size_of_headers(&response.headers) + response.body.len()
}

pub(super) fn size_of_request(request: &StoredRequest) -> u64 {
    (size_of_headers(&request.headers) + request.target.len() + request.body.len()) as u64
}

fn size_of_headers(headers: &HeaderMap) -> usize {
    // A header costs its text, a slot of the map, and two handles.
    const PER_HEADER: usize = 96;
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + PER_HEADER).sum()
}
