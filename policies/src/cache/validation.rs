//! Conditional requests: to the service (RFC 9111 section 4.3.1), from the client (4.3.2), and what a 304 changes (3.2).

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH,
        LAST_MODIFIED, TRANSFER_ENCODING,
    },
};

use super::{Stored, date::date_of};

/// What describes the body that is kept, and so is never taken from a 304.
const OF_THE_BODY: [HeaderName; 5] = [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_TYPE, CONTENT_RANGE, TRANSFER_ENCODING];

/// The headers that ask whether an answer is still valid; `None` if it has no validator.
pub fn validators(headers: &HeaderMap) -> Option<HeaderMap> {
    let mut asked = HeaderMap::new();
    if let Some(tag) = headers.get(ETAG) {
        asked.insert(IF_NONE_MATCH, tag.clone());
    }
    if let Some(modified) = headers.get(LAST_MODIFIED) {
        asked.insert(IF_MODIFIED_SINCE, modified.clone());
    }
    (!asked.is_empty()).then_some(asked)
}

/// Whether the client has the stored answer already (RFC 9110 sections 13.1.2 and 13.1.3; `If-None-Match` wins).
pub fn is_not_modified(request: &HeaderMap, stored: &Stored) -> bool {
    if !stored.status.is_success() {
        return false;
    }
    let mut tags = request.get_all(IF_NONE_MATCH).iter().peekable();
    if tags.peek().is_some() {
        let Some(own) = stored.headers.get(ETAG).map(HeaderValue::as_bytes) else { return false };
        return tags
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .any(|tag| tag == b"*" || weak(tag) == weak(own));
    }
    match (date_of(request.get(IF_MODIFIED_SINCE)), date_of(stored.headers.get(LAST_MODIFIED))) {
        (Some(since), Some(modified)) => modified <= since,
        _ => false,
    }
}

fn weak(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// The headers of a 304 from the stored answer.
pub fn not_modified_headers(stored: &HeaderMap) -> HeaderMap {
    let mut headers = stored.clone();
    for name in OF_THE_BODY {
        headers.remove(name);
    }
    headers
}

/// The stored headers as a 304 updates them.
pub fn refreshed(stored: &HeaderMap, update: &HeaderMap) -> HeaderMap {
    let mut headers = stored.clone();
    for name in update.keys().filter(|name| !OF_THE_BODY.contains(name)) {
        headers.remove(name);
        for value in update.get_all(name) {
            headers.append(name, HeaderValue::clone(value));
        }
    }
    headers
}
