//! A trace context, whichever format brought it.

use std::fmt;

use http::{HeaderMap, HeaderName};

use super::hex;
use crate::config::model::Propagation;

/// What a caller said about its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The caller's trace and span; `None` if it only sent a decision (B3 allows that).
    pub ids: Option<Ids>,
    /// Whether the trace is sampled; `None` leaves the decision to us.
    pub decision: Option<bool>,
    /// B3's and Jaeger's debug flag: sampled, whatever any sampler says.
    pub debug: bool,
    /// W3C level 2: the trace id's low 56 bits are random.
    pub random: bool,
    /// The format that said so.
    pub format: Propagation,
}

/// A trace and a span in it; neither is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// The trace.
    pub trace_id: u128,
    /// The span.
    pub span_id: u64,
}

/// The context of one span of ours, as it is written for the next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace; not zero.
    pub trace_id: u128,
    /// Our span, which becomes the parent of the service's; zero where no span is exported and so none is written.
    pub span_id: u64,
    /// Whether the trace is sampled.
    pub sampled: bool,
    /// The debug flag travels on.
    pub debug: bool,
    /// The level 2 random flag travels on.
    pub random: bool,
    /// The format whose trace this continues; `None` if it began here.
    pub origin: Option<Propagation>,
}

impl TraceContext {
    /// The trace id as 32 hex digits.
    pub const fn trace_id(&self) -> TraceId {
        TraceId(self.trace_id)
    }
}

/// A trace id, shown as 32 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(pub u128);

impl TraceId {
    /// The digits, without allocation; ASCII.
    pub fn hex(self) -> [u8; 32] {
        hex::encode_u128(self.0)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The one value of a header; `None` if it is absent or repeated, since nobody can say which of several is meant.
pub(super) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then(|| first.as_bytes())
}
