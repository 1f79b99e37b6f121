//! `GET /upstreams`: where calls go, how each endpoint does, and how the service that is asked about writes does.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    operators::{OperatorRequest, Operators},
    traffic,
};
use crate::{
    api::{document::time, reply::Reply},
    config::model,
    runtime::{named::NamedBreaker, snapshot::Snapshot},
    telemetry::metrics::endpoint::Wrong,
};

/// `GET /upstreams`
pub(super) fn upstreams(asked: &OperatorRequest<'_>) -> Reply {
    let snapshot = asked.cx.runtime.snapshot.load();
    let now = Instant::now();
    let view = View { cx: asked.cx, snapshot: &snapshot, breakers: &snapshot.breakers(), now };
    let window = asked.cx.runtime.resources.metrics.last_minute(now).window;
    let upstreams: Vec<Value> = snapshot
        .config
        .upstreams
        .iter()
        .map(|params| {
            let live = snapshot.upstreams[&params.name].live().into_iter();
            json!({
                "name": &*params.name,
                "honours_key": params.honours_key,
                "status_endpoint": view.status_endpoint(params),
                "endpoints": live.map(|at| view.endpoint(params, at, window)).collect::<Vec<_>>(),
            })
        })
        .collect();
    Reply::json(&json!({ "window_ms": window.as_millis() as u64, "upstreams": upstreams })).no_store()
}

/// One look at all of them.
struct View<'a> {
    cx: &'a Operators,
    snapshot: &'a Snapshot,
    breakers: &'a [NamedBreaker<'a>],
    now: Instant,
}

impl View<'_> {
    fn endpoint(&self, params: &Arc<model::Upstream>, at: usize, window: std::time::Duration) -> Value {
        let upstream = &self.snapshot.upstreams[&params.name];
        let guards = self
            .breakers
            .iter()
            .filter(|named| *named.upstream == *params.name && named.endpoint.is_none_or(|endpoint| endpoint == at));
        let guards: Vec<Value> = guards
            .map(|named| json!({ "name": named.name, "state": named.breaker.snapshot(self.now).state.label() }))
            .collect();
        let reached = upstream.reached(at);
        let failures = self.cx.runtime.recent_failures.of_the_minute(upstream, at, reached.failures);
        let unwell = upstream.unwell(at);
        let mut document = json!({
            "address": upstream.address(at),
            "in_flight": upstream.in_flight(at),
            "healthy": params.health.as_ref().map(|_| unwell.is_none()),
            "unhealthy_because": unwell,
            "unreachable_because": reached.lost,
            "failures_last_minute": failures,
            "last_error": upstream.last_error(at).map(|last| json!({
                "cause": match last.what {
                    Wrong::Failed(word) => word.to_owned(),
                    Wrong::Answered(status) => format!("http_{}", status.as_u16()),
                },
                "at": self.wall(last.at),
            })),
            "breakers": guards,
        });
        traffic::put_attempts(&mut document, upstream.last_minute(at).as_ref(), window);
        document
    }

    /// Of an upstream that is asked what became of writes: how many wait to be asked about, and what it said last.
    fn status_endpoint(&self, params: &Arc<model::Upstream>) -> Option<Value> {
        let asks = |route: &Arc<model::Route>| {
            let idempotency = route.policy.idempotency.as_ref();
            route.upstream.name == params.name && idempotency.is_some_and(|it| it.status.is_some())
        };
        if !self.snapshot.config.routes.iter().any(asks) {
            return None;
        }
        let (queue, heard) = self.cx.runtime.resources.metrics.resolver().of(&params.name);
        let last = heard.map(|(result, at)| json!({ "result": result, "at": self.wall(at) }));
        Some(json!({ "queue": queue, "last_answer": last }))
    }

    /// The wall clock's time of a moment.
    fn wall(&self, at: Instant) -> String {
        let ago = self.now.saturating_duration_since(at).as_millis() as u64;
        time(self.cx.runtime.resources.clock.now().saturating_sub(ago))
    }
}
