//! Fields that an upstream's requests are given or lose, against who is served by its routes and what their policies rely on.

use std::sync::Arc;

use mainstay_policies::fallback::{Fallback, To};

use super::{
    decode::Cx,
    model::{Listener, Route, Upstream},
    node::Node,
};

/// Reports routes on which credentials of ours would serve anybody, and keys that would be lost on the way.
pub(super) fn check(
    cx: &mut Cx,
    root: &Node,
    (listeners, upstreams): (&[Arc<Listener>], &[Arc<Upstream>]),
    routes: &[Arc<Route>],
) {
    for (number, route) in routes.iter().enumerate() {
        for upstream in led_to(route, upstreams) {
            anybody(cx, root, listeners, (number, route), upstream);
            lost_keys(cx, root, route, upstream);
        }
    }
}

/// Where requests of a route may go.
fn led_to<'a>(route: &'a Route, upstreams: &'a [Arc<Upstream>]) -> impl Iterator<Item = &'a Upstream> {
    let other = match &route.policy.fallback {
        Some(Fallback { to: To::Upstream(name), .. }) => upstreams.iter().find(|it| it.name == *name),
        _ => None,
    };
    std::iter::once(&*route.upstream).chain(other.map(|other| &**other))
}

/// Whoever reaches an inbound listener would act with credentials that are not its own.
fn anybody(cx: &mut Cx, root: &Node, listeners: &[Arc<Listener>], (number, route): (usize, &Route), to: &Upstream) {
    let is_named = route.policy.idempotency.as_ref().is_some_and(|idempotency| idempotency.principal_required);
    if to.set.is_empty() || is_named {
        return;
    }
    let inbound = listeners.iter().find(|listener| !listener.is_outbound() && route.matches.belongs_to(listener));
    let Some(listener) = inbound else { return };
    let (at, _) = root.locate(&["routes", &number.to_string()]);
    let message = format!(
        "route `{}` serves inbound listener `{}`, and its requests get what upstream `{}` sets in `headers.set`: whoever reaches \
         it would act with those credentials",
        route.name, listener.name, to.name
    );
    let help = "let an outbound listener serve it (`match: { listener: … }`), or serve known callers only: \
                `idempotency: { principal: required }` in its policy";
    cx.error::<()>(at, message, help);
}

/// A key that the upstream never sees protects nothing there.
fn lost_keys(cx: &mut Cx, root: &Node, route: &Route, to: &Upstream) {
    let Some(idempotency) = &route.policy.idempotency else { return };
    let key = &idempotency.key.header;
    if to.remove.contains(key) || to.set.iter().any(|(name, _)| name == key) {
        let (at, _) = root.locate(&["upstreams", &to.name, "headers"]);
        let message =
            format!("`headers` of upstream `{}` changes `{key}`, the key of policy `{}`", to.name, route.policy.name);
        cx.error::<()>(at, message, "leave it out: the upstream must see the key that is relied on");
    }
}
