use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::{
    context::{Ids, TraceId},
    *,
};

const ALL: [Propagation; 4] = [Propagation::W3c, Propagation::B3, Propagation::B3Multi, Propagation::Jaeger];
const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
const SPAN: u64 = 0x00f0_67aa_0ba9_02b7;

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let field =
        |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    fields.iter().map(field).collect()
}

fn extract(format: Propagation, fields: &[(&'static str, &str)]) -> Option<Parent> {
    Propagator::new(&[format]).extract(&headers(fields))
}

/// What is left of a parent for comparing: trace, span, decision, debug.
type Seen = (Option<(u128, u64)>, Option<bool>, bool);

fn seen(parent: Parent) -> Seen {
    (parent.ids.map(|ids| (ids.trace_id, ids.span_id)), parent.decision, parent.debug)
}

#[track_caller]
fn check(format: Propagation, fields: &[(&'static str, &str)], expected: Option<Seen>) {
    assert_eq!(extract(format, fields).map(seen), expected, "{format:?} {fields:?}");
}

fn context() -> TraceContext {
    TraceContext { trace_id: TRACE, span_id: SPAN, sampled: true, debug: false, random: false, origin: None }
}

#[test]
fn traceparent_is_read_exactly_as_the_specification_says() {
    let known = |sampled| Some((Some((TRACE, SPAN)), Some(sampled), false));
    let cases: &[(&str, Option<Seen>)] = &[
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", known(true)),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", known(false)),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02", known(false)),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff", known(true)),
        // A later version, alone or with more.
        ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", known(true)),
        ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-holds", known(true)),
        ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more", None),
        // Version 00 ends after the flags; ff is no version.
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", None),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-", None),
        ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", None),
        // Zero ids, upper case, other lengths, other characters.
        ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", None),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", None),
        ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", None),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0", None),
        ("00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01", None),
        ("00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01", None),
        ("00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", None),
        ("0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", None),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-+1", None),
        ("", None),
    ];
    for (text, expected) in cases {
        check(Propagation::W3c, &[("traceparent", text)], *expected);
    }
}

#[test]
fn a_repeated_traceparent_is_malformed() {
    let one = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    check(Propagation::W3c, &[one, one], None);
}

#[test]
fn the_random_flag_of_level_2_travels_on() {
    let parent =
        extract(Propagation::W3c, &[("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03")]);
    assert!(parent.unwrap().random);
    let mut out = HeaderMap::new();
    Propagator::new(&[Propagation::W3c]).inject(&TraceContext { random: true, ..context() }, &mut out);
    assert_eq!(out["traceparent"], "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03");
}

#[test]
fn b3_in_one_header_is_read() {
    let known = |decision, debug| Some((Some((TRACE, SPAN)), decision, debug));
    let cases: &[(&str, Option<Seen>)] = &[
        ("4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", known(None, false)),
        ("4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1", known(Some(true), false)),
        ("4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0", known(Some(false), false)),
        ("4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-d", known(Some(true), true)),
        ("4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1-05e3ac9a4f6e3b90", known(Some(true), false)),
        ("a3ce929d0e0e4736-00f067aa0ba902b7-1", Some((Some((0xa3ce_929d_0e0e_4736, SPAN)), Some(true), false))),
        ("0", Some((None, Some(false), false))),
        ("1", Some((None, Some(true), false))),
        ("d", Some((None, Some(true), true))),
        ("2", None),
        ("", None),
        ("-", None),
        ("4bf92f3577b34da6a3ce929d0e0e4736", None),
        ("4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-", None),
        ("4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-2", None),
        ("4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1-x", None),
        ("4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1-05e3ac9a4f6e3b90-", None),
        ("00000000000000000000000000000000-00f067aa0ba902b7-1", None),
        ("4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-1", None),
        ("4bf92f3577b34da6a3ce929d-00f067aa0ba902b7-1", None),
        ("4bf92f3577b34da6a3ce929d0e0e4736-67aa0ba902b7-1", None),
    ];
    for (text, expected) in cases {
        check(Propagation::B3, &[("b3", text)], *expected);
    }
}

