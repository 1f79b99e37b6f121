//! The head of a response (RFC 9112 section 4), and how its body is delimited (section 6.3).

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderValue, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING},
};

use super::{HeadLimits, STACK_FIELDS, fields};

/// The head of a response. Its fields name one length at most, and the true one.
#[derive(Debug)]
pub struct Head {
    /// Its status, which may be an interim one.
    pub status: StatusCode,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// Its fields, as they were sent but for those that state a length once more, or a wrong one.
    pub headers: HeaderMap,
    /// The words behind the status, where they are not the usual ones.
    pub reason: Option<Bytes>,
    /// How the body is delimited.
    pub framing: Framing,
    /// Whether the connection may carry another request afterwards.
    pub keep_alive: bool,
}

/// How a response's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// By its length in bytes; 0 where there is none.
    Length(u64),
    /// By chunks.
    Chunked,
    /// By the end of the connection.
    Close,
}

/// Why bytes are no response, or none that can be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It does not begin like one, or a field is malformed.
    #[error("not the head of an HTTP/1 response")]
    Syntax,
    /// More bytes or fields than `limits.response_header_bytes` and `limits.response_header_count` allow.
    #[error("the head is larger than limits.response_header_bytes or limits.response_header_count")]
    TooLarge,
    /// A length that is no number, or several that differ.
    #[error("the length is ambiguous")]
    Length,
    /// A transfer coding other than `chunked`, alone and once.
    #[error("an unknown transfer coding")]
    Coding,
}

/// Which of the fields that frame a body a head has: one look at each, where a search for every one would cost more.
#[derive(Default)]
struct Stated {
    is_coded: bool,
    lengths: usize,
    /// The first length, if it is a number.
    length: Option<u64>,
    has_connection: bool,
}

impl Stated {
    fn by(headers: &HeaderMap) -> Self {
        let mut stated = Self::default();
        for (name, value) in headers {
            match *name {
                TRANSFER_ENCODING => stated.is_coded = true,
                CONTENT_LENGTH => {
                    stated.lengths += 1;
                    stated.length = if stated.lengths == 1 { fields::length(value.as_bytes()) } else { None };
                }
                CONNECTION => stated.has_connection = true,
                _ => {}
            }
        }
        stated
    }
}

/// Whether a peer that frames its answer like this may send bytes that do not belong to it: a length beside a coding, or either
/// where there is no body.
fn contradicts_itself(headers: &HeaderMap, stated: &Stated, status: StatusCode, to_head: bool) -> bool {
    let has_length = || headers.get_all(CONTENT_LENGTH).iter().any(|length| length != "0");
    stated.is_coded && has_length()
        || status == StatusCode::NO_CONTENT && (stated.is_coded || has_length())
        || status == StatusCode::NOT_MODIFIED && stated.is_coded && !to_head
}

/// Reads the head that `bytes` begin with, and says how many bytes it has; `None` while it is incomplete. The values share
/// `bytes`. `to_head`: it answers a HEAD request, so that it has no body whatever it says.
///
/// # Errors
/// No response, or none that can be passed on; [`status`] may know it all the same.
pub fn parse(bytes: &Bytes, to_head: bool, limits: HeadLimits) -> Result<Option<(usize, Head)>, Malformed> {
    // Blank lines before it would be taken for the head's end.
    if bytes.first().is_some_and(|&first| first != b'H') {
        return Err(Malformed::Syntax);
    }
    let on_stack = limits.fields.min(STACK_FIELDS);
    let mut fields = [const { MaybeUninit::uninit() }; STACK_FIELDS];
    match parse_with(bytes, to_head, limits, &mut fields[..on_stack]) {
        Err(httparse::Error::TooManyHeaders) if limits.fields > STACK_FIELDS => {
            parse_with(bytes, to_head, limits, &mut vec![MaybeUninit::uninit(); limits.fields])
        }
        // RFC 9110 section 2.5: a higher minor version is read as the highest that is known.
        Err(httparse::Error::Version) if is_later_minor(bytes) => {
            let mut as_known = BytesMut::from(&bytes[..]);
            as_known[VERSION.len()] = b'1';
            return parse(&as_known.freeze(), to_head, limits);
        }
        parsed => parsed,
    }
    .unwrap_or_else(|error| {
        Err(if error == httparse::Error::TooManyHeaders { Malformed::TooLarge } else { Malformed::Syntax })
    })
}

const VERSION: &[u8] = b"HTTP/1.";

fn is_later_minor(bytes: &[u8]) -> bool {
    bytes.starts_with(VERSION) && matches!(bytes.get(VERSION.len()), Some(b'2'..=b'9'))
}

