//! Answers of the interfaces.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use mainstay_policies::{
    idempotency::{MAINSTAY_OUTCOME, WriteOutcome},
    operation::StoredResponse,
    problem::{Effect, Problem},
};
use serde_json::Value;

use super::Fault;
use crate::respond::document;

/// An answer before it is known whether its body is wanted.
#[derive(Debug)]
pub(crate) struct Reply(Response<Bytes>);

impl Reply {
    pub(crate) fn json(body: &Value) -> Self {
        Self::new(StatusCode::OK, "application/json", body.to_string())
    }

    /// An order that is carried out from now on, and where it is told how far it has come.
    pub(crate) fn accepted(body: &Value, location: String) -> Self {
        Self::new(StatusCode::ACCEPTED, "application/json", body.to_string()).with(header::LOCATION, location)
    }

    /// What has a format of its own.
    pub(crate) fn text(media_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self::new(StatusCode::OK, media_type, body)
    }

    pub(crate) fn html(body: String) -> Self {
        Self::new(StatusCode::OK, "text/html; charset=utf-8", body)
    }

    /// What was kept of the answer to a write, as a repeat gets it.
    pub(crate) fn stored(stored: &StoredResponse, outcome: WriteOutcome) -> Self {
        let mut response = Response::new(stored.body.clone());
        *response.status_mut() = stored.status;
        let headers = response.headers_mut();
        headers.clone_from(&stored.headers);
        headers.insert(MAINSTAY_OUTCOME, outcome.value());
        headers.insert(HeaderName::from_static("idempotent-replayed"), HeaderValue::from_static("true"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Self(response)
    }

    pub(crate) fn not_modified() -> Self {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        Self(response)
    }

    fn new(status: StatusCode, media_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut response = Response::new(body.into());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Self(response)
    }

    /// The same with a header. A value that is no header value is left out: all of ours are made of ASCII.
    pub(crate) fn with(mut self, name: HeaderName, value: impl Into<Bytes>) -> Self {
        if let Ok(value) = HeaderValue::from_maybe_shared(value.into()) {
            self.0.headers_mut().insert(name, value);
        }
        self
    }

    /// The same for a person's eyes, if it is JSON.
    pub(crate) fn indented(mut self) -> Self {
        let media_type = self.0.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if media_type.is_some_and(|media_type| media_type.ends_with("json"))
            && let Ok(document) = serde_json::from_slice::<Value>(self.0.body())
        {
            *self.0.body_mut() = format!("{document:#}\n").into();
        }
        self
    }

    pub(crate) fn no_store(self) -> Self {
        self.with(header::CACHE_CONTROL, "no-store")
    }

    /// What one caller may see, and may change at any time.
    pub(crate) fn private(self) -> Self {
        self.with(header::CACHE_CONTROL, "private, no-cache")
    }

    pub(crate) fn into_response(self, is_head: bool) -> Response<Bytes> {
        if !is_head {
            return self.0;
        }
        let (mut parts, body) = self.0.into_parts();
        if parts.status != StatusCode::NOT_MODIFIED {
            parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        Response::from_parts(parts, Bytes::new())
    }
}

impl Fault {
    /// The problem document; `prefix` is `control.links`.
    pub(crate) fn into_reply(self, prefix: &str, trace_id: Option<&str>) -> Reply {
        let title = self.title.map(|title| ("title", Value::from(title)));
        let body = match title {
            Some(title) => document::document_with(
                prefix,
                self.problem,
                self.status,
                &self.detail,
                Effect::None,
                trace_id,
                None,
                [title],
            ),
            None => document::document(prefix, self.problem, self.status, &self.detail, Effect::None, trace_id, None),
        };
        let mut reply = Reply::new(self.status, document::MEDIA_TYPE, body)
            .no_store()
            .with(HeaderName::from_static("mainstay-error"), self.problem.slug());
        if let Some((name, value)) = self.header {
            reply = reply.with(name, value);
        }
        if matches!(self.problem, Problem::LedgerUnavailable | Problem::RateLimited) {
            reply = reply.with(header::RETRY_AFTER, "1");
        }
        reply
    }
}
