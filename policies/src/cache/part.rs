//! A part of a stored answer (RFC 9110 section 14): one range of bytes, from a complete 200. Anything else is the service's to
//! answer: several ranges, one outside of the body, a condition by date.

use std::ops::Range;

use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_RANGE, RANGE},
};

use super::Stored;

/// What is answered to a request for a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// These bytes of the body.
    Of(Range<usize>),
    /// All of it: the client's own part is of another version (`If-Range`).
    Whole,
}

/// The part of `stored` that the request asks for; `None`: this cache cannot tell.
pub fn part(request: &HeaderMap, stored: &Stored) -> Option<Part> {
    if stored.status != StatusCode::OK {
        return None;
    }
    if let Some(condition) = request.get(IF_RANGE) {
        if !condition.as_bytes().starts_with(b"\"") && !condition.as_bytes().starts_with(b"W/") {
            return None;
        }
        // Both strong, and the same (section 13.1.5).
        let is_same = condition.as_bytes().starts_with(b"\"") && stored.headers.get(ETAG) == Some(condition);
        if !is_same {
            return Some(Part::Whole);
        }
    }
    let mut ranges = request.get_all(RANGE).iter();
    let (Some(range), None) = (ranges.next(), ranges.next()) else { return None };
    bytes(range.to_str().ok()?, stored.body.len()).map(Part::Of)
}

/// `bytes=FIRST-LAST`, `bytes=FIRST-`, `bytes=-LENGTH`, of `length` bytes in all.
fn bytes(range: &str, length: usize) -> Option<Range<usize>> {
    let (unit, range) = range.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (start, end) = match (first, last) {
        ("", last) => (length.saturating_sub(position(last)?), length),
        (first, "") => (position(first)?, length),
        (first, last) => {
            let (first, last) = (position(first)?, position(last)?);
            if last < first {
                return None;
            }
            (first, last.saturating_add(1).min(length))
        }
    };
    (start < end).then_some(start..end)
}

fn position(digits: &str) -> Option<usize> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(usize::MAX))
}

/// The headers of a 206 with this part of a body of `length` bytes.
pub fn part_headers(stored: &HeaderMap, part: &Range<usize>, length: usize) -> HeaderMap {
    let mut headers = stored.clone();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(part.len()));
    let range = format!("bytes {}-{}/{length}", part.start, part.end - 1);
    if let Ok(range) = HeaderValue::try_from(range) {
        headers.insert(CONTENT_RANGE, range);
    }
    headers
}
