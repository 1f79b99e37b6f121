//! A request with its route, and how it is refused.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Response, request::Parts};
use mainstay_policies::{
    evidence::{Cause, Sent},
    grpc::is_grpc,
};
use tokio::time::Instant;

use super::{exchange::Exchange, fallback};
use crate::{
    attempts::attempt::{Outbound, is_of_a_drain},
    config::model,
    listener::{ClientExtras, ClientIncoming},
    respond::{self, ProblemContext, failure::Failure},
    runtime::snapshot::Snapshot,
    wire::{body::ProxyBody, forward::Hints},
};

/// A request that has been given a route, on its way through the rest of the stack.
pub(crate) struct Routed {
    pub(crate) exchange: Exchange,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) listener: Arc<model::Listener>,
    pub(crate) outbound: Outbound,
    pub(crate) parts: Box<Parts>,
    pub(crate) hints: Hints,
    /// `None` once it has been read.
    pub(crate) body: Option<ClientIncoming>,
    /// What was read of it, where it is to be forwarded all the same.
    pub(crate) read: Bytes,
    /// What the connection can do besides carrying the answer.
    pub(crate) extras: ClientExtras,
    pub(crate) principal: Option<Bytes>,
}

impl Routed {
    /// Answers with the route's fallback, or a problem document. A keyed write that did not happen is never answered with what
    /// reads as a success.
    pub(crate) fn refuse(mut self, failure: Failure) -> Response<ProxyBody> {
        let route = self.outbound.route.clone();
        if let Some(reason) = fallback::of_failure(&route, &self.exchange.method, &failure)
            && let Some(response) = fallback::fixed(&route, reason)
            && (self.exchange.standing.is_none() || response.status().as_u16() >= 400)
            // A gRPC client would take any other answer for a failure of the way to the service.
            && (self.exchange.grpc.is_none() || is_grpc(response.headers()))
        {
            self.exchange.tell_fallback(reason.label());
            self.exchange.trace().event("fallback", Instant::now());
            return self.exchange.answer(response);
        }
        refuse(self.exchange, &self.snapshot, failure)
    }
}

/// What a failure is when this process ends: nothing was sent because the service has gone already, or the drain's time was
/// over first. What cannot have changed anything may be sent elsewhere at once.
fn of_a_drain(method: &Method, failure: Failure) -> Failure {
    match failure {
        Failure::Attempt(error) if is_of_a_drain(&error) => Failure::Draining,
        Failure::Attempt(error) if error.cause == Cause::Drain && (error.sent == Sent::No || method.is_safe()) => {
            Failure::Draining
        }
        failure => failure,
    }
}

/// Answers with a problem document.
pub(crate) fn refuse(mut exchange: Exchange, snapshot: &Snapshot, failure: Failure) -> Response<ProxyBody> {
    let failure = if exchange.is_draining() { of_a_drain(&exchange.method, failure) } else { failure };
    let trace_id = exchange.trace().trace_id().to_string();
    let operation = exchange.operation.map(|(id, _)| id);
    let grpc = exchange.grpc;
    let voice = ProblemContext { prefix: &snapshot.config.control.links, trace_id: Some(&trace_id), operation, grpc };
    let (response, problem) = respond::failure(&voice, failure);
    exchange.problem = Some(problem);
    exchange.answer(response)
}
