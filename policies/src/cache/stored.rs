//! A complete answer that is kept, and what may be answered with it (RFC 9111 section 4).

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::time::Instant;

use super::{Cache, directives::Directives};

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
    pub(super) came_at: Instant,
    /// How old it was then.
    pub(super) initial_age: Duration,
    pub(super) lifetime: Duration,
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
