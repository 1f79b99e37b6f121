//! One configuration, made ready to serve: routes compiled, policy state attached.
//!
//! A reload builds a new snapshot and swaps it in whole. What did not change keeps its state: an upstream its connections,
//! a limiter its count, a breaker its verdict, a budget its balance.

use std::{collections::HashMap, sync::Arc, time::Duration};

use mainstay_policies::{cache::Store, idempotency::Protection, operation::Operation, rate_limit::Limiter};

use super::{
    breakers::{Breakers, breakers},
    resources::Resources,
    route::{Route, fallback, limiter},
    secured::Secured,
};
use crate::{
    config::model::{self, Config, Direction},
    router::Router,
    upstream::Upstream,
};

/// What one configuration means at run time.
pub(crate) struct Snapshot {
    pub(crate) config: Arc<Config>,
    /// Every route, in file order.
    pub(crate) routes: Vec<Arc<Route>>,
    /// What each listener serves, in the order of the configuration's. Those that serve the same share it.
    routers: Vec<Arc<Router<Arc<Route>>>>,
    /// What is served at a listener that has gone, to requests on connections that were accepted by it.
    bare: [Router<Arc<Route>>; 2],
    /// The first route of a name to an upstream that protects writes: an operation's.
    protecting: HashMap<(Arc<str>, Arc<str>), Arc<Route>>,
    pub(crate) upstreams: HashMap<Arc<str>, Arc<Upstream>>,
    /// What was read of files.
    pub(crate) secured: Secured,
    /// One limit per listener over everything under the control path.
    pub(crate) control_limits: HashMap<Arc<str>, Arc<Limiter>>,
    /// By policy.
    pub(crate) caches: HashMap<Arc<str>, Arc<Store>>,
    pub(crate) shared_breakers: HashMap<(Arc<str>, Arc<str>), Breakers>,
}

