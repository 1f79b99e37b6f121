//! A request's head, from bytes to parts (RFC 9112 sections 2 to 6).

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Request, Uri, Version,
    header::{CONNECTION, CONTENT_LENGTH, EXPECT, TE, TRANSFER_ENCODING, UPGRADE},
    request::Parts,
    uri::PathAndQuery,
};
use httparse::Header;

use crate::wire::http1::head::{self, Framing, Refused};
use crate::wire::http1::{STACK_FIELDS, fields, maps};

pub use crate::wire::http1::HeadLimits;

/// A request's head and what it says about its connection.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "four things that a head says, none of which excludes another")]
pub struct Head {
    /// What the service gets.
    pub parts: Box<Parts>,
    /// How the body is delimited.
    pub framing: Framing,
    /// What the client allows after the answer.
    pub keep_alive: bool,
    /// `Expect: 100-continue`.
    pub expects_continue: bool,
    /// There is an `Upgrade`, or a tunnel is asked for.
    pub upgrades: bool,
    /// `TE: trailers`.
    pub takes_trailers: bool,
}

/// Reads a whole head.
///
/// # Errors
/// Why it is refused. What [`head::check`] refuses is refused here too, for the reason that it gives.
pub fn parse(bytes: &Bytes, limits: HeadLimits) -> Result<Head, Refused> {
    if bytes.len() > limits.bytes {
        return Err(head::too_large(bytes, limits.bytes));
    }
    let parsed = if limits.fields <= STACK_FIELDS {
        parse_with(bytes, &mut [const { MaybeUninit::uninit() }; STACK_FIELDS][..limits.fields])
    } else {
        parse_with(bytes, &mut vec![MaybeUninit::uninit(); limits.fields])
    };
    // Only what is refused pays for being looked at twice.
    parsed.map_or_else(|| look_again(bytes, limits), Ok)
}

#[cold]
fn look_again(bytes: &Bytes, limits: HeadLimits) -> Result<Head, Refused> {
    match head::as_known_version(bytes) {
        Some(known) => parse(&known, limits),
        None => Err(head::check(bytes, limits.bytes, limits.fields).err().unwrap_or(Refused::Malformed)),
    }
}

fn parse_with<'a>(bytes: &'a Bytes, fields: &mut [MaybeUninit<Header<'a>>]) -> Option<Head> {
    let mut request = httparse::Request::new(&mut []);
    if !request.parse_with_uninit_headers(bytes, fields).is_ok_and(|status| status.is_complete()) {
        return None;
    }
    let mut head = Head {
        parts: Box::new(Request::new(()).into_parts().0),
        framing: Framing::None,
        keep_alive: false,
        expects_continue: false,
        upgrades: false,
        takes_trailers: false,
    };
    let http11 = request.version? == 1;
    head.keep_alive = http11;
    head.parts.version = if http11 { Version::HTTP_11 } else { Version::HTTP_10 };
    head.parts.method = Method::from_bytes(request.method?.as_bytes()).ok()?;
    head.upgrades = head.parts.method == Method::CONNECT;
    head.parts.uri = target(bytes, request.path?, &head.parts.method)?;
    head.parts.headers = maps::take(request.headers.len());
    let (mut framings, mut closes) = (0, false);
    for field in &*request.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        match name {
            CONTENT_LENGTH => {
                framings += 1;
                head.framing = Framing::Length(fields::length(field.value.trim_ascii())?);
            }
            TRANSFER_ENCODING => {
                framings += 1;
                head.framing = Framing::Chunked;
                if !http11 || !field.value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                    return None;
                }
            }
            CONNECTION => {
                closes |= lists(field.value, b"close");
                head.keep_alive |= lists(field.value, b"keep-alive");
            }
            EXPECT => head.expects_continue = http11 && field.value.eq_ignore_ascii_case(b"100-continue"),
            UPGRADE => head.upgrades |= http11,
            TE => head.takes_trailers |= lists(field.value, b"trailers"),
            _ => {}
        }
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(field.value)).ok()?;
        head.parts.headers.append(name, value);
    }
    head.keep_alive &= !closes;
    (framings <= 1).then_some(head)
}

/// The target as it was sent; `None` where it would not be all of it. [`Uri`] cuts off a fragment, and has a path for an
/// OPTIONS request that asks about the whole server (RFC 9112 section 3.2.4).
fn target(bytes: &Bytes, text: &str, method: &Method) -> Option<Uri> {
    let uri = Uri::from_maybe_shared(bytes.slice_ref(text.as_bytes())).ok()?;
    if uri.path_and_query().is_some_and(|path| path.as_str().len() == text.len()) {
        return Some(uri);
    }
    if text.contains('#') {
        return None;
    }
    let names_no_path = |text: &str| text.split_once("://").is_some_and(|(_, rest)| !rest.contains(['/', '?']));
    if *method != Method::OPTIONS || !names_no_path(text) {
        return Some(uri);
    }
    let mut parts = uri.into_parts();
    parts.path_and_query = Some(PathAndQuery::from_static("*"));
    Uri::from_parts(parts).ok()
}

