//! What a request's head must be, and why one is refused.
//!
//! A head with both `Content-Length` and `Transfer-Encoding`, or with a repeated `Content-Length`, is read by some as one
//! message and by others as another. Such framing is how one message is smuggled inside another (RFC 9112 sections 6.3 and
//! 11.2), so it is refused here, where the bytes are still as the client sent them.

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memchr_iter};

use super::fields;

const CONTENT_LENGTH: &[u8] = b"content-length";
const TRANSFER_ENCODING: &[u8] = b"transfer-encoding";

/// Bytes of a request's target: as many as a [`http::Uri`] can have.
pub(crate) const MAX_TARGET_BYTES: usize = u16::MAX as usize - 1;

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// More bytes than `limits.header_bytes`.
    TooLarge,
    /// More fields than `limits.header_count`.
    TooMany,
    /// A target that alone is more than `limits.header_bytes`, or more than any may be.
    TargetTooLong,
    /// A target with a fragment, which is the client's own (RFC 9110 section 7.1).
    Fragment,
    /// Neither HTTP/1.x nor HTTP/2.
    Version,
    /// `Content-Length` beside `Transfer-Encoding`, or more than one of either.
    AmbiguousFraming,
    /// A transfer coding other than `chunked`, which a body cannot be passed on in.
    UnknownCoding,
    /// A `Content-Length` that is not a plain number, or one that no body has.
    BadLength,
    /// A field line that starts with white space (obsolete line folding, RFC 9112 section 5.2).
    Folded,
    /// No request line, a field line without a name, or one with white space before its colon.
    Malformed,
}

impl Refused {
    /// The words for the caller.
    pub const fn detail(self) -> &'static str {
        match self {
            Self::TooLarge => "The request's header fields are larger than this proxy accepts.",
            Self::TooMany => "The request has more header fields than this proxy accepts.",
            Self::TargetTooLong => "The request's target is longer than this proxy accepts.",
            Self::Fragment => {
                "The request's target has a fragment, which is not sent: leave off the # and what follows it."
            }
            Self::Version => "This proxy speaks HTTP/1.1 and HTTP/2, and the request says another version.",
            Self::AmbiguousFraming => {
                "The request's length is ambiguous: send either one Content-Length or one Transfer-Encoding."
            }
            Self::UnknownCoding => "The only transfer coding that this proxy understands is chunked.",
            Self::BadLength => "The request's Content-Length is not a number of bytes that this proxy understands.",
            Self::Folded => "A header field is folded over several lines; send it on one.",
            Self::Malformed => "The request line or a header field is malformed.",
        }
    }

    /// 431 or, for the target, 414 where size is the reason, 501 for a coding (RFC 9112 section 6.1), 505 for a version, else
    /// 400.
    pub const fn status(self) -> http::StatusCode {
        match self {
            Self::TooLarge | Self::TooMany => http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TargetTooLong => http::StatusCode::URI_TOO_LONG,
            Self::UnknownCoding => http::StatusCode::NOT_IMPLEMENTED,
            Self::Version => http::StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Fragment | Self::AmbiguousFraming | Self::BadLength | Self::Folded | Self::Malformed => {
                http::StatusCode::BAD_REQUEST
            }
        }
    }
}

/// How a request's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// By its length in bytes.
    Length(u64),
    /// By chunks.
    Chunked,
}

