//! The head of an answer, and how its body is delimited (RFC 9112 section 6).

use http::{
    HeaderMap, Method, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, DATE, TRAILER, TRANSFER_ENCODING},
};

use super::request::lists;
use crate::wire::http1::fields;

/// What the request says about the form of its answer.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "four things that a head says, none of which excludes another")]
pub(super) struct ReplyContext {
    pub(super) http11: bool,
    pub(super) head: bool,
    pub(super) keep_alive: bool,
    pub(super) takes_trailers: bool,
}

/// How the body goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// Not at all.
    Nothing,
    /// So many bytes.
    Length(u64),
    /// By chunks, perhaps with trailers behind.
    Chunked { trailers: bool },
    /// Up to the connection's end.
    UntilClose,
}

/// An answer's head has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) coding: Coding,
    /// Whether the connection may carry another request.
    pub(super) keep_alive: bool,
}

/// Writes the head of a final answer, whose body has `length` bytes if that is known. The reason is the service's own, where
/// it is not the usual one.
pub(super) fn write_head(
    out: &mut Vec<u8>,
    (status, reason, headers): (StatusCode, Option<&[u8]>, &HeaderMap),
    length: Option<u64>,
    asked: ReplyContext,
    date: &[u8],
) -> Written {
    write_status(out, status, reason, asked.http11);
    let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) || status.is_informational();
    let can_chunk = asked.http11 && !asked.head && !bodiless;
    let (mut dated, mut announced, mut closes, mut keeps) = (false, None, false, false);
    for (name, value) in headers {
        match *name {
            CONTENT_LENGTH => {
                // The answer to a HEAD has no body, and says how long it would have been.
                let told = head_length(value.as_bytes(), length, asked.head);
                // A 204 has none, whatever it says (RFC 9110 section 8.6).
                let never = status == StatusCode::NO_CONTENT || status.is_informational();
                if never || announced.is_some() || told.is_none() || bodiless && length == Some(0) {
                    continue;
                }
                announced = told;
            }
            // The framing is ours to say.
            TRANSFER_ENCODING => continue,
            TRAILER if !can_chunk => continue,
            CONNECTION => {
                closes |= lists(value.as_bytes(), b"close");
                keeps |= lists(value.as_bytes(), b"keep-alive");
            }
            DATE => dated = true,
            _ => {}
        }
        fields::write_field(out, name.as_str(), value.as_bytes());
    }
    let coding = match announced.or(length) {
        Some(length) => {
            if announced.is_none() && !bodiless && !(asked.head && length == 0) {
                fields::write_field(out, "content-length", itoa::Buffer::new().format(length).as_bytes());
            }
            Coding::Length(length)
        }
        None if can_chunk => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
            Coding::Chunked { trailers: asked.takes_trailers }
        }
        None => Coding::UntilClose,
    };
    let coding = if asked.head || bodiless || coding == Coding::Length(0) { Coding::Nothing } else { coding };
    let keep_alive =
        asked.keep_alive && !closes && coding != Coding::UntilClose && status != StatusCode::SWITCHING_PROTOCOLS;
    if status != StatusCode::SWITCHING_PROTOCOLS {
        if !keep_alive && !closes && asked.http11 {
            out.extend_from_slice(b"connection: close\r\n");
        } else if keep_alive && !keeps && !asked.http11 {
            out.extend_from_slice(b"connection: keep-alive\r\n");
        }
    }
    if !dated {
        fields::write_field(out, "date", date);
    }
    out.extend_from_slice(b"\r\n");
    Written { coding, keep_alive }
}

/// The length that a field announces, unless the body at hand has another one.
fn head_length(value: &[u8], length: Option<u64>, head: bool) -> Option<u64> {
    let told = fields::length(value)?;
    (head || length.is_none_or(|length| length == told)).then_some(told)
}

