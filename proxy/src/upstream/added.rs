//! What an attempt adds to its request's head: the way that the request came, its place in the trace, and how long its answer is
//! waited for.
//!
//! It takes the place of what the request said of these. Over HTTP/1.1 it is written straight into the bytes that go out:
//! entries of a map, with an allocation for each value, were a fifth of what a request cost.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use mainstay_policies::timeout::{is_deadline, set_deadline_headers, write_deadline};

use crate::{telemetry::trace::SpanFields, wire::forward::Hop};

/// What one attempt adds to its request's head.
#[derive(Clone, Copy, Debug)]
pub struct Added<'a> {
    /// The way that the request came, if its head does not say that already.
    pub hop: Option<&'a Hop>,
    /// The attempt's span, as the upstream's parent.
    pub trace: SpanFields,
    /// How long the answer is waited for.
    pub time_left: Duration,
    /// What is left of the caller's own deadline, where it makes a gRPC call that has one.
    pub grpc_left: Option<Duration>,
}

impl Added<'_> {
    /// Whether the field `name` of a request with these `headers` must not stand beside this.
    pub(super) fn replaces(&self, name: &HeaderName, headers: &HeaderMap) -> bool {
        self.hop.is_some() && Hop::replaces(name)
            || is_deadline(name.as_str(), self.grpc_left.is_some())
            || self.trace.replaces(name, headers)
    }

    /// Hands every field, name and value, to `put`. `headers` are the request's own.
    pub(super) fn write(&self, headers: &HeaderMap, mut put: impl FnMut(&'static str, &[u8])) {
        if let Some(hop) = self.hop {
            hop.write(headers, &mut put);
        }
        self.trace.write(&mut put);
        write_deadline(self.time_left, self.grpc_left, put);
    }

    /// Makes `headers` those of the attempt.
    pub(super) fn apply(&self, headers: &mut HeaderMap) {
        if let Some(hop) = self.hop {
            hop.apply(headers);
        }
        self.trace.inject(headers);
        set_deadline_headers(headers, self.time_left, self.grpc_left);
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Version};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        config::model::Propagation,
        telemetry::propagation::{Propagator, context::TraceContext},
        wire::{
            direction::Direction,
            forward::{Address, Client},
        },
    };

    type Field = (String, Vec<u8>);

    const NAMES: &[&str] = &[
        "host",
        "accept",
        "via",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "traceparent",
        "tracestate",
        "b3",
        "x-b3-traceid",
        "x-b3-parentspanid",
        "x-b3-sampled",
        "x-b3-flags",
        "uber-trace-id",
        "mainstay-deadline-ms",
        "grpc-timeout",
    ];

    fn sorted(fields: impl IntoIterator<Item = Field>) -> Vec<Field> {
        let mut fields: Vec<_> = fields.into_iter().collect();
        fields.sort();
        fields
    }

    /// What goes out over HTTP/1.1, and what over HTTP/2.
    fn both(added: &Added<'_>, headers: &HeaderMap) -> [Vec<Field>; 2] {
        let field = |name: &str, value: &[u8]| (name.to_owned(), value.to_owned());
        let kept = headers.iter().filter(|(name, _)| !added.replaces(name, headers));
        let mut written: Vec<_> = kept.map(|(name, value)| field(name.as_str(), value.as_bytes())).collect();
        added.write(headers, |name, value| written.push(field(name, value)));
        let mut applied = headers.clone();
        added.apply(&mut applied);
        [sorted(written), sorted(applied.iter().map(|(name, value)| field(name.as_str(), value.as_bytes())))]
    }

    proptest! {
        #[test]
        fn both_protocols_say_the_same_and_each_thing_once(
            fields in prop::collection::vec((prop::sample::select(NAMES), "[a-z0-9=,-]{0,8}"), 0..10),
            formats in prop::sample::subsequence(
                vec![Propagation::W3c, Propagation::B3, Propagation::B3Multi, Propagation::Jaeger], 0..=4),
            origin in prop::option::of(Just(Propagation::W3c)),
            (has_hop, is_grpc, debug) in any::<(bool, bool, bool)>(),
        ) {
            let headers: Vec<_> = fields.iter().map(|(n, v)| (HeaderName::from_static(n), v.parse().unwrap())).collect();
            let headers: HeaderMap<HeaderValue> = headers.into_iter().collect();
            let client = Client {
                address: Address::new([10, 0, 0, 9].into()),
                is_secure: false,
                direction: Direction::Inbound,
            };
            let hop = Hop::new(&client, Version::HTTP_11);
            let cx = TraceContext { trace_id: 7, span_id: 8, sampled: true, debug, random: false, origin };
            let trace = SpanFields::new(cx, Propagator::new(&formats));
            let time_left = Duration::from_millis(1500);
            let grpc_left = is_grpc.then_some(time_left);
            let added = Added { hop: has_hop.then_some(&hop), trace, time_left, grpc_left };
            let [written, applied] = both(&added, &headers);
            prop_assert_eq!(&written, &applied);
            let values = |name: &str| -> Vec<_> { written.iter().filter(|(n, _)| n == name).collect() };
            prop_assert_eq!(values("mainstay-deadline-ms"), [&("mainstay-deadline-ms".to_owned(), b"1500".to_vec())]);
            if has_hop {
                let [(_, list)] = values("x-forwarded-for")[..] else { panic!("one list: {written:?}") };
                prop_assert!(list.ends_with(b"10.0.0.9"));
            }
            if formats.contains(&Propagation::W3c) {
                prop_assert_eq!(values("traceparent").len(), 1);
                prop_assert!(origin.is_some() || values("tracestate").is_empty());
            }
        }
    }
}
