//! The head of a response (RFC 9112 section 4), and how its body is delimited (section 6.3).

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING},
};

use super::fields;

/// Bytes of a response's head.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Fields of a response's head.
pub const MAX_FIELDS: usize = 100;

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
    /// More than [`MAX_HEAD_BYTES`] or [`MAX_FIELDS`].
    #[error("the head is too large")]
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
/// No response, or none that can be passed on.
pub fn parse(bytes: &Bytes, to_head: bool) -> Result<Option<(usize, Head)>, Malformed> {
    // Blank lines before it would be taken for the head's end.
    if bytes.first().is_some_and(|&first| first != b'H') {
        return Err(Malformed::Syntax);
    }
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let length = match config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut fields) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() > MAX_HEAD_BYTES => return Err(Malformed::TooLarge),
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Malformed::TooLarge),
        Err(_) => return Err(Malformed::Syntax),
    };
    if length > MAX_HEAD_BYTES {
        return Err(Malformed::TooLarge);
    }
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
    Ok(Some((length, Head { status, version, headers, reason, framing, keep_alive })))
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
