//! A fallback for any tower service. Put it outermost, around whatever may refuse or fail.

use std::{
    mem,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use http::{HeaderName, HeaderValue, Method, Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::{Answer, Fallback, Reason};
use crate::{
    body::BoxError, circuit_breaker::Rejected, concurrency_limit::Overloaded, evidence::AttemptError, evidence::Sent,
    rate_limit::RateLimited,
};

/// Marks an answer that is a fallback, with its reason.
pub const MAINSTAY_FALLBACK: HeaderName = HeaderName::from_static("mainstay-fallback");

/// Answers failures of the inner service with an [`Answer`].
#[derive(Clone, Debug)]
pub struct FallbackLayer {
    on: Arc<Fallback>,
    answer: Arc<Answer>,
}

/// The service of [`FallbackLayer`].
#[derive(Clone, Debug)]
pub struct FallbackService<S> {
    inner: S,
    layer: FallbackLayer,
}

impl FallbackLayer {
    /// A layer that gives `answer` to the failures of `on`.
    pub fn new(on: Vec<Reason>, answer: Answer) -> Self {
        let fallback = Fallback { on, to: super::To::Answer(answer.clone()) };
        Self { on: Arc::new(fallback), answer: Arc::new(answer) }
    }

    fn answer<R: From<bytes::Bytes>>(&self, reason: Reason) -> Response<R> {
        let mut response = Response::new(R::from(self.answer.body.clone()));
        *response.status_mut() = self.answer.status;
        *response.headers_mut() = self.answer.headers.clone();
        response.headers_mut().insert(MAINSTAY_FALLBACK, HeaderValue::from_static(reason.label()));
        response
    }
}

impl<S> Layer<S> for FallbackLayer {
    type Service = FallbackService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        FallbackService { inner, layer: self.clone() }
    }
}

/// Why an error of the other layers calls for a fallback, and what is known of the request then.
fn reason(error: &BoxError) -> Option<(Reason, Sent)> {
    if let Some(error) = error.downcast_ref::<AttemptError>() {
        return Some((Reason::of_attempt(error)?, error.sent));
    }
    let reason = if error.is::<Rejected>() {
        Reason::CircuitOpen
    } else if error.is::<Overloaded>() {
        Reason::Overloaded
    } else if error.is::<RateLimited>() {
        Reason::RateLimited
    } else {
        return None;
    };
    Some((reason, Sent::No))
}

impl<S, B, R> Service<Request<B>> for FallbackService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Send + 'static,
    R: From<bytes::Bytes> + Send,
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
        let layer = self.layer.clone();
        Box::pin(async move {
            let method: Method = request.method().clone();
            let outcome = inner.call(request).await.map_err(Into::into);
            let failure = match &outcome {
                Ok(response) => response.status().is_server_error().then_some((Reason::ServerError, Sent::Maybe)),
                Err(error) => reason(error),
            };
            match failure {
                Some((reason, sent)) if layer.on.applies(reason, &method, sent) => Ok(layer.answer(reason)),
                _ => outcome,
            }
        })
    }
}
