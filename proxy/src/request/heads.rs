//! Heads as they pass: the request's to the service, the answer's to the client.

use http::{HeaderValue, Response, header::HeaderMap};

use super::{routed::Routed, session::Session};
use crate::{
    attempts::head::Head,
    respond,
    wire::forward::{self, Hop},
};

/// The request's head as the upstream shall see it.
pub(super) fn outgoing(session: &Session, routed: &mut Routed, upgrade: Option<HeaderValue>) -> Head {
    let Routed { parts, listener, hints, .. } = routed;
    let mut headers = std::mem::take(&mut parts.headers);
    forward::request(&mut headers, *hints, parts.version, parts.uri.authority(), listener.principal.header());
    let hop = Some(Hop::new(&session.client, parts.version));
    Head { method: parts.method.clone(), uri: parts.uri.clone(), headers, hop, upgrade }
}

/// What every forwarded answer's head gets.
pub(crate) fn finish_head<B>(response: &mut Response<B>, attempts: u32) {
    let (version, status) = (response.version(), response.status());
    forward::response(response.headers_mut(), version, status);
    // The version is each connection's own.
    *response.version_mut() = http::Version::HTTP_11;
    name_attempts(response.headers_mut(), attempts);
}

pub(crate) fn name_attempts(headers: &mut HeaderMap, attempts: u32) {
    if attempts > 1 {
        headers.insert(respond::MAINSTAY_ATTEMPTS, HeaderValue::from(attempts));
    }
}
