//! The whole: sections together, references resolved, contradictions between sections found.

use std::sync::Arc;

use mainstay_policies::{
    fallback::{Fallback, To},
    idempotency::{KeyFrom, KeyPart},
    path::Rewrite,
    rate_limit::Scope,
    timeout::Timeout,
};

use super::{
    FromEnvironment,
    decode::{Cx, Setting, or},
    fields,
    listeners::{self, Ours},
    model::{Config, Control, Match, Policy, Route, Store, Upstream},
    node::{At, Kind, Node, Pos},
    raw::{
        self, NO_POLICY, RawPolicy, RawRoute, RawUpstream, Root, default_admin, default_control, default_drain,
        default_ledger, default_limits, default_probes, default_telemetry,
    },
    report::suggest,
    scalars::Named,
    units::human,
};

/// Builds the configuration; `None` means that errors were reported.
pub(crate) fn build(root: &Node, cx: &mut Cx) -> Option<Config> {
    if matches!(root.kind, Kind::Null) {
        return cx.coded(
            "missing-key",
            root.at,
            "this configuration is empty",
            "it needs `listeners`, `upstreams` and `routes`",
        );
    }
    let raw = Root::decode(root, cx)?;
    let listeners_at = raw.listeners.as_ref().map(|it| it.at);
    let listeners = raw.listeners.map(|it| it.value.0).unwrap_or_default();
    let at = |key: &str| root.lookup(key).and_then(|it| it.lookup("address")).map_or(root.at, |address| address.at);
    let (probes_at, admin_at) = (at("probes"), at("admin"));
    let probes = or(raw.probes, default_probes());
    let is_off = raw.admin.is_none() && root.lookup("admin").is_some();
    let admin = if is_off { None } else { raw.admin.map_or(Some(default_admin()), |admin| admin.value.0) };
    let mut ours = vec![Ours { what: "the probes", key: "probes.address", address: probes.address }];
    if let Some(admin) = &admin {
        if listeners::overlap(probes.address, admin.address) {
            let message = format!("the probes already listen on {}", probes.address);
            let at = if admin_at == root.at { probes_at } else { admin_at };
            cx.error::<()>(at, message, "give `admin.address` or `probes.address` another port");
        }
        ours.push(Ours { what: "the operators", key: "admin.address", address: admin.address });
    }
    let listeners = listeners::build(cx, listeners_at, listeners, &ours);
    let upstreams_at = raw.upstreams.as_ref().map(|it| it.at);
    let upstreams = build_upstreams(cx, upstreams_at, raw.upstreams);
    let policies = build_policies(cx, raw.policies);
    let routes = raw.routes.and_then(|routes| {
        let names = Names { root, upstreams: &upstreams, policies: &policies, none: no_policy() };
        check_fallbacks(cx, &names);
        check_settling(cx, &names);
        build_routes(cx, &names, routes)
    });
    let upstreams: Vec<_> = upstreams.into_iter().filter_map(|(_, upstream)| upstream).collect();
    listeners::check_routes(cx, root, &listeners, routes.as_deref().unwrap_or_default());
    listeners::check_loops(cx, root, &listeners, &upstreams);
    fields::check(cx, root, (&listeners, &upstreams), routes.as_deref().unwrap_or_default());
    let control = or(raw.control, default_control());
    let ledger = or(raw.ledger, default_ledger());
    check_shared_limits(cx, root, &policies, &control, &ledger.store);
    if !cx.issues.is_empty() {
        return None;
    }
    Some(Config {
        listeners,
        upstreams,
        routes: routes?,
        policies: policies.into_iter().map(|(_, policy)| policy).collect(),
        ledger,
        telemetry: or(raw.telemetry, default_telemetry()),
        probes,
        admin,
        control,
        limits: or(raw.limits, default_limits()),
        drain: or(raw.drain, default_drain()),
        environment: FromEnvironment::default(),
    })
}

/// Every name that was written; `None` where reading it failed, so that references to it are no second error.
type Upstreams = Vec<(String, Option<Arc<Upstream>>)>;

