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

    /// Milliseconds since the Unix epoch; 0 before it.
    pub fn now(&self) -> UnixMillis {
        match &self.0 {
            Source::System { .. } => system_now(),
            Source::Manual(now) => now.load(Ordering::Relaxed),
        }
    }

    /// `now`, as this clock reads it, but never further from when the clock was made than time has passed: by it, a clock
    /// that is put forward makes nobody forget early. A manual clock is taken at its word.
    pub fn steady(&self, now: UnixMillis) -> UnixMillis {
        match &self.0 {
            Source::System { start, since } => held_back(now, *start, since.elapsed()),
            Source::Manual(_) => now,
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
}
