//! One configuration, made ready to serve: routes compiled, policy state attached.
//!
//! A reload builds a new snapshot and swaps it in whole. What did not change keeps its state: an upstream its connections,
//! a limiter its count, a breaker its verdict, a budget its balance.

use std::{collections::HashMap, sync::Arc};

use http::{
    HeaderMap,
    header::{CONTENT_LOCATION, HOST, LOCATION},
    uri::Authority,
};
use mainstay_policies::{
    access::PathRule,
    cache::Store,
    circuit_breaker::{Breaker, CircuitBreaker, Ejections, Scope},
    clock::WallClock,
    concurrency_limit::{CpuLoad, Limit},
    fallback::To,
    idempotency::{IdMint, Protection, QueryGate},
    operation::{Operation, State, ledger::Ledger},
    rate_limit::Limiter,
    retry::Retrier,
};

use crate::{
    background::resolver::Stats,
    config::{
        self,
        model::{self, Config},
    },
    request::cached,
    router::{self, Router},
    telemetry::metrics::{Metrics, RouteMetrics},
    upstream::Upstream,
};

/// What one configuration means at run time.
pub(crate) struct Snapshot {
    pub(crate) config: Arc<Config>,
    pub(crate) router: Router<Arc<Route>>,
    pub(crate) upstreams: HashMap<Arc<str>, Arc<Upstream>>,
    /// One limit per listener over everything under the control path.
    pub(crate) control_limits: HashMap<Arc<str>, Arc<Limiter>>,
    /// By policy.
    caches: HashMap<Arc<str>, Arc<Store>>,
    shared_breakers: HashMap<(Arc<str>, Arc<str>), Breakers>,
}

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
    pub(crate) metrics: RouteMetrics,
}

/// The breakers that stand before an upstream's endpoints.
#[derive(Clone)]
pub(crate) enum Breakers {
    None,
    /// Scope `route` or `upstream`.
    One(Arc<Breaker>),
    /// Scope `endpoint`: in the order of the upstream's endpoints, whose addresses tell them apart across a reload.
    Each {
        breakers: Arc<[Arc<Breaker>]>,
        addresses: Arc<[Authority]>,
        group: Arc<Ejections>,
    },
}

impl Breakers {
    /// The breaker that guards `endpoint`.
    pub(crate) fn of(&self, endpoint: usize) -> Option<&Arc<Breaker>> {
        match self {
            Self::None => None,
            Self::One(breaker) => Some(breaker),
            Self::Each { breakers, .. } => breakers.get(endpoint),
        }
    }

    /// The breaker that guards the endpoint at `address`.
    fn at(&self, address: &Authority) -> Option<&Arc<Breaker>> {
        let Self::Each { breakers, addresses, .. } = self else { return None };
        breakers.get(addresses.iter().position(|known| known == address)?)
    }

    /// Each breaker once.
    pub(crate) fn all(&self) -> &[Arc<Breaker>] {
        match self {
            Self::None => &[],
            Self::One(breaker) => std::slice::from_ref(breaker),
            Self::Each { breakers, .. } => breakers,
        }
    }
}

/// What snapshots are built with.
pub(crate) struct Parts {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) clock: WallClock,
    pub(crate) metrics: Arc<Metrics>,
    /// Threads that serve; fixed at start, since sockets and pools belong to them.
    pub(crate) workers: usize,
    /// What the resolver has done, and has before it.
    pub(crate) resolving: Arc<Stats>,
    /// Bounds status queries per upstream, whoever asks.
    pub(crate) gate: QueryGate,
    /// Makes fresh keys, in one order.
    pub(crate) mint: Arc<IdMint>,
    /// How busy the CPU is, for limits that shed by it.
    pub(crate) cpu: CpuLoad,
}

impl Parts {
    /// The number by which the resolver, a thread more, is known to upstreams.
    pub(crate) const fn background(&self) -> usize {
        self.workers
    }
}

