//! Retries for any tower service.

use std::{
    future::poll_fn,
    mem,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderName, HeaderValue, Request, Response, request::Parts};
use http_body::Body;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use super::{Decision, Outcome, Repeatable, Retrier, Retry, is_idempotent};
use crate::{
    body::{BoxError, Replay, ReplayBody},
    clock::WallClock,
    evidence::{AttemptError, Cause, Sent},
    timeout::Deadline,
};

const ATTEMPTS: HeaderName = HeaderName::from_static("mainstay-attempts");

/// Calls a service again where [`Retrier`] says so; every service it makes shares one budget.
#[derive(Clone, Debug)]
pub struct RetryLayer {
    retrier: Arc<Retrier>,
    clock: WallClock,
}

/// The service of [`RetryLayer`].
///
/// It knows why an attempt failed by an [`AttemptError`]; any other error counts as a reset that may have been processed. It
/// knows the time left by the extension [`Deadline`], and that a request is repeatable by its method or by the extension
/// [`Repeatable`].
#[derive(Clone, Debug)]
pub struct RetryService<S> {
    inner: S,
    retrier: Arc<Retrier>,
    clock: WallClock,
}

impl RetryLayer {
    /// A layer with a budget of its own; `clock` reads dates in `Retry-After`.
    pub fn new(params: Retry, clock: WallClock) -> Self {
        Self { retrier: Arc::new(Retrier::new(params)), clock }
    }
}

impl<S> Layer<S> for RetryLayer {
    type Service = RetryService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RetryService { inner, retrier: Arc::clone(&self.retrier), clock: self.clock.clone() }
    }
}

impl<S, B, R> Service<Request<B>> for RetryService<S>
where
    S: Service<Request<ReplayBody<B>>, Response = Response<R>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<BoxError>,
    R: Send + 'static,
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
        let (retrier, clock) = (Arc::clone(&self.retrier), self.clock.clone());
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let replay = Replay::new(body, retrier.params().max_body);
            let deadline = parts.extensions.get::<Deadline>().copied();
            let repeatable = repeatable(&parts);
            let mut attempts = retrier.start(Instant::now());
            let mut body = replay.attempt().expect("nothing was taken from the body yet");
            loop {
                let outcome = inner.call(Request::from_parts(parts.clone(), body)).await.map_err(Into::into);
                let now = Instant::now();
                let remaining = deadline.map(|Deadline(at)| at.saturating_duration_since(now));
                // Asked first: a retry that cannot be sent must not cost the budget.
                if !replay.replayable() {
                    return finished(outcome, attempts.made());
                }
                let decision =
                    decide(&outcome, |outcome| attempts.next(outcome, repeatable, remaining, now, clock.now()));
                let Decision::Retry { after, .. } = decision else { return finished(outcome, attempts.made()) };
                // Taken before the wait, lest the old attempt reads on meanwhile, beyond what is kept.
                let Some(again) = replay.attempt() else { return finished(outcome, attempts.made() - 1) };
                body = again;
                drop(outcome);
                tokio::time::sleep(after).await;
                poll_fn(|cx| inner.poll_ready(cx)).await.map_err(Into::into)?;
            }
        })
    }
}

fn repeatable(parts: &Parts) -> Repeatable {
    let by_method = if is_idempotent(&parts.method) { Repeatable::Always } else { Repeatable::OnlyIfUnsent };
    parts.extensions.get().copied().unwrap_or(by_method)
}

fn decide<R>(outcome: &Result<Response<R>, BoxError>, next: impl FnOnce(&Outcome<'_>) -> Decision) -> Decision {
    match outcome {
        Ok(response) => next(&Outcome::Response { status: response.status(), headers: response.headers() }),
        Err(error) => match error.downcast_ref::<AttemptError>() {
            Some(error) => next(&Outcome::Error(error)),
            None => next(&Outcome::Error(&AttemptError::new(Cause::Reset, Sent::Maybe))),
        },
    }
}

/// More than one attempt is shown in the response.
fn finished<R>(outcome: Result<Response<R>, BoxError>, attempts: u32) -> Result<Response<R>, BoxError> {
    outcome.map(|mut response| {
        if attempts > 1 {
            response.headers_mut().insert(ATTEMPTS, HeaderValue::from(attempts));
        }
        response
    })
}