/// The status of the response that `bytes` begin with, whatever follows its status line: what is not to be passed on is
/// evidence of what became of the request all the same. An interim one is none.
pub fn status(bytes: &[u8]) -> Option<StatusCode> {
    let line = &bytes[..memchr::memchr(b'\n', bytes)?];
    let rest = line.strip_prefix(VERSION)?;
    let [minor, b' ', code @ ..] = rest else { return None };
    let (code, behind) = code.split_at_checked(3)?;
    let is_line = minor.is_ascii_digit() && matches!(behind, [] | [b'\r' | b' ', ..]);
    let status = StatusCode::from_bytes(code).ok().filter(|status| !status.is_informational());
    status.filter(|_| is_line)
}

fn parse_with<'a>(
    bytes: &'a Bytes,
    to_head: bool,
    limits: HeadLimits,
    fields: &mut [MaybeUninit<httparse::Header<'a>>],
) -> Result<Result<Option<(usize, Head)>, Malformed>, httparse::Error> {
    let mut parsed = httparse::Response::new(&mut []);
    let mut config = httparse::ParserConfig::default();
    // RFC 9112 section 5.1: of a response it is removed.
    config.allow_spaces_after_header_name_in_responses(true);
    let length = match config.parse_response_with_uninit_headers(&mut parsed, bytes, fields)? {
        httparse::Status::Complete(length) if length <= limits.bytes => length,
        httparse::Status::Partial if bytes.len() <= limits.bytes => return Ok(Ok(None)),
        httparse::Status::Complete(_) | httparse::Status::Partial => return Ok(Err(Malformed::TooLarge)),
    };
    Ok(to_head_of(bytes, &parsed, to_head).map(|head| Some((length, head))))
}

fn to_head_of(bytes: &Bytes, parsed: &httparse::Response<'_, '_>, to_head: bool) -> Result<Head, Malformed> {
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Malformed::Syntax)?;
    let version = if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let reason = parsed.reason.filter(|reason| !reason.is_empty() && status.canonical_reason() != Some(reason));
    let reason = reason.map(|reason| bytes.slice_ref(reason.as_bytes()));
    let mut headers = fields::to_map(bytes, parsed.headers).map_err(|_| Malformed::Syntax)?;
    let stated = Stated::by(&headers);
    let is_suspect = contradicts_itself(&headers, &stated, status, to_head);
    let framing = framing(&mut headers, &stated, status, to_head)?;
    let connection_has = |option| stated.has_connection && fields::connection_has(&headers, option);
    let keep_alive = !is_suspect
        && framing != Framing::Close
        && if version == Version::HTTP_11 {
            !connection_has("close")
        } else {
            // RFC 9112 section 6.1: HTTP/1.0 knows no transfer codings, so the peer may be confused about the next message.
            framing != Framing::Chunked && connection_has("keep-alive")
        };
    Ok(Head { status, version, headers, reason, framing, keep_alive })
}

/// How the body is delimited. A transfer coding overrides a length, and repeated equal lengths become one.
fn framing(headers: &mut HeaderMap, stated: &Stated, status: StatusCode, to_head: bool) -> Result<Framing, Malformed> {
    let chunked = stated.is_coded && is_chunked(headers)?;
    let length = if chunked { None } else { length(headers, stated)? };
    if chunked {
        headers.remove(CONTENT_LENGTH);
    }
    let none =
        to_head || status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    Ok(match length {
        _ if none => Framing::Length(0),
        _ if chunked => Framing::Chunked,
        Some(length) => Framing::Length(length),
        None => Framing::Close,
    })
}

fn is_chunked(headers: &HeaderMap) -> Result<bool, Malformed> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(false) };
    if codings.next().is_some() || !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") {
        return Err(Malformed::Coding);
    }
    Ok(true)
}

/// The one length that the head states, and leaves it there once.
fn length(headers: &mut HeaderMap, stated: &Stated) -> Result<Option<u64>, Malformed> {
    if stated.lengths == 0 || stated.length.is_some() {
        return Ok(stated.length);
    }
    let stated = headers.get_all(CONTENT_LENGTH).iter().flat_map(|field| field.as_bytes().split(|&byte| byte == b','));
    let mut lengths = stated.map(|one| fields::length(one.trim_ascii()).ok_or(Malformed::Length));
    let length = lengths.next().unwrap_or(Err(Malformed::Length))?;
    if lengths.any(|other| other != Ok(length)) {
        return Err(Malformed::Length);
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    Ok(Some(length))
}

#[cfg(test)]
mod tests;