impl Snapshot {
    /// Makes `config` ready, with the state of what `before` has in common with it.
    pub(crate) fn build(config: Arc<Config>, parts: &Parts, before: Option<&Self>) -> Self {
        let upstreams: HashMap<_, _> = config
            .upstreams
            .iter()
            .map(|params| {
                let kept = before
                    .and_then(|before| before.upstreams.get(&params.name))
                    .filter(|upstream| upstream.params() == params);
                let upstream =
                    kept.cloned().unwrap_or_else(|| Arc::new(Upstream::new(params.clone(), parts.workers + 1)));
                (params.name.clone(), upstream)
            })
            .collect();
        let known: HashMap<RouteIdentity, &Arc<Route>> = before
            .into_iter()
            .flat_map(|before| before.router.iter())
            .map(|route| (identity(&route.params), route))
            .collect();
        let caches = caches(&config, before);
        let mut shared_breakers = HashMap::new();
        let routes: Vec<_> = config
            .routes
            .iter()
            .map(|params| {
                let before_route = known.get(&identity(params)).copied();
                let upstream = upstreams[&params.upstream.name].clone();
                let breakers = breakers(params, &upstream, before_route, before, &mut shared_breakers);
                let mut route = Route::build(params.clone(), upstream, breakers, parts, before_route);
                route.fallback = fallback(params, &upstreams, parts);
                route.cache = caches.get(&params.policy.name).cloned();
                (params.matches.clone(), Arc::new(route))
            })
            .collect();
        let control_limits = config
            .listeners
            .iter()
            .map(|listener| {
                let params = &config.control.rate_limit;
                let kept = before.and_then(|before| before.control_limits.get(&listener.name));
                (listener.name.clone(), limiter(params, kept))
            })
            .collect();
        Self { router: Router::new(routes), config, upstreams, control_limits, caches, shared_breakers }
    }

    /// A write on `route` happened, or may have: what is stored for its path, and what its policy names, is forgotten.
    pub(crate) fn forget(&self, route: &Route, path: &str) {
        if self.caches.is_empty() {
            return;
        }
        let path = router::normalise(path);
        let service = &route.params.upstream.name;
        let also = route.params.policy.cache.as_ref().map(|cache| &*cache.invalidate).unwrap_or_default();
        let also: Vec<_> =
            also.iter().map(|pattern| router::filled(pattern, &route.params.matches.path, &path)).collect();
        for store in self.caches.values() {
            store.invalidate_path(service, &path);
            for (pattern, filled) in &also {
                match filled {
                    Some(path) => store.invalidate_path(service, path),
                    None => store.invalidate_pattern(service, pattern),
                }
            }
        }
    }

    /// The answer to such a write names what it changed beside (RFC 9111 section 4.4): that is forgotten, too.
    pub(crate) fn forget_named(&self, route: &Route, sent: &HeaderMap, path: &str, answer: &HeaderMap) {
        if self.caches.is_empty() {
            return;
        }
        let host = sent.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        for reference in [LOCATION, CONTENT_LOCATION].iter().filter_map(|name| answer.get(name)?.to_str().ok()) {
            let Some(named) = cached::same_origin_path(reference, host, path) else { continue };
            for store in self.caches.values() {
                store.invalidate_path(&route.params.upstream.name, &router::normalise(&named));
            }
        }
    }

    /// An operation was settled without its request at hand. If it succeeded, what is stored for any path of its route is
    /// forgotten, and what the policy names: its own path is not recorded. Without its route, all of its upstream.
    pub(crate) fn forget_settled(&self, before: State, operation: &Operation) {
        if self.caches.is_empty() || operation.state != State::Succeeded || before == State::Succeeded {
            return;
        }
        let mut patterns: Vec<_> = self
            .router
            .iter()
            .map(|route| &route.params)
            .filter(|params| params.name == operation.route && params.upstream.name == operation.upstream)
            .flat_map(|params| {
                let also = params.policy.cache.as_ref().map(|cache| &*cache.invalidate).unwrap_or_default();
                std::iter::once(&params.matches.path).chain(also).map(config::path_rule)
            })
            .collect();
        if patterns.is_empty() {
            patterns.push(PathRule { segments: Vec::new(), rest: true });
        }
        for store in self.caches.values() {
            for pattern in &patterns {
                store.invalidate_pattern(&operation.upstream, pattern);
            }
        }
    }

