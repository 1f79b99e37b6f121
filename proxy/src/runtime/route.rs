//! A route, ready to serve.

use std::{collections::HashMap, sync::Arc};

use mainstay_policies::{
    cache::Store,
    concurrency_limit::Limit,
    fallback::To,
    idempotency::Protection,
    rate_limit::{LimitId, Limiter, Scope},
    retry::Retrier,
};
use sha2::{Digest as _, Sha256};

use super::{breakers::Breakers, resources::Resources};
use crate::{config::model, telemetry::metrics::RouteMetrics, upstream::Upstream};

/// A route, ready to serve.
pub(crate) struct Route {
    pub(crate) params: Arc<model::Route>,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) limiter: Option<Arc<Limiter>>,
    pub(crate) concurrency: Option<Arc<Limit>>,
    pub(crate) retrier: Option<Arc<Retrier>>,
    pub(crate) breakers: Breakers,
    pub(crate) protection: Option<Arc<Protection>>,
    /// The same route to the upstream of its fallback, with nothing but the timeouts.
    pub(crate) fallback: Option<Arc<Self>>,
    pub(crate) cache: Option<Arc<Store>>,
    /// Whether what is sent on it carries credentials of ours, for a caller who is known and for no other.
    pub(crate) needs_principal: bool,
    pub(crate) metrics: RouteMetrics,
}

/// The route to the upstream of a policy's fallback: one attempt in the time that is left, under no other rule.
pub(super) fn fallback(
    params: &model::Route,
    upstreams: &HashMap<Arc<str>, Arc<Upstream>>,
    resources: &Resources,
) -> Option<Arc<Route>> {
    let To::Upstream(name) = &params.policy.fallback.as_ref()?.to else { return None };
    let upstream = upstreams.get(name)?.clone();
    let policy = model::Policy {
        name: params.policy.name.clone(),
        timeout: params.policy.timeout.clone(),
        retry: None,
        rate_limit: None,
        concurrency_limit: None,
        circuit_breaker: None,
        idempotency: None,
        access: None,
        fallback: None,
        cache: None,
    };
    let params = model::Route { upstream: upstream.params().clone(), policy: Arc::new(policy), ..params.clone() };
    Some(Arc::new(Route::build(Arc::new(params), upstream, Breakers::None, resources, None)))
}

pub(super) fn limiter(params: &mainstay_policies::rate_limit::RateLimit, kept: Option<&Arc<Limiter>>) -> Arc<Limiter> {
    match kept {
        Some(kept) if kept.params() == params => kept.clone(),
        Some(kept) => Arc::new(kept.reconfigured(params.clone())),
        None => Arc::new(Limiter::new(params.clone())),
    }
}

/// The same as a part of what all replicas have of it together, if it is one limit for all of them.
fn shared(limiter: Arc<Limiter>, route: &model::Route, resources: &Resources) -> Arc<Limiter> {
    let limit = limiter.params();
    match resources.ledger.peers() {
        Some(peers) if limit.scope == Scope::Service => {
            let part = peers.limit(limit_id(route), limit);
            Arc::new(Limiter::clone(&limiter).shared(part))
        }
        _ => limiter,
    }
}

/// By what replicas know that they mean the same limit.
fn limit_id(route: &model::Route) -> LimitId {
    let text = format!("{:?} {} {}", route.matches, route.upstream.name, route.policy.name);
    let digest = Sha256::digest(text);
    std::array::from_fn(|at| digest[at])
}

impl Route {
    pub(crate) fn build(
        params: Arc<model::Route>,
        upstream: Arc<Upstream>,
        breakers: Breakers,
        resources: &Resources,
        before: Option<&Arc<Self>>,
    ) -> Self {
        let policy = &params.policy;
        let limiter = policy.rate_limit.as_ref().map(|limit| {
            let limiter = limiter(limit, before.and_then(|before| before.limiter.as_ref()));
            shared(limiter, &params, resources)
        });
        let concurrency = policy.concurrency_limit.as_ref().map(|params| {
            match before.and_then(|before| before.concurrency.as_ref()) {
                Some(kept) if kept.params() == params => kept.clone(),
                Some(kept) => Arc::new(kept.reconfigured(params.clone())),
                None => Arc::new(Limit::watching(params.clone(), resources.cpu.clone())),
            }
        });
        let retrier = policy.retry.as_ref().map(|params| match before.and_then(|before| before.retrier.as_ref()) {
            Some(kept) if kept.params() == params => kept.clone(),
            Some(kept) => Arc::new(kept.reconfigured(params.clone())),
            None => Arc::new(Retrier::new(params.clone())),
        });
        let protection = policy.idempotency.as_ref().map(|idempotency| {
            let protection = Protection::new(
                idempotency.clone(),
                params.name.clone(),
                params.upstream.name.clone(),
                resources.ledger.clone(),
                resources.clock.clone(),
                params.upstream.honours_key,
            );
            Arc::new(
                protection
                    .with_total_timeout(policy.timeout.total)
                    .with_recorder(resources.recorder.clone())
                    .with_gate(resources.gate.clone())
                    .with_mint(resources.mint.clone()),
            )
        });
        let needs_principal = !params.upstream.set.is_empty();
        let metrics = resources.metrics.route(&params.name, &params.upstream.name, &policy.name);
        Self {
            params,
            upstream,
            limiter,
            concurrency,
            retrier,
            breakers,
            protection,
            fallback: None,
            cache: None,
            needs_principal,
            metrics,
        }
    }
}