#[test]
fn b3_in_several_headers_is_read() {
    let trace = ("x-b3-traceid", "4bf92f3577b34da6a3ce929d0e0e4736");
    let span = ("x-b3-spanid", "00f067aa0ba902b7");
    let ids = Some((TRACE, SPAN));
    check(Propagation::B3Multi, &[trace, span], Some((ids, None, false)));
    check(Propagation::B3Multi, &[trace, span, ("x-b3-sampled", "1")], Some((ids, Some(true), false)));
    check(Propagation::B3Multi, &[trace, span, ("x-b3-sampled", "0")], Some((ids, Some(false), false)));
    check(Propagation::B3Multi, &[trace, span, ("x-b3-flags", "1")], Some((ids, Some(true), true)));
    check(Propagation::B3Multi, &[("x-b3-sampled", "0")], Some((None, Some(false), false)));
    check(Propagation::B3Multi, &[trace, span, ("x-b3-sampled", "maybe")], None);
    check(Propagation::B3Multi, &[trace], None);
    check(Propagation::B3Multi, &[trace, trace, span], None);
    check(Propagation::B3Multi, &[], None);
}

#[test]
fn uber_trace_id_is_read() {
    let known = |trace, span, sampled, debug| Some((Some((trace, span)), Some(sampled), debug));
    let cases: &[(&str, Option<Seen>)] = &[
        ("4bf92f3577b34da6a3ce929d0e0e4736:00f067aa0ba902b7:0:1", known(TRACE, SPAN, true, false)),
        ("4bf92f3577b34da6a3ce929d0e0e4736:f067aa0ba902b7:0:0", known(TRACE, SPAN, false, false)),
        ("4bf92f3577b34da6a3ce929d0e0e4736%3A00f067aa0ba902b7%3a0%3A1", known(TRACE, SPAN, true, false)),
        ("a:b:c:3", known(10, 11, true, true)),
        ("a:b:c:02", known(10, 11, true, true)),
        ("a:b:0:100", None),
        ("0:b:0:1", None),
        ("a:0:0:1", None),
        ("a:b:1", None),
        ("a:b::1", None),
        ("a:b:0:1:2", None),
        ("a%3Bb:0:1", None),
        ("a:b:0:", None),
        ("14bf92f3577b34da6a3ce929d0e0e4736:b:0:1", None),
        ("a:100f067aa0ba902b7f:0:1", None),
        ("", None),
    ];
    for (text, expected) in cases {
        check(Propagation::Jaeger, &[("uber-trace-id", text)], *expected);
    }
}

#[test]
fn the_first_well_formed_format_wins() {
    let both = headers(&[
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("b3", "a3ce929d0e0e4736-00f067aa0ba902b7-0"),
    ]);
    let format = |order: &[Propagation]| Propagator::new(order).extract(&both).unwrap().format;
    assert_eq!(format(&[Propagation::W3c, Propagation::B3]), Propagation::W3c);
    assert_eq!(format(&[Propagation::B3, Propagation::W3c]), Propagation::B3);
    assert_eq!(Propagator::new(&[Propagation::Jaeger]).extract(&both), None);
}

#[test]
fn a_malformed_format_falls_to_the_next() {
    let fields = headers(&[("traceparent", "00-nonsense"), ("b3", "a3ce929d0e0e4736-00f067aa0ba902b7-0")]);
    let parent = Propagator::new(&[Propagation::W3c, Propagation::B3]).extract(&fields).unwrap();
    assert_eq!(parent.format, Propagation::B3);
}

#[test]
fn every_configured_format_is_written_and_no_other_is_touched() {
    let mut fields = headers(&[
        ("traceparent", "00-00000000000000000000000000000001-0000000000000002-00"),
        ("x-b3-traceid", "0000000000000001"),
        ("x-b3-parentspanid", "0000000000000003"),
        ("uber-trace-id", "1:2:0:1"),
        ("baggage", "a=1,b=2"),
    ]);
    Propagator::new(&[Propagation::W3c, Propagation::B3]).inject(&context(), &mut fields);
    let expected = headers(&[
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("b3", "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1"),
        ("x-b3-traceid", "0000000000000001"),
        ("x-b3-parentspanid", "0000000000000003"),
        ("uber-trace-id", "1:2:0:1"),
        ("baggage", "a=1,b=2"),
    ]);
    assert_eq!(fields, expected);
}

