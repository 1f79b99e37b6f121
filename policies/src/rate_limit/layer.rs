//! A rate limit for any tower service.

use std::{
    mem,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use http::{Request, Response};
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use super::{Admission, Key, Limiter, RateLimit, RateLimited};
use crate::{body::BoxError, caller::Caller};

/// Calls a service under a [`Limiter`]; every service it makes shares it.
#[derive(Clone, Debug)]
pub struct RateLimitLayer(Limiter);

/// The service of [`RateLimitLayer`]; its own error is [`RateLimited`].
#[derive(Clone, Debug)]
pub struct RateLimitService<S> {
    inner: S,
    limiter: Limiter,
}

impl RateLimitLayer {
    /// A layer with a limiter of its own.
    pub fn new(params: RateLimit) -> Self {
        Self(Limiter::new(params))
    }

    /// The limiter, to sweep.
    pub fn limiter(&self) -> &Limiter {
        &self.0
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimitService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimitService { inner, limiter: self.0.clone() }
    }
}

impl<S> RateLimitService<S> {
    fn admit<B>(&self, request: &Request<B>) -> Admission {
        let key = match &self.limiter.params().key {
            Key::Route => None,
            Key::Header(name) => request.headers().get(name).map(http::HeaderValue::as_bytes),
            Key::Principal | Key::ClientIp => request.extensions().get::<Caller>().map(|caller| &*caller.0),
        };
        self.limiter.admit(key.unwrap_or_default(), Instant::now())
    }
}

impl<S, B, R> Service<Request<B>> for RateLimitService<S>
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
        let admission = self.admit(&request);
        Box::pin(async move {
            match admission {
                Admission::Admitted(_) => {}
                Admission::Wait(slot, _) => {
                    tokio::time::sleep_until(slot.until()).await;
                    slot.taken();
                }
                Admission::Rejected { retry_after, usage } => return Err(RateLimited { retry_after, usage }.into()),
            }
            inner.call(request).await.map_err(Into::into)
        })
    }
}
