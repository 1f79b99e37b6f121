//! A circuit breaker for any tower service. Put it innermost, around each attempt.

use std::{
    mem,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use http::{Request, Response};
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use super::{Breaker, CallOutcome, CircuitBreaker, Permit};
use crate::{body::BoxError, timeout::Deadline};

/// Calls a service through a [`Breaker`]; every service it makes shares it.
#[derive(Clone, Debug)]
pub struct CircuitBreakerLayer(Breaker);

/// The service of [`CircuitBreakerLayer`]; its own error is [`Rejected`](super::Rejected).
#[derive(Clone, Debug)]
pub struct CircuitBreakerService<S> {
    inner: S,
    breaker: Breaker,
}

/// A call in flight. Dropped because the total time ran out it is an error; because the caller left, a cancel.
struct Attempt {
    permit: Option<Permit>,
    deadline: Option<Instant>,
}

impl Attempt {
    fn record(&mut self, outcome: CallOutcome) {
        if let Some(permit) = self.permit.take() {
            permit.record(outcome, Instant::now());
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            self.record(CallOutcome::Error);
        }
    }
}

impl CircuitBreakerLayer {
    /// A layer with a breaker of its own.
    pub fn new(params: CircuitBreaker) -> Self {
        Self(Breaker::new(params))
    }

    /// The breaker, to look at or to force.
    pub fn breaker(&self) -> &Breaker {
        &self.0
    }
}

impl<S> Layer<S> for CircuitBreakerLayer {
    type Service = CircuitBreakerService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CircuitBreakerService { inner, breaker: self.0.clone() }
    }
}

impl<S, B, R> Service<Request<B>> for CircuitBreakerService<S>
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
        let breaker = self.breaker.clone();
        Box::pin(async move {
            let deadline = request.extensions().get().map(|Deadline(at)| *at);
            let mut attempt = Attempt { permit: Some(breaker.acquire(Instant::now())?), deadline };
            let outcome = inner.call(request).await.map_err(Into::into);
            let failed = outcome.as_ref().map_or(true, |response| breaker.is_error(response.status()));
            attempt.record(if failed { CallOutcome::Error } else { CallOutcome::Success });
            outcome
        })
    }
}