    /// Every breaker with a name that operators and metrics can use, in the order of the names: `policy@upstream`,
    /// `policy@upstream~0` for each endpoint, `policy@route` with a dash for what is no letter or digit. Names of policies
    /// and upstreams hold neither `@` nor `~`, so no two names are the same, and none needs an escape in a path.
    pub(crate) fn breakers(&self) -> Vec<NamedBreaker<'_>> {
        let mut named: Vec<NamedBreaker<'_>> = self
            .shared_breakers
            .iter()
            .flat_map(|((policy, upstream), breakers)| {
                let is_each = matches!(breakers, Breakers::Each { .. });
                breakers.all().iter().enumerate().map(move |(at, breaker)| NamedBreaker {
                    name: if is_each { format!("{policy}@{upstream}~{at}") } else { format!("{policy}@{upstream}") },
                    policy: policy.clone(),
                    upstream: upstream.clone(),
                    endpoint: is_each.then_some(at),
                    route: None,
                    breaker,
                })
            })
            .collect();
        let mut taken: HashMap<String, usize> = HashMap::new();
        for route in self.router.iter() {
            let params = &route.params;
            let Some(Scope::Route) = params.policy.circuit_breaker.as_ref().map(|breaker| breaker.scope) else {
                continue;
            };
            let Some(breaker) = route.breakers.of(0) else { continue };
            let plain = format!("{}@{}", params.policy.name, dashed(&params.name));
            // Routes of one name, as those of one path for several methods, are told apart by their order.
            let seen = taken.entry(plain.clone()).or_default();
            *seen += 1;
            named.push(NamedBreaker {
                name: if *seen == 1 { plain } else { format!("{plain}~{seen}") },
                policy: params.policy.name.clone(),
                upstream: params.upstream.name.clone(),
                endpoint: None,
                route: Some(params.name.clone()),
                breaker,
            });
        }
        named.sort_by(|a, b| a.name.cmp(&b.name));
        named
    }
}

/// A breaker, by its name and what it guards.
pub(crate) struct NamedBreaker<'a> {
    pub(crate) name: String,
    pub(crate) policy: Arc<str>,
    pub(crate) upstream: Arc<str>,
    /// `None`: every endpoint of the upstream.
    pub(crate) endpoint: Option<usize>,
    /// `None`: every route to the upstream under the policy.
    pub(crate) route: Option<Arc<str>>,
    pub(crate) breaker: &'a Arc<Breaker>,
}

/// A route's name or path with a dash for each run of other characters than letters, digits, `_` and `.`.
fn dashed(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    let words: Vec<&str> = name.split(|c: char| !is_plain(c)).filter(|word| !word.is_empty()).collect();
    if words.is_empty() { "root".into() } else { words.join("-") }
}

/// What makes two routes of different files the same route.
type RouteIdentity = (String, Arc<str>, Arc<str>);

fn identity(route: &model::Route) -> RouteIdentity {
    (format!("{:?}", route.matches), route.upstream.name.clone(), route.policy.name.clone())
}

fn breakers(
    params: &Arc<model::Route>,
    upstream: &Arc<Upstream>,
    before_route: Option<&Arc<Route>>,
    before: Option<&Snapshot>,
    shared: &mut HashMap<(Arc<str>, Arc<str>), Breakers>,
) -> Breakers {
    let Some(breaker) = &params.policy.circuit_breaker else { return Breakers::None };
    let make = |kept: Option<&Arc<Breaker>>| match kept {
        Some(kept) if kept.params() == breaker => kept.clone(),
        Some(kept) => Arc::new(kept.reconfigured(breaker.clone())),
        None => Arc::new(Breaker::new(breaker.clone())),
    };
    if breaker.scope == Scope::Route {
        return Breakers::One(make(before_route.and_then(|route| route.breakers.of(0))));
    }
    let key = (params.policy.name.clone(), upstream.params().name.clone());
    shared
        .entry(key.clone())
        .or_insert_with(|| {
            let kept = before.and_then(|before| before.shared_breakers.get(&key));
            match breaker.scope {
                Scope::Endpoint => endpoint_breakers(breaker, upstream, kept),
                Scope::Upstream | Scope::Route => Breakers::One(make(kept.and_then(|kept| kept.of(0)))),
            }
        })
        .clone()
}