/// Whether a list has `option` as one of its members.
pub(super) fn lists(list: &[u8], option: &[u8]) -> bool {
    list.split(|&byte| byte == b',').any(|one| one.trim_ascii().eq_ignore_ascii_case(option))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 1024, fields: 8 };

    fn parse_text(head: &str) -> Result<Head, Refused> {
        parse(&Bytes::copy_from_slice(head.as_bytes()), LIMITS)
    }

    #[test]
    fn a_head_becomes_parts() {
        let head = parse_text("PUT /a?b=%20 HTTP/1.1\r\nHost: shop\r\nX-A:  1 \r\nx-a:2\r\nContent-Length: 3\r\n\r\n")
            .unwrap();
        assert_eq!((head.parts.method.as_str(), head.parts.uri.to_string().as_str()), ("PUT", "/a?b=%20"));
        assert_eq!(head.parts.headers.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!((head.framing, head.parts.version), (Framing::Length(3), Version::HTTP_11));
        assert!(head.keep_alive && !head.expects_continue && !head.upgrades && !head.takes_trailers);
    }

    #[test]
    fn what_the_head_says_of_its_connection_is_heeded() {
        let head = |version: &str, fields: &str| {
            parse_text(&format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n")).unwrap()
        };
        for (version, fields, keep_alive) in [
            ("1.1", "", true),
            ("1.1", "Connection: Close\r\n", false),
            ("1.1", "Connection: close\r\nConnection: keep-alive\r\n", false),
            ("1.1", "Connection: x, close\r\n", false),
            ("1.0", "", false),
            ("1.0", "Connection: Keep-Alive\r\n", true),
            ("1.0", "Connection: keep-alive, close\r\n", false),
        ] {
            assert_eq!(head(version, fields).keep_alive, keep_alive, "{version} {fields:?}");
        }
        let asks = "Expect: 100-Continue\r\nUpgrade: x\r\nTE: gzip, trailers\r\n";
        let one = head("1.1", asks);
        assert!(one.expects_continue && one.upgrades && one.takes_trailers);
        let old = head("1.0", asks);
        assert!(!old.expects_continue && !old.upgrades);
    }

    #[test]
    fn a_reason_is_given_for_what_is_refused() {
        for (fields, refused) in [
            ("Content-Length: 1\r\nContent-Length: 1\r\n", Refused::AmbiguousFraming),
            ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", Refused::AmbiguousFraming),
            ("Content-Length: +1\r\n", Refused::BadLength),
            ("Transfer-Encoding: gzip, chunked\r\n", Refused::UnknownCoding),
            ("A: b\r\n c\r\n", Refused::Folded),
            ("Content-Length : 1\r\n", Refused::Malformed),
            ("A\r\n", Refused::Malformed),
            ("A: \0\r\n", Refused::Malformed),
            (
                "A: b\r\n\
              A: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\n",
                Refused::TooMany,
            ),
        ] {
            assert_eq!(
                parse_text(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).unwrap_err(),
                refused,
                "{fields:?}"
            );
        }
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1024));
        assert_eq!(parse_text(&long).unwrap_err(), Refused::TargetTooLong);
        let large = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(1024));
        assert_eq!(parse_text(&large).unwrap_err(), Refused::TooLarge);
        assert_eq!(
            parse_text("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap_err(),
            Refused::Malformed
        );
    }

    #[test]
    fn a_target_is_read_whole_or_not_at_all() {
        let target = |line: &str| {
            let parsed = parse_text(&format!("{line}\r\nHost: a\r\n\r\n"));
            parsed.map(|head| (head.parts.uri.path().to_owned(), head.parts.uri.query().map(str::to_owned)))
        };
        for (line, path, query) in [
            ("GET /a HTTP/1.2", "/a", None),
            ("GET http://a HTTP/1.1", "/", None),
            ("GET http://a/b?c HTTP/1.1", "/b", Some("c")),
            ("OPTIONS * HTTP/1.1", "*", None),
            ("OPTIONS http://a HTTP/1.1", "*", None),
            ("OPTIONS http://a:80 HTTP/1.9", "*", None),
            ("OPTIONS http://a/ HTTP/1.1", "/", None),
            ("OPTIONS http://a?b HTTP/1.1", "/", Some("b")),
        ] {
            assert_eq!(target(line), Ok((path.to_owned(), query.map(str::to_owned))), "{line}");
        }
        for line in ["GET /a#b HTTP/1.1", "GET http://a/#b HTTP/1.1", "GET http://a#b HTTP/1.1"] {
            assert_eq!(target(line), Err(Refused::Fragment), "{line}");
        }
        assert_eq!(target("GET / HTTP/3.0"), Err(Refused::Version));
    }

    proptest! {
        #[test]
        fn what_the_check_refuses_is_never_parsed(
            fields in prop::collection::vec(
                ("(Content-Length|content-length|Transfer-Encoding|X|Content-Length |\t| )", "[:=]", "[ \t]{0,2}", "([0-9+]{0,3}|chunked|gzip|)", "(\r\n|\n|\r)"),
                0..4,
            ),
            end in "(\r\n|\n)",
        ) {
            let fields: Vec<String> = fields.into_iter().map(|(n, c, s, v, e)| [n, c, s, v, e].concat()).collect();
            let fields = fields.concat();
            let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}{end}");
            if let Some(length) = head::length(text.as_bytes()) {
                let checked = head::check(&text.as_bytes()[..length], LIMITS.bytes, LIMITS.fields);
                match parse(&Bytes::from(text[..length].to_owned()), LIMITS) {
                    Ok(head) => prop_assert_eq!(Ok(head.framing), checked),
                    Err(refused) => prop_assert_eq!(refused, checked.err().unwrap_or(Refused::Malformed)),
                }
            }
        }
    }
}
