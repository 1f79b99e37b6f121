//! What the client of a keyed write is told: the service's answer, its replay, or why there is none.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use mainstay_policies::{
    grpc::is_grpc,
    idempotency::{Answer, AnswerKind, Refusal},
    operation::{Operation, OperationId, Source, State, StoredResponse},
    problem::Problem,
};
use tokio::time::Instant;

use crate::{
    api::document,
    attempts::run::Tally,
    operation::write::Executed,
    request::{heads::name_attempts, routed::Routed},
    respond::{self, failure::Failure},
    wire::{body::ProxyBody, forward},
};

const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

pub(super) fn refuse(mut routed: Box<Routed>, refusal: Refusal) -> Response<ProxyBody> {
    routed.outbound.route.metrics.idempotency_refused(refusal.problem);
    if refusal.problem == Problem::LedgerUnavailable {
        let notices = &routed.exchange.session().runtime.notices;
        notices.not_recorded(&routed.outbound.route.params.name, &refusal.detail);
    }
    if refusal.problem == Problem::OutcomeUnknown {
        routed.exchange.trace().event("outcome_unknown", Instant::now());
    }
    routed.refuse(Failure::Refused(refusal))
}

/// The answer to the first request.
pub(super) fn respond_executed(mut routed: Box<Routed>, executed: Executed) -> Response<ProxyBody> {
    let Executed { outcome, attempts, last, operation, state, standing, ended } = executed;
    routed.exchange.standing = Some(standing);
    routed.exchange.write_ended = Some(ended);
    routed.exchange.tell_attempts(Tally { attempts, ..last }, &routed.outbound.route);
    routed.exchange.operation = Some((operation, state));
    routed.exchange.teach_limit(outcome.as_ref());
    let prefix = routed.snapshot.config.control.links.clone();
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
    let prefix = routed.snapshot.config.control.links.clone();
    let kind = if routed.exchange.grpc.is_some() { for_grpc(&operation, kind) } else { kind };
    let mut response = match kind {
        AnswerKind::Refused(refusal) => refuse(routed, refusal),
        AnswerKind::Replay(stored) => replay(routed, &stored),
        AnswerKind::Resolved(resolved) => {
            let mut response = Response::new(ProxyBody::from(Bytes::from(resolved.body)));
            *response.status_mut() = resolved.status;
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            routed.exchange.answer(response)
        }
        AnswerKind::Document | AnswerKind::Freed => show(routed, &prefix, &operation),
        AnswerKind::SeeOther => see_other(routed, &prefix, operation.id),
    };
    respond::locate(response.headers_mut(), &prefix, operation.id);
    if let Some(waited) = preference_applied
        && let Ok(value) = HeaderValue::from_str(&format!("wait={}", waited.as_secs()))
    {
        response.headers_mut().insert(PREFERENCE_APPLIED, value);
    }
    response
}

/// What a gRPC caller gets in place of documents and answers of other endpoints, which its client cannot read. A write that
/// happened is never refused for want of an answer to show: that would read as a failure of the write.
fn for_grpc(operation: &Operation, kind: AnswerKind) -> AnswerKind {
    let is_unseen = operation.state == State::Succeeded && operation.source != Some(Source::Response);
    match kind {
        AnswerKind::Resolved(_) if operation.state == State::Failed => {
            AnswerKind::Refused(Refusal::write_failed(operation))
        }
        AnswerKind::Resolved(_) | AnswerKind::SeeOther => AnswerKind::Document,
        AnswerKind::Replay(stored) if is_unseen && !is_grpc(&stored.headers) => AnswerKind::Document,
        // FAILED_PRECONDITION reads as a decline, and this was done: ALREADY_EXISTS, with the outcome, whoever was told what.
        AnswerKind::Refused(refusal)
            if operation.state == State::Succeeded && refusal.problem == Problem::ResponseNotRetained =>
        {
            AnswerKind::Document
        }
        kind => kind,
    }
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
    if let Some(dialect) = routed.exchange.grpc {
        return routed.exchange.answer(respond::grpc::happened(dialect));
    }
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
