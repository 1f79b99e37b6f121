//! A body that may not fall silent.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};

use super::IdleTimeout;
use crate::body::BoxError;

pin_project! {
    /// Fails with [`IdleTimeout`] once its inner body has had nothing to give for `idle`.
    ///
    /// Only waiting for the sender counts: a body that nobody polls, because its reader is slow, is not silent. A body that is
    /// always ready never touches a timer, and one timer entry is reused for all of its pauses.
    #[derive(Debug)]
    pub struct IdleBody<B> {
        #[pin]
        inner: B,
        idle: Duration,
        silent_since: Option<Instant>,
        timer: Option<Pin<Box<Sleep>>>,
    }
}

impl<B> IdleBody<B> {
    /// Bounds the silence of `inner`.
    pub fn new(inner: B, idle: Duration) -> Self {
        Self { inner, idle, silent_since: None, timer: None }
    }
}

impl<B> Body for IdleBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        if let Poll::Ready(frame) = this.inner.poll_frame(cx) {
            *this.silent_since = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let since = *this.silent_since.get_or_insert_with(Instant::now);
        let idle = *this.idle;
        let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
        loop {
            ready!(timer.as_mut().poll(cx));
            // The timer may stem from an earlier pause: cheaper to let it run out than to move it at every pause.
            match since.checked_add(idle) {
                Some(deadline) if timer.deadline() < deadline => timer.as_mut().reset(deadline),
                _ => return Poll::Ready(Some(Err(IdleTimeout.into()))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