#[test]
fn a_written_format_leaves_nothing_stale_behind() {
    let mut fields = headers(&[
        ("x-b3-parentspanid", "0000000000000003"),
        ("x-b3-flags", "1"),
        ("b3", "0"),
        ("b3", "1"),
        ("uber-trace-id", "1:2:0:1"),
    ]);
    Propagator::new(&ALL).inject(&context(), &mut fields);
    let expected = headers(&[
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("b3", "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1"),
        ("x-b3-traceid", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ("x-b3-spanid", "00f067aa0ba902b7"),
        ("x-b3-sampled", "1"),
        ("uber-trace-id", "4bf92f3577b34da6a3ce929d0e0e4736:00f067aa0ba902b7:0:1"),
    ]);
    assert_eq!(fields, expected);
}

#[test]
fn a_64_bit_trace_id_keeps_its_16_digits_in_b3_and_jaeger() {
    let mut fields = HeaderMap::new();
    Propagator::new(&ALL).inject(&TraceContext { trace_id: 0xabc, ..context() }, &mut fields);
    assert_eq!(fields["traceparent"], "00-00000000000000000000000000000abc-00f067aa0ba902b7-01");
    assert_eq!(fields["b3"], "0000000000000abc-00f067aa0ba902b7-1");
    assert_eq!(fields["x-b3-traceid"], "0000000000000abc");
    assert_eq!(fields["uber-trace-id"], "0000000000000abc:00f067aa0ba902b7:0:1");
}

#[test]
fn tracestate_passes_with_its_traceparent_and_not_without() {
    let state = " congo=t61rcWkgMzE , ,rojo=00f067aa0ba902b7";
    let after = |origin, state: &str| {
        let mut fields = headers(&[("tracestate", state), ("tracestate", "more=1")]);
        Propagator::new(&[Propagation::W3c]).inject(&TraceContext { origin, ..context() }, &mut fields);
        fields.get_all("tracestate").iter().map(|list| list.as_bytes().to_vec()).collect::<Vec<_>>()
    };
    assert_eq!(after(Some(Propagation::W3c), state), [state.as_bytes(), b"more=1"]);
    assert!(after(None, state).is_empty(), "a trace that began here has none");
    assert!(after(Some(Propagation::B3), state).is_empty(), "it belongs to another trace");
    let members = |count: usize| vec!["a=1"; count].join(",");
    assert_eq!(after(Some(Propagation::W3c), &members(31)).len(), 2);
    assert!(after(Some(Propagation::W3c), &members(32)).is_empty(), "33 members are too many");
}

#[test]
fn a_trace_id_is_shown_as_32_digits() {
    assert_eq!(TraceId(0xabc).to_string(), "00000000000000000000000000000abc");
    assert_eq!(TraceId(TRACE).hex(), *b"4bf92f3577b34da6a3ce929d0e0e4736");
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        trace_id in prop_oneof![1..=u128::MAX, 1..=u128::from(u64::MAX)],
        span_id in 1..=u64::MAX,
        sampled: bool,
        debug: bool,
        random: bool,
    ) {
        for format in ALL {
            let debug = debug && format != Propagation::W3c;
            let random = random && format == Propagation::W3c;
            let cx = TraceContext { trace_id, span_id, sampled: sampled || debug, debug, random, origin: None };
            let propagator = Propagator::new(&[format]);
            let mut fields = HeaderMap::new();
            propagator.inject(&cx, &mut fields);
            let expected = Parent {
                ids: Some(Ids { trace_id, span_id }),
                decision: Some(cx.sampled),
                debug,
                random,
                format,
            };
            prop_assert_eq!(propagator.extract(&fields), Some(expected));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(data in proptest::collection::vec(any::<u8>(), 0..400)) {
        fuzz(&data);
    }

    #[test]
    fn almost_valid_headers_never_panic(
        data in "([0-9a-fA-F]{0,33}[-:%]?(3A)?){0,5}(\n[0-9a-f]{0,33}[-:][0-9a-f]{0,17}[-:][01d]?){0,7}",
    ) {
        fuzz(data.as_bytes());
    }
}