fn build_upstreams(cx: &mut Cx, at: Option<Pos>, raw: Option<At<Named<RawUpstream>>>) -> Upstreams {
    let raw = raw.map(|it| it.value.0).unwrap_or_default();
    if let Some(at) = at.filter(|_| raw.is_empty() && cx.issues.is_empty()) {
        cx.error::<()>(at, "there is no upstream", "give one: app: { endpoints: [http://127.0.0.1:9000] }");
    }
    raw.into_iter()
        .map(|(name, upstream)| {
            let built = upstream.build(&name.value, cx).map(Arc::new);
            (name.value, built)
        })
        .collect()
}

fn build_policies(cx: &mut Cx, raw: Option<At<Named<RawPolicy>>>) -> Vec<(String, Arc<Policy>)> {
    let raw = raw.map(|it| it.value.0).unwrap_or_default();
    raw.into_iter()
        .map(|(name, policy)| {
            if name.value == NO_POLICY {
                let message = "`none` is the name of the policy of routes that name none";
                cx.error::<()>(name.at, message, "choose another name");
            }
            let built = policy.build(&name.value);
            (name.value, Arc::new(built))
        })
        .collect()
}

/// What routes may refer to.
struct Names<'a> {
    root: &'a Node,
    upstreams: &'a Upstreams,
    policies: &'a [(String, Arc<Policy>)],
    /// The one policy of all routes that name none.
    none: Arc<Policy>,
}

impl Names<'_> {
    /// Every name written under a top-level key, also where reading its value failed.
    fn written(&self, key: &str) -> Vec<&str> {
        match self.root.lookup(key).map(|node| &node.kind) {
            Some(Kind::Map(entries)) => entries.iter().map(|(name, _)| name.value.as_str()).collect(),
            _ => Vec::new(),
        }
    }

    /// Reports a reference to a name that was never written.
    fn check(&self, cx: &mut Cx, key: &str, reference: &At<String>) {
        let written = self.written(key);
        // That there are no upstreams or listeners has been reported; that nothing can refer to it is no second error.
        if written.contains(&reference.value.as_str()) || (key != "policies" && written.is_empty()) {
            return;
        }
        let what = match key {
            "upstreams" => "upstream",
            "listeners" => "listener",
            _ => "policy",
        };
        let help = suggest(&reference.value, written.iter().copied()).unwrap_or_else(|| {
            if written.is_empty() {
                format!("define it under `{key}`")
            } else {
                format!("known: {}", written.join(", "))
            }
        });
        let message = format!("there is no {what} `{}`", super::node::shorten(&reference.value));
        cx.coded::<()>("unknown-reference", reference.at, message, help);
    }
}

/// Reports fallbacks to upstreams that were never written.
fn check_fallbacks(cx: &mut Cx, names: &Names<'_>) {
    for (name, policy) in names.policies {
        let Some(Fallback { to: To::Upstream(upstream), .. }) = &policy.fallback else { continue };
        let written =
            names.root.lookup("policies").and_then(|it| it.lookup(name)?.lookup("fallback")?.lookup("upstream"));
        let at = written.map_or(names.root.at, |node| node.at);
        names.check(cx, "upstreams", &At { value: upstream.to_string(), at });
    }
}

/// Reports policies that would believe that a write is not there while it may still arrive: it would be done twice.
fn check_settling(cx: &mut Cx, names: &Names<'_>) {
    for (name, policy) in names.policies {
        let Some(idempotency) = &policy.idempotency else { continue };
        let Some(status) = &idempotency.status else { continue };
        let smallest = policy.timeout.total.saturating_add(idempotency.late_response);
        if !status.believes_absence_late() || status.settle_after >= smallest {
            continue;
        }
        let written = || {
            let status = names.root.lookup("policies")?.lookup(name)?.lookup("idempotency")?.lookup("status")?;
            Some(status.lookup("settle_after").unwrap_or(status).at)
        };
        let message = format!(
            "`settle_after` ({}) is shorter than `timeout.total` ({}) and `late_response` ({}) together: `not_found` would be \
             believed, and the key freed, while the first request is still waited for",
            human(status.settle_after),
            human(policy.timeout.total),
            human(idempotency.late_response)
        );
        let help = format!(
            "the smallest value that is right is {}; or, if the endpoint itself bars a late original, say `fenced: true`",
            human(smallest)
        );
        cx.coded::<()>("settle-too-early", written().unwrap_or(names.root.at), message, help);
    }
}

