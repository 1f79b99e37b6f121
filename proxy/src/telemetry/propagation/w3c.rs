//! W3C Trace Context: `traceparent`, `tracestate`.
//!
//! `00-<32 hex trace id>-<16 hex span id>-<2 hex flags>`, lower case only, ids not zero, version not `ff`. Version 00 has
//! exactly this length; a later version may go on after another dash, and is read as far as we know it (section 4.3).
//! We always write version 00.

use http::{HeaderMap, HeaderName};

use super::{
    context::{Ids, Parent, TraceContext, single},
    hex::{self, Case, Digits},
};
use crate::config::model::Propagation;

pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Section 3.3.1.1: "There can be a maximum of 32 list-members in a list."
pub(super) const MAX_TRACESTATE_MEMBERS: usize = 32;

const LENGTH: usize = 55;
const SAMPLED: u8 = 0x01;
/// Level 2 only; a level 1 sender leaves it 0.
const RANDOM: u8 = 0x02;

pub(super) fn extract(headers: &HeaderMap) -> Option<Parent> {
    let text = single(headers, &TRACEPARENT)?;
    let (known, rest) = text.split_at_checked(LENGTH)?;
    let version = field(known, 0, 2)?;
    let well_ended = rest.is_empty() || (version != 0 && rest[0] == b'-');
    let dashes = [2, 35, 52].iter().all(|at| known[*at] == b'-');
    if !dashes || !well_ended || version == 0xff {
        return None;
    }
    let trace_id = field(known, 3, 35)?;
    let span_id = field(known, 36, 52)? as u64;
    let flags = field(known, 53, 55)? as u8;
    if trace_id == 0 || span_id == 0 {
        return None;
    }
    Some(Parent {
        ids: Some(Ids { trace_id, span_id }),
        decision: Some(flags & SAMPLED != 0),
        debug: false,
        random: flags & RANDOM != 0,
        format: Propagation::W3c,
    })
}

fn field(text: &[u8], from: usize, to: usize) -> Option<u128> {
    hex::decode(&text[from..to], Case::Lower)
}

pub(super) fn write(cx: &TraceContext, digits: &Digits, put: &mut impl FnMut(&'static str, &[u8])) {
    let flags = if cx.sampled { SAMPLED } else { 0 } | if cx.random { RANDOM } else { 0 };
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    text[3..35].copy_from_slice(&digits.trace_id);
    text[36..52].copy_from_slice(&digits.span_id);
    text[53..].copy_from_slice(&hex::encode_u8(flags));
    put("traceparent", &text);
}

/// Whether `tracestate` passes: beside the `traceparent` that it came with, and within its bound.
pub(super) fn keeps_state(cx: &TraceContext, headers: &HeaderMap) -> bool {
    cx.origin == Some(Propagation::W3c) && within_limit(headers)
}

/// Empty members are allowed and count for nothing.
fn within_limit(headers: &HeaderMap) -> bool {
    let members = headers.get_all(&TRACESTATE).iter().flat_map(|list| list.as_bytes().split(|byte| *byte == b','));
    members.filter(|member| !member.trim_ascii().is_empty()).count() <= MAX_TRACESTATE_MEMBERS
}
