//! Whether a request says one thing only: what it asks for, of whom, how long it is, and who sends it. What two parties of a
//! chain could read differently is refused before it is routed.

use std::{borrow::Cow, net::Ipv6Addr};

use http::{
    Method, Uri, Version,
    header::{CONTENT_LENGTH, COOKIE, HOST, TRANSFER_ENCODING},
    request::Parts,
    uri::Scheme,
};
use mainstay_policies::problem::Problem;

use crate::{
    config::model,
    respond::failure::Failure,
    wire::{
        http1::{HeadLimits, head::Refused},
        http2::fields,
    },
};

/// Checks a request's head, whichever HTTP it came by.
///
/// # Errors
/// What to answer instead of forwarding it.
pub(crate) fn check(parts: &Parts, listener: &model::Listener, limits: HeadLimits) -> Result<(), Failure> {
    // Over HTTP/1 the listener has measured it already.
    if parts.version == Version::HTTP_2 {
        size(parts, limits).map_err(Failure::Head)?;
    }
    let says =
        if parts.method == Method::CONNECT { tunnel(parts, listener) } else { target(&parts.method, &parts.uri) };
    let says = says.and_then(|()| field_lines(parts, listener));
    says.map_err(|detail| Failure::Request(Problem::BadRequest, Cow::Borrowed(detail)))
}

/// Whether a head of HTTP/2 is as large as one may be that says the same over HTTP/1.1.
fn size(parts: &Parts, limits: HeadLimits) -> Result<(), Refused> {
    const AROUND: usize = "  HTTP/1.1\r\n\r\n".len();
    let headers = &parts.headers;
    // Crumbs of cookies are one field (RFC 9113 section 8.2.3).
    let crumbs = || headers.get_all(COOKIE).iter().count().saturating_sub(1);
    if headers.len() > limits.fields && headers.len() - crumbs() > limits.fields {
        return Err(Refused::TooMany);
    }
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    let line = parts.method.as_str().len() + target + AROUND;
    if line > limits.bytes {
        return Err(Refused::TargetTooLong);
    }
    if line + fields::bytes(headers) > limits.bytes { Err(Refused::TooLarge) } else { Ok(()) }
}

/// A host and a port, of a client that asks an outbound listener for a tunnel (RFC 9110 section 9.3.6).
fn tunnel(parts: &Parts, listener: &model::Listener) -> Result<(), &'static str> {
    if !listener.is_outbound() {
        return Err("CONNECT is not supported: this proxy stands in front of a service.");
    }
    if parts.version == Version::HTTP_2 {
        return Err("CONNECT is supported over HTTP/1.1 only.");
    }
    let Some(authority) = parts.uri.authority().filter(|_| parts.uri.scheme().is_none()) else {
        return Err("The target of CONNECT is no host with a port.");
    };
    let is_fine = !authority.as_str().contains('@') && is_authority(authority.as_str().as_bytes());
    if !is_fine || authority.port_u16().is_none_or(|port| port == 0) {
        return Err("The target of CONNECT is no host with a port.");
    }
    if parts.headers.contains_key(CONTENT_LENGTH) || parts.headers.contains_key(TRANSFER_ENCODING) {
        return Err("CONNECT has no content: what follows is the tunnel's.");
    }
    Ok(())
}

/// A path, or `*` of OPTIONS; with a scheme and an authority before it, or without (RFC 9112 section 3.2).
fn target(method: &Method, uri: &Uri) -> Result<(), &'static str> {
    if let Some(authority) = uri.authority() {
        if authority.as_str().contains('@') {
            return Err("The request's target names a user.");
        }
        if !is_authority(authority.as_str().as_bytes()) {
            return Err("The request's target names no host with an optional port.");
        }
    }
    if uri.scheme().is_some_and(|scheme| *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS) {
        return Err("The scheme of the request's target is neither http nor https.");
    }
    // `GET shop` would be read as a host alone, and then routed as if it were `/`.
    if uri.scheme().is_none() && uri.authority().is_some() {
        return Err("The request's target is neither a path nor a URL.");
    }
    match uri.path() {
        "*" if *method != Method::OPTIONS => Err("The target * is for OPTIONS only."),
        // HTTP/2 may say anything (RFC 9113 section 8.3.1).
        path if !path.starts_with('/') && path != "*" => {
            Err("The path of the request's target does not begin with a slash.")
        }
        _ => Ok(()),
    }
}

