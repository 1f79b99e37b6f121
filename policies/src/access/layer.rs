//! Access lists for any tower service.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::{Either, Ready, err};
use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use super::AccessList;
use crate::{body::BoxError, caller::ClientAddress};

/// The list refuses the request, or nobody said who sends it. Nothing reached the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this request is not allowed")]
pub struct Forbidden;

/// Refuses what an [`AccessList`] does not admit.
#[derive(Clone, Debug)]
pub struct AccessLayer(Arc<AccessList>);

/// The service of [`AccessLayer`]; its own error is [`Forbidden`].
#[derive(Clone, Debug)]
pub struct AccessService<S> {
    inner: S,
    list: Arc<AccessList>,
}

impl AccessLayer {
    /// A layer with this list.
    pub fn new(list: AccessList) -> Self {
        Self(Arc::new(list))
    }
}

impl<S> Layer<S> for AccessLayer {
    type Service = AccessService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        AccessService { inner, list: Arc::clone(&self.0) }
    }
}

impl<S, B> Service<Request<B>> for AccessService<S>
where
    S: Service<Request<B>, Error = BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Either<S::Future, Ready<Result<S::Response, BoxError>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let client = request.extensions().get::<ClientAddress>();
        let admitted = client
            .is_some_and(|ClientAddress(client)| self.list.admits(*client, request.method(), request.uri().path()));
        if admitted { Either::Left(self.inner.call(request)) } else { Either::Right(err(Forbidden.into())) }
    }
}
