//! `Max-Forwards` of OPTIONS and TRACE (RFC 9110 section 7.6.2): how a client finds out which proxies are on its way.

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Response, Version,
    header::{ALLOW, CONTENT_TYPE, HOST, MAX_FORWARDS, USER_AGENT, VIA},
    request::Parts,
};

use crate::wire::{body::ProxyBody, http1::fields};

/// What a proxy itself may be asked for by the name of any path.
const ALLOWED: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE");

/// The fields that a trace shows: those about the way. Any other may hold a secret (RFC 9110 section 9.3.8).
static SHOWN: [HeaderName; 4] = [HOST, MAX_FORWARDS, USER_AGENT, VIA];

/// The answer where the request may go no further; else it has one step less to go. A value that is no number is ignored.
pub(super) fn answer_or_count(parts: &mut Parts) -> Option<Response<ProxyBody>> {
    let steps: u32 = parts.headers.get(MAX_FORWARDS)?.to_str().ok()?.trim().parse().ok()?;
    let Some(left) = steps.checked_sub(1) else {
        return Some(if parts.method == Method::TRACE { trace(parts) } else { options() });
    };
    parts.headers.insert(MAX_FORWARDS, HeaderValue::from(left));
    None
}

fn options() -> Response<ProxyBody> {
    let mut response = Response::new(ProxyBody::Empty);
    response.headers_mut().insert(ALLOW, ALLOWED);
    response
}

/// The request as it came, but for what may be secret.
fn trace(parts: &Parts) -> Response<ProxyBody> {
    let target = parts.uri.path_and_query().map_or("/", |target| target.path());
    let version = match parts.version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    };
    let mut message = format!("{} {target} {version}\r\n", parts.method).into_bytes();
    for (name, value) in parts.headers.iter().filter(|(name, _)| SHOWN.contains(name)) {
        fields::write_field(&mut message, name.as_str(), value.as_bytes());
    }
    message.extend_from_slice(b"\r\n");
    let mut response = Response::new(ProxyBody::from(Bytes::from(message)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("message/http"));
    response
}
