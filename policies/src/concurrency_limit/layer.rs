//! A concurrency limit for any tower service.

use std::{
    mem,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body::Body;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use super::{ConcurrencyLimit, CpuLoad, Limit, Permit};
use crate::body::{BoxError, GuardedBody};

/// Calls a service under a [`Limit`]; every service it makes shares it.
#[derive(Clone, Debug)]
pub struct ConcurrencyLimitLayer(Limit);

/// The service of [`ConcurrencyLimitLayer`]; its own error is [`Overloaded`](super::Overloaded). A place is held until the
/// response body ends, fails or is dropped. A failed call counts as a drop, a 5xx as an error, and a latency is that of the
/// response's head.
#[derive(Clone, Debug)]
pub struct ConcurrencyLimitService<S> {
    inner: S,
    limit: Limit,
}

impl ConcurrencyLimitLayer {
    /// A layer with a limit of its own.
    pub fn new(params: ConcurrencyLimit) -> Self {
        Self(Limit::new(params))
    }

    /// The same with a limit that sheds by `cpu` if its parameters say so.
    pub fn watching(params: ConcurrencyLimit, cpu: CpuLoad) -> Self {
        Self(Limit::watching(params, cpu))
    }

    /// The limit, to look at.
    pub fn limit(&self) -> &Limit {
        &self.0
    }
}

impl<S> Layer<S> for ConcurrencyLimitLayer {
    type Service = ConcurrencyLimitService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ConcurrencyLimitService { inner, limit: self.0.clone() }
    }
}

impl<S, B, R> Service<Request<B>> for ConcurrencyLimitService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Send + 'static,
    R: Body<Data = Bytes>,
{
    type Response = Response<GuardedBody<R, Permit>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let fresh = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, fresh);
        let limit = self.limit.clone();
        Box::pin(async move {
            let mut permit = limit.acquire().await?;
            match inner.call(request).await {
                Ok(response) => {
                    let latency = Instant::now().saturating_duration_since(permit.acquired());
                    if response.status().is_server_error() {
                        permit.observe_error(latency);
                    } else {
                        permit.observe_latency(latency);
                    }
                    Ok(response.map(|body| GuardedBody::new(body, permit)))
                }
                Err(error) => {
                    permit.dropped_by_upstream();
                    Err(error.into())
                }
            }
        })
    }
}
