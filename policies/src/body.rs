//! A request body that can be sent again.
//!
//! The first attempt streams: nothing is read ahead, so a bidirectional gRPC call cannot deadlock, and a copy is kept on the
//! way, up to a bound in bytes. A later attempt gives the copy first and then goes on with the rest of the original stream,
//! trailers included. A body from which nothing was taken can always be sent again, whatever its size.
//!
//! The stream stays in the [`Replay`]; attempts only borrow it. So nothing has to be handed back, and an attempt that lives on
//! (an HTTP/2 stream whose early answer is being retried) cannot eat what its successor needs: it fails with [`Superseded`].
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use bytes::Bytes;
//! use http_body_util::{BodyExt, Full};
//! use mainstay_policies::body::Replay;
//!
//! let replay = Replay::new(Full::new(Bytes::from_static(b"hello")), 64 * 1024);
//! for _ in 0..2 {
//!     let attempt = replay.attempt().expect("five bytes were kept");
//!     assert_eq!(attempt.collect().await.unwrap().to_bytes(), "hello");
//! }
//! # }
//! ```

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use pin_project_lite::pin_project;

/// Any error of a body or a service.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// After so many pieces the rest of the copy is one piece, so that a sender of single bytes cannot pin a buffer with each.
const MAX_PIECES: usize = 16;

/// This attempt's body was taken over by a later attempt; nobody is at fault and the request goes on there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a later attempt took over the request body")]
pub struct Superseded;

/// The original stream had failed before this attempt; the caller of the proxy is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request body had already failed")]
pub struct BodyFailed;

/// Keeps a request body and what was taken from it.
#[derive(Debug)]
pub struct Replay<B> {
    shared: Arc<Mutex<Shared<B>>>,
}

/// The body of one attempt.
#[derive(Debug)]
pub struct ReplayBody<B> {
    shared: Arc<Mutex<Shared<B>>>,
    attempt: u32,
    /// The next piece to replay, and how many there were when this attempt began.
    piece: usize,
    pieces: usize,
    /// Bytes still to replay.
    bytes: u64,
    trailers_due: bool,
}

#[derive(Debug)]
struct Shared<B> {
    inner: B,
    state: State,
    attempt: u32,
    /// `None`: over the bound, nothing more is kept.
    copy: Option<Kept>,
    max: usize,
    /// The latest attempt's task while it waits for the stream.
    waiting: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Untouched,
    Streaming,
    Ended,
    Failed,
}

#[derive(Debug, Default)]
struct Kept {
    pieces: Vec<Bytes>,
    tail: BytesMut,
    len: usize,
    trailers: Option<HeaderMap>,
}

impl<B> Replay<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// Keeps up to `max` bytes of `body` for later attempts.
    pub fn new(body: B, max: usize) -> Self {
        let fits = body.size_hint().lower() <= max as u64;
        let shared = Shared {
            inner: body,
            state: State::Untouched,
            attempt: 0,
            copy: fits.then(Kept::default),
            max,
            waiting: None,
        };
        Self { shared: Arc::new(Mutex::new(shared)) }
    }

    /// The body for the next attempt, from its first byte; `None` if it can no longer be given whole.
    ///
    /// From here on the previous attempt's body only fails. To be sure of the body before a wait, take it before the wait.
    pub fn attempt(&self) -> Option<ReplayBody<B>> {
        let mut shared = self.shared.lock();
        if !shared.replayable() {
            return None;
        }
        shared.attempt += 1;
        if let Some(waker) = shared.waiting.take() {
            waker.wake();
        }
        let (mut pieces, mut bytes, mut trailers_due) = (0, 0, false);
        if let Some(copy) = &mut shared.copy {
            if !copy.tail.is_empty() {
                let tail = copy.tail.split().freeze();
                copy.pieces.push(tail);
            }
            pieces = copy.pieces.len();
            bytes = copy.len as u64;
            trailers_due = copy.trailers.is_some();
        }
        let attempt = shared.attempt;
        drop(shared);
        Some(ReplayBody { shared: Arc::clone(&self.shared), attempt, piece: 0, pieces, bytes, trailers_due })
    }

    /// Whether another attempt can be given the whole body.
    pub fn replayable(&self) -> bool {
        self.shared.lock().replayable()
    }
}

