//! What is counted of an endpoint: one addition for each attempt, and a lock only for one that failed.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use http::StatusCode;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    histogram::Histogram,
    recent::{Counts, Minute},
};

/// The attempts at one endpoint.
#[derive(Debug, Default)]
pub(crate) struct EndpointMetrics {
    took: Histogram,
    errors: AtomicU64,
    last_error: Mutex<Option<LastError>>,
    /// Only whoever looks at counters again takes this lock.
    minute: Mutex<Minute>,
}

/// What was wrong with an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// It has no answer, for this reason: one of the words of the access log.
    Failed(&'static str),
    /// Its answer is a failure of the service.
    Answered(StatusCode),
}

/// The last attempt that went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastError {
    pub(crate) what: Wrong,
    pub(crate) at: Instant,
}

impl EndpointMetrics {
    /// An attempt ended well, or `wrong`, after so long.
    pub(crate) fn ended(&self, took: Duration, wrong: Option<Wrong>, now: Instant) {
        self.took.count(took);
        if let Some(what) = wrong {
            self.errors.fetch_add(1, Relaxed);
            *self.last_error.lock() = Some(LastError { what, at: now });
        }
    }

    /// Looks at the counts, at that place of a minute; whether its last minute takes memory.
    pub(crate) fn look(&self, slot: usize, may_remember: bool) -> bool {
        let mut minute = self.minute.lock();
        minute.look(self.counts(), slot, may_remember);
        minute.is_kept()
    }

    /// What the last minute was like; `None` if it is not known, because too many endpoints are in use.
    pub(crate) fn last_minute(&self) -> Option<Counts> {
        self.minute.lock().grown(&self.counts())
    }

    /// The last attempt that went wrong.
    pub(crate) fn last_error(&self) -> Option<LastError> {
        *self.last_error.lock()
    }

    fn counts(&self) -> Counts {
        Counts::of_attempts(self.errors.load(Relaxed), self.took.counts())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::recent::Counted;

    #[test]
    fn an_endpoint_knows_how_its_last_minute_went_and_what_went_wrong_last() {
        let (endpoint, now) = (EndpointMetrics::default(), Instant::now());
        assert_eq!(endpoint.last_error(), None);
        let second = Duration::from_secs(1);
        endpoint.ended(Duration::from_millis(3), None, now);
        endpoint.ended(second, Some(Wrong::Failed("attempt_timeout")), now);
        let bad = Wrong::Answered(StatusCode::BAD_GATEWAY);
        endpoint.ended(Duration::from_millis(4), Some(bad), now + second);
        endpoint.ended(Duration::from_millis(4), None, now + 2 * second);
        assert_eq!(endpoint.last_error(), Some(LastError { what: bad, at: now + second }));
        let seen = endpoint.last_minute().expect("there is room");
        assert_eq!((seen[Counted::Answers], seen[Counted::Errors]), (4, 2));
        assert!(seen.took_ms(0.99) > Some(500.0) && seen.took_ms(0.5) < Some(10.0));
        // A minute later nothing of it is left.
        (0..13).for_each(|look| assert_eq!(endpoint.look(look % 12, true), look < 12, "{look}"));
        assert_eq!(endpoint.last_minute().map(|seen| seen[Counted::Answers]), Some(0));
        endpoint.ended(second, None, now);
        assert!(!endpoint.look(0, false));
        assert_eq!(endpoint.last_minute(), None, "there was no room for it");
    }
}
