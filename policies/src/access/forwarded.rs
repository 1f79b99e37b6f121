//! Who the client is, behind fronts: read from `X-Forwarded-For` or `Forwarded` (RFC 7239), from the right.
//!
//! Each front adds the address that it was called from at the right end of the list. What stands there is as true as the front is
//! trusted; what stands left of an address that is not trusted was written by that address, and may be anything. So the client is
//! the right-most address that is not trusted. Where the list cannot be read, or ends, it is the last one that was.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The field in which fronts say whom they forward for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedField {
    /// `X-Forwarded-For`: a list of addresses.
    XForwardedFor,
    /// `Forwarded`: a list of elements, with `for=` in them.
    Forwarded,
}

impl ForwardedField {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }

    /// Who the client is of a request that `peer` sent, of which `values` are the field's, in their order.
    pub fn client<'v>(
        self,
        values: impl Iterator<Item = &'v [u8]>,
        peer: IpAddr,
        is_trusted: impl Fn(IpAddr) -> bool,
    ) -> IpAddr {
        let mut nearest = peer.to_canonical();
        let elements: Vec<&[u8]> = values.flat_map(|value| split(value, b',')).collect();
        for element in elements.into_iter().rev().map(<[u8]>::trim_ascii).filter(|element| !element.is_empty()) {
            if !is_trusted(nearest) {
                break;
            }
            let address = match self {
                Self::XForwardedFor => address(element),
                Self::Forwarded => forwarded_for(element),
            };
            // Hidden on purpose (`unknown`, `_name`), or nonsense: nothing left of it can be trusted.
            let Some(address) = address else { break };
            nearest = address;
        }
        nearest
    }
}

/// The address by which a client is counted: of IPv6, where one client has a whole network to call from, the first `prefix` bits.
pub fn counted(client: IpAddr, prefix: u8) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let host_bits = 128 - u32::from(prefix.min(128));
            let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// The parts of a list or an element, of which quoted strings (RFC 9110 section 5.6.4) may hold the separator.
fn split(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |byte| {
        let escaped = std::mem::take(&mut is_escaped);
        match byte {
            b'\\' if is_quoted && !escaped => is_escaped = true,
            b'"' if !escaped => is_quoted = !is_quoted,
            _ => {}
        }
        *byte == separator && !is_quoted
    })
}

/// What the parameter `for` of an element names.
fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    let mut named = split(element, b';').filter_map(|pair| {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii());
        name.eq_ignore_ascii_case(b"for").then_some(value)
    });
    let value = named.next()?;
    // Named twice, it could be read in two ways.
    if named.next().is_some() {
        return None;
    }
    address(value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value))
}

/// An address, perhaps with a port behind it; an IPv6 address may stand in brackets.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let bare = || text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text).parse().ok();
    let address: Option<IpAddr> = bare().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(field: ForwardedField, values: &[&str], expected: &str) {
        let front: IpAddr = "10.0.0.1".parse().unwrap();
        let trusted: super::super::Cidr = "10.0.0.0/8".parse().unwrap();
        let client = field.client(values.iter().map(|value| value.as_bytes()), front, |it| trusted.contains(it));
        assert_eq!(client, expected.parse::<IpAddr>().unwrap(), "{values:?}");
    }

    #[test]
    fn the_right_most_address_that_is_not_trusted_counts() {
        let check = |values: &[&str], expected| check(ForwardedField::XForwardedFor, values, expected);
        check(&[], "10.0.0.1");
        check(&["192.0.2.7"], "192.0.2.7");
        check(&["203.0.113.9, 192.0.2.7"], "192.0.2.7");
        check(&["203.0.113.9", "192.0.2.7, 10.0.0.2"], "192.0.2.7");
        check(&["192.0.2.7,10.0.0.3 , 10.0.0.2"], "192.0.2.7");
        check(&["10.0.0.9, 10.0.0.2"], "10.0.0.9");
        check(&["192.0.2.7:4711"], "192.0.2.7");
        check(&["2001:db8::7"], "2001:db8::7");
        check(&["[2001:db8::7]"], "2001:db8::7");
        check(&["[2001:db8::7]:4711, ,"], "2001:db8::7");
        check(&["::ffff:192.0.2.7"], "192.0.2.7");
    }

    #[test]
    fn nothing_left_of_what_cannot_be_read_counts() {
        let check = |values: &[&str], expected| check(ForwardedField::XForwardedFor, values, expected);
        check(&["192.0.2.7, unknown"], "10.0.0.1");
        check(&["192.0.2.7, nonsense, 10.0.0.2"], "10.0.0.2");
        check(&["192.0.2.7 10.0.0.2"], "10.0.0.1");
    }

    #[test]
    fn elements_of_forwarded_are_read_with_their_quotes() {
        let check = |values: &[&str], expected| check(ForwardedField::Forwarded, values, expected);
        check(&["for=192.0.2.7"], "192.0.2.7");
        check(&["proto=https;For=\"192.0.2.7:4711\";by=10.0.0.1"], "192.0.2.7");
        check(&["for=203.0.113.9, for=\"[2001:db8::7]:4711\", for=10.0.0.2"], "2001:db8::7");
        check(&["for=192.0.2.7, for=_hidden"], "10.0.0.1");
        check(&["for=203.0.113.9, for=192.0.2.7;host=\"a,b\\\",for=203.0.113.9\""], "192.0.2.7");
        check(&["for=192.0.2.7;for=203.0.113.9"], "10.0.0.1");
        check(&["proto=https"], "10.0.0.1");
    }

    #[test]
    fn a_peer_that_is_not_trusted_is_the_client_itself() {
        let peer: IpAddr = "192.0.2.9".parse().unwrap();
        let values = [&b"203.0.113.9"[..]];
        assert_eq!(ForwardedField::XForwardedFor.client(values.into_iter(), peer, |_| false), peer);
    }

    #[test]
    fn clients_of_ipv6_count_by_network() {
        for (client, prefix, expected) in [
            ("2001:db8:1:2:3:4:5:6", 64, "2001:db8:1:2::"),
            ("2001:db8:1:2:3:4:5:6", 48, "2001:db8:1::"),
            ("2001:db8:1:2:3:4:5:6", 128, "2001:db8:1:2:3:4:5:6"),
            ("2001:db8:1:2:3:4:5:6", 0, "::"),
            ("192.0.2.7", 64, "192.0.2.7"),
            ("::ffff:192.0.2.7", 64, "192.0.2.7"),
        ] {
            assert_eq!(
                counted(client.parse().unwrap(), prefix),
                expected.parse::<IpAddr>().unwrap(),
                "{client}/{prefix}"
            );
        }
    }
}
