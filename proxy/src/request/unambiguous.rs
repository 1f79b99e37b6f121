//! Whether a request says one thing only: what it asks for, of whom, how long it is, and who sends it. What two parties of a
//! chain could read differently is refused before it is routed.

use std::borrow::Cow;

use http::{
    HeaderValue, Method, Uri, Version,
    header::{CONTENT_LENGTH, HOST},
    request::Parts,
    uri::Authority,
};
use mainstay_policies::problem::Problem;

use crate::{
    config::model::{self, Principal},
    respond::failure::Failure,
    wire::http1::head::Refused,
};

/// Checks a request's head, whichever HTTP it came by.
///
/// # Errors
/// What to answer instead of forwarding it.
pub(crate) fn check(parts: &Parts, listener: &model::Listener, max_fields: usize) -> Result<(), Failure> {
    // Over HTTP/1 the listener has counted them already.
    if parts.headers.len() > max_fields {
        return Err(Failure::Head(Refused::TooMany));
    }
    let says = target(&parts.method, &parts.uri).and_then(|()| fields(parts, listener));
    says.map_err(|detail| Failure::Request(Problem::BadRequest, Cow::Borrowed(detail)))
}

/// A path, or `*` of OPTIONS; with a scheme and an authority before it, or without (RFC 9112 section 3.2).
fn target(method: &Method, uri: &Uri) -> Result<(), &'static str> {
    if *method == Method::CONNECT {
        return Err("CONNECT is not supported: this proxy stands in front of a service.");
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("The request's target names a user.");
    }
    // `GET shop` would be read as a host alone, and then routed as if it were `/`.
    if uri.scheme().is_none() && uri.authority().is_some() {
        return Err("The request's target is neither a path nor a URL.");
    }
    if uri.path() == "*" && *method != Method::OPTIONS {
        return Err("The target * is for OPTIONS only.");
    }
    Ok(())
}

fn fields(parts: &Parts, listener: &model::Listener) -> Result<(), &'static str> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return Err("The request has more than one Host."),
        (Some(host), None) if !is_authority(host) => {
            return Err("The request's Host is not a host with an optional port.");
        }
        // RFC 9112 section 3.2.
        (None, None) if parts.version == Version::HTTP_11 => return Err("An HTTP/1.1 request must have a Host."),
        _ => {}
    }
    // Over HTTP/1 the listener has refused such a head.
    if parts.version == Version::HTTP_2 && parts.headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some() {
        return Err("The request has more than one Content-Length.");
    }
    if let Principal::Header(name) = &listener.principal
        && parts.headers.get_all(name).iter().nth(1).is_some()
    {
        return Err("The header that says who is calling stands there more than once.");
    }
    Ok(())
}

/// A host, and perhaps a port; an empty `Host` is allowed where the target has no authority.
fn is_authority(host: &HeaderValue) -> bool {
    // Most are plain names with a port, and need no parser.
    let is_plain = |name: &[u8]| {
        !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
    };
    let bytes = host.as_bytes();
    let (name, port) = match memchr::memrchr(b':', bytes) {
        Some(colon) => (&bytes[..colon], &bytes[colon + 1..]),
        None => (bytes, &b"80"[..]),
    };
    if is_plain(name) && (1..=5).contains(&port.len()) && port.iter().all(u8::is_ascii_digit) {
        return true;
    }
    host.is_empty() || (!bytes.contains(&b'@') && Authority::try_from(bytes).is_ok())
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
            ("CONNECT", "shop:80", false),
        ] {
            let (method, parsed) = (Method::from_bytes(method.as_bytes()).unwrap(), uri.parse().unwrap());
            assert_eq!(target(&method, &parsed).is_ok(), fine, "{method} {uri}");
        }
    }
}
