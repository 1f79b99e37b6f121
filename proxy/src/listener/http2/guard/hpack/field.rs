//! Fields as HTTP/2 has them, and which of them no request may have (RFC 9113 sections 8.2 and 8.3).

use http::Method;

/// A field, wherever its octets are.
#[derive(Clone, Copy)]
pub(in super::super) struct Field<'a> {
    pub(in super::super) kind: Kind,
    pub(in super::super) name: &'a [u8],
    pub(in super::super) value: &'a [u8],
}

/// What a field is for a request, by its name and then by its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum Kind {
    Authority,
    Method,
    Scheme,
    Path,
    Protocol,
    ContentType,
    Regular,
    /// Only one value of it is regular.
    Te,
    /// No request has it: a name or a value with octets that none may have, a pseudo-field that no request knows, or one of an
    /// HTTP/1.1 connection.
    Malformed,
}

/// The longest name that `http` has.
const MAX_NAME_BYTES: usize = u16::MAX as usize;

static IN_NAMES: [bool; 256] = in_names();

/// Those of a token (RFC 9110 section 5.6.2), without upper case.
const fn in_names() -> [bool; 256] {
    let mut table = [false; 256];
    let octets = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz";
    let mut at = 0;
    while at < octets.len() {
        table[octets[at] as usize] = true;
        at += 1;
    }
    table
}

impl Kind {
    /// Of fields with this name.
    pub(super) fn of(name: &[u8]) -> Self {
        match name {
            b":authority" => Self::Authority,
            b":method" => Self::Method,
            b":scheme" => Self::Scheme,
            b":path" => Self::Path,
            b":protocol" => Self::Protocol,
            b"content-type" => Self::ContentType,
            b"te" => Self::Te,
            b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade" => Self::Malformed,
            // A colon stands in none, so this also means every other pseudo-field.
            name if name.is_empty() || name.len() > MAX_NAME_BYTES => Self::Malformed,
            name if name.iter().all(|&octet| IN_NAMES[octet as usize]) => Self::Regular,
            _ => Self::Malformed,
        }
    }

    /// Of the field that has this value besides.
    pub(super) fn with(self, value: &[u8]) -> Self {
        let is_fine = match self {
            Self::Authority | Self::Scheme | Self::Path | Self::Protocol => std::str::from_utf8(value).is_ok(),
            Self::Method => Method::from_bytes(value).is_ok(),
            Self::ContentType | Self::Regular => has_no_control(value),
            Self::Te if value == b"trailers" => return Self::Regular,
            Self::Te | Self::Malformed => false,
        };
        if is_fine { self } else { Self::Malformed }
    }

    pub(in super::super) fn is_pseudo(self) -> bool {
        self <= Self::Protocol
    }
}

/// Whether a value has none of the octets that would end it elsewhere (RFC 9110 section 5.5). Looked at as a whole rather than up
/// to the first, for which there are instructions.
#[allow(clippy::needless_bitwise_bool)]
fn has_no_control(value: &[u8]) -> bool {
    !value.iter().fold(false, |found, &octet| found | (octet < b' ' && octet != b'\t') | (octet == 0x7f))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn names_and_values_are_those_that_the_library_takes() {
        for octet in 0..=255_u8 {
            for text in [vec![octet], vec![b'a', octet], vec![octet, b'a', b'b']] {
                // A quote is no part of a token, whatever the library thinks.
                let is_name = HeaderName::from_lowercase(&text).is_ok() && !text.contains(&b'"');
                assert_eq!(Kind::of(&text) != Kind::Malformed, is_name, "{text:?}");
                let is_value = HeaderValue::from_bytes(&text).is_ok();
                assert_eq!(Kind::Regular.with(&text) != Kind::Malformed, is_value, "{text:?}");
            }
        }
        for length in [0, 1, 65_535, 65_536] {
            let name = vec![b'a'; length];
            assert_eq!(Kind::of(&name) == Kind::Regular, HeaderName::from_lowercase(&name).is_ok(), "{length}");
        }
    }
}