fn field_lines(parts: &Parts, listener: &model::Listener) -> Result<(), &'static str> {
    let mut hosts = parts.headers.iter().filter(|(name, _)| **name == HOST).map(|(_, value)| value);
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return Err("The request has more than one Host."),
        (Some(host), None) if !host.is_empty() && !is_authority(host.as_bytes()) => {
            return Err("The request's Host is not a host with an optional port.");
        }
        // RFC 9112 section 3.2.
        (None, None) if parts.version == Version::HTTP_11 => return Err("An HTTP/1.1 request must have a Host."),
        // RFC 9113 section 8.3.1.
        (None, None) if parts.version == Version::HTTP_2 && parts.uri.authority().is_none() => {
            return Err("An HTTP/2 request must have an :authority or a Host.");
        }
        _ => {}
    }
    // Over HTTP/1 the listener has refused such a head.
    if parts.version == Version::HTTP_2 && parts.headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some() {
        return Err("The request has more than one Content-Length.");
    }
    let is_repeated = |name| parts.headers.get_all(name).iter().nth(1).is_some();
    if listener.identifying_headers().any(|header| is_repeated(&header.name)) {
        return Err("The header that says who is calling stands there more than once.");
    }
    Ok(())
}

/// The bytes of plain names and of addresses of IPv4.
static PLAIN: [bool; 256] = {
    let (mut plain, mut byte) = ([false; 256], 0);
    while byte < 256 {
        plain[byte] = (byte as u8).is_ascii_alphanumeric() || matches!(byte as u8, b'-' | b'.' | b'_');
        byte += 1;
    }
    plain
};

/// A host, and perhaps a port (RFC 3986 section 3.2).
fn is_authority(bytes: &[u8]) -> bool {
    // Most are plain names with a port, and need no parser.
    let is_plain = |name: &[u8]| !name.is_empty() && name.iter().all(|byte| PLAIN[usize::from(*byte)]);
    let (name, port) = match memchr::memrchr(b':', bytes) {
        Some(colon) if bytes.last() != Some(&b']') => (&bytes[..colon], &bytes[colon + 1..]),
        _ => (bytes, &b""[..]),
    };
    is_port(port) && (is_plain(name) || is_address(name) || is_name(name))
}

/// Digits, or nothing.
fn is_port(port: &[u8]) -> bool {
    port.len() <= 5 && port.iter().all(u8::is_ascii_digit) && (port.len() < 5 || port <= &b"65535"[..])
}

/// An address of IPv6 in brackets.
fn is_address(name: &[u8]) -> bool {
    let inside = name.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
    inside.and_then(|text| std::str::from_utf8(text).ok()).is_some_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// A registered name: unreserved characters, sub-delimiters and encoded octets.
fn is_name(mut name: &[u8]) -> bool {
    if name.is_empty() {
        return false;
    }
    while let [first, rest @ ..] = name {
        name = match (first, rest) {
            (b'%', [high, low, rest @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest,
            (byte, rest) if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(byte) => rest,
            _ => return false,
        };
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_path_or_a_url_and_an_asterisk_is_for_options() {
        for (method, uri, fine) in [
            ("GET", "/", true),
            ("GET", "http://shop/a", true),
            ("GET", "http://shop", true),
            ("OPTIONS", "*", true),
            ("GET", "*", false),
            ("GET", "shop", false),
            ("GET", "shop:80", false),
            ("GET", "http://me@shop/", false),
            ("GET", "https://shop/", true),
            ("GET", "ftp://shop/", false),
            ("GET", "http://shop:x/", false),
            ("GET", "http://shop:99999/", false),
        ] {
            let (method, parsed) = (Method::from_bytes(method.as_bytes()).unwrap(), uri.parse().unwrap());
            assert_eq!(target(&method, &parsed).is_ok(), fine, "{method} {uri}");
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_an_optional_port() {
        for fine in [
            "a",
            "a:80",
            "a:",
            "A-1.b_c:65535",
            "10.0.0.1:8080",
            "[::1]",
            "[::1]:80",
            "[fe80::1]:",
            "a%20b",
            "caf\u{e9}:80",
            "a+b:1",
            "a~",
        ] {
            // What is no ASCII has to be encoded.
            assert_eq!(is_authority(fine.as_bytes()), fine.is_ascii(), "{fine:?}");
        }
        for wrong in [
            "", ":", ":a", ":80", "a:x", "a:+80", "a:-1", "a:8 0", "a:65536", "a:000080", "a:b:80", "::1", "[::1",
            "::1]", "[]", "[a]", "[::1]x", "[::1]:x", "a@b", "a/b", "a b", "a%2", "a%zz", "a\\b", "a#b", "a?b", "a\"b",
        ] {
            assert!(!is_authority(wrong.as_bytes()), "{wrong:?}");
        }
    }
}
