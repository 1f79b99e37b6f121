//! A response body of which the beginning may have been read already.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

/// Any error.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body: what was read ahead of it, then the rest.
#[derive(Debug)]
pub struct ReplyBody<R> {
    ahead: VecDeque<Frame<Bytes>>,
    rest: Option<Pin<Box<R>>>,
}

/// A response body as far as it may be kept.
pub(super) enum Collected<R> {
    /// All of it, and its bytes.
    Whole(ReplyBody<R>, Bytes),
    /// It is larger than may be kept, streamed, or has trailers, which are not kept.
    TooLarge(ReplyBody<R>),
    /// It ended before it was complete.
    Broken(BoxError),
}

/// Reads a body as far as it may be kept. A stream of events or messages is not waited for.
pub(super) async fn collect<R>(headers: &HeaderMap, body: R, max: usize) -> Collected<R>
where
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    if is_stream(headers) {
        return Collected::TooLarge(ReplyBody::streamed(body));
    }
    let mut rest = Box::pin(body);
    let mut ahead = VecDeque::new();
    let mut size = 0;
    let mut has_trailers = false;
    loop {
        match rest.frame().await {
            None => break,
            Some(Err(error)) => return Collected::Broken(error.into()),
            Some(Ok(frame)) => {
                size += frame.data_ref().map_or(0, Bytes::len);
                has_trailers |= frame.is_trailers();
                ahead.push_back(frame);
            }
        }
        if size > max {
            return Collected::TooLarge(ReplyBody { ahead, rest: Some(rest) });
        }
    }
    let kept = joined(&ahead, size);
    let body = ReplyBody { ahead, rest: None };
    if has_trailers { Collected::TooLarge(body) } else { Collected::Whole(body, kept) }
}

fn joined(frames: &VecDeque<Frame<Bytes>>, size: usize) -> Bytes {
    let mut data = frames.iter().filter_map(Frame::data_ref);
    match (data.next(), data.next()) {
        (None, _) => Bytes::new(),
        (Some(only), None) => only.clone(),
        (Some(_), Some(_)) => {
            let mut all = BytesMut::with_capacity(size);
            frames.iter().filter_map(Frame::data_ref).for_each(|data| all.extend_from_slice(data));
            all.freeze()
        }
    }
}

fn is_stream(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    ["text/event-stream", "application/grpc"].iter().any(|stream| media_type.starts_with(stream))
}

impl<R> ReplyBody<R> {
    pub(super) fn streamed(body: R) -> Self {
        Self { ahead: VecDeque::new(), rest: Some(Box::pin(body)) }
    }
}

impl<R> From<Bytes> for ReplyBody<R> {
    fn from(bytes: Bytes) -> Self {
        let ahead = if bytes.is_empty() { VecDeque::new() } else { VecDeque::from([Frame::data(bytes)]) };
        Self { ahead, rest: None }
    }
}

impl<R> Body for ReplyBody<R>
where
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(frame) = self.ahead.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        let frame = ready!(rest.as_mut().poll_frame(cx));
        if frame.is_none() {
            self.rest = None;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && self.rest.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let ahead: usize = self.ahead.iter().filter_map(Frame::data_ref).map(Bytes::len).sum();
        let mut hint = self.rest.as_ref().map_or_else(|| SizeHint::with_exact(0), http_body::Body::size_hint);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + ahead as u64);
        }
        hint.set_lower(hint.lower() + ahead as u64);
        hint
    }
}
