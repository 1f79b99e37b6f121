//! The body of an upstream's response, whichever HTTP it comes by.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{
    http1::{body::Http1ResponseBody, switched::Switched},
    http2::body::Http2ResponseBody,
};
use crate::wire::body::BoxError;

/// A response body; its connection goes back to the pool when it has ended cleanly, and is closed when it is dropped before.
pub struct UpstreamBody(Inner);

enum Inner {
    Http1(Http1ResponseBody),
    Http2(Box<Http2ResponseBody>),
}

impl UpstreamBody {
    /// The connection itself, where it changes protocol and will carry no further request.
    pub(crate) fn take_switched(&mut self) -> Option<Box<Switched>> {
        match &mut self.0 {
            Inner::Http1(Http1ResponseBody::Switched(connection)) => connection.take(),
            _ => None,
        }
    }

    /// All of the body, if it is here already.
    pub(crate) fn take_whole(&mut self) -> Option<Bytes> {
        match &mut self.0 {
            Inner::Http1(Http1ResponseBody::Whole(bytes)) => Some(std::mem::take(bytes)),
            _ => None,
        }
    }
}

impl From<Http1ResponseBody> for UpstreamBody {
    fn from(body: Http1ResponseBody) -> Self {
        Self(Inner::Http1(body))
    }
}

impl From<Http2ResponseBody> for UpstreamBody {
    fn from(body: Http2ResponseBody) -> Self {
        if body.is_end_stream() {
            body.end();
            return Self(Inner::Http1(Http1ResponseBody::EMPTY));
        }
        Self(Inner::Http2(Box::new(body)))
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Inner::Http1(body) => Pin::new(body).poll_frame(cx),
            Inner::Http2(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Http1(body) => body.is_end_stream(),
            Inner::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Http1(body) => body.size_hint(),
            Inner::Http2(body) => body.size_hint(),
        }
    }
}
