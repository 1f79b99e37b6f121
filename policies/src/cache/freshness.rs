//! What may be stored (RFC 9111 section 3), and how long it is fresh (4.2).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{
    HeaderMap, Method, StatusCode,
    header::{AGE, AUTHORIZATION, DATE, EXPIRES, LAST_MODIFIED, SET_COOKIE},
};
use tokio::time::Instant;

use super::{Stored, date::date_of, directives::Directives, validators, vary};
use crate::clock::UnixMillis;

/// Statuses whose answers may be kept although they say nothing of it (RFC 9110 section 15.1). 206 is none: parts are not kept.
const HEURISTIC: [u16; 11] = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501];
/// The share of its age that an answer may be taken for fresh (RFC 9111 section 4.2.2), and a bound of it.
const HEURISTIC_SHARE: u32 = 10;
const HEURISTIC_MOST: Duration = Duration::from_hours(24);

/// Whether an answer says itself that nobody may store it: what is stored of an earlier one is not the service's word any more.
pub fn forbids_storing(status: StatusCode, headers: &HeaderMap) -> bool {
    let said = Directives::of(headers);
    // A cache that understands the status may ignore the `no-store` beside `must-understand` (section 5.2.2.3).
    let no_store = if said.must_understand { !is_understood(status) } else { said.no_store };
    no_store || said.private || vary::names(headers).is_none()
}

fn is_understood(status: StatusCode) -> bool {
    HEURISTIC.contains(&status.as_u16()) || matches!(status.as_u16(), 302 | 307)
}

/// Whether the answer to a request may be stored, and if so what is stored but the body, which follows. `delay` is the time
/// from the request to the answer's head.
pub fn storable(
    (method, request): (&Method, &HeaderMap),
    (status, headers): (StatusCode, &HeaderMap),
    delay: Duration,
    now: Instant,
    wall: UnixMillis,
    asked_at: u64,
) -> Option<Stored> {
    let said = Directives::of(headers);
    let forbidden = forbids_storing(status, headers)
        || Directives::of_request(request).no_store
        || status.is_informational()
        || matches!(status.as_u16(), 206 | 304 | 412 | 416 | 417)
        || (request.contains_key(AUTHORIZATION) && !(said.public || said.s_maxage.is_some() || said.must_revalidate))
        || (headers.contains_key(SET_COOKIE) && !said.public);
    if *method != Method::GET || forbidden {
        return None;
    }
    let explicit = explicit_lifetime(&said, headers, wall);
    if explicit.is_none() && !said.public && !HEURISTIC.contains(&status.as_u16()) {
        return None;
    }
    let lifetime = explicit.or_else(|| heuristic_lifetime(headers, wall)).unwrap_or_default();
    // What is stale at once and cannot be revalidated would only take room.
    let useless = lifetime.is_zero() && validators(headers).is_none();
    (!useless).then(|| Stored {
        status,
        headers: headers.clone(),
        body: Bytes::new(),
        asked_at,
        came_at: now,
        initial_age: initial_age(headers, delay, wall),
        lifetime,
    })
}

fn explicit_lifetime(said: &Directives, headers: &HeaderMap, wall: UnixMillis) -> Option<Duration> {
    if let Some(age) = said.s_maxage.or(said.max_age) {
        return Some(age);
    }
    let expires = headers.get(EXPIRES)?;
    // An invalid date, "0" above all, means that it has expired.
    let Some(expires) = date_of(Some(expires)) else { return Some(Duration::ZERO) };
    Some(expires.duration_since(sent_at(headers, wall)).unwrap_or_default())
}

fn heuristic_lifetime(headers: &HeaderMap, wall: UnixMillis) -> Option<Duration> {
    let modified = date_of(headers.get(LAST_MODIFIED))?;
    let age = sent_at(headers, wall).duration_since(modified).ok()?;
    Some((age / HEURISTIC_SHARE).min(HEURISTIC_MOST))
}

/// RFC 9111 section 4.2.3.
fn initial_age(headers: &HeaderMap, delay: Duration, wall: UnixMillis) -> Duration {
    let now = UNIX_EPOCH + Duration::from_millis(wall);
    let apparent = now.duration_since(sent_at(headers, wall)).unwrap_or_default();
    let age = headers.get(AGE).and_then(|age| age.to_str().ok().map(age_of)).unwrap_or_default();
    apparent.max(Duration::from_secs(age.into()) + delay)
}

/// Of several the first counts (RFC 9111 section 5.1); one that is too large is very old (section 1.2.2).
fn age_of(text: &str) -> u32 {
    let first = text.split(',').next().unwrap_or_default().trim();
    let is_number = !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { first.parse().unwrap_or(1 << 31) } else { 0 }
}

/// `Date`, or now where there is none.
fn sent_at(headers: &HeaderMap, wall: UnixMillis) -> SystemTime {
    date_of(headers.get(DATE)).unwrap_or(UNIX_EPOCH + Duration::from_millis(wall))
}
