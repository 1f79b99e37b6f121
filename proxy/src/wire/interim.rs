//! Interim responses: what a service says before its answer, such as `103 Early Hints` (RFC 8297), on its way to the client.
//!
//! An HTTP/1 client connection, and each HTTP/2 stream, has one [`InterimReceiver`]. For each request it hands out an
//! [`Interim`], which goes with the request to whatever speaks with the upstream; what is sent into it is written to the
//! client before the answer. The two ends may live in different tasks, and the sending end never waits: interim responses
//! are advice, and an answer must not be late for their sake.
//!
//! ```text
//! listener:  let interim = receiver.next_request();       it goes with the request's ClientExtras
//! upstream:  interim.send(status, headers)                 hop-by-hop fields are off already
//! listener:  while the answer is not there yet: poll_next(cx) -> write it out
//! ```
//!
//! An attempt may outlive its request: a keyed write is waited for after its client was answered. What it says then must not
//! stand before the answer to the next request, so each request has a number and the queue takes only what bears the last one.
//!
//! An upstream's `100 Continue` and `101 Switching Protocols` never come this way: the one is about the request's body, whose
//! gate it opens (`wire/gate.rs`), the other is a final answer.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use futures_util::task::AtomicWaker;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;

/// Interim responses to one request that wait to be written to the client, and that are taken for one request at all; more
/// are dropped. One is usual, a progress report (102) may come a few times.
pub const MAX_INTERIM: usize = 8;

/// Where the interim responses to one request are sent.
#[derive(Clone)]
pub struct Interim {
    shared: Arc<Shared>,
    request: u64,
}

/// Where a client connection takes them from.
#[derive(Default)]
pub struct InterimReceiver {
    shared: Arc<Shared>,
    /// The task that waits at `shared`, until it is woken.
    waiting: Option<Waker>,
}

#[derive(Default)]
struct Shared {
    /// The number of the request at hand.
    request: AtomicU64,
    queue: Mutex<Queue>,
    /// Whether anything is in the queue, so that an empty one costs no lock.
    filled: AtomicBool,
    waker: AtomicWaker,
}

/// What was sent for one request. It is of no use once another one is at hand.
#[derive(Default)]
struct Queue {
    request: u64,
    taken: usize,
    waiting: VecDeque<(StatusCode, HeaderMap)>,
}

impl Interim {
    /// Hands on an interim response, whose header fields are fit for the client. Dropped if the request has been answered or
    /// had [`MAX_INTERIM`] already, or if it is no interim response.
    pub fn send(&self, status: StatusCode, headers: HeaderMap) {
        if !is_passed_on(status) {
            return;
        }
        self.push(status, headers);
    }

    /// The request's body is wanted: `100 Continue`, which over HTTP/2 comes this way.
    pub fn invite(&self) {
        self.push(StatusCode::CONTINUE, HeaderMap::new());
    }

    fn push(&self, status: StatusCode, headers: HeaderMap) {
        let mut queue = self.shared.queue.lock();
        if self.shared.request.load(Ordering::Acquire) != self.request {
            return;
        }
        if queue.request != self.request {
            *queue = Queue { request: self.request, ..Queue::default() };
        }
        if queue.taken >= MAX_INTERIM {
            return;
        }
        queue.taken += 1;
        queue.waiting.push_back((status, headers));
        self.shared.filled.store(true, Ordering::Release);
        // Before the lock is given back: whoever takes something out knows that the task has to register anew.
        self.shared.waker.wake();
    }
}

/// Whether responses of this status go to the client while it waits for the answer.
pub fn is_passed_on(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::CONTINUE && status != StatusCode::SWITCHING_PROTOCOLS
}

impl InterimReceiver {
    /// For one client connection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The sink of the next request. What was sent for the last one and not taken is dropped.
    pub fn next_request(&mut self) -> Interim {
        let request = self.end_request();
        Interim { shared: self.shared.clone(), request }
    }

