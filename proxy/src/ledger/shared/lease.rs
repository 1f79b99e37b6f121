//! For how long this replica may act on what it owns.
//!
//! A replica that cannot tell the store that it lives has to stop by itself, before anybody may take its operations over. So
//! its lease runs from when the last beat that was acknowledged was *sent*, and ends a heartbeat earlier than others may call
//! it dead. It is measured on three clocks, and the earliest end counts: the monotonic clock, the boot time, which goes on
//! while the machine is suspended, and the wall clock, which a virtual machine that was stopped may find put forward. None of
//! them can make it longer.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use mainstay_policies::clock::WallClock;
use tokio::time::Instant;

/// What the three clocks show, in ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ledger) struct Moment {
    monotonic: u64,
    boot: u64,
    wall: u64,
}

#[cfg(test)]
impl Moment {
    /// What they show at `ms` where the wall clock is off by `skew_ms`.
    pub(super) const fn of(ms: u64, skew_ms: u64) -> Self {
        Self { monotonic: ms, boot: ms, wall: ms + skew_ms }
    }
}

/// The clocks by which a lease is measured.
pub(in crate::ledger) struct Clocks {
    start: Instant,
    wall: WallClock,
}

impl Clocks {
    pub(in crate::ledger) fn new() -> Self {
        Self { start: Instant::now(), wall: WallClock::system() }
    }

    pub(in crate::ledger) fn now(&self) -> Moment {
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let boot = Duration::new(boot.tv_sec.unsigned_abs(), u32::try_from(boot.tv_nsec).unwrap_or(0));
        Moment { monotonic: millis(self.start.elapsed()), boot: millis(boot), wall: self.wall.now() }
    }
}

/// The right to act, until it ends.
pub(in crate::ledger) struct Lease {
    clocks: Clocks,
    length_ms: u64,
    /// When it was last renewed; `monotonic` is 0 while it was not.
    monotonic: AtomicU64,
    boot: AtomicU64,
    wall: AtomicU64,
}

impl Lease {
    /// A lease that is not held yet, and lasts for `ttl` less one `heartbeat` once it is.
    pub(in crate::ledger) fn new(ttl: Duration, heartbeat: Duration) -> Self {
        let [monotonic, boot, wall] = std::array::from_fn(|_| AtomicU64::new(0));
        Self { clocks: Clocks::new(), length_ms: millis(ttl.saturating_sub(heartbeat)), monotonic, boot, wall }
    }

    /// To be asked before a beat is sent.
    pub(in crate::ledger) fn now(&self) -> Moment {
        self.clocks.now()
    }

    /// A beat that was sent at `sent` was acknowledged.
    pub(in crate::ledger) fn renew(&self, sent: Moment) {
        self.boot.store(sent.boot, Relaxed);
        self.wall.store(sent.wall, Relaxed);
        self.monotonic.store(sent.monotonic.max(1), Relaxed);
    }

    /// It is over: this replica is called dead.
    pub(in crate::ledger) fn end(&self) {
        self.monotonic.store(0, Relaxed);
    }

    /// How long it is still held; zero if it is not.
    pub(in crate::ledger) fn left(&self) -> Duration {
        self.left_at(self.clocks.now())
    }

    /// The same at a moment.
    pub(super) fn left_at(&self, now: Moment) -> Duration {
        if self.monotonic.load(Relaxed) == 0 {
            return Duration::ZERO;
        }
        let renewed = Moment {
            monotonic: self.monotonic.load(Relaxed),
            boot: self.boot.load(Relaxed),
            wall: self.wall.load(Relaxed),
        };
        Duration::from_millis(left(renewed, now, self.length_ms))
    }

    /// How long ago it ended, by the monotonic clock; `None` while it is held.
    pub(in crate::ledger) fn lapsed_for(&self) -> Option<Duration> {
        if self.is_held() {
            return None;
        }
        let passed = self.clocks.now().monotonic.saturating_sub(self.monotonic.load(Relaxed));
        Some(Duration::from_millis(passed.saturating_sub(self.length_ms)))
    }

    pub(in crate::ledger) fn is_held(&self) -> bool {
        !self.left().is_zero()
    }
}

/// What is left at `now` of a lease of that length which was renewed at `renewed`. A wall clock that was put back says nothing.
fn left(renewed: Moment, now: Moment, length_ms: u64) -> u64 {
    let passed = [
        now.monotonic.saturating_sub(renewed.monotonic),
        now.boot.saturating_sub(renewed.boot),
        now.wall.saturating_sub(renewed.wall),
    ];
    passed.into_iter().map(|passed| length_ms.saturating_sub(passed)).min().unwrap_or(0)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_on_which_most_time_has_passed_ends_it() {
        let renewed = Moment { monotonic: 1_000, boot: 50_000, wall: 1_700_000_000_000 };
        let at = |monotonic, boot, wall| Moment {
            monotonic: renewed.monotonic + monotonic,
            boot: renewed.boot + boot,
            wall: renewed.wall + wall,
        };
        for (now, expected, what) in [
            (at(0, 0, 0), 8_000, "just renewed"),
            (at(3_000, 3_000, 3_000), 5_000, "all agree"),
            (at(3_000, 9_000, 3_000), 0, "the machine slept"),
            (at(3_000, 3_000, 3_600_000), 0, "the wall clock was put forward, or the machine was stopped"),
            (at(8_000, 8_000, 8_000), 0, "over"),
            (Moment { wall: 5, ..at(3_000, 3_000, 0) }, 5_000, "the wall clock was put back"),
        ] {
            assert_eq!(left(renewed, now, 8_000), expected, "{what}");
        }
    }

    #[tokio::test]
    async fn it_is_not_held_before_the_first_beat_nor_after_its_end() {
        let lease = Lease::new(Duration::from_secs(10), Duration::from_secs(2));
        assert!(!lease.is_held());
        lease.renew(lease.now());
        assert!(lease.is_held() && lease.left() <= Duration::from_secs(8));
        lease.end();
        assert!(!lease.is_held());
    }
}
