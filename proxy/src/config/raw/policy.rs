//! `policies`.

use std::sync::Arc;

use mainstay_policies::{
    access::AccessList, circuit_breaker::CircuitBreaker, concurrency_limit::ConcurrencyLimit, fallback::Fallback,
    rate_limit::RateLimit, retry::Retry, timeout::Timeout,
};

use super::idempotency::MaybeIdempotency;
use crate::config::{
    decode::{or, section},
    model::{Cache, Policy},
};

section! {
    /// A named set of rules. Each has a short form (`timeout: 1s`, `retry: 3`, `rate_limit: 500/s`) and a long one.
    RawPolicy {
        /// How long a request, an attempt and a silence may last: a total time, or a map.
        timeout: Timeout,
        /// When and how often a failed attempt is tried again: a number of retries, or a map.
        retry: Retry,
        /// How many requests are admitted in a time: a rate, or a map.
        rate_limit: RateLimit,
        /// How many requests may be in flight: a number, or a map.
        concurrency_limit: ConcurrencyLimit,
        /// When calls to a failing upstream stop: a ratio of errors, or a map.
        circuit_breaker: CircuitBreaker,
        /// How keyed writes are protected: `true`, or a map; `off` says that writes are not. Default off.
        idempotency: MaybeIdempotency,
        /// Who may send what: a list of who may, or a map of `allow` and `deny`.
        access: Arc<AccessList>,
        /// What a caller gets instead of a failure: a status, or a map.
        fallback: Fallback,
        /// What is answered without asking the service, and what writes make it forget: `true`, a size, or a map.
        cache: Cache,
    }
}

impl RawPolicy {
    /// The policy under its name.
    pub(crate) fn build(self, name: &str) -> Policy {
        Policy {
            name: Arc::from(name),
            timeout: or(self.timeout, Timeout::default()),
            retry: self.retry.map(|it| it.value),
            rate_limit: self.rate_limit.map(|it| it.value),
            concurrency_limit: self.concurrency_limit.map(|it| it.value),
            circuit_breaker: self.circuit_breaker.map(|it| it.value),
            idempotency: self.idempotency.and_then(|it| it.value.0),
            access: self.access.map(|it| it.value),
            fallback: self.fallback.map(|it| it.value),
            cache: self.cache.map(|it| it.value),
        }
    }
}
