//! What the client of a keyed write is told: the service's answer, its replay, or why there is none.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use mainstay_policies::{
    idempotency::{Answer, AnswerKind, Refusal},
    operation::{Operation, OperationId, State, StoredResponse},
    problem::Problem,
};
use tokio::time::Instant;

use crate::{
    api::document,
    operation::write::Executed,
    request::{heads::name_attempts, routed::Routed},
    respond::{self, failure::Failure},
    wire::{body::ProxyBody, forward},
};

const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

pub(super) fn refuse(mut routed: Box<Routed>, refusal: Refusal) -> Response<ProxyBody> {
    routed.outbound.route.metrics.idempotency_refused(refusal.problem);
    if refusal.problem == Problem::OutcomeUnknown {
        routed.exchange.trace().event("outcome_unknown", Instant::now());
    }
    routed.refuse(Failure::Refused(refusal))
}

/// The answer to the first request.
pub(super) fn respond_executed(mut routed: Box<Routed>, executed: Executed) -> Response<ProxyBody> {
    let Executed { outcome, attempts, operation, state, standing } = executed;
    routed.exchange.standing = Some(standing);
    routed.exchange.attempts = attempts;
    routed.exchange.operation = Some((operation, state));
    routed.exchange.teach_limit(outcome.as_ref().map(http::Response::status));
    let prefix = routed.snapshot.config.control.path.clone();
    let mut response = match outcome {
        Ok(response) => {
            let mut response = response;
            let (version, status) = (response.version(), response.status());
            forward::response(response.headers_mut(), version, status);
            *response.version_mut() = http::Version::HTTP_11;
            match response.body() {
                ProxyBody::Stream(_) => routed.exchange.stream(response, None),
                ProxyBody::Empty | ProxyBody::Full(_) => routed.exchange.answer(response),
            }
        }
        Err(failure) => {
            let now = Instant::now();
            match failure {
                Failure::CircuitOpen { .. } => routed.exchange.trace().event("breaker_open", now),
                Failure::OutcomeUnknown { .. } => routed.exchange.trace().event("outcome_unknown", now),
                _ => {}
            }
            routed.refuse(failure)
        }
    };
    respond::locate(response.headers_mut(), &prefix, operation);
    name_attempts(response.headers_mut(), attempts);
    response
}

/// The answer to a repeat.
pub(super) fn respond_repeat(mut routed: Box<Routed>, answer: Answer) -> Response<ProxyBody> {
    let Answer { operation, kind, preference_applied } = answer;
    routed.exchange.operation = Some((operation.id, operation.state));
    let prefix = routed.snapshot.config.control.path.clone();
    let grpc = routed.exchange.grpc.filter(|_| operation.state == State::Succeeded);
    let mut response = match (kind, grpc) {
        // What stands for an answer that nobody has is a document, which no gRPC client can read.
        (AnswerKind::Resolved(_) | AnswerKind::Document | AnswerKind::SeeOther, Some(dialect)) => {
            routed.exchange.answer(respond::grpc::happened(dialect))
        }
        (AnswerKind::Refused(refusal), _) => refuse(routed, refusal),
        (AnswerKind::Replay(stored), _) => replay(routed, &stored),
        (AnswerKind::Resolved(resolved), _) => {
            let mut response = Response::new(ProxyBody::from(Bytes::from(resolved.body)));
            *response.status_mut() = resolved.status;
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            routed.exchange.answer(response)
        }
        (AnswerKind::Document | AnswerKind::Freed, _) => show(routed, &prefix, &operation),
        (AnswerKind::SeeOther, _) => see_other(routed, &prefix, operation.id),
    };
    respond::locate(response.headers_mut(), &prefix, operation.id);
    if let Some(waited) = preference_applied
        && let Ok(value) = HeaderValue::from_str(&format!("wait={}", waited.as_secs()))
    {
        response.headers_mut().insert(PREFERENCE_APPLIED, value);
    }
    response
}

fn replay(mut routed: Box<Routed>, stored: &StoredResponse) -> Response<ProxyBody> {
    routed.outbound.route.metrics.replayed();
    routed.exchange.trace().event("replayed", Instant::now());
    routed.exchange.replayed = true;
    let mut response = Response::new(ProxyBody::from(stored.body.clone()));
    *response.status_mut() = stored.status;
    *response.headers_mut() = stored.headers.clone();
    response.headers_mut().insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    routed.exchange.answer(response)
}

/// A write that was done, and of which there is nothing to show but its record.
fn show(routed: Box<Routed>, prefix: &str, operation: &Operation) -> Response<ProxyBody> {
    let body = Bytes::from(document::of_operation(operation).to_string());
    let mut response = Response::new(ProxyBody::from(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(location) = HeaderValue::from_str(&format!("{prefix}/operations/{}", operation.id)) {
        headers.insert(header::CONTENT_LOCATION, location);
    }
    routed.exchange.answer(response)
}

fn see_other(routed: Box<Routed>, prefix: &str, operation: OperationId) -> Response<ProxyBody> {
    let mut response = Response::new(ProxyBody::Empty);
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(location) = HeaderValue::from_str(&format!("{prefix}/operations/{operation}")) {
        headers.insert(header::LOCATION, location);
    }
    routed.exchange.answer(response)
}
