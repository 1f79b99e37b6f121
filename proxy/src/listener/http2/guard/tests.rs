//! Random connections through the guard and `h2`, and faults one by one.

use std::{fmt::Write as _, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::{
    Guard, Refusals, list_bytes,
    section::END_STREAM,
    test_kit::{END, Fields, Peer, Served, fields, frame, guarded, served},
};
use crate::wire::http1::{HeadLimits, head::Refused};

const LIMITS: HeadLimits = HeadLimits { bytes: 2048, fields: 100 };
const PROTOCOL_ERROR: u32 = 1;

/// What is to become of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Accepted,
    Reset,
    Refused(Refused),
}

fn guard() -> (Guard, Arc<Refusals>) {
    let refusals = Arc::new(Refusals::default());
    (Guard::new(LIMITS, refusals.clone()), refusals)
}

fn run(bytes: &[u8]) -> Served {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(served(bytes, list_bytes(LIMITS)))
}

/// The fields of a request that is fine.
fn plain(random: &mut fastrand::Rng) -> Fields {
    let path = format!("/{}", random.u8(..9));
    let method = ["GET", "POST", "PUT", "HEAD"][random.usize(..4)];
    let mut all =
        fields(&[(":method", method), (":scheme", "http"), (":authority", "app.test"), (":path", path.as_str())]);
    for _ in 0..random.usize(..6) {
        let name = format!("x-{}", random.u8(..5));
        let value = match random.u8(..4) {
            0 => format!("{}\t\u{e9}", random.u8(..3)),
            1 => "long ".repeat(random.usize(..60)),
            _ => random.u8(..3).to_string(),
        };
        all.extend(fields(&[(name.as_str(), value.as_str())]));
    }
    if random.bool() {
        all.extend(fields(&[("content-type", "application/grpc"), ("te", "trailers")]));
    }
    all
}

/// Makes something wrong, and says what.
fn spoil(all: &mut Fields, random: &mut fastrand::Rng) -> Fate {
    const FIELDS: [(&[u8], &[u8]); 14] = [
        (b"X-Upper", b"1"),
        (b"", b"1"),
        (b"", b""),
        (b"a b", b"1"),
        (b"a:b", b"1"),
        (b"x-0", b"a\nb"),
        (b"x-1", b"\0"),
        (b"x-2", b"\x7f"),
        (b"x-3", b"a\r\nhost: b"),
        (b":unknown", b"1"),
        (b":status", b"200"),
        (b"connection", b"close"),
        (b"te", b"gzip"),
        (b"transfer-encoding", b"chunked"),
    ];
    let mut set =
        |name: &str, value: Vec<u8>| all.iter_mut().find(|field| field.0 == name.as_bytes()).unwrap().1 = value;
    match random.u8(..12) {
        0 => set(":method", b"G T".to_vec()),
        1 => set(":path", b"/\xff".to_vec()),
        2 => all.extend(fields(&[(":path", "/again")])),
        3 => all.insert(4, (b":path".to_vec(), b"/twice".to_vec())),
        4 => {
            set(":path", b"/a#b".to_vec());
            return Fate::Refused(Refused::Fragment);
        }
        5 => {
            set(":path", [b"/".to_vec(), vec![b'p'; 9000]].concat());
            return Fate::Refused(Refused::TargetTooLong);
        }
        6 => {
            set(":path", [b"/".to_vec(), vec![b'p'; 65_534]].concat());
            return Fate::Refused(Refused::TargetTooLong);
        }
        7 => {
            all.extend((0..300).map(|_| (b"x-0".to_vec(), vec![b'v'; 90])));
            return Fate::Refused(Refused::TooLarge);
        }
        _ => {
            let (name, value) = FIELDS[random.usize(..FIELDS.len())];
            let at = if name.first() == Some(&b':') { random.usize(..=4) } else { random.usize(4..=all.len()) };
            all.insert(at, (name.to_vec(), value.to_vec()));
        }
    }
    Fate::Reset
}

fn map(all: &Fields) -> HeaderMap {
    let regular = all.iter().filter(|(name, _)| !name.starts_with(b":"));
    regular.map(|(name, value)| (HeaderName::from_bytes(name).unwrap(), HeaderValue::from_bytes(value).unwrap())).fold(
        HeaderMap::new(),
        |mut map, (name, value)| {
            map.append(name, value);
            map
        },
    )
}

/// What a server sees of a request that is fine.
fn text(all: &Fields) -> String {
    let of = |name: &str| String::from_utf8_lossy(&all.iter().find(|field| field.0 == name.as_bytes()).unwrap().1);
    format!("{} http://app.test{} {:?}", of(":method"), of(":path"), map(all))
}

/// A request, what is to become of it, and what a server sees if it is accepted.
type Planned = (u32, Fate, String);

