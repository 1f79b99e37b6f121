//! Answers from what is stored.

use std::{ops::Range, sync::Arc};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{AGE, CONTENT_LENGTH, HOST},
    request::Parts,
};
use mainstay_policies::{
    cache::{Key, Store, Stored, is_not_modified, not_modified_headers, part_headers},
    fallback::Reason,
    path::normalise,
};
use tokio::time::Instant;

use crate::{
    request::{fallback, routed::Routed},
    wire::body::ProxyBody,
};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What tells a service which address its client asked another proxy for. Services build links and choose content by it, so
/// nobody gets an answer that somebody else shaped with it. `X-Forwarded-For` is none of these: it differs for each client.
const AS_ASKED_FOR: [HeaderName; 10] = [
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-scheme"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-host"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-rewrite-url"),
];

/// The cache's name for a request; answers to one principal are none to another.
pub(super) fn key(store: &Store, routed: &Routed) -> Key {
    let Parts { uri, headers, .. } = &*routed.parts;
    let host = uri.authority().map(http::uri::Authority::as_str);
    let host = host.or_else(|| headers.get(HOST)?.to_str().ok()).unwrap_or_default();
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let principal = routed.principal.as_deref().unwrap_or_default();
    store
        .key(&routed.outbound.route.params.upstream.name, principal, host, target, &normalise(uri.path()))
        .told_apart_by(&AS_ASKED_FOR, headers)
}

/// A request that a limit refused may be answered by what is stored, where the fallback says so.
pub(crate) fn stale(routed: &Routed) -> Option<Arc<Stored>> {
    // What is stored answers reads.
    if !matches!(routed.parts.method, Method::GET | Method::HEAD) {
        return None;
    }
    let store = routed.outbound.route.cache.as_ref()?;
    let found = store.find(&key(store, routed), &routed.parts.headers)?;
    fallback::may_be_stale(&routed.outbound.route, &found).then_some(found)
}

/// Answers with what is stored, although the request was refused.
pub(crate) fn answer_stale(routed: Box<Routed>, stored: &Stored, reason: Reason) -> Response<ProxyBody> {
    let client = routed.parts.headers.clone();
    let mut response = from_stored(routed, stored, &client, "mainstay; hit; detail=fallback");
    fallback::mark(&mut response, reason);
    response
}

pub(super) fn hit(mut routed: Box<Routed>, stored: &Stored, collapsed: bool) -> Response<ProxyBody> {
    let now = Instant::now();
    routed.exchange.tell_cache(if collapsed { "collapsed" } else { "hit" });
    let status = if collapsed {
        "mainstay; fwd=uri-miss; collapsed".to_owned()
    } else {
        let staleness = stored.staleness(now).as_secs();
        if staleness > 0 {
            format!("mainstay; hit; ttl=-{staleness}")
        } else {
            format!("mainstay; hit; ttl={}", stored.ttl(now).as_secs())
        }
    };
    let client = std::mem::take(&mut routed.parts.headers);
    from_stored(routed, stored, &client, &status)
}

/// One part of what is stored, or 304 if the client has all of it already.
pub(super) fn hit_in_part(mut routed: Box<Routed>, stored: &Stored, bytes: Range<usize>) -> Response<ProxyBody> {
    let client = std::mem::take(&mut routed.parts.headers);
    let now = Instant::now();
    let status = format!("mainstay; hit; ttl={}", stored.ttl(now).as_secs());
    if is_not_modified(&client, stored) {
        return from_stored(routed, stored, &client, &status);
    }
    routed.exchange.tell_cache("hit");
    let mut response = Response::new(ProxyBody::from(stored.body.slice(bytes.clone())));
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    *response.headers_mut() = part_headers(&stored.headers, &bytes, stored.body.len());
    finish(routed, response, stored, &status)
}

/// The answer that is stored, or 304 if the client has it already.
pub(super) fn from_stored(
    routed: Box<Routed>,
    stored: &Stored,
    client: &HeaderMap,
    status: &str,
) -> Response<ProxyBody> {
    let mut response = Response::new(ProxyBody::Empty);
    if is_not_modified(client, stored) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.headers_mut() = not_modified_headers(&stored.headers);
    } else {
        *response.status_mut() = stored.status;
        *response.headers_mut() = stored.headers.clone();
        if routed.exchange.method == Method::HEAD {
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(stored.body.len()));
        } else {
            *response.body_mut() = ProxyBody::from(stored.body.clone());
        }
    }
    finish(routed, response, stored, status)
}

fn finish(
    routed: Box<Routed>,
    mut response: Response<ProxyBody>,
    stored: &Stored,
    status: &str,
) -> Response<ProxyBody> {
    response.headers_mut().insert(AGE, HeaderValue::from(stored.age(Instant::now()).as_secs()));
    say(response.headers_mut(), status);
    routed.exchange.answer(response)
}

/// Adds what this cache did (RFC 9211) behind what others did.
pub(super) fn say(headers: &mut HeaderMap, status: &str) {
    if let Ok(status) = HeaderValue::from_str(status) {
        headers.append(CACHE_STATUS, status);
    }
}
