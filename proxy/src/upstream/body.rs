//! The body of an upstream's response, whichever HTTP it comes by.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::{
    http1::{body::Http1ResponseBody, switched::Switched},
    http2::body::Http2ResponseBody,
};
use crate::wire::body::BoxError;

/// A response body; its connection goes back to the pool when it has ended cleanly, and is closed when it is dropped before.
pub struct UpstreamBody {
    inner: Inner,
    /// Where what it says at its end is waited for.
    hears: Option<Box<dyn HearsEnd>>,
}

/// How a body ended.
pub(crate) enum BodyEnd<'a> {
    /// Complete, with these trailers.
    Whole(Option<&'a HeaderMap>),
    /// It broke off.
    Broken,
}

/// Learns how a body ended; dropped before, nobody waits for its end any more.
pub(crate) trait HearsEnd: Send {
    /// It ended so.
    fn ended(self: Box<Self>, how: BodyEnd<'_>);
}

enum Inner {
    Http1(Http1ResponseBody),
    Http2(Box<Http2ResponseBody>),
}

impl UpstreamBody {
    const fn new(inner: Inner) -> Self {
        Self { inner, hears: None }
    }

    /// Tells `hears` how it ends.
    pub(crate) fn tell(&mut self, hears: Box<dyn HearsEnd>) {
        self.hears = Some(hears);
    }

    fn ended(&mut self, how: BodyEnd<'_>) {
        if let Some(hears) = self.hears.take() {
            hears.ended(how);
        }
    }

    /// What a polled frame says of the end.
    fn heard(&mut self, polled: &Poll<Option<Result<Frame<Bytes>, BoxError>>>) {
        match polled {
            Poll::Ready(Some(Ok(frame))) => match frame.trailers_ref() {
                Some(trailers) => self.ended(BodyEnd::Whole(Some(trailers))),
                None if self.is_end_stream() => self.ended(BodyEnd::Whole(None)),
                None => {}
            },
            Poll::Ready(Some(Err(_))) => self.ended(BodyEnd::Broken),
            Poll::Ready(None) => self.ended(BodyEnd::Whole(None)),
            Poll::Pending => {}
        }
    }

    /// The connection itself, where it changes protocol and will carry no further request.
    pub(crate) fn take_switched(&mut self) -> Option<Box<Switched>> {
        match &mut self.inner {
            Inner::Http1(Http1ResponseBody::Switched(connection)) => connection.take(),
            _ => None,
        }
    }

    /// All of the body, if it is here already.
    pub(crate) fn take_whole(&mut self) -> Option<Bytes> {
        let Inner::Http1(Http1ResponseBody::Whole(bytes)) = &mut self.inner else { return None };
        let bytes = std::mem::take(bytes);
        self.ended(BodyEnd::Whole(None));
        Some(bytes)
    }
}

impl From<Http1ResponseBody> for UpstreamBody {
    fn from(body: Http1ResponseBody) -> Self {
        Self::new(Inner::Http1(body))
    }
}

impl From<Http2ResponseBody> for UpstreamBody {
    fn from(body: Http2ResponseBody) -> Self {
        if body.is_end_stream() {
            body.end();
            return Self::new(Inner::Http1(Http1ResponseBody::EMPTY));
        }
        Self::new(Inner::Http2(Box::new(body)))
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = match &mut self.inner {
            Inner::Http1(body) => Pin::new(body).poll_frame(cx),
            Inner::Http2(body) => Pin::new(body).poll_frame(cx),
        };
        if self.hears.is_some() {
            self.heard(&polled);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Http1(body) => body.is_end_stream(),
            Inner::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Http1(body) => body.size_hint(),
            Inner::Http2(body) => body.size_hint(),
        }
    }
}
