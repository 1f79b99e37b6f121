//! `GET /routes`: what is served, how that went in the last minute, and what became of requests in the last five.

use std::sync::Arc;

use http::Method;
use mainstay_policies::circuit_breaker::State;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{operators::OperatorRequest, traffic};
use crate::{
    api::reply::Reply,
    config::{
        check::{RouteBounds, bounds},
        model,
    },
    runtime::route::Route,
};

/// `GET /routes`
pub(super) fn routes(asked: &OperatorRequest<'_>) -> Reply {
    let snapshot = asked.cx.runtime.snapshot.load();
    let now = Instant::now();
    let window = asked.cx.runtime.resources.metrics.last_minute(now).window;
    let routes: Vec<Value> = snapshot
        .config
        .routes
        .iter()
        .zip(&snapshot.routes)
        .zip(bounds(&snapshot.config))
        .map(|((params, route), worst)| {
            let mut document = of_params(params);
            document["worst_case"] = of_bounds(&worst);
            document["in_flight"] = route.metrics.in_flight().into();
            document["breaker"] = breaker(route, now).into();
            document["five_minutes"] = traffic::of_stages(&route.metrics.five_minutes());
            // Null throughout where it is not known.
            let counts = route.metrics.last_minute();
            traffic::put(&mut document, counts.as_ref(), window);
            document
        })
        .collect();
    let five = asked.cx.runtime.resources.metrics.five_minutes(now);
    let (window_ms, five_minutes_ms) = (window.as_millis() as u64, five.as_millis() as u64);
    Reply::json(&json!({ "window_ms": window_ms, "five_minutes_ms": five_minutes_ms, "routes": routes })).no_store()
}

fn of_params(route: &Arc<model::Route>) -> Value {
    let idempotency = route.policy.idempotency.as_ref();
    json!({
        "name": &*route.name,
        "path": route.matches.path.text.clone(),
        "methods": route.matches.methods.iter().map(Method::as_str).collect::<Vec<_>>(),
        "host": route.matches.host,
        "upstream": &*route.upstream.name,
        "policy": &*route.policy.name,
        "protects_writes": idempotency.is_some(),
        "asks_the_service": idempotency.is_some_and(|idempotency| idempotency.status.is_some()),
    })
}

/// As `mainstay check` prints it.
fn of_bounds(worst: &RouteBounds) -> Value {
    json!({
        "latency_ms": worst.latency.as_millis() as u64,
        "latency_because": worst.latency_because,
        "attempts": worst.attempts,
        "attempts_because": worst.attempts_because,
    })
}

/// The worst state of the breakers that stand before the route.
fn breaker(route: &Route, now: Instant) -> Option<&'static str> {
    let states = route.breakers.all().into_iter().map(|(_, breaker)| breaker.snapshot(now).state);
    states.min_by_key(|state| trouble(*state)).map(State::label)
}

/// The worst is the first.
const fn trouble(state: State) -> u8 {
    match state {
        State::Open => 0,
        State::ForcedOpen => 1,
        State::HalfOpen => 2,
        State::ForcedClosed => 3,
        State::Disabled => 4,
        State::Closed => 5,
    }
}