impl<B> Shared<B> {
    fn replayable(&self) -> bool {
        match self.state {
            State::Untouched => true,
            State::Streaming | State::Ended => self.copy.is_some(),
            State::Failed => false,
        }
    }

    fn keep(&mut self, frame: &Frame<Bytes>) {
        let Some(copy) = &mut self.copy else { return };
        if let Some(data) = frame.data_ref() {
            if copy.len + data.len() > self.max {
                self.copy = None;
                return;
            }
            copy.len += data.len();
            if copy.pieces.len() < MAX_PIECES {
                copy.pieces.push(data.clone());
            } else {
                copy.tail.extend_from_slice(data);
            }
        } else if let Some(trailers) = frame.trailers_ref() {
            copy.trailers = Some(trailers.clone());
        }
    }
}

impl<B> Body for ReplayBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let mut shared = this.shared.lock();
        if shared.attempt != this.attempt {
            return Poll::Ready(Some(Err(Superseded.into())));
        }
        if this.piece < this.pieces
            && let Some(copy) = &shared.copy
        {
            let piece = copy.pieces[this.piece].clone();
            this.piece += 1;
            this.bytes -= piece.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if std::mem::take(&mut this.trailers_due)
            && let Some(trailers) = shared.copy.as_ref().and_then(|copy| copy.trailers.clone())
        {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        match shared.state {
            State::Ended => return Poll::Ready(None),
            State::Failed => return Poll::Ready(Some(Err(BodyFailed.into()))),
            State::Untouched | State::Streaming => {}
        }
        let Poll::Ready(frame) = Pin::new(&mut shared.inner).poll_frame(cx) else {
            if !shared.waiting.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                shared.waiting = Some(cx.waker().clone());
            }
            return Poll::Pending;
        };
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                shared.state = State::Streaming;
                shared.keep(&frame);
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                shared.state = State::Failed;
                Some(Err(error.into()))
            }
            None => {
                shared.state = State::Ended;
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        let shared = self.shared.lock();
        let replayed = self.piece == self.pieces && !self.trailers_due;
        let ended = match shared.state {
            State::Ended => true,
            State::Failed => false,
            State::Untouched | State::Streaming => shared.inner.is_end_stream(),
        };
        shared.attempt == self.attempt && replayed && ended
    }

    fn size_hint(&self) -> SizeHint {
        let shared = self.shared.lock();
        if shared.attempt != self.attempt {
            return SizeHint::default();
        }
        let rest = if shared.state == State::Ended { SizeHint::with_exact(0) } else { shared.inner.size_hint() };
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(self.bytes));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(self.bytes)) {
            hint.set_upper(upper);
        }
        hint
    }
}

pin_project! {
    /// A body that holds a guard until it ends, fails or is dropped.
    #[derive(Debug)]
    pub struct GuardedBody<B, G> {
        #[pin]
        inner: B,
        guard: Option<G>,
    }
}

impl<B: Body, G> GuardedBody<B, G> {
    /// Holds `guard` for as long as `inner` has something to give.
    pub fn new(inner: B, guard: G) -> Self {
        let guard = (!inner.is_end_stream()).then_some(guard);
        Self { inner, guard }
    }
}

impl<B: Body, G> Body for GuardedBody<B, G> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let polled = this.inner.as_mut().poll_frame(cx);
        // A reader may not poll again after the last frame, so its end is looked for here.
        let ended = match &polled {
            Poll::Ready(Some(Ok(_))) => this.inner.is_end_stream(),
            Poll::Ready(Some(Err(_)) | None) => true,
            Poll::Pending => false,
        };
        if ended {
            *this.guard = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests;