/// The length of the head that `bytes` begin with, its blank line included; `None` while it is incomplete. A lone LF ends a
/// line too, as parsers read it.
pub fn length(bytes: &[u8]) -> Option<usize> {
    memchr_iter(b'\n', bytes).find_map(|at| match &bytes[at + 1..] {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

/// Checks a whole head, from the request line to the blank line, and says how its body is delimited.
///
/// # Errors
/// Why it is refused. What this lets through still has to pass the parser.
pub fn check(head: &[u8], max_bytes: usize, max_fields: usize) -> Result<Framing, Refused> {
    if head.len() > max_bytes {
        return Err(too_large(head, max_bytes));
    }
    let mut lines = Lines(head);
    // Blank lines before the request line do not count (RFC 9112 section 2.2).
    request_line(lines.find(|line| !line.is_empty()).unwrap_or_default())?;
    let (mut fields, mut framings, mut framing) = (0, 0, Framing::None);
    for line in lines {
        let Some(&first) = line.first() else { break };
        fields += 1;
        match first {
            b' ' | b'\t' => return Err(Refused::Folded),
            b'c' | b'C' if is_field(line, CONTENT_LENGTH)? => {
                framings += 1;
                framing = Framing::Length(
                    fields::length(line[CONTENT_LENGTH.len() + 1..].trim_ascii()).ok_or(Refused::BadLength)?,
                );
            }
            b't' | b'T' if is_field(line, TRANSFER_ENCODING)? => {
                framings += 1;
                framing = Framing::Chunked;
                if !line[TRANSFER_ENCODING.len() + 1..].trim_ascii().eq_ignore_ascii_case(b"chunked") {
                    return Err(Refused::UnknownCoding);
                }
            }
            _ => {}
        }
    }
    if fields > max_fields {
        return Err(Refused::TooMany);
    }
    if framings > 1 {
        return Err(Refused::AmbiguousFraming);
    }
    Ok(framing)
}

/// What of the first `max_bytes` is too large: the target, if they do not even hold the request line.
pub fn too_large(bytes: &[u8], max_bytes: usize) -> Refused {
    let first_line = &bytes[..max_bytes.min(bytes.len())];
    let has_target = memchr(b'\n', first_line).is_none() && memchr(b' ', first_line).is_some();
    if has_target { Refused::TargetTooLong } else { Refused::TooLarge }
}

/// What a request line is refused for that its parser has no words for; the rest is the parser's to judge.
fn request_line(line: &[u8]) -> Result<(), Refused> {
    let mut words = line.splitn(2, |&byte| byte == b' ').skip(1);
    let Some(rest) = words.next() else { return Ok(()) };
    let (target, version) = match memchr::memrchr(b' ', rest) {
        Some(at) => (&rest[..at], &rest[at + 1..]),
        None => (rest, &[][..]),
    };
    if let [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] = version
        && major.is_ascii_digit()
        && minor.is_ascii_digit()
        && *major != b'1'
    {
        return Err(Refused::Version);
    }
    if target.len() > MAX_TARGET_BYTES {
        return Err(Refused::TargetTooLong);
    }
    if memchr(b'#', target).is_some() { Err(Refused::Fragment) } else { Ok(()) }
}

/// The head of a request of HTTP/1.2 or later as one of HTTP/1.1, as which it is read (RFC 9110 section 2.5); `None` for any
/// other one.
pub(crate) fn as_known_version(head: &Bytes) -> Option<Bytes> {
    let line = &head[..memchr(b'\n', head)?];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let [.., b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9'] = line else { return None };
    let mut known = BytesMut::from(&head[..]);
    known[line.len() - 1] = b'1';
    Some(known.freeze())
}

/// Whether the line's field name is `name`; a name followed by white space is refused, since peers disagree about it.
fn is_field(line: &[u8], name: &[u8]) -> Result<bool, Refused> {
    if line.len() <= name.len() || !line[..name.len()].eq_ignore_ascii_case(name) {
        return Ok(false);
    }
    match line[name.len()] {
        b':' => Ok(true),
        b' ' | b'\t' => Err(Refused::Malformed),
        _ => Ok(false),
    }
}

/// Lines without their ends; a lone LF ends a line too (RFC 9112 section 2.2).
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let (line, rest) = match memchr(b'\n', self.0) {
            Some(end) => (&self.0[..end], &self.0[end + 1..]),
            None => (self.0, &self.0[self.0.len()..]),
        };
        self.0 = rest;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_head(fields: &str) -> Result<Framing, Refused> {
        check(format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes(), 1024, 5)
    }

    #[test]
    fn an_ordinary_head_passes() {
        assert_eq!(check_head(""), Ok(Framing::None));
        assert_eq!(check_head("Content-Length: 5\r\n"), Ok(Framing::Length(5)));
        assert_eq!(check_head("Transfer-Encoding: chunked\r\n"), Ok(Framing::Chunked));
        assert_eq!(check_head("Content-Length-X: 1\r\nContent-Length: 5\r\n"), Ok(Framing::Length(5)));
    }

    #[test]
    fn a_length_is_a_plain_number_that_fits() {
        assert_eq!(check_head("Content-Length:\t007 \r\n"), Ok(Framing::Length(7)));
        assert_eq!(check_head("Content-Length: 9223372036854775807\r\n"), Ok(Framing::Length(i64::MAX as u64)));
        for length in ["", "+4", "-4", "0x4", "4, 4", "4 4", "9223372036854775808", "18446744073709551615", "\u{660}"] {
            assert_eq!(check_head(&format!("Content-Length: {length}\r\n")), Err(Refused::BadLength), "{length}");
        }
    }

    #[test]
    fn ambiguous_framing_is_refused_in_any_order_and_case() {
        for fields in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\nX: y\r\nCONTENT-LENGTH: 6\r\n",
            "Content-Length: 5\nTransfer-Encoding: chunked\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        ] {
            assert_eq!(check_head(fields), Err(Refused::AmbiguousFraming), "{fields}");
        }
    }

    #[test]
    fn only_the_chunked_coding_is_understood() {
        for coding in ["identity", "gzip", "chunked, chunked", "chunked, identity", "\"chunked\"", ""] {
            assert_eq!(
                check_head(&format!("Transfer-Encoding: {coding}\r\n")),
                Err(Refused::UnknownCoding),
                "{coding}"
            );
        }
        assert_eq!(check_head("Transfer-Encoding:\tCHUNKED \r\n"), Ok(Framing::Chunked));
    }

    #[test]
    fn folded_lines_and_spaced_framing_names_are_refused() {
        assert_eq!(check_head("X: a\r\n b\r\n"), Err(Refused::Folded));
        assert_eq!(check_head("Content-Length : 5\r\n"), Err(Refused::Malformed));
        assert_eq!(check_head("Transfer-Encoding\t: chunked\r\n"), Err(Refused::Malformed));
    }

    #[test]
    fn blank_lines_before_a_request_are_no_fields() {
        let head = "\r\n\nGET / HTTP/1.1\r\nHost: a\r\nB: 2\r\n\r\n";
        assert_eq!(check(head.as_bytes(), 1024, 2), Ok(Framing::None));
        assert_eq!(check(head.as_bytes(), 1024, 1), Err(Refused::TooMany));
    }

    #[test]
    fn too_many_fields_and_too_many_bytes_are_told_apart() {
        assert_eq!(check_head("A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n"), Ok(Framing::None));
        assert_eq!(check_head("A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: 5\r\n"), Err(Refused::TooMany));
        assert_eq!(check_head(&format!("A: {}\r\n", "x".repeat(1024))), Err(Refused::TooLarge));
    }

    #[test]
    fn the_head_ends_after_its_blank_line() {
        assert_eq!(length(b"GET / HTTP/1.1\r\nHost: a\r\n"), None);
        assert_eq!(length(b"GET / HTTP/1.1\r\n\r\nrest"), Some(18));
        assert_eq!(length(b"GET / HTTP/1.1\nHost: a\n\nrest\r\n\r\n"), Some(24));
        assert_eq!(length(b"GET / HTTP/1.1\n\r\nrest"), Some(17));
    }

    #[test]
    fn a_request_line_is_refused_for_what_it_says() {
        let check_line = |line: &str| check(format!("{line}\r\nHost: a\r\n\r\n").as_bytes(), 1 << 20, 5);
        let long = |bytes| format!("GET /{} HTTP/1.1", "x".repeat(bytes - 1));
        assert_eq!(check_line(&long(MAX_TARGET_BYTES)), Ok(Framing::None));
        assert_eq!(check_line(&long(MAX_TARGET_BYTES + 1)), Err(Refused::TargetTooLong));
        for version in ["HTTP/0.9", "HTTP/2.0", "HTTP/7.7"] {
            assert_eq!(check_line(&format!("GET / {version}")), Err(Refused::Version), "{version}");
        }
        for target in ["/#", "/a#b", "#", "http://a/b?c#d"] {
            assert_eq!(check_line(&format!("GET {target} HTTP/1.1")), Err(Refused::Fragment), "{target}");
        }
    }

    #[test]
    fn what_is_too_large_is_the_target_or_the_fields() {
        assert_eq!(too_large(b"GET /xxxxxxxxxxxxxxx", 10), Refused::TargetTooLong);
        assert_eq!(too_large(b"GET / HTTP/1.1\r\nA: bbb", 20), Refused::TooLarge);
        assert_eq!(too_large(&[b'x'; 20], 10), Refused::TooLarge);
    }

    #[test]
    fn only_a_later_minor_version_is_read_as_another() {
        let known = |line: &str| as_known_version(&Bytes::from(format!("{line}\r\nA: b HTTP/1.3\r\n\r\n")));
        let expected = "GET / HTTP/1.1\r\nA: b HTTP/1.3\r\n\r\n";
        assert_eq!(known("GET / HTTP/1.2").as_deref(), Some(expected.as_bytes()));
        for other in ["GET / HTTP/1.1", "GET / HTTP/1.0", "GET / HTTP/2.0", "GET / HTTP/1.22", "GET /"] {
            assert_eq!(known(other), None, "{other}");
        }
    }
}
