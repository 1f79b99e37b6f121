//! The body of an HTTP/2 answer.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::multiplexed::Place;
use crate::{
    upstream::upload::Upload,
    wire::{body::BoxError, http2::Http2Body},
};

/// The body of a response over HTTP/2.
pub(in crate::upstream) struct Http2ResponseBody {
    body: Http2Body,
    upload: Option<Upload>,
    /// The status says that the request was not carried out: no more of it is needed.
    refuses: bool,
    _place: Place,
}

impl Http2ResponseBody {
    pub(super) fn new(body: Http2Body, upload: Option<Upload>, refuses: bool, place: Place) -> Self {
        Self { body, upload, refuses, _place: place }
    }

    /// There is nothing to read.
    pub(in crate::upstream) fn end(mut self) {
        self.release();
    }

    /// The body has ended: what becomes of its request.
    fn release(&mut self) {
        if let Some(upload) = self.upload.take()
            && !self.refuses
        {
            upload.detach();
        }
    }
}

impl Body for Http2ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if self.upload.is_some() && !matches!(&polled, Some(Err(_))) && self.body.is_end_stream() {
            self.release();
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
