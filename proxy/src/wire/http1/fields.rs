//! Field lines (RFC 9112 section 5).

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header::CONNECTION};
use httparse::EMPTY_HEADER;

use super::maps;

/// The section is no field section: a bad byte, a folded line, no colon, white space before it, or too many fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// More fields than are accepted.
    #[error("too many header fields")]
    TooMany,
    /// Anything else.
    #[error("a header field is malformed")]
    Field,
}

/// Reads a whole section, from its first field to its blank line. The values share `section`, so that none is copied.
///
/// # Errors
/// It is malformed, or has more than `max_fields`.
pub fn parse(section: &Bytes, max_fields: usize) -> Result<HeaderMap, Malformed> {
    let mut parsed = vec![EMPTY_HEADER; max_fields];
    match httparse::parse_headers(section, &mut parsed) {
        Ok(httparse::Status::Complete((used, parsed))) if used == section.len() => to_map(section, parsed),
        Err(httparse::Error::TooManyHeaders) => Err(Malformed::TooMany),
        Ok(_) | Err(_) => Err(Malformed::Field),
    }
}

/// The fields that were parsed out of `section`, as a map whose values share it.
pub(super) fn to_map(section: &Bytes, parsed: &[httparse::Header<'_>]) -> Result<HeaderMap, Malformed> {
    let mut fields = maps::take(parsed.len());
    for field in parsed {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Malformed::Field)?;
        let value = HeaderValue::from_maybe_shared(section.slice_ref(field.value)).map_err(|_| Malformed::Field)?;
        fields.append(name, value);
    }
    Ok(fields)
}

/// A body's length in bytes. One over `i64::MAX` is none, since peers begin to disagree about it there.
pub(crate) fn length(digits: &[u8]) -> Option<u64> {
    let more = |length: u64, digit: &u8| {
        if !digit.is_ascii_digit() {
            return None;
        }
        length.checked_mul(10)?.checked_add(u64::from(digit - b'0')).filter(|&length| i64::try_from(length).is_ok())
    };
    if digits.is_empty() { None } else { digits.iter().try_fold(0, more) }
}

/// Writes one field line.
pub fn write_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes the field lines of a map. Neither a name nor a value of a map can hold a line end.
pub fn write(out: &mut Vec<u8>, fields: &HeaderMap) {
    for (name, value) in fields {
        write_field(out, name.as_str(), value.as_bytes());
    }
}

/// Whether `Connection` lists `option`.
pub fn connection_has(fields: &HeaderMap, option: &str) -> bool {
    let lists = |value: &HeaderValue| {
        value.as_bytes().split(|&byte| byte == b',').any(|one| one.trim_ascii().eq_ignore_ascii_case(option.as_bytes()))
    };
    fields.get_all(CONNECTION).iter().any(lists)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(section: &'static str) -> Result<Vec<(String, String)>, Malformed> {
        let fields = parse(&Bytes::from_static(section.as_bytes()), 3)?;
        Ok(fields.iter().map(|(n, v)| (n.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned())).collect())
    }

    #[test]
    fn names_are_folded_and_values_trimmed() {
        let fields = parsed("X-One:  a b \t\r\nx-one:\r\nB:c\r\n\r\n").unwrap();
        let expected = [("x-one", "a b"), ("x-one", ""), ("b", "c")];
        assert_eq!(fields, expected.map(|(name, value)| (name.to_string(), value.to_string())));
    }

    #[test]
    fn what_is_no_field_is_refused() {
        for section in [
            "a b: c\r\n\r\n",
            "a : c\r\n\r\n",
            ": c\r\n\r\n",
            "a\r\n\r\n",
            "a: b\r\n c\r\n\r\n",
            " a: b\r\n\r\n",
            "a: b\rc: d\r\n\r\n",
            "a: \0\r\n\r\n",
            "a: \x7f\r\n\r\n",
            "\u{e4}: b\r\n\r\n",
            "a: b\r\n",
            "a: b\r\n\r\nc: d\r\n\r\n",
        ] {
            assert_eq!(parsed(section), Err(Malformed::Field), "{section:?}");
        }
        assert_eq!(parsed("a: 1\r\nb: 2\r\nc: 3\r\nd: 4\r\n\r\n"), Err(Malformed::TooMany));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let fields = parse(&Bytes::from_static(b"a: \xff\xfe\r\nb: \r\na: 2\r\n\r\n"), 3).unwrap();
        let mut out = Vec::new();
        write(&mut out, &fields);
        out.extend_from_slice(b"\r\n");
        assert_eq!(parse(&out.into(), 3).unwrap(), fields);
    }

    #[test]
    fn connection_options_are_found_in_any_list() {
        let mut fields = HeaderMap::new();
        fields.append(CONNECTION, HeaderValue::from_static("te , Close"));
        fields.append(CONNECTION, HeaderValue::from_static("upgrade"));
        assert!(connection_has(&fields, "close") && connection_has(&fields, "upgrade"));
        assert!(!connection_has(&fields, "clos") && !connection_has(&fields, "keep-alive"));
    }
}
