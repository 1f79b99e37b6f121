//! Where each client connection stands, so that slow and idle ones can be found without a timer per request.
//!
//! A connection only notes what it is doing and since when, and one sweep per worker and half second ends those that take too long.

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use mainstay_policies::operation::UnixMillis;
use parking_lot::Mutex;
use tokio::{sync::Notify, task::AbortHandle, time::Instant};

use super::untaken::{Answers, WatchedBody};
use crate::wire::body::Stream;

/// How often a worker looks for connections that take too long. It is never too early, and at most twice this too late.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_millis(250);

/// How long a blocked write may stay so before a route says otherwise: the default of `timeout.idle`.
const DEFAULT_IDLE: Duration = Duration::from_mins(5);

/// How long a connection may be idle while draining.
const DRAIN_PATIENCE: Duration = Duration::from_millis(250);

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
    answers: Answers,
    /// The socket takes no more, and since when.
    blocked: AtomicBool,
    blocked_since: AtomicU32,
    /// Milliseconds that a write may be blocked.
    idle: AtomicU32,
    clock: Arc<Ticks>,
    _place: Place,
}

/// While it lives a request waits for its turn.
pub(crate) struct Queued<'a>(&'a Connection);

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.queued.store(false, Ordering::Relaxed);
    }
}

/// Coarse time of one worker, advanced by its sweep: reading it costs no system call.
#[derive(Default)]
pub(super) struct Ticks {
    /// Milliseconds since the worker began; monotonic.
    now: AtomicU32,
}

/// Wall time, as a `Date` field says it (RFC 9110 section 6.6.1).
pub(super) type Date = [u8; 29];

thread_local! {
    /// That of the worker's last sweep: every answer may need it, and a lock would be taken for each.
    static DATE: Cell<Date> = const { Cell::new([b'0'; 29]) };
}

/// Wall time for a `Date` field.
pub(super) fn date() -> Date {
    DATE.get()
}

fn set_date(wall: UnixMillis) {
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(wall));
    if let Ok(date) = date.as_bytes().try_into() {
        DATE.set(date);
    }
}

impl Ticks {
    pub(super) fn now(&self) -> u32 {
        self.now.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, now: u32) {
        self.now.store(now, Ordering::Relaxed);
    }
}

impl Connection {
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
        self.since.store(self.clock.now(), Ordering::Relaxed);
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
    fn overdue(&self, now: u32, limits: &Patience) -> bool {
        if self.is_blocked() {
            // Not idle, whatever the phase: the end of an answer is still to be taken.
            let blocked = passed(now, self.blocked_since.load(Ordering::Relaxed));
            return blocked >= Duration::from_millis(u64::from(self.idle.load(Ordering::Relaxed)));
        }
        let since = passed(now, self.since.load(Ordering::Relaxed));
        if self.is(Phase::Idle) || self.is(Phase::Unread) {
            // HTTP/2 says goodbye by itself. A connection that has just come may have its first request on the way.
            let drained = limits.draining && !self.http2.load(Ordering::Relaxed) && since >= DRAIN_PATIENCE;
            drained || since >= limits.keep_alive
        } else {
            self.is(Phase::Head) && since >= limits.header_timeout
        }
    }
}

/// The time that has passed for certain: what is noted between two sweeps bears the time of the first, and nothing may be cut
/// off before its time.
fn passed(now: u32, noted: u32) -> Duration {
    Duration::from_millis(u64::from(now.wrapping_sub(noted))).saturating_sub(SWEEP_EVERY)
}

pub(super) fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// How long a connection may stay in a phase.
pub(crate) struct Patience {
    pub(crate) header_timeout: Duration,
    pub(crate) keep_alive: Duration,
    /// Idle connections end soon.
    pub(crate) draining: bool,
}

/// The HTTP/1 connections of one worker.
pub(crate) struct Connections {
    began: Instant,
    ticks: Arc<Ticks>,
    all: Mutex<Vec<(Arc<Connection>, AbortHandle)>>,
}

impl Connections {
    pub(crate) fn new(wall: UnixMillis) -> Self {
        let ticks = Arc::new(Ticks::default());
        set_date(wall);
        Self { began: Instant::now(), ticks, all: Mutex::new(Vec::new()) }
    }

    pub(crate) fn open(&self, place: Place) -> Arc<Connection> {
        Arc::new(Connection {
            phase: AtomicU8::new(Phase::Idle as u8),
            since: AtomicU32::new(self.ticks.now()),
            http2: AtomicBool::new(false),
            body_open: AtomicBool::new(false),
            queued: AtomicBool::new(false),
            streams: AtomicU32::new(0),
            answers: Answers::default(),
            blocked: AtomicBool::new(false),
            blocked_since: AtomicU32::new(0),
            idle: AtomicU32::new(millis(DEFAULT_IDLE)),
            clock: self.ticks.clone(),
            _place: place,
        })
    }

    /// Lets the sweep end the connection's task.
    pub(crate) fn watch(&self, connection: Arc<Connection>, task: AbortHandle) {
        self.all.lock().push((connection, task));
    }

    /// Ends what takes too long and forgets what has ended. Runs on the worker's thread, so no connection is being polled
    /// meanwhile.
    pub(crate) fn sweep(&self, limits: &Patience, wall: UnixMillis) {
        let now = self.began.elapsed().as_millis() as u32;
        self.ticks.set(now);
        set_date(wall);
        self.all.lock().retain(|(connection, task)| {
            if task.is_finished() {
                return false;
            }
            connection.answers.sweep(now);
            let overdue = connection.overdue(now, limits);
            if overdue {
                task.abort();
            }
            !overdue
        });
    }
}

/// Counts client connections of all workers against `limits.connections`.
pub(crate) struct Places {
    open: AtomicUsize,
    freed: Notify,
}

/// One connection's place; free again when dropped.
pub(crate) struct Place(Arc<Places>);

impl Places {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { open: AtomicUsize::new(0), freed: Notify::new() })
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Waits until fewer than `limit` connections are open. While it waits nothing is accepted, so the kernel's queue
    /// fills and new clients wait instead of being cut off.
    pub(crate) async fn take(self: &Arc<Self>, limit: usize) -> Place {
        loop {
            let freed = self.freed.notified();
            if self.open.fetch_add(1, Ordering::AcqRel) < limit {
                return Place(self.clone());
            }
            self.open.fetch_sub(1, Ordering::AcqRel);
            // The timeout covers a limit raised by a reload.
            let _ = tokio::time::timeout(Duration::from_secs(1), freed).await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_cut_off_before_its_time_whenever_it_began_between_two_sweeps() {
        let ticks = Arc::new(Ticks::default());
        let connections = Connections { began: Instant::now(), ticks: ticks.clone(), all: Mutex::new(Vec::new()) };
        let limits = |header_timeout, keep_alive| Patience { header_timeout, keep_alive, draining: false };
        let limit = Duration::from_millis(400);
        let sweep = millis(SWEEP_EVERY);
        for after_a_sweep in 0..sweep {
            for phase in [Phase::Head, Phase::Idle] {
                let places = Places::new();
                places.open.fetch_add(1, Ordering::Relaxed);
                let connection = connections.open(Place(places));
                ticks.set(1_000);
                connection.enter(phase);
                let began = 1_000 + after_a_sweep;
                let end =
                    (1..10).map(|nth| 1_000 + nth * sweep).find(|&now| connection.overdue(now, &limits(limit, limit)));
                let took = Duration::from_millis(u64::from(end.unwrap() - began));
                assert!(took >= limit && took <= limit + 2 * SWEEP_EVERY, "{phase:?}: {took:?}");
            }
        }
    }
}
