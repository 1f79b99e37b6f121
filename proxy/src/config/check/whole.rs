//! What in the whole configuration cannot work as it looks: listeners, the ledger, what nobody uses, the end.

use std::time::Duration;

use mainstay_policies::{
    access::AccessList,
    fallback::{Fallback, To},
    idempotency::{Credentials, Idempotency, KeyFrom, KeyPart, Mint},
    rate_limit::Key,
};

use super::{found::Found, route::template_of};
use crate::config::{
    model::{Config, Listener, Policy, Principal, Route, Store},
    units::human,
};

pub(super) fn find(config: &Config, found: &mut Found<'_>) {
    memory(config, found);
    principals(config, found);
    fronts(config, found);
    nodes(config, found);
    replicas(config, found);
    unused(config, found);
    drain(config, found);
}

/// A ledger that forgets.
fn memory(config: &Config, found: &mut Found<'_>) {
    let protects = config.policies.iter().any(|policy| policy.idempotency.is_some());
    if protects && config.ledger.store == Store::Memory {
        let message = "ledger: operations are kept in memory and are lost on exit; after a restart a repeated write executes again";
        found.warn(
            "ledger-in-memory",
            &["ledger", "store"],
            message,
            "give `ledger: { path: … }` a directory, but for trials",
        );
    }
}

/// Rules about principals where a listener knows none.
fn principals(config: &Config, found: &mut Found<'_>) {
    let anonymous: Vec<&Listener> =
        config.listeners.iter().filter(|it| it.principal == Principal::Anonymous).map(|it| &**it).collect();
    for policy in &config.policies {
        // Elsewhere its requests never come from there.
        let leads_to = |listener: &&&Listener| {
            let mut routes = config.routes.iter();
            routes.any(|route| route.policy.name == policy.name && route.matches.belongs_to(listener))
        };
        let Some(Listener { name: listener, .. }) = anonymous.iter().find(leads_to) else { continue };
        let cure = format!("say how `{listener}` knows its callers: `principal: {{ header: X-Tenant }}`");
        let name = &*policy.name;
        let idempotency = policy.idempotency.as_ref();
        if idempotency.is_some_and(|idempotency| idempotency.principal_required) {
            let message = format!(
                "policy `{name}`: `principal: required`, but listener `{listener}` is anonymous: there a keyed write always gets 401"
            );
            found.warn("no-principal", &["policies", name, "idempotency", "principal"], message, &*cure);
        }
        if let Some(idempotency) = idempotency.filter(|idempotency| !idempotency.principal_required) {
            let whose = match idempotency.credentials {
                Credentials::Bind => {
                    "a key belongs to the credentials that it was first used with, and a renewed token is refused"
                }
                Credentials::Ignore => "whoever knows a key may repeat its write and is given the answer",
            };
            let message = format!("policy `{name}`: listener `{listener}` is anonymous: there {whose}");
            found.note("anonymous-keys", &["policies", name, "idempotency"], message, &*cure);
        }
        let template = idempotency.and_then(template_of);
        if template.is_some_and(|template| template.parts().any(|part| *part == KeyPart::Principal)) {
            let message = format!(
                "policy `{name}`: `key.from` names {{principal}}, but listener `{listener}` is anonymous: there no key is ever made"
            );
            found.warn("no-principal", &["policies", name, "idempotency", "key", "from"], message, &*cure);
        }
        let is_content = |idempotency: &Idempotency| {
            idempotency.credentials == Credentials::Bind
                && matches!(idempotency.key.from, Some(KeyFrom::Content { .. }))
        };
        if idempotency.is_some_and(is_content) {
            let message = format!(
                "policy `{name}`: `key.from: fingerprint`, but listener `{listener}` is anonymous: there the same content from \
                 another caller is no write of its own, but refused with 409 caller-differs"
            );
            found.warn("no-principal", &["policies", name, "idempotency", "key", "from"], message, &*cure);
        }
        if policy.rate_limit.as_ref().is_some_and(|limit| limit.key == Key::Principal) {
            let message = format!(
                "policy `{name}`: `rate_limit.key: principal`, but listener `{listener}` is anonymous: there all callers share one \
                 limit"
            );
            found.warn("no-principal", &["policies", name, "rate_limit", "key"], message, &*cure);
        }
    }
}

