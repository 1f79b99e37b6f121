//! B3, Zipkin's context, in one header (`b3`) and in several (`X-B3-*`); see openzipkin/b3-propagation.
//!
//! Trace ids have 16 or 32 digits, span ids 16. A decision may come without ids: `b3: 0`, or `X-B3-Sampled: 0` alone, says
//! only that this trace is not to be sampled.

use http::{HeaderMap, HeaderName};

use super::{
    context::{Ids, Parent, TraceContext, single},
    hex::{self, Case, Digits},
};
use crate::config::model::Propagation;

pub(super) const SINGLE: HeaderName = HeaderName::from_static("b3");
pub(super) const TRACE_ID: HeaderName = HeaderName::from_static("x-b3-traceid");
pub(super) const SPAN_ID: HeaderName = HeaderName::from_static("x-b3-spanid");
pub(super) const SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
const FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");

pub(super) fn extract_single(headers: &HeaderMap) -> Option<Parent> {
    let text = single(headers, &SINGLE)?;
    let parent = |ids, (decision, debug)| Parent { ids, decision, debug, random: false, format: Propagation::B3 };
    if text.len() == 1 {
        return Some(parent(None, decision(text)?));
    }
    let mut parts = text.split(|byte| *byte == b'-');
    let ids = ids(parts.next()?, parts.next()?)?;
    let decided = match parts.next() {
        Some(state) => decision(state)?,
        None => (None, false),
    };
    // The caller's own parent: of no use to us, but a malformed one makes the header malformed.
    if let Some(grandparent) = parts.next() {
        id_u64(grandparent)?;
    }
    parts.next().is_none().then(|| parent(Some(ids), decided))
}

pub(super) fn extract_multi(headers: &HeaderMap) -> Option<Parent> {
    let debug = single(headers, &FLAGS) == Some(b"1");
    let decided = match single(headers, &SAMPLED) {
        _ if debug => Some(true),
        Some(b"1" | b"true") => Some(true),
        Some(b"0" | b"false") => Some(false),
        Some(_) => return None,
        None => None,
    };
    let ids = match (single(headers, &TRACE_ID), single(headers, &SPAN_ID)) {
        (Some(trace), Some(span)) => Some(ids(trace, span)?),
        (None, None) if decided.is_some() => None,
        _ => return None,
    };
    Some(Parent { ids, decision: decided, debug, random: false, format: Propagation::B3Multi })
}

/// The decision and the debug flag of `0`, `1` or `d`.
fn decision(state: &[u8]) -> Option<(Option<bool>, bool)> {
    match state {
        b"0" => Some((Some(false), false)),
        b"1" => Some((Some(true), false)),
        b"d" => Some((Some(true), true)),
        _ => None,
    }
}

fn ids(trace: &[u8], span: &[u8]) -> Option<Ids> {
    let trace_id = matches!(trace.len(), 16 | 32).then(|| hex::decode(trace, Case::Any))??;
    let span_id = id_u64(span)?;
    (trace_id != 0 && span_id != 0).then_some(Ids { trace_id, span_id })
}

fn id_u64(text: &[u8]) -> Option<u64> {
    if text.len() == 16 { hex::decode_u64(text, Case::Any) } else { None }
}

pub(super) fn write_single(cx: &TraceContext, digits: &Digits, put: &mut impl FnMut(&'static str, &[u8])) {
    let state = match (cx.debug, cx.sampled) {
        (true, _) => b'd',
        (false, true) => b'1',
        (false, false) => b'0',
    };
    let mut text = [0; 32 + 1 + 16 + 2];
    let trace_id = digits.short_trace_id();
    let after = trace_id.len();
    text[..after].copy_from_slice(trace_id);
    text[after] = b'-';
    text[after + 1..after + 17].copy_from_slice(&digits.span_id);
    text[after + 17] = b'-';
    text[after + 18] = state;
    put("b3", &text[..after + 19]);
}

/// What was there of the caller's parent is not ours, and that header is optional.
pub(super) fn write_multi(cx: &TraceContext, digits: &Digits, put: &mut impl FnMut(&'static str, &[u8])) {
    put("x-b3-traceid", digits.short_trace_id());
    put("x-b3-spanid", &digits.span_id);
    // "Debug implies an accept decision, so don't also send the X-B3-Sampled header."
    if cx.debug {
        put("x-b3-flags", b"1");
    } else {
        put("x-b3-sampled", if cx.sampled { b"1" } else { b"0" });
    }
}