/// Writes an interim response, which never has a body.
pub(super) fn write_interim(out: &mut Vec<u8>, status: StatusCode, headers: &HeaderMap) {
    write_status(out, status, None, true);
    for (name, value) in headers.iter().filter(|(name, _)| **name != CONTENT_LENGTH && **name != TRANSFER_ENCODING) {
        fields::write_field(out, name.as_str(), value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

fn write_status(out: &mut Vec<u8>, status: StatusCode, reason: Option<&[u8]>, http11: bool) {
    if http11 && status == StatusCode::OK && reason.is_none() {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    out.extend_from_slice(if http11 { b"HTTP/1.1 " } else { b"HTTP/1.0 " });
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    let usual = || status.canonical_reason().unwrap_or("<none>").as_bytes();
    out.extend_from_slice(reason.unwrap_or_else(usual));
    out.extend_from_slice(b"\r\n");
}

impl ReplyContext {
    pub(super) fn new(head: &super::request::Head) -> Self {
        Self {
            http11: head.parts.version == http::Version::HTTP_11,
            head: head.parts.method == Method::HEAD,
            keep_alive: head.keep_alive,
            takes_trailers: head.takes_trailers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: ReplyContext = ReplyContext { http11: true, head: false, keep_alive: true, takes_trailers: false };

    fn written(
        status: u16,
        fields: &[(&'static str, &'static str)],
        length: Option<u64>,
        asked: ReplyContext,
    ) -> (String, Written) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let mut out = Vec::new();
        let status = StatusCode::from_u16(status).unwrap();
        let written = write_head(&mut out, (status, None, &headers), length, asked, b"now");
        (String::from_utf8(out).unwrap(), written)
    }

    #[track_caller]
    fn check(
        asked: ReplyContext,
        given: (u16, &[(&'static str, &'static str)], Option<u64>),
        head: &str,
        coding: Coding,
        keep_alive: bool,
    ) {
        let (text, written) = written(given.0, given.1, given.2, asked);
        assert_eq!(text, head.replace('\n', "\r\n"));
        assert_eq!(written, Written { coding, keep_alive });
    }

    #[test]
    fn an_answer_of_known_length_says_it_once() {
        check(ASKED, (200, &[], Some(3)), "HTTP/1.1 200 OK\ncontent-length: 3\ndate: now\n\n", Coding::Length(3), true);
        check(
            ASKED,
            (200, &[("content-length", "3"), ("a", "b"), ("content-length", "3")], Some(3)),
            "HTTP/1.1 200 OK\ncontent-length: 3\na: b\ndate: now\n\n",
            Coding::Length(3),
            true,
        );
        // The field lies: the body at hand counts.
        check(
            ASKED,
            (200, &[("content-length", "4")], Some(3)),
            "HTTP/1.1 200 OK\ncontent-length: 3\ndate: now\n\n",
            Coding::Length(3),
            true,
        );
        check(
            ASKED,
            (201, &[("content-length", "4"), ("date", "then")], None),
            "HTTP/1.1 201 Created\ncontent-length: 4\ndate: then\n\n",
            Coding::Length(4),
            true,
        );
        check(
            ASKED,
            (404, &[], Some(0)),
            "HTTP/1.1 404 Not Found\ncontent-length: 0\ndate: now\n\n",
            Coding::Nothing,
            true,
        );
    }

    #[test]
    fn an_answer_of_unknown_length_is_chunked_or_ends_with_the_connection() {
        check(
            ASKED,
            (200, &[("trailer", "x")], None),
            "HTTP/1.1 200 OK\ntrailer: x\ntransfer-encoding: chunked\ndate: now\n\n",
            Coding::Chunked { trailers: false },
            true,
        );
        let old = ReplyContext { http11: false, ..ASKED };
        check(old, (200, &[("trailer", "x")], None), "HTTP/1.0 200 OK\ndate: now\n\n", Coding::UntilClose, false);
    }

    #[test]
    fn some_answers_have_no_body() {
        let head = ReplyContext { head: true, ..ASKED };
        check(
            head,
            (200, &[("content-length", "9")], Some(0)),
            "HTTP/1.1 200 OK\ncontent-length: 9\ndate: now\n\n",
            Coding::Nothing,
            true,
        );
        check(head, (200, &[], Some(0)), "HTTP/1.1 200 OK\ndate: now\n\n", Coding::Nothing, true);
        check(ASKED, (204, &[], Some(0)), "HTTP/1.1 204 No Content\ndate: now\n\n", Coding::Nothing, true);
        check(
            ASKED,
            (304, &[("etag", "x")], Some(0)),
            "HTTP/1.1 304 Not Modified\netag: x\ndate: now\n\n",
            Coding::Nothing,
            true,
        );
    }

    #[test]
    fn the_end_of_a_connection_is_announced() {
        let last = ReplyContext { keep_alive: false, ..ASKED };
        check(
            last,
            (200, &[], Some(0)),
            "HTTP/1.1 200 OK\ncontent-length: 0\nconnection: close\ndate: now\n\n",
            Coding::Nothing,
            false,
        );
        check(
            ASKED,
            (200, &[("connection", "close")], Some(0)),
            "HTTP/1.1 200 OK\nconnection: close\ncontent-length: 0\ndate: now\n\n",
            Coding::Nothing,
            false,
        );
        let old = ReplyContext { http11: false, ..ASKED };
        check(
            old,
            (200, &[], Some(0)),
            "HTTP/1.0 200 OK\ncontent-length: 0\nconnection: keep-alive\ndate: now\n\n",
            Coding::Nothing,
            true,
        );
        check(
            ASKED,
            (101, &[("connection", "upgrade")], Some(0)),
            "HTTP/1.1 101 Switching Protocols\nconnection: upgrade\ndate: now\n\n",
            Coding::Nothing,
            false,
        );
    }
}
