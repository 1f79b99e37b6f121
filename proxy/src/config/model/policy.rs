//! A named set of rules.

use std::sync::Arc;

use mainstay_policies::{
    access::AccessList, circuit_breaker::CircuitBreaker, concurrency_limit::ConcurrencyLimit, fallback::Fallback,
    idempotency::Idempotency, rate_limit::RateLimit, retry::Retry, timeout::Timeout,
};

use mainstay_policies::path::PathPattern;

/// A named set of rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Its name.
    pub name: Arc<str>,
    /// Always there: a request without a bound is a leak.
    pub timeout: Timeout,
    /// `None` retries nothing.
    pub retry: Option<Retry>,
    /// `None` admits everything.
    pub rate_limit: Option<RateLimit>,
    /// `None` admits everything.
    pub concurrency_limit: Option<ConcurrencyLimit>,
    /// `None` never opens.
    pub circuit_breaker: Option<CircuitBreaker>,
    /// `None` protects no write.
    pub idempotency: Option<Idempotency>,
    /// `None` lets everybody in.
    pub access: Option<Arc<AccessList>>,
    /// `None` lets failures stand.
    pub fallback: Option<Fallback>,
    /// `None` asks the service every time.
    pub cache: Option<Cache>,
}

/// A cache, and what writes make it forget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Its bounds.
    pub params: mainstay_policies::cache::Cache,
    /// What a write forgets beside its own path.
    pub invalidate: Vec<PathPattern>,
}