/// Fronts elsewhere whose word would not count, on listeners that others than this host can reach.
fn fronts(config: &Config, found: &mut Found<'_>) {
    let names = |list: &AccessList| list.allow.iter().chain(&list.deny).any(|rule| !rule.clients.is_empty());
    let tells_clients_apart = config.routes.iter().any(|route| {
        let policy = &route.policy;
        policy.rate_limit.as_ref().is_some_and(|limit| limit.key == Key::ClientIp)
            || policy.access.as_deref().is_some_and(names)
    });
    for listener in config.listeners.iter().filter(|listener| !listener.address.is_local()) {
        let name = &*listener.name;
        let from = ["listeners", name, "principal", "from"];
        if listener.principal.by_header().is_some() && !found.writes(&from) {
            let message = format!(
                "listener `{name}`: `{}` counts only from this host or pod, for `from` is not said: a front elsewhere names nobody",
                listener.principal
            );
            let cure =
                "name the front's network: `from: [10.0.0.0/8]`; or, if it is beside this proxy, say `from: [local]`";
            found.note("principal-from", &from[..3], message, cure);
        }
        let lists_clients = listener.access.as_deref().is_some_and(names);
        if (tells_clients_apart || lists_clients) && !found.writes(&["listeners", name, "client"]) {
            let message = format!(
                "listener `{name}`: limits and access lists take the peer for the client: behind an ingress all users are one"
            );
            let cure = "if there is one, name it: `client: { trusted: [10.0.0.0/8] }`";
            found.note("client-is-the-peer", &["listeners", name], message, cure);
        }
    }
}

/// Snowflakes of instances that cannot be told apart.
fn nodes(config: &Config, found: &mut Found<'_>) {
    let mints = |policy: &Policy| {
        policy.idempotency.as_ref().is_some_and(|idempotency| idempotency.key.mint == Mint::Snowflake)
    };
    let is_handed_out = matches!(config.ledger.store, Store::Postgres(_));
    if config.ledger.node.is_none()
        && !is_handed_out
        && let Some(route) = config.routes.iter().find(|route| mints(&route.policy))
    {
        let message = format!(
            "route `{}` mints snowflakes without `ledger.node`: two instances in a thousand draw the same node, and may mint the \
             same key",
            route.name
        );
        let path = ["policies", &route.policy.name, "idempotency", "key", "mint"];
        found.warn("snowflake-without-node", &path, message, "number the instances, or use uuidv7");
    }
}

/// What replicas on one ledger rest on and cannot see.
fn replicas(config: &Config, found: &mut Found<'_>) {
    let Store::Postgres(store) = &config.ledger.store else { return };
    for policy in
        config.policies.iter().filter(|policy| config.routes.iter().any(|route| route.policy.name == policy.name))
    {
        let Some(status) = policy.idempotency.as_ref().and_then(|idempotency| idempotency.status.as_ref()) else {
            continue;
        };
        let name = &*policy.name;
        let at = ["policies", name, "idempotency", "status"];
        if !status.shared {
            let message = format!(
                "policy `{name}`: replicas share the ledger, and each asks its own instance of the service: one that answers from \
                 data of its own, or from a copy that is behind, denies writes of the others, and frees their keys"
            );
            let cure = "if every instance answers from the primary of their data, say so: `shared: true`";
            found.warn("status-of-one-instance", &at, message, cure);
        }
        let least = store.ttl.saturating_add(policy.timeout.attempt.unwrap_or(policy.timeout.total));
        if status.believes_absence_late() && status.settle_after < least {
            let message = format!(
                "policy `{name}`: `status.settle_after` ({}) is shorter than `ledger.lease.ttl` ({}) and an attempt together: a \
                 replica that stood still may send what `not_found` has already been believed about",
                human(status.settle_after),
                human(store.ttl)
            );
            found.warn("settle-within-lease", &at, message, format!("wait at least {}", human(least)));
        }
    }
}

fn unused(config: &Config, found: &mut Found<'_>) {
    for policy in &config.policies {
        if !config.routes.iter().any(|route| route.policy.name == policy.name) {
            let message = format!("policy `{}`: no route uses it", policy.name);
            found.warn("unused", &["policies", &policy.name], message, "name it in a route, or remove it");
        }
    }
    let stands_in = |policy: &Policy, name: &str| matches!(&policy.fallback, Some(Fallback { to: To::Upstream(upstream), .. }) if &**upstream == name);
    for upstream in &config.upstreams {
        let is_used = |route: &Route| route.upstream.name == upstream.name || stands_in(&route.policy, &upstream.name);
        if !config.routes.iter().any(|route| is_used(route)) {
            let message = format!("upstream `{}`: no route uses it", upstream.name);
            found.warn("unused", &["upstreams", &upstream.name], message, "name it in a route, or remove it");
        }
    }
}

/// Requests that may outlive the drain.
fn drain(config: &Config, found: &mut Found<'_>) {
    let longest = config.routes.iter().map(|route| route.policy.timeout.total).max().unwrap_or(Duration::ZERO);
    if config.drain.timeout < longest {
        let message = format!(
            "`drain.timeout` ({}) is shorter than the longest `timeout.total` ({}): requests in flight may be cut off at exit",
            human(config.drain.timeout),
            human(longest)
        );
        found.warn("drain-too-short", &["drain", "timeout"], message, format!("make it at least {}", human(longest)));
    }
}