/// A limit that replicas share needs a store over which they tell each other what they were asked for.
fn check_shared_limits(cx: &mut Cx, root: &Node, policies: &[(String, Arc<Policy>)], control: &Control, store: &Store) {
    let scope_of = |place: Option<&Node>| {
        let limit = place?.lookup("rate_limit")?;
        Some(limit.lookup("scope").unwrap_or(limit).at)
    };
    if control.rate_limit.scope == Scope::Service {
        let at = scope_of(root.lookup("control")).unwrap_or(root.at);
        let help = "remove it: what one replica is asked about operations says nothing of the others";
        cx.error::<()>(at, "`scope: service` is not there for `control.rate_limit`", help);
    }
    if matches!(store, Store::Postgres(_)) {
        return;
    }
    for (name, policy) in policies {
        if policy.rate_limit.as_ref().is_some_and(|limit| limit.scope == Scope::Service) {
            let at = scope_of(root.lookup("policies").and_then(|policies| policies.lookup(name))).unwrap_or(root.at);
            let message = "`scope: service` needs a ledger that replicas share, and `ledger.store` is none";
            cx.error::<()>(at, message, "say `ledger: { store: postgres, … }`, or remove `scope`");
        }
    }
}

fn build_routes(cx: &mut Cx, names: &Names<'_>, raw: At<Vec<RawRoute>>) -> Option<Vec<Arc<Route>>> {
    if raw.value.is_empty() {
        return cx.error(raw.at, "there is no route", "give one: - { match: { path: /** }, upstream: app }");
    }
    let mut explicit: Vec<String> = Vec::new();
    let mut routes = Vec::with_capacity(raw.value.len());
    for (number, route) in raw.value.into_iter().enumerate() {
        check_listeners(cx, names, number, &route);
        if let Some(name) = &route.name {
            let text = &name.value.value.0;
            if explicit.contains(text) {
                let message = format!("two routes are named `{text}`");
                cx.error::<()>(name.at, message, "give each route its own name");
            }
            explicit.push(text.clone());
        }
        if let Some(built) = build_route(cx, names, route) {
            routes.push(Arc::new(built));
        }
    }
    Some(routes)
}

/// Reports listeners of a route that were never written.
fn check_listeners(cx: &mut Cx, names: &Names<'_>, number: usize, route: &RawRoute) {
    let number = number.to_string();
    for (nth, name) in route.matches.iter().flat_map(|matches| &matches.value.listeners).enumerate() {
        let nth = nth.to_string();
        let (one, listed) =
            (["routes", &*number, "match", "listener"], ["routes", &*number, "match", "listener", &*nth]);
        let node = names.root.find(&listed).or_else(|| names.root.find(&one));
        let at = node.map_or(names.root.at, |node| node.at);
        names.check(cx, "listeners", &At { value: name.to_string(), at });
    }
}

fn build_route(cx: &mut Cx, names: &Names<'_>, raw: RawRoute) -> Option<Route> {
    if let Some(upstream) = &raw.upstream {
        names.check(cx, "upstreams", &upstream.value);
    }
    if let Some(policy) = &raw.policy {
        names.check(cx, "policies", &policy.value);
    }
    let upstream = raw.upstream.and_then(|reference| {
        let found = names.upstreams.iter().find(|(name, _)| *name == reference.value.value);
        found.and_then(|(_, upstream)| upstream.clone())
    });
    let policy = match raw.policy {
        None => Some(Arc::clone(&names.none)),
        Some(reference) => {
            let found = names.policies.iter().find(|(name, _)| *name == reference.value.value);
            found.map(|(_, policy)| Arc::clone(policy))
        }
    };
    let matches = raw.matches?.value;
    let (upstream, policy) = (upstream?, policy?);
    check_templates(cx, names.root, &matches, &policy);
    check_redispatch(cx, names.root, &upstream, &policy);
    let rewrite = raw.rewrite.and_then(|rewrite| suiting(cx, rewrite, &matches));
    Some(Route {
        name: raw.name.map_or_else(|| Arc::from(matches.path.text.as_str()), |name| Arc::from(name.value.value.0)),
        matches,
        upstream,
        policy,
        rewrite,
    })
}

