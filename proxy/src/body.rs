//! The two bodies of the data path: what goes to an upstream and what comes back to a client.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

/// Any body error; its words are for logs only.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body whose type does not matter; boxed only where a request or response really has a stream.
pub type Stream = Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>;

/// A body off an HTTP/2 stream that tells its end from being broken off.
///
/// hyper takes an HTTP/2 `RST_STREAM(NO_ERROR)` for a clean end. RFC 9113 section 8.1 lets a server stop an *upload* that way
/// after a complete answer; as the end of what is being received it would make a part pass for the whole.
pub(crate) struct WireBody {
    incoming: Incoming,
    /// Bytes that are still to come, where the length was announced.
    left: Option<u64>,
}

/// The stream was reset before its end.
#[derive(Debug, thiserror::Error)]
#[error("the stream was reset before its end")]
struct BrokenOff;

impl WireBody {
    pub(crate) fn new(incoming: Incoming) -> Self {
        let left = incoming.size_hint().exact();
        Self { incoming, left }
    }
}

impl Body for WireBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = std::task::ready!(Pin::new(&mut this.incoming).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let (Some(data), Some(left)) = (frame.data_ref(), &mut this.left)
        {
            *left = left.saturating_sub(data.len() as u64);
        }
        let broken_off = frame.is_none() && this.left != Some(0) && !this.incoming.is_end_stream();
        Poll::Ready(if broken_off {
            Some(Err(BrokenOff.into()))
        } else {
            frame.map(|result| result.map_err(Into::into))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

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
