//! The two bodies of the data path: what goes to an upstream and what comes back to a client.

pub(crate) mod budget;
pub(crate) mod collect;

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Any body error; its words are for logs only.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body whose type does not matter; boxed only where a request or response really has a stream.
pub type Stream = Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>;

/// A request or response body.
pub enum ProxyBody {
    /// Nothing: no allocation, no polling.
    Empty,
    /// All of it at hand.
    Full(Bytes),
    /// As it arrives.
    Stream(Stream),
}

impl ProxyBody {
    /// Streams `body`.
    pub fn stream<B>(body: B) -> Self
    where
        B: Body<Data = Bytes, Error = BoxError> + Send + 'static,
    {
        Self::Stream(Box::pin(body))
    }
}

impl From<Bytes> for ProxyBody {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::Full(bytes) }
    }
}

impl Body for ProxyBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let body = self.get_mut();
        match body {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *body = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Stream(stream) => stream.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(_) => false,
            Self::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(stream) => stream.size_hint(),
        }
    }
}
