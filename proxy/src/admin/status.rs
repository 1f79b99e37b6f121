//! `GET /status`: how it goes, on one screen; `GET /routes`: what is served.

use mainstay_policies::operation::ledger::{Filter, Health, Order};
use serde_json::{Value, json};

use super::{breakers, operators::OperatorRequest};
use crate::{
    api::{Fault, document::time, reply::Reply},
    config::{
        self,
        model::{Direction, Store},
    },
};

/// The commit that a release is built from.
const COMMIT: Option<&str> = option_env!("MAINSTAY_COMMIT");

/// `GET /status`
pub(super) async fn status(asked: &OperatorRequest<'_>) -> Result<Reply, Fault> {
    let (cx, resources) = (asked.cx, &asked.cx.runtime.resources);
    let snapshot = cx.runtime.snapshot.load_full();
    let reasons = cx.probes.readiness.reasons();
    let now = resources.clock.now();
    let open: Vec<Value> = snapshot
        .breakers()
        .iter()
        .map(breakers::of_breaker)
        .filter(|breaker| breaker["state"] != "closed" && breaker["state"] != "disabled")
        .collect();
    Ok(Reply::json(&json!({
        "name": name(),
        "caller": asked.caller.name.as_deref(),
        "read_only": asked.caller.read_only,
        "version": env!("CARGO_PKG_VERSION"),
        "commit": COMMIT,
        "now": time(now),
        "started_at": time(cx.started_at),
        "uptime_ms": now.saturating_sub(cx.started_at),
        "ready": reasons.is_empty(),
        "not_ready_because": reasons,
        "draining": cx.runtime.is_draining(Direction::Inbound),
        "config": {
            "hash": config::hash(&snapshot.config),
            "loaded_at": time(resources.metrics.config_served_since()),
            "last_reload_succeeded": resources.metrics.config_last_reload_succeeded(),
            "findings": resources.metrics.config_found().into_iter().collect::<serde_json::Map<_, _>>(),
        },
        "writes": writes(asked).await?,
        "breakers": open,
        "ledger": ledger(asked, &snapshot.config.ledger.store),
    }))
    .no_store())
}

/// Writes that are open, and those that need a person.
async fn writes(asked: &OperatorRequest<'_>) -> Result<Value, Fault> {
    let ledger = &asked.cx.runtime.resources.ledger;
    let [mut pending, mut unknown] = ledger.owned();
    let flagged = ledger.flagged().await.map_err(|_| Fault::ledger())?;
    if let Some(census) = ledger.census() {
        (pending, unknown) = (census.pending, census.unknown);
    }
    let oldest = ledger.oldest_unknown().await.map_err(|_| Fault::ledger())?;
    let conflict =
        Filter { attention: Some(true), reason: Some("conflict".into()), order: Order::Oldest, ..Filter::default() };
    let contradicted = ledger.list(conflict, None, 1).await.map_err(|_| Fault::ledger())?;
    Ok(json!({
        "pending": pending,
        "in_doubt": unknown,
        "oldest_in_doubt_at": oldest.map(time),
        "attention": flagged.iter().sum::<u64>(),
        "oldest_contradicted": contradicted.first().map(|operation| operation.id.to_string()),
    }))
}

fn ledger(asked: &OperatorRequest<'_>, store: &Store) -> Value {
    let ledger = &asked.cx.runtime.resources.ledger;
    let health = match ledger.health() {
        Health::Writable => "writable",
        Health::Full => "full",
        Health::Failed => "failed",
        Health::Unreachable { .. } => "unreachable",
        Health::Lossy => "lossy",
    };
    let store = match store {
        Store::Memory => "memory",
        Store::Disk { .. } => "disk",
        Store::Postgres(_) => "postgres",
    };
    let load = ledger.load();
    json!({
        "store": store,
        "health": health,
        "operations": load.and_then(|load| load.operations),
        "bytes": load.map(|load| load.bytes),
        "max_bytes": load.map(|load| load.max_bytes).filter(|max| *max > 0),
        "queued": load.map(|load| load.queued),
        "replicas": ledger.replicas(),
    })
}

/// Which proxy it is: the pod's name, in a pod.
fn name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// `GET /routes`
pub(super) fn routes(asked: &OperatorRequest<'_>) -> Reply {
    let snapshot = asked.cx.runtime.snapshot.load();
    let of_route = |route: &std::sync::Arc<config::model::Route>| {
        let idempotency = route.policy.idempotency.as_ref();
        json!({
            "name": &*route.name,
            "path": route.matches.path.text.clone(),
            "methods": route.matches.methods.iter().map(http::Method::as_str).collect::<Vec<_>>(),
            "host": route.matches.host,
            "upstream": &*route.upstream.name,
            "policy": &*route.policy.name,
            "protects_writes": idempotency.is_some(),
            "asks_the_service": idempotency.is_some_and(|idempotency| idempotency.status.is_some()),
        })
    };
    let routes: Vec<Value> = snapshot.config.routes.iter().map(of_route).collect();
    Reply::json(&json!({ "routes": routes })).no_store()
}
