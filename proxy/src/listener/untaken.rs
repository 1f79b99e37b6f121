//! Answers on HTTP/2 streams whose client takes nothing.
//!
//! An answer's body is polled only while the stream's window has room, so that no timer inside the body can bound a window
//! that stays at zero. Each body notes when it was last polled, and the sweep lets go of those that were left alone for as
//! long as the route allows silence: with the body go its upstream connection and its concurrency place. What stays is the
//! stream, which has at most one piece in memory, and is reset should its client open the window again.

use std::{
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;

use super::ticks::{SWEEP_EVERY, Ticks, millis};
use crate::wire::body::{BoxError, Stream};

/// What is handed over at a time: a client that takes a large piece slowly must not look like one that takes nothing.
const PIECE_BYTES: usize = 16 * 1024;

/// Silence of the upstream is bounded inside the body, by a timer that wakes its stream after the same time: that goes first.
const SLACK: Duration = SWEEP_EVERY.saturating_mul(2);

/// The client did not take its answer.
#[derive(Debug, thiserror::Error)]
#[error("the client took nothing of its answer for too long")]
struct Untaken;

/// The answers that are being streamed on one connection.
#[derive(Default)]
pub(super) struct Answers(Mutex<Vec<Weak<Answer>>>);

struct Answer {
    /// `None` once it has been let go of.
    body: Mutex<Option<Stream>>,
    /// When somebody last wanted more.
    polled: AtomicU32,
    idle_ms: u32,
    clock: Arc<Ticks>,
}

impl Answers {
    /// Bounds how long `body` may be left alone.
    pub(super) fn watch(&self, body: Stream, idle: Duration, clock: &Arc<Ticks>) -> WatchedBody {
        let answer = Arc::new(Answer {
            body: Mutex::new(Some(body)),
            polled: AtomicU32::new(clock.now()),
            idle_ms: millis(idle.saturating_add(SLACK)),
            clock: clock.clone(),
        });
        let mut all = self.0.lock();
        if all.len() == all.capacity() {
            all.retain(|answer| answer.strong_count() > 0);
        }
        all.push(Arc::downgrade(&answer));
        WatchedBody { answer, rest: Bytes::new() }
    }

    /// Lets go of what was left alone for too long.
    pub(super) fn sweep(&self, now: u32) {
        let mut untaken = Vec::new();
        self.0.lock().retain(|answer| {
            let Some(answer) = answer.upgrade() else { return false };
            let overdue = now.wrapping_sub(answer.polled.load(Ordering::Relaxed)) >= answer.idle_ms;
            if overdue {
                untaken.push(answer.body.lock().take());
            }
            !overdue
        });
        // Ended only here, where no lock is held.
        drop(untaken);
    }
}

/// A body whose client's patience is bounded.
pub(crate) struct WatchedBody {
    answer: Arc<Answer>,
    /// Of the piece that was read last.
    rest: Bytes,
}

impl WatchedBody {
    fn piece(&mut self) -> Frame<Bytes> {
        let length = self.rest.len().min(PIECE_BYTES);
        Frame::data(self.rest.split_to(length))
    }
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        this.answer.polled.store(this.answer.clock.now(), Ordering::Relaxed);
        if !this.rest.is_empty() {
            return Poll::Ready(Some(Ok(this.piece())));
        }
        let polled = match this.answer.body.lock().as_mut() {
            None => return Poll::Ready(Some(Err(Untaken.into()))),
            Some(body) => ready!(body.as_mut().poll_frame(cx)),
        };
        Poll::Ready(match polled {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    this.rest = data;
                    Some(Ok(this.piece()))
                }
                Err(trailers) => Some(Ok(trailers)),
            },
            other => other,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.answer.body.lock().as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let body = self.answer.body.lock().as_ref().map_or_else(SizeHint::default, Body::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::wire::body::ProxyBody;

    fn watched(answers: &Answers, clock: &Arc<Ticks>, bytes: usize) -> WatchedBody {
        let body = ProxyBody::Full(Bytes::from(vec![b'x'; bytes]));
        answers.watch(Box::pin(body), Duration::from_secs(1), clock)
    }

    fn next(body: &mut WatchedBody) -> Option<Result<usize, BoxError>> {
        match Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(frame) => frame.map(|frame| frame.map(|frame| frame.data_ref().map_or(0, Bytes::len))),
            Poll::Pending => panic!("bytes at hand are ready"),
        }
    }

    #[test]
    fn a_body_that_is_left_alone_is_let_go_of() {
        let (answers, clock) = (Answers::default(), Arc::new(Ticks::default()));
        let mut body = watched(&answers, &clock, 5);
        for now in [1000, 1499] {
            answers.sweep(now);
            assert!(body.answer.body.lock().is_some(), "{now} ms");
        }
        answers.sweep(1500);
        assert!(body.answer.body.lock().is_none() && !body.is_end_stream());
        assert!(next(&mut body).unwrap().is_err());
    }

    #[test]
    fn one_that_takes_a_piece_now_and_then_goes_on() {
        let (answers, clock) = (Answers::default(), Arc::new(Ticks::default()));
        let mut body = watched(&answers, &clock, 3 * PIECE_BYTES + 1);
        for (now, piece) in [(1400, PIECE_BYTES), (2800, PIECE_BYTES), (4200, PIECE_BYTES), (5600, 1)] {
            clock.set(now);
            answers.sweep(now);
            assert!(!body.is_end_stream());
            assert_eq!(next(&mut body).unwrap().unwrap(), piece);
        }
        assert!(body.is_end_stream() && next(&mut body).is_none());
    }

    #[test]
    fn answers_that_ended_are_forgotten() {
        let (answers, clock) = (Answers::default(), Arc::new(Ticks::default()));
        for _ in 0..1000 {
            drop(watched(&answers, &clock, 1));
        }
        assert!(answers.0.lock().len() < 10);
    }
}
