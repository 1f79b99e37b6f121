//! What may be stored (RFC 9111 section 3), how long it is fresh (4.2), and what may be answered with it (4).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{
    HeaderMap, Method, StatusCode,
    header::{AGE, AUTHORIZATION, DATE, EXPIRES, LAST_MODIFIED, SET_COOKIE},
};
use tokio::time::Instant;

use super::{Cache, date::date_of, directives::Directives, vary};
use crate::clock::UnixMillis;

/// Statuses whose answers may be kept although they say nothing of it (RFC 9110 section 15.1). 206 is none: parts are not kept.
const HEURISTIC: [u16; 11] = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501];
/// The share of its age that an answer may be taken for fresh (RFC 9111 section 4.2.2), and a bound of it.
const HEURISTIC_SHARE: u32 = 10;
const HEURISTIC_MOST: Duration = Duration::from_hours(24);

/// A complete answer.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its status.
    pub status: StatusCode,
    /// Its headers, without those of a connection.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// The newest invalidation that was known when it was asked for.
    pub(super) asked_at: u64,
    /// When it came.
    came_at: Instant,
    /// How old it was then.
    initial_age: Duration,
    lifetime: Duration,
}

/// What may be done with a stored answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the answer.
    Fresh,
    /// It is the answer, and should be revalidated in the background.
    WhileRevalidating,
    /// The service must be asked; if that fails, it may be the answer (`or_if_error`).
    Validate {
        /// Whether it may stand in for a failure.
        or_if_error: bool,
    },
}

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
    let useless = lifetime.is_zero() && super::validators(headers).is_none();
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

impl Stored {
    #[cfg(test)]
    pub(super) fn asked_at(self, asked_at: u64) -> Self {
        Self { asked_at, ..self }
    }

    /// The same answer with its body.
    #[must_use]
    pub fn with_body(self, body: Bytes) -> Self {
        Self { body, ..self }
    }

    /// The same answer with other headers.
    #[must_use]
    pub fn with_headers(self, headers: HeaderMap) -> Self {
        Self { headers, ..self }
    }

    /// How old it is (RFC 9111 section 4.2.3).
    pub fn age(&self, now: Instant) -> Duration {
        self.initial_age + now.saturating_duration_since(self.came_at)
    }

    /// How long it is still fresh; zero when it is stale.
    pub fn ttl(&self, now: Instant) -> Duration {
        self.lifetime.saturating_sub(self.age(now))
    }

    /// How long it has been stale.
    pub fn staleness(&self, now: Instant) -> Duration {
        self.age(now).saturating_sub(self.lifetime)
    }

    /// What may be done with it for this request.
    pub fn verdict(&self, request: &HeaderMap, params: &Cache, now: Instant) -> Verdict {
        let (asked, said) = (Directives::of_request(request), Directives::of(&self.headers));
        let age = self.age(now);
        let fresh = age < self.lifetime;
        let staleness = self.staleness(now);
        let strict = self.forbids_stale();
        let if_error = said.stale_if_error.unwrap_or(params.stale_if_error);
        let or_if_error = !strict && (fresh || staleness < if_error || (staleness == if_error && !if_error.is_zero()));
        let validate = Verdict::Validate { or_if_error };
        let too_old = asked.max_age.is_some_and(|most| age > most);
        let too_close = asked.min_fresh.is_some_and(|least| self.ttl(now) < least);
        if asked.no_cache || said.no_cache || too_old || too_close {
            return validate;
        }
        if fresh {
            return Verdict::Fresh;
        }
        if strict {
            return validate;
        }
        if asked.max_stale.is_some_and(|most| staleness <= most) {
            return Verdict::Fresh;
        }
        let revalidating = said.stale_while_revalidate.unwrap_or(params.stale_while_revalidate);
        if staleness < revalidating { Verdict::WhileRevalidating } else { validate }
    }

    /// Whether it says that it must not be given stale, whatever happens (section 4.2.4; `s-maxage` implies it, 5.2.2.10).
    pub fn forbids_stale(&self) -> bool {
        let said = Directives::of(&self.headers);
        said.must_revalidate || said.proxy_revalidate || said.no_cache || said.s_maxage.is_some()
    }

    /// Whether the request wants nothing but what is stored.
    pub fn only_if_cached(request: &HeaderMap) -> bool {
        Directives::of_request(request).only_if_cached
    }

    pub(super) fn weight(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum();
        self.body.len() + headers + size_of::<Self>()
    }
}
