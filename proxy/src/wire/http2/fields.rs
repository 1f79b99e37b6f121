//! Header fields where HTTP/2 differs from HTTP/1.1 (RFC 9113 section 8.2.2).

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONNECTION, CONTENT_LENGTH, TE, TRANSFER_ENCODING, UPGRADE},
};

/// Fields that belong to an HTTP/1.1 connection: a message with one of them is malformed.
static OF_A_CONNECTION: [HeaderName; 5] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Takes off what HTTP/2 has no place for. Of requests and answers that are passed on it is off already; this keeps what
/// Mainstay or a trailer says from making a message malformed.
pub(crate) fn strip(headers: &mut HeaderMap) {
    // Most messages have none of them, and one look at each field costs less than a search for each name.
    if !headers.keys().any(|name| *name == TE || OF_A_CONNECTION.contains(name)) {
        return;
    }
    for name in &OF_A_CONNECTION {
        headers.remove(name);
    }
    if headers.get_all(TE).iter().any(|value| value != "trailers") {
        headers.remove(TE);
    }
}

/// How many bytes the field lines would have over HTTP/1.1, so that a bound means the same over either.
pub(crate) fn bytes(headers: &HeaderMap) -> usize {
    const AROUND: usize = ": \r\n".len();
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + AROUND).sum()
}

/// The length that `Content-Length` announces: that of all its values, if they agree.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    let parse = |value: &HeaderValue| value.to_str().ok()?.parse().ok();
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let first: u64 = parse(values.next()?)?;
    values.all(|value| parse(value) == Some(first)).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let mut map = HeaderMap::new();
        for (name, value) in fields.iter().map(field) {
            map.append(name, value);
        }
        map
    }

    #[test]
    fn what_belongs_to_a_connection_is_taken_off() {
        let mut headers = map(&[
            ("connection", "close"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("te", "gzip"),
            ("link", "</a>"),
        ]);
        strip(&mut headers);
        assert_eq!(headers, map(&[("link", "</a>")]));
    }

    #[test]
    fn a_wish_for_trailers_stays() {
        let mut headers = map(&[("te", "trailers")]);
        strip(&mut headers);
        assert_eq!(headers, map(&[("te", "trailers")]));
    }

    #[test]
    fn a_length_counts_if_it_is_one() {
        for (fields, expected) in [
            (&[][..], None),
            (&[("content-length", "5")], Some(5)),
            (&[("content-length", "5"), ("content-length", "5")], Some(5)),
            (&[("content-length", "5"), ("content-length", "6")], None),
            (&[("content-length", "x")], None),
        ] {
            assert_eq!(content_length(&map(fields)), expected, "{fields:?}");
        }
    }
}
