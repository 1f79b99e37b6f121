//! Trace context on the wire: W3C Trace Context (levels 1 and 2), B3 in one header and in several, Jaeger's
//! `uber-trace-id`.
//!
//! **Extraction** tries the configured formats in order; the first that is well-formed wins, and a malformed header counts as
//! absent. **Injection** writes every configured format, as OpenTelemetry's composite propagator does, so that whichever one
//! the service reads names our attempt as its parent. Where no spans are exported nothing is injected, and every field passes
//! as it came ([`Propagator::SILENT`]).
//!
//! * `b3` reads both forms of B3, as OpenTelemetry's propagator does. It writes one header, and to a trace that came in several
//!   it writes these, too. `b3multi` is for services that read nothing else.
//! * A format that is *not* configured passes untouched. Mainstay takes no part in that trace, exactly as a TCP proxy
//!   would not, so what it says of caller and service stays true.
//! * `tracestate` belongs to the `traceparent` beside it. It passes byte for byte if that `traceparent` is the one we
//!   continue; otherwise it is removed, as the specification demands, and so it is when it has more than
//!   `w3c::MAX_TRACESTATE_MEMBERS` members.
//! * `baggage` and `uberctx-*` are the application's and pass.
//! * 64-bit trace ids (B3, Jaeger) are the same ids padded with zeros; B3 and Jaeger get them back with 16 digits.

mod b3;
pub(crate) mod context;
mod hex;
mod jaeger;
#[cfg(test)]
mod tests;
mod w3c;

use http::{HeaderMap, HeaderName, HeaderValue};

use self::{
    context::{Parent, TraceContext},
    hex::Digits,
};
use crate::config::model::Propagation;

/// Reads and writes the configured formats; a few bytes, copied into each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Propagator {
    /// In order, each at most once.
    formats: [Option<Propagation>; FORMATS],
}

/// How many formats there are.
const FORMATS: usize = 4;

impl Propagator {
    /// Knows no format: it writes nothing and replaces nothing.
    pub const SILENT: Self = Self { formats: [None; FORMATS] };

    /// A propagator for `formats`, in order of preference; repeats are ignored.
    pub fn new(formats: &[Propagation]) -> Self {
        let mut kept = [None; FORMATS];
        let mut len = 0;
        for format in formats {
            if !kept.contains(&Some(*format)) {
                kept[len] = Some(*format);
                len += 1;
            }
        }
        Self { formats: kept }
    }

    /// Whether it writes nothing.
    pub const fn is_silent(&self) -> bool {
        self.formats[0].is_none()
    }

    /// The caller's context in the first configured format that is well-formed.
    pub fn extract(&self, headers: &HeaderMap) -> Option<Parent> {
        // Where nobody traces there is none of them, and one look at each name costs less than a search for each format.
        if !headers.keys().any(|name| format_of(name).is_some()) {
            return None;
        }
        self.formats().find_map(|format| match format {
            Propagation::W3c => w3c::extract(headers),
            Propagation::B3 => b3::extract_single(headers).or_else(|| b3::extract_multi(headers)),
            Propagation::B3Multi => b3::extract_multi(headers),
            Propagation::Jaeger => jaeger::extract(headers),
        })
    }

    /// Writes `cx` in every configured format, in place of what was there.
    pub fn inject(&self, cx: &TraceContext, headers: &mut HeaderMap) {
        if self.is_silent() {
            return;
        }
        let replaced: Vec<HeaderName> =
            headers.keys().filter(|name| self.replaces(cx, name, headers)).cloned().collect();
        for name in replaced {
            headers.remove(name);
        }
        self.write(cx, &mut |name, value| {
            headers.insert(HeaderName::from_static(name), self::value(value));
        });
    }

    /// Hands every field of `cx`, name and value, to `put`: for a head that is written without a map.
    pub fn write(&self, cx: &TraceContext, put: &mut impl FnMut(&'static str, &[u8])) {
        if self.is_silent() {
            return;
        }
        let digits = Digits::of(cx.trace_id, cx.span_id);
        for format in self.formats() {
            match format {
                Propagation::W3c => w3c::write(cx, &digits, put),
                Propagation::B3 => {
                    b3::write_single(cx, &digits, put);
                    if cx.origin == Some(Propagation::B3Multi) && !self.has(Propagation::B3Multi) {
                        b3::write_multi(cx, &digits, put);
                    }
                }
                Propagation::B3Multi => b3::write_multi(cx, &digits, put),
                Propagation::Jaeger => jaeger::write(cx, &digits, put),
            }
        }
    }

    /// Whether the field `name` of a request with these `headers` must not stand beside what [`write`](Self::write) writes.
    pub fn replaces(&self, cx: &TraceContext, name: &HeaderName, headers: &HeaderMap) -> bool {
        if self.is_silent() {
            return false;
        }
        match format_of(name) {
            Some(Propagation::W3c) if *name == w3c::TRACESTATE => {
                self.has(Propagation::W3c) && !w3c::keeps_state(cx, headers)
            }
            Some(Propagation::B3Multi) => {
                self.has(Propagation::B3Multi) || self.has(Propagation::B3) && cx.origin == Some(Propagation::B3Multi)
            }
            Some(format) => self.has(format),
            None => false,
        }
    }

    fn has(self, format: Propagation) -> bool {
        self.formats.contains(&Some(format))
    }

    fn formats(&self) -> impl Iterator<Item = Propagation> {
        self.formats.iter().map_while(|format| *format)
    }
}

/// The format that a field of this name belongs to.
fn format_of(name: &HeaderName) -> Option<Propagation> {
    Some(match name.as_str() {
        "traceparent" | "tracestate" => Propagation::W3c,
        "b3" => Propagation::B3,
        "x-b3-traceid" | "x-b3-spanid" | "x-b3-parentspanid" | "x-b3-sampled" | "x-b3-flags" => Propagation::B3Multi,
        "uber-trace-id" => Propagation::Jaeger,
        _ => return None,
    })
}

/// Entry for fuzzing: arbitrary header values in every format at once. Whatever is accepted must survive being written
/// and read again.
///
/// # Panics
///
/// If an accepted context does not survive, which is a bug.
pub fn fuzz(data: &[u8]) {
    const NAMES: [HeaderName; 7] =
        [w3c::TRACEPARENT, w3c::TRACESTATE, b3::SINGLE, b3::TRACE_ID, b3::SPAN_ID, b3::SAMPLED, jaeger::UBER_TRACE_ID];
    let mut headers = HeaderMap::new();
    for (value, name) in data.split(|byte| *byte == b'\n').zip(NAMES.iter().cycle()).take(4 * NAMES.len()) {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    for format in [Propagation::W3c, Propagation::B3, Propagation::B3Multi, Propagation::Jaeger] {
        let propagator = Propagator::new(&[format]);
        let Some(Parent { ids: Some(ids), decision, debug, random, .. }) = propagator.extract(&headers) else {
            continue;
        };
        let cx = TraceContext {
            trace_id: ids.trace_id,
            span_id: ids.span_id,
            sampled: decision.unwrap_or(false),
            debug,
            random,
            origin: Some(format),
        };
        let mut written = headers.clone();
        propagator.inject(&cx, &mut written);
        let again = propagator.extract(&written).expect("what we write is well-formed");
        assert_eq!(again.ids, Some(ids), "{format:?} changed the ids");
        assert_eq!(again.decision, Some(cx.sampled), "{format:?} changed the decision");
    }
}

/// A header value from bytes that we made ourselves.
fn value(ascii: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(ascii).expect("hex digits, dashes and colons are valid in a header")
}
