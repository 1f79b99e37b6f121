//! The one source of wall time.
//!
//! Durations are measured with [`tokio::time::Instant`], which is monotonic and which a test can pause. Wall time is only
//! for what a person or another process reads: records, documents, logs.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use tokio::time::Instant;

/// Wall time in milliseconds since the Unix epoch.
pub type UnixMillis = u64;

/// A source of wall time; cheap to clone.
#[derive(Clone)]
pub struct WallClock(Source);

#[derive(Clone)]
enum Source {
    /// With both clocks as they were when it was made.
    System {
        start: UnixMillis,
        since: Instant,
    },
    Manual(Arc<AtomicU64>),
    Told(Arc<Told>),
}

/// A time that somebody else keeps, such as a store that several processes share: as it was last told, and what has passed
/// since.
struct Told {
    since: Instant,
    /// The time at `since`, as it was told first and last; 0 until it was.
    first: AtomicU64,
    last: AtomicU64,
}

impl Told {
    fn passed(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl WallClock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(Source::System { start: system_now(), since: Instant::now() })
    }

    /// A clock that stands at `start` until it is moved; for tests.
    pub fn manual(start: UnixMillis) -> Self {
        Self(Source::Manual(Arc::new(AtomicU64::new(start))))
    }

    /// A clock that shows the time it was last [told](Self::tell) and what has passed since by the monotonic clock; 0 until it
    /// was.
    pub fn told() -> Self {
        Self(Source::Told(Arc::new(Told { since: Instant::now(), first: AtomicU64::new(0), last: AtomicU64::new(0) })))
    }

    /// Tells a clock what time it was at `at`. Returns by how much that differs from what it would have shown, in ms: more, if it
    /// is positive. Other clocks take no notice.
    pub fn tell(&self, now: UnixMillis, at: Instant) -> i64 {
        let Source::Told(told) = &self.0 else { return 0 };
        let passed = u64::try_from(at.saturating_duration_since(told.since).as_millis()).unwrap_or(u64::MAX);
        let start = now.saturating_sub(passed).max(1);
        let _ = told.first.compare_exchange(0, start, Ordering::Relaxed, Ordering::Relaxed);
        let before = told.last.swap(start, Ordering::Relaxed);
        if before == 0 { 0 } else { start.cast_signed().wrapping_sub(before.cast_signed()) }
    }

    /// Milliseconds since the Unix epoch; 0 before it.
    pub fn now(&self) -> UnixMillis {
        match &self.0 {
            Source::System { .. } => system_now(),
            Source::Manual(now) => now.load(Ordering::Relaxed),
            Source::Told(told) => match told.last.load(Ordering::Relaxed) {
                0 => 0,
                start => start.saturating_add(told.passed()),
            },
        }
    }

    /// `now`, as this clock reads it, but never further from when the clock was made than time has passed: by it, a clock
    /// that is put forward makes nobody forget early. A manual clock is taken at its word.
    pub fn steady(&self, now: UnixMillis) -> UnixMillis {
        match &self.0 {
            Source::System { start, since } => held_back(now, *start, since.elapsed()),
            Source::Manual(_) => now,
            Source::Told(told) => held_back(now, told.first.load(Ordering::Relaxed), told.since.elapsed()),
        }
    }

    /// Moves a manual clock forward; the system's clock moves by itself.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(now) = &self.0 {
            now.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the injected clock")]
fn system_now() -> UnixMillis {
    let since = std::time::SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn held_back(now: UnixMillis, start: UnixMillis, passed: Duration) -> UnixMillis {
    now.min(start.saturating_add(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)))
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WallClock({})", self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_put_forward_holds_back_what_is_forgotten_by_it() {
        let passed = Duration::from_secs(7);
        for (now, expected, what) in [
            (1_007_000, 1_007_000, "both agree"),
            (9_999_000, 1_007_000, "put forward"),
            (5_000, 5_000, "put back: what was written since counts longer, which is the safe side"),
        ] {
            assert_eq!(held_back(now, 1_000_000, passed), expected, "{what}");
        }
        assert_eq!(held_back(3, u64::MAX, Duration::MAX), 3);
        let clock = WallClock::system();
        assert!(clock.steady(clock.now()).abs_diff(clock.now()) < 1_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_told_the_time_goes_on_by_itself_and_says_by_how_much_it_was_wrong() {
        let clock = WallClock::told();
        assert_eq!(clock.now(), 0, "nobody has told it");
        assert_eq!(clock.tell(1_000_000, Instant::now()), 0);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(clock.now(), 1_003_000);
        assert_eq!(clock.tell(1_063_000, Instant::now()), 60_000, "put forward");
        assert_eq!((clock.now(), clock.steady(clock.now())), (1_063_000, 1_003_000), "nothing is forgotten by that");
        assert_eq!(clock.tell(1_002_000, Instant::now()), -61_000, "put back");
        assert_eq!((clock.now(), clock.steady(clock.now())), (1_002_000, 1_002_000));
        assert_eq!(WallClock::manual(5).tell(9, Instant::now()), 0, "takes no notice");
    }
}
