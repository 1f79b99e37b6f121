//! Where each client connection stands, so that slow and idle ones can be found without a timer per request.
//!
//! A connection only notes what it is doing and since when, and one sweep per worker and half second ends those that take too long.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering},
    },
    time::Duration,
};

use super::{
    places::Place,
    ticks::{Ticks, millis, passed},
    untaken::{Answers, WatchedBody},
};
use crate::wire::{body::Stream, direction::Direction};

/// How long a blocked write may stay so before a route says otherwise: the default of `timeout.idle`.
pub(crate) const DEFAULT_IDLE: Duration = Duration::from_mins(5);

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Between requests.
    Idle,
    /// A head, or the beginning of HTTP/2, has begun to arrive.
    Head,
    /// A request is being served, or the connection has changed protocol.
    Busy,
    /// The answer has been given before the request's body was read: what arrives is not a head.
    Unread,
}

/// One connection's phase. Written and read on the worker's thread; atomics only because tasks must be `Send`.
pub(crate) struct Connection {
    phase: AtomicU8,
    /// Milliseconds since the worker began.
    since: AtomicU32,
    http2: AtomicBool,
    /// A request body has not been read to its end.
    body_open: AtomicBool,
    /// An HTTP/1 request waits for its turn.
    queued: AtomicBool,
    /// HTTP/2 streams that are open.
    streams: AtomicU32,
    /// What is being streamed on them.
    pub(super) answers: Answers,
    /// The socket takes no more, and since when.
    blocked: AtomicBool,
    blocked_since: AtomicU32,
    /// Milliseconds that a write may be blocked.
    idle: AtomicU32,
    clock: Arc<Ticks>,
    place: Place,
    /// When it was accepted, and how many milliseconds it may grow old; 0: as many as it likes.
    opened: u32,
    age: u32,
}

/// While it lives a request waits for its turn.
pub(crate) struct Queued<'a>(&'a Connection);

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.queued.store(false, Ordering::Relaxed);
    }
}

impl Connection {
    /// Idle from now on, at its place, until it is of that age.
    pub(super) fn new(clock: Arc<Ticks>, place: Place, age: Option<Duration>) -> Self {
        Self {
            phase: AtomicU8::new(Phase::Idle as u8),
            since: AtomicU32::new(clock.now()),
            http2: AtomicBool::new(false),
            body_open: AtomicBool::new(false),
            queued: AtomicBool::new(false),
            streams: AtomicU32::new(0),
            answers: Answers::default(),
            blocked: AtomicBool::new(false),
            blocked_since: AtomicU32::new(0),
            idle: AtomicU32::new(millis(DEFAULT_IDLE)),
            opened: clock.now(),
            age: age.map_or(0, |age| millis(age).max(1)),
            clock,
            place,
        }
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
        self.since.store(self.clock.now(), Ordering::Relaxed);
    }

    /// Whether it has served its time.
    pub(crate) fn is_old(&self) -> bool {
        self.age != 0 && self.is_old_at(self.clock.now())
    }

    fn is_old_at(&self, now: u32) -> bool {
        self.age != 0 && passed(now, self.opened) >= Duration::from_millis(u64::from(self.age))
    }

    /// The peer speaks HTTP/2.
    pub(crate) fn speaks_http2(&self) {
        self.http2.store(true, Ordering::Relaxed);
        self.enter(Phase::Head);
    }

    /// A request has arrived, with a body still to be read or without.
    pub(crate) fn begin(&self, body_open: bool) {
        self.body_open.store(body_open, Ordering::Relaxed);
        self.enter(Phase::Busy);
    }

    /// The request's body has been read to its end.
    pub(crate) fn body_ended(&self) {
        self.body_open.store(false, Ordering::Relaxed);
    }

    /// A request waits for its turn in a queue of ours, until the guard is dropped.
    pub(crate) fn queued(&self) -> Queued<'_> {
        self.queued.store(true, Ordering::Relaxed);
        Queued(self)
    }

    pub(super) fn is_queued(&self) -> bool {
        self.queued.load(Ordering::Relaxed)
    }

    /// The silence that the route allows in an answer's body. On HTTP/2 the latest request speaks for the connection.
    pub(crate) fn set_idle(&self, idle: Duration) {
        self.idle.store(millis(idle), Ordering::Relaxed);
    }

    /// The socket takes no more for now.
    pub(crate) fn write_blocked(&self) {
        if !self.blocked.swap(true, Ordering::Relaxed) {
            self.blocked_since.store(self.clock.now(), Ordering::Relaxed);
        }
    }

    /// The socket has taken some.
    pub(crate) fn write_went_on(&self) {
        if self.is_blocked() {
            self.blocked.store(false, Ordering::Relaxed);
            if self.is(Phase::Idle) {
                self.enter(Phase::Idle); // which begins only now
            }
        }
    }

    fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    /// An HTTP/2 stream has begun.
    pub(crate) fn stream_begun(&self) {
        self.streams.fetch_add(1, Ordering::Relaxed);
        self.enter(Phase::Busy);
    }

    /// An HTTP/2 stream has ended.
    pub(crate) fn stream_ended(&self) {
        if self.streams.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.enter(Phase::Idle);
        }
    }

    /// Bounds how long the client of an HTTP/2 stream may take nothing of `body`.
    pub(crate) fn watch_answer(&self, body: Stream, idle: Duration) -> WatchedBody {
        self.answers.watch(body, idle, &self.clock)
    }

    /// The answer has been handed over whole.
    pub(crate) fn end(&self) {
        let unread = self.body_open.load(Ordering::Relaxed);
        self.enter(if unread { Phase::Unread } else { Phase::Idle });
    }

    pub(crate) fn is(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::Relaxed) == phase as u8
    }

    /// Whether it has been idle, reading a head, or waiting for its client to take an answer for too long.
    pub(crate) fn overdue(&self, now: u32, limits: &Patience) -> bool {
        if self.is_blocked() {
            // Not idle, whatever the phase: the end of an answer is still to be taken.
            let blocked = passed(now, self.blocked_since.load(Ordering::Relaxed));
            return blocked >= Duration::from_millis(u64::from(self.idle.load(Ordering::Relaxed)));
        }
        let since = passed(now, self.since.load(Ordering::Relaxed));
        if self.is(Phase::Idle) || self.is(Phase::Unread) {
            // HTTP/2 says goodbye by itself.
            let is_http1 = !self.http2.load(Ordering::Relaxed);
            let drained = is_http1 && limits.draining(self.place.direction()).is_some_and(|patience| since >= patience);
            let is_aged = is_http1 && since >= limits.aged && self.is_old_at(now);
            drained || is_aged || since >= limits.keep_alive
        } else {
            self.is(Phase::Head) && since >= limits.header_timeout
        }
    }
}

/// How long a connection may stay in a phase.
pub(crate) struct Patience {
    pub(crate) header_timeout: Duration,
    pub(crate) keep_alive: Duration,
    /// How long one of HTTP/1 that has served its time may be idle: a request may be on its way.
    pub(crate) aged: Duration,
    /// How long one of HTTP/1 may be idle while the process ends.
    pub(crate) draining: Option<Duration>,
    /// The same for the service's own calls.
    pub(crate) draining_outbound: Option<Duration>,
}

impl Patience {
    const fn draining(&self, direction: Direction) -> Option<Duration> {
        match direction {
            Direction::Inbound => self.draining,
            Direction::Outbound => self.draining_outbound,
        }
    }
}
