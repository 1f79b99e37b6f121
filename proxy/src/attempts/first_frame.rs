//! The first frame of a gRPC answer, looked at before the answer is passed on.
//!
//! A gRPC error without a message comes in the header section ("trailers-only") or, from some servers, as a head and at once
//! the trailers. Both can still be tried again; once a message has been passed on, nothing can.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout_at};

use crate::{upstream::UpstreamBody, wire::body::BoxError};

/// How long the first frame is waited for. Trailers that belong to a head come with it; a stream whose head comes early, to
/// say that it is open, must not be held up.
const PEEK_FOR: Duration = Duration::from_millis(50);

/// What was read of a body before it is passed on. Boxed, so that the many answers of which nothing was carry no room for it.
pub(crate) type First = Option<Box<Result<Frame<Bytes>, BoxError>>>;

/// Reads the first frame, where it may be the trailers that tell the outcome.
pub(crate) async fn peek(response: &mut Response<UpstreamBody>, until: Instant) -> First {
    if response.headers().contains_key("grpc-status") || response.body().is_end_stream() {
        return None;
    }
    let until = until.min(Instant::now() + PEEK_FOR);
    timeout_at(until, response.body_mut().frame()).await.ok().flatten().map(Box::new)
}

/// The trailers, if they are what was read.
pub(crate) fn trailers(first: &First) -> Option<&HeaderMap> {
    first.as_deref()?.as_ref().ok()?.trailers_ref()
}

/// A body with its first frame put back.
pub(crate) struct Resumed<B> {
    first: First,
    rest: B,
}

impl<B> Resumed<B> {
    pub(crate) const fn new(first: First, rest: B) -> Self {
        Self { first, rest }
    }
}

impl<B: Body<Data = Bytes, Error = BoxError> + Unpin> Body for Resumed<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(*first)),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // What was read belongs to gRPC, which frames no body by its length.
        if self.first.is_none() { self.rest.size_hint() } else { SizeHint::default() }
    }
}