/// The frames of a connection, and what is to become of its requests.
fn connection(seed: u64, with_faults: bool) -> (Vec<u8>, Vec<Planned>) {
    let mut peer = Peer::new(seed);
    let (mut bytes, mut fates) = (Vec::new(), Vec::new());
    for nth in 0..peer.random.u32(1..12) {
        let stream = 2 * nth + 1;
        let mut all = plain(&mut peer.random);
        let is_bad = |peer: &mut Peer| with_faults && peer.random.u8(..3) == 0;
        let mut fate = if is_bad(&mut peer) { spoil(&mut all, &mut peer.random) } else { Fate::Accepted };
        let circular = with_faults && peer.random.u8(..9) == 0;
        if circular {
            fate = Fate::Reset;
        }
        let has_body = peer.random.bool();
        let mut expected = if fate == Fate::Accepted { text(&all) } else { String::new() };
        bytes.extend(peer.section(if has_body { 0 } else { END_STREAM }, stream, &all, circular));
        if has_body {
            for _ in 0..peer.random.usize(..3) {
                bytes.extend(frame(0, 0, stream, &vec![b'd'; peer.random.usize(..300)]));
            }
            let mut trailers = fields(&[("x-sum", "1")]);
            if is_bad(&mut peer) {
                let wrong = [(":path", "/"), ("X-Sum", "1"), ("x-0", "a\rb")][peer.random.usize(..3)];
                trailers.extend(fields(&[wrong]));
                fate = Fate::Reset;
            } else {
                let _ = write!(expected, " {:?}", map(&trailers));
            }
            bytes.extend(peer.section(END_STREAM, stream, &trailers, false));
        }
        if peer.random.bool() {
            bytes.extend(frame(6, 0, 0, b"a  ping!"));
            bytes.extend(frame(0xfa, 0, stream, b"of no known kind"));
        }
        fates.push((stream, fate, expected));
    }
    let last = fields(&[(":method", "GET"), (":scheme", "http"), (":authority", "app.test"), (":path", END)]);
    bytes.extend(peer.section(END_STREAM, 999, &last, false));
    (bytes, fates)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn what_is_fine_passes_byte_for_byte_however_it_arrives(seed: u64) {
        let (bytes, _) = connection(seed, false);
        let (mut guard, _) = guard();
        let out = guarded(&mut guard, &bytes, &mut fastrand::Rng::with_seed(seed));
        prop_assert!(out == bytes);
    }

    #[test]
    fn a_fault_is_its_streams_alone(seed: u64) {
        let (bytes, fates) = connection(seed, true);
        let (mut guard, refusals) = guard();
        let out = guarded(&mut guard, &bytes, &mut fastrand::Rng::with_seed(seed));
        let served = run(&out);
        prop_assert_eq!(served.goaway, None, "{:?}", fates);
        for (stream, fate, expected) in &fates {
            let request = served.requests.iter().find(|(of, _)| of == stream).map(|(_, text)| text.as_str());
            let found = match (refusals.take(*stream), served.resets.get(stream), request) {
                (None, Some(&PROTOCOL_ERROR), None) => Fate::Reset,
                (_, Some(&PROTOCOL_ERROR), Some(text)) if text.ends_with("broken off") => Fate::Reset,
                (Some(refused), _, Some(_)) => Fate::Refused(refused),
                (None, _, Some(_)) => Fate::Accepted,
                other => panic!("stream {stream}: {other:?}: {served:?}"),
            };
            prop_assert_eq!(found, *fate, "stream {}: {:?}: {:?}", stream, request, served);
            if found == Fate::Accepted {
                prop_assert_eq!(request, Some(expected.as_str()), "stream {}", stream);
            }
        }
        let (mut again, _) = self::guard();
        let whole = guarded(&mut again, &bytes, &mut fastrand::Rng::with_seed(!seed));
        prop_assert!(whole == out, "it matters how the bytes arrive");
        prop_assert!(guarded(&mut self::guard().0, &out, &mut fastrand::Rng::new()) == out, "it lets pass what it changes");
    }

    #[test]
    fn h2_alone_reads_a_fine_connection_the_same(seed: u64) {
        let (bytes, fates) = connection(seed, false);
        let served = run(&bytes);
        prop_assert_eq!(served.goaway, None);
        let expected: Vec<_> = fates.into_iter().map(|(stream, _, expected)| (stream, expected)).collect();
        prop_assert_eq!(served.requests, expected);
    }

    #[test]
    fn a_broken_byte_ends_the_connection_at_worst(seed: u64) {
        let (mut bytes, _) = connection(seed, true);
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..random.usize(1..5) {
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
        }
        let out = guarded(&mut guard().0, &bytes, &mut random);
        prop_assert!(out == guarded(&mut guard().0, &bytes, &mut random), "it matters how the bytes arrive");
    }
}