    /// The request has been answered: nothing that is sent for it from now on is taken.
    pub fn end_request(&mut self) -> u64 {
        let next = self.shared.request.load(Ordering::Relaxed) + 1;
        self.shared.request.store(next, Ordering::Release);
        next
    }

    /// The next interim response to the request at hand. Pending wakes the task when there is one.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(StatusCode, HeaderMap)> {
        let mut next = self.try_next();
        if next.is_none() && !self.waiting.as_ref().is_some_and(|waiting| waiting.will_wake(cx.waker())) {
            self.shared.waker.register(cx.waker());
            self.waiting = Some(cx.waker().clone());
            next = self.try_next();
        }
        next.map_or(Poll::Pending, Poll::Ready)
    }

    /// What is there already.
    pub fn try_next(&mut self) -> Option<(StatusCode, HeaderMap)> {
        if !self.shared.filled.load(Ordering::Acquire) {
            return None;
        }
        let mut queue = self.shared.queue.lock();
        self.waiting = None;
        if queue.request != self.shared.request.load(Ordering::Relaxed) {
            queue.waiting.clear();
        }
        let next = queue.waiting.pop_front();
        self.shared.filled.store(!queue.waiting.is_empty(), Ordering::Relaxed);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statuses(receiver: &mut InterimReceiver) -> Vec<u16> {
        std::iter::from_fn(|| receiver.try_next()).map(|(status, _)| status.as_u16()).collect()
    }

    #[test]
    fn interim_responses_arrive_in_order() {
        let mut receiver = InterimReceiver::new();
        let interim = receiver.next_request();
        interim.send(StatusCode::PROCESSING, HeaderMap::new());
        interim.clone().send(StatusCode::EARLY_HINTS, HeaderMap::new());
        assert_eq!(statuses(&mut receiver), [102, 103]);
    }

    #[test]
    fn no_request_gets_those_of_another() {
        let mut receiver = InterimReceiver::new();
        let first = receiver.next_request();
        first.send(StatusCode::EARLY_HINTS, HeaderMap::new());
        let second = receiver.next_request();
        first.send(StatusCode::EARLY_HINTS, HeaderMap::new());
        assert_eq!(statuses(&mut receiver), [0; 0]);
        second.send(StatusCode::PROCESSING, HeaderMap::new());
        assert_eq!(statuses(&mut receiver), [102]);
        receiver.end_request();
        second.send(StatusCode::PROCESSING, HeaderMap::new());
        assert_eq!(statuses(&mut receiver), [0; 0]);
    }

    #[test]
    fn a_flood_is_cut_off() {
        let mut receiver = InterimReceiver::new();
        let interim = receiver.next_request();
        for _ in 0..3 {
            for _ in 0..MAX_INTERIM {
                interim.send(StatusCode::EARLY_HINTS, HeaderMap::new());
            }
            let _ = receiver.try_next();
        }
        assert_eq!(statuses(&mut receiver).len(), MAX_INTERIM - 3);
    }

    #[test]
    fn only_what_precedes_an_answer_is_passed_on() {
        let mut receiver = InterimReceiver::new();
        let interim = receiver.next_request();
        for status in [100, 101, 200, 304] {
            interim.send(StatusCode::from_u16(status).unwrap(), HeaderMap::new());
        }
        assert_eq!(statuses(&mut receiver), [0; 0]);
    }

    #[tokio::test]
    async fn whoever_waits_is_woken() {
        let mut receiver = InterimReceiver::new();
        for _ in 0..3 {
            let interim = receiver.next_request();
            for _ in 0..2 {
                let waits = std::future::poll_fn(|cx| receiver.poll_next(cx));
                let sends = async {
                    tokio::task::yield_now().await;
                    interim.send(StatusCode::EARLY_HINTS, HeaderMap::new());
                };
                let ((status, _), ()) = futures_util::future::join(waits, sends).await;
                assert_eq!(status, StatusCode::EARLY_HINTS);
            }
            interim.send(StatusCode::EARLY_HINTS, HeaderMap::new());
        }
    }
}