/// The caches of all policies; what they hold stays as long as their parameters do.
fn caches(config: &Config, before: Option<&Snapshot>) -> HashMap<Arc<str>, Arc<Store>> {
    let build = |policy: &Arc<model::Policy>| {
        let params = &policy.cache.as_ref()?.params;
        let kept = before.and_then(|before| before.caches.get(&policy.name)).filter(|kept| kept.params() == params);
        Some((policy.name.clone(), kept.cloned().unwrap_or_else(|| Arc::new(Store::new(params.clone())))))
    };
    config.policies.iter().filter_map(build).collect()
}

/// The route to the upstream of a policy's fallback: one attempt in the time that is left, under no other rule.
fn fallback(params: &model::Route, upstreams: &HashMap<Arc<str>, Arc<Upstream>>, parts: &Parts) -> Option<Arc<Route>> {
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
    Some(Arc::new(Route::build(Arc::new(params), upstream, Breakers::None, parts, None)))
}

/// A breaker per endpoint. An endpoint that stays keeps its own, wherever it stands in the list now.
fn endpoint_breakers(params: &CircuitBreaker, upstream: &Upstream, before: Option<&Breakers>) -> Breakers {
    let addresses: Arc<[Authority]> =
        upstream.params().endpoints.iter().map(|endpoint| endpoint.authority.clone()).collect();
    let percent = params.max_ejection_percent;
    let group = match before {
        Some(Breakers::Each { group, .. }) => {
            group.resize(addresses.len(), percent);
            group.clone()
        }
        _ => Ejections::new(addresses.len(), percent),
    };
    let breakers = addresses
        .iter()
        .map(|address| match before.and_then(|before| before.at(address)) {
            Some(kept) if kept.params() == params => kept.clone(),
            Some(kept) => Arc::new(kept.reconfigured(params.clone())),
            None => Arc::new(Breaker::in_group(params.clone(), group.clone())),
        })
        .collect();
    Breakers::Each { breakers, addresses, group }
}

fn limiter(params: &mainstay_policies::rate_limit::RateLimit, kept: Option<&Arc<Limiter>>) -> Arc<Limiter> {
    match kept {
        Some(kept) if kept.params() == params => kept.clone(),
        Some(kept) => Arc::new(kept.reconfigured(params.clone())),
        None => Arc::new(Limiter::new(params.clone())),
    }
}

impl Route {
    fn build(
        params: Arc<model::Route>,
        upstream: Arc<Upstream>,
        breakers: Breakers,
        parts: &Parts,
        before: Option<&Arc<Self>>,
    ) -> Self {
        let policy = &params.policy;
        let limiter =
            policy.rate_limit.as_ref().map(|params| limiter(params, before.and_then(|before| before.limiter.as_ref())));
        let concurrency = policy.concurrency_limit.as_ref().map(|params| {
            match before.and_then(|before| before.concurrency.as_ref()) {
                Some(kept) if kept.params() == params => kept.clone(),
                Some(kept) => Arc::new(kept.reconfigured(params.clone())),
                None => Arc::new(Limit::watching(params.clone(), parts.cpu.clone())),
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
                parts.ledger.clone(),
                parts.clock.clone(),
                params.upstream.honours_key,
            );
            Arc::new(
                protection
                    .with_total_timeout(policy.timeout.total)
                    .with_gate(parts.gate.clone())
                    .with_mint(parts.mint.clone()),
            )
        });
        let metrics = parts.metrics.route(&params.name, &params.upstream.name, &policy.name);
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
            metrics,
        }
    }
}
