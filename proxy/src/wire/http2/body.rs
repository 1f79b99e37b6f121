//! A body that arrives on an HTTP/2 stream.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http_body::{Body, Frame, SizeHint};

use super::fields;
use crate::wire::{body::BoxError, interim::Interim, trailers};

/// A body off an HTTP/2 stream. The windows open again only for what its reader has done with, so a reader that stands still
/// stops the peer. Dropped before its end, it resets the stream.
pub(crate) struct Http2Body {
    stream: RecvStream,
    /// What was read of it already.
    first: Option<Bytes>,
    /// Bytes that the reader has, and for which the window is still closed.
    held: usize,
    /// Bytes that are still to come, where the length was announced.
    left: Option<u64>,
    data_over: bool,
    /// Tells a peer that waits for `100 Continue` that its body is wanted.
    invite: Option<Interim>,
}

impl Http2Body {
    /// What comes behind a head with `headers`.
    pub(crate) fn new(stream: RecvStream, headers: &http::HeaderMap) -> Self {
        Self { stream, first: None, held: 0, left: fields::content_length(headers), data_over: false, invite: None }
    }

    /// The same, of which `first` was read already.
    pub(crate) fn beginning_with(self, first: Option<Bytes>) -> Self {
        Self { first, ..self }
    }

    /// Its peer waits for `100 Continue`, which goes out when the body is wanted and not there.
    pub(crate) fn inviting(mut self, interim: Interim) -> Self {
        self.invite = Some(interim);
        self
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> {
        let held = std::mem::take(&mut self.held);
        if held > 0 {
            // Fails only if the stream has ended, and then no window is left to open.
            let _ = self.stream.flow_control().release_capacity(held);
        }
        let polled = match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(first))),
            None => self.stream.poll_data(cx),
        };
        match &polled {
            Poll::Pending => {
                if let Some(interim) = self.invite.take() {
                    interim.invite();
                }
            }
            Poll::Ready(Some(Ok(data))) => {
                self.invite = None;
                self.held = data.len();
                self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
            }
            Poll::Ready(_) => {}
        }
        polled
    }

    /// The stream was reset. `NO_ERROR` lets a server stop an *upload* after a complete answer (RFC 9113 section 8.1); taken as
    /// the end of what is being received it would make a part pass for the whole.
    fn broken_off(&self, error: h2::Error) -> Option<Result<Frame<Bytes>, BoxError>> {
        let whole = self.left == Some(0) && error.is_reset() && error.reason() == Some(Reason::NO_ERROR);
        (!whole).then(|| Err(error.into()))
    }
}

impl Body for Http2Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if !this.data_over {
            match ready!(this.poll_data(cx)) {
                Some(Ok(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Some(Err(error)) => return Poll::Ready(this.broken_off(error)),
                None => this.data_over = true,
            }
        }
        Poll::Ready(match ready!(this.stream.poll_trailers(cx)) {
            Ok(section) => section.and_then(trailers::received).map(|section| Ok(Frame::trailers(section))),
            Err(error) => this.broken_off(error),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
