//! Timeouts for any tower service: [`TotalTimeoutLayer`] around the retries, [`AttemptTimeoutLayer`] within them.

use std::{
    mem,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body::Body;
use tokio::time::{Instant, timeout_at};
use tower_layer::Layer;
use tower_service::Service;

use super::{IdleBody, Timeout, grpc_timeout_from_headers, set_deadline_headers};
use crate::{
    body::BoxError,
    evidence::{AttemptError, Cause, Sent},
    grpc::is_grpc,
};

/// When the total time of a request ends: a request extension, for the layers within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(pub Instant);

/// Bounds a request as a whole, tells the service how long it is waited for, and bounds silence in the response body.
#[derive(Clone, Debug)]
pub struct TotalTimeoutLayer(Timeout);

/// Bounds each attempt.
#[derive(Clone, Debug)]
pub struct AttemptTimeoutLayer(Timeout);

/// The service of [`TotalTimeoutLayer`].
#[derive(Clone, Debug)]
pub struct TotalTimeout<S> {
    inner: S,
    params: Timeout,
}

/// The service of [`AttemptTimeoutLayer`].
#[derive(Clone, Debug)]
pub struct AttemptTimeout<S> {
    inner: S,
    attempt: Option<Duration>,
}

impl TotalTimeoutLayer {
    /// Uses `total` and `idle`.
    pub fn new(params: Timeout) -> Self {
        Self(params)
    }
}

impl AttemptTimeoutLayer {
    /// Uses `attempt`.
    pub fn new(params: Timeout) -> Self {
        Self(params)
    }
}

impl<S> Layer<S> for TotalTimeoutLayer {
    type Service = TotalTimeout<S>;

    fn layer(&self, inner: S) -> Self::Service {
        TotalTimeout { inner, params: self.0.clone() }
    }
}

impl<S> Layer<S> for AttemptTimeoutLayer {
    type Service = AttemptTimeout<S>;

    fn layer(&self, inner: S) -> Self::Service {
        AttemptTimeout { inner, attempt: self.0.attempt }
    }
}

impl<S, B, R> Service<Request<B>> for TotalTimeout<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Send + 'static,
    R: Body<Data = Bytes>,
{
    type Response = Response<IdleBody<R>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let fresh = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, fresh);
        let (total, idle) = (self.params.total, self.params.idle);
        Box::pin(async move {
            let now = Instant::now();
            let given = grpc_timeout_from_headers(request.headers()).filter(|_| is_grpc(request.headers()));
            let total = given.map_or(total, |given| given.min(total));
            let deadline = now.checked_add(total).unwrap_or_else(|| now + Duration::from_hours(24 * 365 * 30));
            set_deadline_headers(request.headers_mut(), total, given);
            request.extensions_mut().insert(Deadline(deadline));
            match timeout_at(deadline, inner.call(request)).await {
                Ok(outcome) => {
                    outcome.map(|response| response.map(|body| IdleBody::new(body, idle))).map_err(Into::into)
                }
                Err(_) => Err(AttemptError::new(Cause::TotalTimeout, Sent::Maybe).into()),
            }
        })
    }
}

impl<S, B, R> Service<Request<B>> for AttemptTimeout<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = Response<R>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let fresh = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, fresh);
        let attempt = self.attempt;
        Box::pin(async move {
            let call = inner.call(request);
            let Some(attempt) = attempt else { return call.await.map_err(Into::into) };
            match tokio::time::timeout(attempt, call).await {
                Ok(outcome) => outcome.map_err(Into::into),
                Err(_) => Err(AttemptError::new(Cause::AttemptTimeout, Sent::Maybe).into()),
            }
        })
    }
}
