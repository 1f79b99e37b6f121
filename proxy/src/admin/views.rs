//! How things stand: limits, metrics.

use mainstay_policies::rate_limit::{Key, KeyUsage, Limiter, TopKeys};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::operators::OperatorRequest;
use crate::{api::reply::Reply, runtime::route::Route};

/// Callers that a limit by caller names: those who have used most of it.
const TOP_KEYS: usize = 5;

/// `GET /limits`
pub(super) fn limits(asked: &OperatorRequest<'_>) -> Reply {
    let snapshot = asked.cx.runtime.snapshot.load();
    let limits: Vec<Value> = snapshot.routes.iter().filter_map(|route| limits_of(route)).collect();
    let mut control: Vec<(&str, Value)> =
        snapshot.control_limits.iter().map(|(listener, limiter)| (&**listener, rate(limiter))).collect();
    control.sort_by_key(|(listener, _)| *listener);
    let control: Vec<Value> =
        control.into_iter().map(|(listener, rate)| json!({ "listener": listener, "rate_limit": rate })).collect();
    Reply::json(&json!({ "routes": limits, "control": control })).no_store()
}

fn limits_of(route: &Route) -> Option<Value> {
    if route.limiter.is_none() && route.concurrency.is_none() {
        return None;
    }
    let now = Instant::now();
    let concurrency = route.concurrency.as_ref().map(|limit| {
        json!({
            "max_concurrent": limit.params().max_concurrent,
            "limit": limit.limit(),
            "in_flight": limit.in_flight(),
            "queued": limit.queued(),
            "max_queue": limit.params().max_queue,
            "capacity": limit.shedding(now).and_then(|shedding| shedding.capacity),
            "shedding": limit.shedding(now).map(|shedding| shedding.is_armed),
        })
    });
    Some(json!({
        "route": &*route.params.name,
        "policy": &*route.params.policy.name,
        "rate_limit": route.limiter.as_deref().map(rate),
        "concurrency_limit": concurrency,
    }))
}

fn rate(limiter: &Limiter) -> Value {
    let params = limiter.params();
    let now = Instant::now();
    // A limit per caller has no state of its own to show, and those who have used most of it.
    let usage = (params.key == Key::Route).then(|| limiter.usage(now));
    let top = (params.key != Key::Route).then(|| limiter.top(now, TOP_KEYS));
    let is_complete = top.as_ref().map(|top| top.is_complete);
    json!({
        "requests": params.requests,
        "unit_ms": u64::try_from(params.unit.as_millis()).unwrap_or(u64::MAX),
        "burst": params.burst,
        "key": match &params.key {
            Key::Route => "route",
            Key::Principal => "principal",
            Key::ClientIp => "client_ip",
            Key::Header(_) => "header",
        },
        "keys": limiter.keys(),
        "share": limiter.share(),
        "top": top.map(|top| of_top(&top)),
        "top_is_complete": is_complete,
        "remaining": usage.map(|usage| usage.remaining),
        "reset_ms": usage.map(|usage| u64::try_from(usage.reset.as_millis()).unwrap_or(u64::MAX)),
    })
}

/// Callers by the hash of who they are: what they are is not kept.
fn of_top(top: &TopKeys) -> Vec<Value> {
    let of_key = |key: &KeyUsage| {
        json!({
            "hash": format!("{:016x}", key.key),
            "limit": key.usage.limit,
            "remaining": key.usage.remaining,
            "reset_ms": u64::try_from(key.usage.reset.as_millis()).unwrap_or(u64::MAX),
        })
    };
    top.keys.iter().map(of_key).collect()
}

/// `GET /metrics`: as the probes listener has them.
pub(super) fn metrics(asked: &OperatorRequest<'_>) -> Reply {
    let metrics = &asked.cx.runtime.resources.metrics;
    Reply::text("text/plain; version=0.0.4; charset=utf-8", metrics.encode()).no_store()
}

/// All of this, described.
pub(crate) const OPENAPI: &str = include_str!("../../../docs/reference/openapi-admin.json");

/// `GET /openapi.json`
pub(super) fn openapi() -> Reply {
    Reply::text("application/json", OPENAPI)
}
