//! Time as the data path reads it: one clock for all connections of a worker.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, UNIX_EPOCH},
};

use mainstay_policies::operation::UnixMillis;

/// How often a worker looks for connections that take too long. It is never too early, and at most twice this too late.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_millis(250);

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

pub(super) fn set_date(wall: UnixMillis) {
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

/// The time that has passed for certain: what is noted between two sweeps bears the time of the first, and nothing may be cut
/// off before its time.
pub(super) fn passed(now: u32, noted: u32) -> Duration {
    Duration::from_millis(u64::from(now.wrapping_sub(noted))).saturating_sub(SWEEP_EVERY)
}

pub(super) fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
