//! This proxy's name in `Via` (RFC 9110 section 7.6.3), by which it knows a request that has been here before.
//!
//! A pseudonym: `mainstay-` and 16 hex digits, drawn once per process and direction. A host name would tell callers where they are,
//! and `mainstay` alone would make two of these proxies in a row look like a loop; so would one name for both directions, where
//! a service sends on the `Via` of the request that it serves.

use std::sync::LazyLock;

use http::{HeaderMap, Version, header::VIA};

use super::direction::Direction;

/// What is written for each version of HTTP. Kept for as long as the process runs, so that no message pays for it.
struct Names {
    pseudonym: &'static str,
    http10: &'static str,
    http11: &'static str,
    http2: &'static str,
}

static INBOUND: LazyLock<Names> = LazyLock::new(draw);
static OUTBOUND: LazyLock<Names> = LazyLock::new(draw);

fn names(direction: Direction) -> &'static Names {
    match direction {
        Direction::Inbound => &INBOUND,
        Direction::Outbound => &OUTBOUND,
    }
}

fn draw() -> Names {
    // The halves of a version 4 UUID have bits that are fixed; no bit is fixed in both.
    let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
    let pseudonym = format!("mainstay-{:016x}", high ^ low);
    let after = |version: &str| -> &'static str { format!("{version} {pseudonym}").leak() };
    let (http10, http11, http2) = (after("1.0"), after("1.1"), after("2"));
    Names { pseudonym: pseudonym.leak(), http10, http11, http2 }
}

/// The protocol's version as it was received, and our name in that direction.
pub(crate) fn received_by(direction: Direction, version: Version) -> &'static str {
    let names = names(direction);
    match version {
        Version::HTTP_2 => names.http2,
        Version::HTTP_10 => names.http10,
        _ => names.http11,
    }
}

/// Whether the request came through here before, in the same direction.
pub(crate) fn is_loop(direction: Direction, headers: &HeaderMap) -> bool {
    names_us(headers, names(direction).pseudonym)
}

fn names_us(headers: &HeaderMap, pseudonym: &str) -> bool {
    let hops = headers.get_all(VIA).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    hops.map(<[u8]>::trim_ascii).any(|hop| {
        let mut words = hop.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        words.nth(1) == Some(pseudonym.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_that_of_one_process_and_direction() {
        let name = received_by(Direction::Inbound, Version::HTTP_11);
        let digits = name.strip_prefix("1.1 mainstay-").expect("the version and the name");
        assert!(digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()), "{name}");
        assert_eq!(received_by(Direction::Inbound, Version::HTTP_2), format!("2 mainstay-{digits}"));
        assert_ne!(received_by(Direction::Outbound, Version::HTTP_11), name);
    }

    #[test]
    fn a_request_that_was_here_is_known_by_the_whole_name() {
        for (via, expected) in [
            ("1.1 mainstay-0", true),
            ("1.0 front, 1.1\tmainstay-0 (sidecar), 2 other", true),
            ("1.1 mainstay-00", false),
            ("1.1 front (mainstay-0)", false),
            ("mainstay-0", false),
        ] {
            let headers = HeaderMap::from_iter([(VIA, via.parse().unwrap())]);
            assert_eq!(names_us(&headers, "mainstay-0"), expected, "{via}");
        }
    }
}