impl Snapshot {
    /// Whether a path is Mainstay's own: under the control prefix, on a segment's boundary.
    pub(crate) fn is_control(&self, path: &str) -> bool {
        path.strip_prefix(&*self.config.control.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Makes `config` ready, with the state of what `before` has in common with it.
    pub(crate) fn build(config: Arc<Config>, secured: Secured, resources: &Resources, before: Option<&Self>) -> Self {
        let head_limits = config.limits.response_head();
        let upstreams: HashMap<_, _> = config
            .upstreams
            .iter()
            .map(|params| {
                let former = before.and_then(|before| before.upstreams.get(&params.name));
                let kept =
                    former.filter(|upstream| upstream.params() == params && upstream.head_limits() == head_limits);
                let read = secured.of_upstream(&params.name);
                let former = former.map(|former| &**former);
                let new = || Arc::new(Upstream::new(params.clone(), read, head_limits, resources.workers + 1, former));
                (params.name.clone(), kept.cloned().unwrap_or_else(new))
            })
            .collect();
        for upstream in upstreams.values() {
            upstream.bound_delivery(delivery_bound(&config, &upstream.params().name));
        }
        let known: HashMap<RouteIdentity, &Arc<Route>> = before
            .into_iter()
            .flat_map(|before| &before.routes)
            .map(|route| (identity(&route.params), route))
            .collect();
        let caches = caches(&config, before);
        let none = HashMap::new();
        let kept_breakers = before.map_or(&none, |before| &before.shared_breakers);
        let mut shared_breakers = HashMap::new();
        let routes: Vec<_> = config
            .routes
            .iter()
            .map(|params| {
                let earlier = known.get(&identity(params)).copied();
                let upstream = upstreams[&params.upstream.name].clone();
                let kept_by_route = earlier.map(|route| &route.breakers);
                let breakers = breakers(params, &upstream, kept_by_route, kept_breakers, &mut shared_breakers);
                let mut route = Route::build(params.clone(), upstream, breakers, resources, earlier);
                route.fallback = fallback(params, &upstreams, resources);
                route.needs_principal |= route.fallback.as_ref().is_some_and(|other| other.needs_principal);
                route.cache = caches.get(&params.policy.name).cloned();
                Arc::new(route)
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
        let protecting = protecting(&routes);
        let by_listener = of_listeners(&config, &routes);
        let bare = [router(&routes, |route| route.matches.listeners.is_empty()), router(&[], |_| false)];
        Self {
            config,
            routes,
            routers: by_listener,
            bare,
            protecting,
            upstreams,
            secured,
            control_limits,
            caches,
            shared_breakers,
        }
    }

    /// What is served at a listener: the one of that place in the configuration, or one that has gone.
    pub(crate) fn router(&self, place: Option<usize>, direction: Direction) -> &Router<Arc<Route>> {
        match (place, direction) {
            (Some(place), _) => &self.routers[place],
            (None, Direction::Inbound) => &self.bare[0],
            (None, Direction::Outbound) => &self.bare[1],
        }
    }

    /// The route that an operation belongs to, as configured now; `None` if it, its upstream or its protection has gone.
    pub(crate) fn route_of(&self, operation: &Operation) -> Option<(Arc<Route>, Arc<Protection>)> {
        let route = self.protecting(&operation.route, &operation.upstream)?;
        Some((Arc::clone(route), Arc::clone(route.protection.as_ref()?)))
    }

    /// The route that protects operations recorded under this name and upstream.
    pub(crate) fn protecting(&self, route: &Arc<str>, upstream: &Arc<str>) -> Option<&Arc<Route>> {
        self.protecting.get(&(route.clone(), upstream.clone()))
    }
}

/// The routes that a listener serves, compiled.
fn router(routes: &[Arc<Route>], belongs: impl Fn(&model::Route) -> bool) -> Router<Arc<Route>> {
    let own = routes.iter().filter(|route| belongs(&route.params));
    Router::new(own.map(|route| (route.params.matches.clone(), route.clone())))
}

/// The same for each listener.
fn of_listeners(config: &Config, routes: &[Arc<Route>]) -> Vec<Arc<Router<Arc<Route>>>> {
    let mut known: HashMap<Vec<bool>, Arc<Router<Arc<Route>>>> = HashMap::new();
    let of_listener = |listener: &Arc<model::Listener>| {
        let own: Vec<bool> = routes.iter().map(|route| route.params.matches.belongs_to(listener)).collect();
        let compile = || Arc::new(router(routes, |route| route.matches.belongs_to(listener)));
        known.entry(own).or_insert_with(compile).clone()
    };
    config.listeners.iter().map(of_listener).collect()
}

fn protecting(routes: &[Arc<Route>]) -> HashMap<(Arc<str>, Arc<str>), Arc<Route>> {
    let mut protecting = HashMap::new();
    for route in routes.iter().filter(|route| route.protection.is_some()) {
        let name = (route.params.name.clone(), route.params.upstream.name.clone());
        // The first in file order is the one that serves.
        protecting.entry(name).or_insert_with(|| route.clone());
    }
    protecting
}

/// What makes two routes of different files the same route.
type RouteIdentity = (String, Arc<str>, Arc<str>);

fn identity(route: &model::Route) -> RouteIdentity {
    (format!("{:?}", route.matches), route.upstream.name.clone(), route.policy.name.clone())
}

/// How late what was sent to an upstream may arrive: bytes that lie in a dead socket must not come later than a `not_found` is
/// believed, which frees the key. Half of that, since the wait begins when the first of them is sent.
fn delivery_bound(config: &Config, upstream: &str) -> Option<Duration> {
    const LONGEST: Duration = Duration::from_secs(30);
    let routes = config.routes.iter().filter(|route| *route.upstream.name == *upstream);
    let asked = routes.filter_map(|route| route.policy.idempotency.as_ref()?.status.as_ref());
    let bound = asked.filter(|status| !status.fenced).map(|status| status.settle_after / 2).min();
    bound.map(|bound| bound.min(LONGEST))
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