/// The rewriting, if every path of the route has what it takes off.
fn suiting(cx: &mut Cx, written: At<Rewrite>, matches: &Match) -> Option<Rewrite> {
    let At { value: rewrite, at } = written;
    if rewrite.suits(&matches.path) {
        return Some(rewrite);
    }
    let (strip, path) = (rewrite.strip_prefix(), &matches.path.text);
    let message = format!("`strip_prefix: {strip}` is not how every path begins that `{path}` matches");
    cx.error(at, message, format!("let the route match `{strip}/**`, or strip what its paths do begin with"))
}

fn no_policy() -> Arc<Policy> {
    Arc::new(Policy {
        name: Arc::from(NO_POLICY),
        timeout: Timeout::default(),
        retry: None,
        rate_limit: None,
        concurrency_limit: None,
        circuit_breaker: None,
        idempotency: None,
        access: None,
        fallback: None,
        cache: None,
    })
}

/// `{path.NAME}` in a status query or a key must be a segment of every route that uses the policy.
fn check_templates(cx: &mut Cx, root: &Node, matches: &Match, policy: &Policy) {
    let Some(idempotency) = &policy.idempotency else { return };
    let written = root.lookup("policies").and_then(|policies| policies.lookup(&policy.name));
    let written = written.and_then(|policy| policy.lookup("idempotency"));
    if let Some(status) = &idempotency.status {
        let names = raw::split_variables(&status.path).unwrap_or_default();
        let names = names.into_iter().filter_map(|name| name.strip_prefix("path."));
        check_path_names(cx, written.and_then(raw::request_at).unwrap_or(root.at), matches, names);
    }
    if let Some(KeyFrom::Template(template)) = &idempotency.key.from {
        let names = template.parts().filter_map(|part| match part {
            KeyPart::Path(name) => Some(name.as_str()),
            _ => None,
        });
        check_path_names(cx, written.and_then(raw::from_at).unwrap_or(root.at), matches, names);
    }
}

fn check_path_names<'n>(cx: &mut Cx, at: Pos, matches: &Match, names: impl Iterator<Item = &'n str>) {
    for name in names {
        let params: Vec<&str> = matches.path.names().collect();
        if !params.contains(&name) {
            let message = format!("`{{path.{name}}}` is no part of the route `{}`", matches.path.text);
            let help = suggest(name, params.iter().copied())
                .unwrap_or_else(|| format!("the route's path needs a segment {{{name}}}"));
            cx.error::<()>(at, message, help);
        }
    }
}

/// A write may be sent again without its caller only to an upstream that executes a key once.
fn check_redispatch(cx: &mut Cx, root: &Node, upstream: &Upstream, policy: &Policy) {
    let wanted = policy.idempotency.as_ref().is_some_and(|idempotency| idempotency.redispatch.attempts > 0);
    if !wanted || upstream.honours_key {
        return;
    }
    let written = root.lookup("policies").and_then(|policies| policies.lookup(&policy.name));
    let at = written.and_then(|policy| policy.lookup("idempotency")).and_then(raw::redispatch_at);
    let message = format!(
        "`redispatch` sends a write again, and upstream `{}` may execute it again: it is not declared `honours_key: true`",
        upstream.name
    );
    let help =
        "declare it if the service itself executes a key at most once; else remove `redispatch`, and give `status`";
    cx.error::<()>(at.unwrap_or(root.at), message, help);
}
