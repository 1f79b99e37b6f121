//! Jaeger's `uber-trace-id: {trace}:{span}:{parent}:{flags}`, in hex with leading zeros optional; see Jaeger's "Client
//! libraries", section "Propagation format". The colons may come percent-encoded.

use http::{HeaderMap, HeaderName};

use super::{
    context::{Ids, Parent, TraceContext, single},
    hex::{self, Case, Digits},
};
use crate::config::model::Propagation;

pub(super) const UBER_TRACE_ID: HeaderName = HeaderName::from_static("uber-trace-id");

const SAMPLED: u8 = 0x01;
const DEBUG: u8 = 0x02;
/// Four fields of full width, each colon percent-encoded.
const MAX_LENGTH: usize = 32 + 3 + 16 + 3 + 16 + 3 + 2;

pub(super) fn extract(headers: &HeaderMap) -> Option<Parent> {
    let text = std::str::from_utf8(single(headers, &UBER_TRACE_ID)?).ok()?;
    if text.len() > MAX_LENGTH {
        return None;
    }
    let mut rest = text;
    let trace_id = hex::decode(next_field(&mut rest)?, Case::Any)?;
    let span_id = hex::decode_u64(next_field(&mut rest)?, Case::Any)?;
    // Deprecated and mostly 0; a malformed one makes the header malformed.
    hex::decode_u64(next_field(&mut rest)?, Case::Any)?;
    let flags = u8::try_from(hex::decode(rest.as_bytes(), Case::Any)?).ok()?;
    if trace_id == 0 || span_id == 0 {
        return None;
    }
    let debug = flags & DEBUG != 0;
    Some(Parent {
        ids: Some(Ids { trace_id, span_id }),
        decision: Some(debug || flags & SAMPLED != 0),
        debug,
        random: false,
        format: Propagation::Jaeger,
    })
}

/// Cuts one field and the colon after it off `rest`.
fn next_field<'a>(rest: &mut &'a str) -> Option<&'a [u8]> {
    let end = rest.find([':', '%'])?;
    let (field, tail) = rest.split_at(end);
    *rest = [":", "%3A", "%3a"].iter().find_map(|colon| tail.strip_prefix(colon))?;
    Some(field.as_bytes())
}

pub(super) fn write(cx: &TraceContext, digits: &Digits, put: &mut impl FnMut(&'static str, &[u8])) {
    let flags = match (cx.debug, cx.sampled) {
        (true, _) => b'3',
        (false, true) => b'1',
        (false, false) => b'0',
    };
    let trace_id = digits.short_trace_id();
    let after = trace_id.len();
    let mut text = [b':'; 32 + 1 + 16 + 4];
    text[..after].copy_from_slice(trace_id);
    text[after + 1..after + 17].copy_from_slice(&digits.span_id);
    text[after + 18] = b'0';
    text[after + 20] = flags;
    put("uber-trace-id", &text[..after + 21]);
}
