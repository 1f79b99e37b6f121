//! A keyed write is dispatched again, without its caller: the kept request, byte for byte, by the rules of its route.
//!
//! One attempt: what it does not settle is due again later. It goes out only after it was counted durably, and never while
//! another attempt of the operation is in flight.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::Uri;
use mainstay_policies::{
    grpc::is_grpc,
    idempotency::Protection,
    operation::{Operation, StoredRequest, ledger::LedgerError, step::after},
};
use tokio::{sync::oneshot, time::Instant};

use super::write::{Executed, Execution};
use crate::{
    attempts::{
        affinity,
        attempt::{GrpcCall, Nth, Outbound},
        head::Head,
        run::Tally,
    },
    config::model::{self, Config, Direction},
    respond::failure::Failure,
    runtime::{Runtime, resources::Resources, route::Route},
};

/// Why nothing was sent. Nothing was counted, either.
#[derive(Debug)]
pub(crate) enum NotSent {
    /// An attempt is in flight.
    InFlight,
    /// The circuit breaker, for example.
    Refused(Failure),
    /// Another process had it until lately, which may have been about to send it: not before so long.
    TooSoon(Duration),
    /// What is kept is no request.
    Unreadable,
    /// It was settled meanwhile, or the ledger is gone.
    Ledger(LedgerError),
}

/// A dispatch that is ready to go.
pub(crate) struct Redispatch {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) route: Arc<Route>,
    pub(crate) protection: Arc<Protection>,
    pub(crate) operation: Operation,
    pub(crate) request: Arc<StoredRequest>,
}

/// What is kept of a request.
pub(crate) fn stored(head: Head, body: Bytes) -> StoredRequest {
    StoredRequest { method: head.method, target: head.uri.to_string().into(), headers: head.headers, body }
}

impl Redispatch {
    /// Sends it, and waits for its end, late answers included. `told` learns of its end before that.
    pub(crate) async fn run(self, told: Option<oneshot::Sender<Executed>>) -> Result<(), NotSent> {
        let Self { runtime, route, protection, operation, request } = self;
        let uri: Uri = request.target.parse().map_err(|_| NotSent::Unreadable)?;
        let operation = own(&runtime, operation, route.params.policy.timeout.total).await?;
        let now = Instant::now();
        let mut trace = runtime.tracing.start_about(operation.origin, now);
        trace.name("redispatch");
        trace.operation(operation.id, operation.state);
        let listener = operation.provenance.listener.clone();
        let nth = Nth { number: operation.attempts.saturating_add(1), avoid: None, reason: Some("redispatch") };
        let affinity = affinity::of_write(&route.upstream, &operation, &request.headers);
        let claim = protection.take_up(operation).ok_or(NotSent::InFlight)?;
        let outbound = Outbound {
            deadline: now + route.params.policy.timeout.total,
            upload: None,
            trace: trace.handle().clone(),
            worker: runtime.resources.background(),
            grpc: is_grpc(&request.headers).then_some(GrpcCall { deadline: None }),
            interim: None,
            direction: direction(&runtime.snapshot.load().config, &listener, &route.params),
            affinity,
            route,
        };
        let head =
            Head { method: request.method.clone(), uri, headers: request.headers.clone(), hop: None, upgrade: None };
        let attempt = outbound.begin(nth, &head, now).map_err(NotSent::Refused)?;
        let mut execution = Execution {
            runtime,
            outbound,
            protection,
            claim,
            head,
            body: request.body.clone(),
            is_redispatch: true,
            given_up: None,
            last: Tally::default(),
            ended: Arc::default(),
            answer: told,
            held: None,
        };
        execution.claim.redispatched().await.map_err(NotSent::Ledger)?;
        execution.attempt(attempt, nth, &mut |_, _, _, _| None).await;
        trace.finish(Instant::now());
        Ok(())
    }
}

/// Which way the write went when its caller sent it, by the listener that took it; if that has gone, by those of its route.
fn direction(config: &Config, listener: &str, route: &model::Route) -> Direction {
    let taken_by = config.listeners.iter().find(|it| *it.name == *listener);
    let of_route = || config.listeners.iter().find(|it| route.matches.belongs_to(it));
    taken_by.or_else(of_route).map_or(Direction::Inbound, |listener| listener.direction)
}

/// The operation once it is this process's own, and nobody else can be sending it any more: whoever had it before may have passed
/// the last check just then, and an attempt lasts no longer than the route's `total`.
async fn own(runtime: &Runtime, operation: Operation, total: Duration) -> Result<Operation, NotSent> {
    let Resources { ledger, clock, .. } = &runtime.resources;
    let operation = if operation.owner == ledger.instance() {
        operation
    } else {
        ledger.take_over(operation).await.map_err(NotSent::Ledger)?
    };
    let taken_at = ledger.taken_over_at(operation.id);
    let wait = taken_at.map_or(0, |at| after(at, total).saturating_sub(clock.now()));
    if wait > 0 { Err(NotSent::TooSoon(Duration::from_millis(wait))) } else { Ok(operation) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_goes_the_way_that_it_went() {
        let text = "listeners: { in: { address: '127.0.0.1:1' }, out: { address: '127.0.0.1:2', direction: outbound } }
upstreams: { app: { endpoints: [http://127.0.0.1:9] } }
routes:
  - { match: { listener: out }, upstream: app }
  - { match: /**, upstream: app }
";
        let config = crate::config::parse("test.yaml", text).expect("it is right").config;
        let [out, inbound] = &config.routes[..] else { panic!("two routes") };
        for (listener, route, expected) in [
            ("out", out, Direction::Outbound),
            ("in", inbound, Direction::Inbound),
            // A listener that was renamed since: its route tells.
            ("gone", out, Direction::Outbound),
            ("gone", inbound, Direction::Inbound),
        ] {
            assert_eq!(direction(&config, listener, route), expected, "{listener} {}", route.name);
        }
    }
}
