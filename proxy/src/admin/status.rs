//! `GET /status`: how it goes, on one screen.

use mainstay_policies::operation::ledger::{Filter, Order};
use serde_json::{Value, json};

use tokio::time::Instant;

use super::{breakers, operators::OperatorRequest, traffic};
use crate::{
    api::{Fault, document::time, query::Params, reply::Reply},
    config::{
        self,
        model::{Config, Direction, Store},
    },
    runtime::{Runtime, snapshot::Snapshot, told},
    telemetry::{build, metrics::recent::LastMinute},
};

/// `GET /status`
pub(super) async fn status(asked: &OperatorRequest<'_>) -> Result<Reply, Fault> {
    let params = Params::read(asked.parts.uri.query(), &["series"])?;
    let with_series = match params.of("series") {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Fault::bad("The parameter series is true or false.")),
    };
    let (cx, resources) = (asked.cx, &asked.cx.runtime.resources);
    let snapshot = cx.runtime.snapshot.load_full();
    let reasons = cx.probes.readiness.reasons();
    let now = resources.clock.now();
    let open: Vec<Value> = snapshot
        .breakers()
        .iter()
        .map(|named| breakers::of_breaker(cx, named))
        .filter(|breaker| breaker["state"] != "closed" && breaker["state"] != "disabled")
        .collect();
    let minute = resources.metrics.last_minute(Instant::now());
    let mut document = json!({
        "name": name(),
        "caller": asked.caller.name.as_deref(),
        "read_only": asked.caller.read_only,
        "version": build::VERSION,
        "commit": build::COMMIT,
        "now": time(now),
        "started_at": time(cx.started_at),
        "uptime_ms": now.saturating_sub(cx.started_at),
        "ready": reasons.is_empty(),
        "not_ready_because": reasons,
        "draining": cx.runtime.is_draining(Direction::Inbound),
        "config": {
            "file": cx.runtime.served.known().file.as_ref().map(|file| file.display().to_string()),
            "hash": config::hash(&snapshot.config),
            "loaded_at": time(resources.metrics.config_served_since()),
            "last_reload_succeeded": resources.metrics.config_last_reload_succeeded(),
            "findings": resources.metrics.config_found().into_iter().collect::<serde_json::Map<_, _>>(),
        },
        "traffic": traffic::of_all(&minute.counts, minute.window),
        "writes": writes(asked, &minute).await?,
        "breakers": open,
        "upstreams": unreachable(&cx.runtime, &snapshot),
        "ledger": ledger(asked, &snapshot.config.ledger.store, &minute),
        "traces": traces(&cx.runtime, &snapshot.config),
    });
    if with_series {
        document["series"] = traffic::of_series(&resources.metrics.series());
    }
    Ok(Reply::json(&document).no_store())
}

/// Upstreams that have an endpoint to which the last attempt found no connection.
fn unreachable(runtime: &Runtime, snapshot: &Snapshot) -> Vec<Value> {
    let of_upstream = |params: &std::sync::Arc<config::model::Upstream>| {
        let upstream = &snapshot.upstreams[&params.name];
        let live = upstream.live();
        let total = live.len();
        let endpoints: Vec<Value> = live
            .into_iter()
            .filter_map(|at| {
                let reached = upstream.reached(at);
                let lately = runtime.recent_failures.of_the_minute(upstream, at, reached.failures);
                let (cause, address) = (reached.lost?, upstream.address(at));
                Some(json!({ "address": address, "cause": cause, "failures_last_minute": lately }))
            })
            .collect();
        let up = total - endpoints.len();
        (up < total).then(|| json!({ "name": &*params.name, "up": up, "total": total, "endpoints": endpoints }))
    };
    snapshot.config.upstreams.iter().filter_map(of_upstream).collect()
}

/// Where spans go, and how many did not get there; nothing if they go nowhere.
fn traces(runtime: &Runtime, config: &Config) -> Option<Value> {
    let otlp = config.telemetry.otlp.as_ref()?;
    let spans = runtime.resources.metrics.spans();
    let (exported, dropped) = (spans.total_exported(), spans.total_dropped());
    let endpoint = config.environment.hide(&endpoint_without_user(&otlp.endpoint)).into_owned();
    Some(json!({ "endpoint": endpoint, "exported": exported, "dropped": dropped }))
}

/// A URL may name a user and a password, which are nobody's business.
fn endpoint_without_user(endpoint: &http::Uri) -> String {
    let authority = endpoint.authority().map_or("", http::uri::Authority::as_str);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{}://{host}{}", endpoint.scheme_str().unwrap_or("http"), endpoint.path().trim_end_matches('/'))
}

/// Writes that are open, and those that need a person.
async fn writes(asked: &OperatorRequest<'_>, minute: &LastMinute) -> Result<Value, Fault> {
    let ledger = &asked.cx.runtime.resources.ledger;
    let [mut pending, mut unknown] = ledger.owned();
    let flagged = ledger.flagged().await.map_err(|_| Fault::ledger())?;
    if let Some(census) = ledger.census() {
        (pending, unknown) = (census.pending, census.unknown);
    }
    let oldest = ledger.oldest_unknown().await.map_err(|_| Fault::ledger())?;
    let conflict =
        Filter { attention: Some(true), reason: Some("conflict".into()), order: Order::Oldest, ..Filter::default() };
    // Where there is none, looking for one would read all that need a person.
    let contradicted = match flagged[1] {
        0 => Vec::new(),
        _ => ledger.list(conflict, None, 1).await.map_err(|_| Fault::ledger())?,
    };
    Ok(json!({
        "pending": pending,
        "in_doubt": unknown,
        "oldest_in_doubt_at": oldest.map(time),
        "attention": flagged.iter().sum::<u64>(),
        "contradicted": flagged[1],
        "oldest_contradicted": contradicted.first().map(|operation| operation.id.to_string()),
        "settled_by_asking_today": minute.settled_by_asking_today,
    }))
}

fn ledger(asked: &OperatorRequest<'_>, store: &Store, minute: &LastMinute) -> Value {
    let ledger = &asked.cx.runtime.resources.ledger;
    let quarantined_until = ledger.quarantined_until();
    let store = match store {
        Store::Memory => "memory",
        Store::Disk { .. } => "disk",
        Store::Postgres(_) => "postgres",
    };
    let load = ledger.load();
    json!({
        "store": store,
        "health": told::health(ledger.as_ref()),
        "quarantined_until": quarantined_until.map(time),
        "operations": load.and_then(|load| load.operations),
        "bytes": load.map(|load| load.bytes),
        "max_bytes": load.map(|load| load.max_bytes).filter(|max| *max > 0),
        "queued": load.map(|load| load.queued),
        "replicas": ledger.replicas(),
        "commit_p99_ms": minute.commit_p99_ms.map(traffic::rounded),
    })
}

/// Which proxy it is: the pod's name, in a pod.
pub(super) fn name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}
