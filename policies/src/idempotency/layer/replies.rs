//! The answers that the layer makes itself.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

use super::reply_body::ReplyBody;
use crate::{
    idempotency::{MAINSTAY_OUTCOME, Refusal, Standing},
    operation::{Operation, OperationId, StoredResponse},
    problem::{Effect, Problem},
    rate_limit::retry_after_secs,
};

/// Makes answers that name operations and problems under one path.
#[derive(Clone, Debug)]
pub(super) struct Replies {
    pub(super) prefix: Arc<str>,
}

impl Replies {
    pub(super) fn outcome_unknown<R>(&self, id: OperationId) -> Response<ReplyBody<R>> {
        let detail = "It is not known whether this write happened. Repeat it with the same key only.";
        let mut refusal = Refusal::new(Problem::OutcomeUnknown, detail);
        refusal.status = StatusCode::BAD_GATEWAY;
        self.about(id, self.refuse(&refusal))
    }

    /// 200 with what there is to show of a write that was done.
    pub(super) fn document<R>(&self, operation: &Operation) -> Response<ReplyBody<R>> {
        let document = json!({ "id": operation.id.to_string(), "state": operation.state.label() });
        let mut response = json_response(StatusCode::OK, document.to_string().into());
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.extend(self.location(operation.id).map(|location| (header::CONTENT_LOCATION, location)));
        response
    }

    pub(super) fn see_other<R>(&self, id: OperationId) -> Response<ReplyBody<R>> {
        let mut response = Response::new(ReplyBody::from(Bytes::new()));
        *response.status_mut() = StatusCode::SEE_OTHER;
        response.headers_mut().extend(self.location(id).map(|location| (header::LOCATION, location)));
        response
    }

    /// The same response with the address of its operation.
    pub(super) fn about<R>(&self, id: OperationId, mut response: Response<R>) -> Response<R> {
        response.headers_mut().extend(self.location(id).map(|location| (OPERATION_LOCATION, location)));
        response.extensions_mut().insert(id);
        response
    }

    fn location(&self, id: OperationId) -> Option<HeaderValue> {
        HeaderValue::try_from(format!("{}/operations/{id}", self.prefix)).ok()
    }

    pub(super) fn refuse<R>(&self, refusal: &Refusal) -> Response<ReplyBody<R>> {
        let slug = refusal.problem.slug();
        let effect = if refusal.effect() == Effect::None { "none" } else { "unknown" };
        let mut document = json!({
            "type": format!("{}/problems/{slug}", self.prefix),
            "title": refusal.problem.title(),
            "status": refusal.status.as_u16(),
            "detail": refusal.detail,
            "effect": effect,
        });
        if let Some(safe) = refusal.problem.safe_to_use_new_key() {
            document["safe_to_use_new_key"] = safe.into();
        }
        let mut response = json_response(refusal.status, document.to_string().into());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(MAINSTAY_ERROR, HeaderValue::from_static(slug));
        if let Some(wait) = refusal.retry_after {
            headers.insert(header::RETRY_AFTER, retry_after_secs(wait).into());
        }
        match refusal.operation {
            Some(id) => self.about(id, response),
            None => response,
        }
    }
}

const OPERATION_LOCATION: http::HeaderName = http::HeaderName::from_static("operation-location");
const MAINSTAY_ERROR: http::HeaderName = http::HeaderName::from_static("mainstay-error");
pub(super) const PREFERENCE_APPLIED: http::HeaderName = http::HeaderName::from_static("preference-applied");
const IDEMPOTENT_REPLAYED: http::HeaderName = http::HeaderName::from_static("idempotent-replayed");

pub(super) fn replay<R>(stored: &StoredResponse) -> Response<ReplyBody<R>> {
    let mut response = Response::new(ReplyBody::from(stored.body.clone()));
    *response.status_mut() = stored.status;
    *response.headers_mut() = stored.headers.clone();
    response.headers_mut().insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    response
}

/// The same response, which says how its write stands.
pub(super) fn stand<R>(standing: Standing, mut response: Response<R>) -> Response<R> {
    let headers = response.headers_mut();
    headers.insert(MAINSTAY_OUTCOME, standing.outcome.value());
    if let Some(wait) = standing.retry_after.filter(|_| !headers.contains_key(header::RETRY_AFTER)) {
        headers.insert(header::RETRY_AFTER, retry_after_secs(wait).into());
    }
    response
}

pub(super) fn json_response<R>(status: StatusCode, body: Bytes) -> Response<ReplyBody<R>> {
    let mut response = Response::new(ReplyBody::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
