//! A keyed write is dispatched again, without its caller: the kept request, byte for byte, by the rules of its route.
//!
//! One attempt: what it does not settle is due again later. It goes out only after it was counted durably, and never while
//! another attempt of the operation is in flight.

use std::sync::Arc;

use bytes::Bytes;
use http::Uri;
use mainstay_policies::{
    grpc::is_grpc,
    idempotency::Protection,
    operation::{Operation, StoredRequest, ledger::LedgerError},
};
use tokio::{sync::oneshot, time::Instant};

use super::write::{Executed, Execution};
use crate::{
    attempts::{
        attempt::{GrpcCall, Nth, Outbound},
        head::Head,
        run::Tally,
    },
    respond::failure::Failure,
    runtime::{Runtime, route::Route},
};

/// Why nothing was sent. Nothing was counted, either.
#[derive(Debug)]
pub(crate) enum NotSent {
    /// An attempt is in flight.
    InFlight,
    /// The circuit breaker, for example.
    Refused(Failure),
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
        let now = Instant::now();
        let mut trace = runtime.tracing.start_about(operation.origin, now);
        trace.name("redispatch");
        trace.operation(operation.id, operation.state);
        let nth = Nth { number: operation.attempts.saturating_add(1), avoid: None, reason: Some("redispatch") };
        let claim = protection.take_up(operation).ok_or(NotSent::InFlight)?;
        let outbound = Outbound {
            deadline: now + route.params.policy.timeout.total,
            upload: None,
            trace: trace.handle().clone(),
            worker: runtime.resources.background(),
            grpc: is_grpc(&request.headers).then_some(GrpcCall { deadline: None }),
            interim: None,
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
        };
        execution.claim.redispatched().await.map_err(NotSent::Ledger)?;
        execution.attempt(attempt, nth, &mut |_, _, _, _| None).await;
        trace.finish(Instant::now());
        Ok(())
    }
}
