//! The body of an answer that may come from a cache.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::body::BoxError;

pin_project! {
    /// A body that is at hand whole, or one that still comes from the service.
    #[derive(Debug)]
    pub struct CacheBody<R> {
        #[pin]
        inner: Inner<R>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = Projected]
    enum Inner<R> {
        Kept { body: Bytes, trailers: Option<HeaderMap> },
        Passing { #[pin] body: R },
    }
}

impl<R> CacheBody<R> {
    pub(super) const fn kept(body: Bytes, trailers: Option<HeaderMap>) -> Self {
        Self { inner: Inner::Kept { body, trailers } }
    }

    pub(super) const fn passing(body: R) -> Self {
        Self { inner: Inner::Passing { body } }
    }
}

impl<R> Body for CacheBody<R>
where
    R: Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project().inner.project() {
            Projected::Kept { body, .. } if !body.is_empty() => Poll::Ready(Some(Ok(Frame::data(mem::take(body))))),
            Projected::Kept { trailers, .. } => Poll::Ready(trailers.take().map(|it| Ok(Frame::trailers(it)))),
            Projected::Passing { body } => body.poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Kept { body, trailers } => body.is_empty() && trailers.is_none(),
            Inner::Passing { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Kept { body, .. } => SizeHint::with_exact(body.len() as u64),
            Inner::Passing { body } => body.size_hint(),
        }
    }
}
