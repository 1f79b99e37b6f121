//! The time of a request whose body is still coming: it begins when the body ends (the contract's `total` and `attempt`). Until
//! then `timeout.idle` bounds how long the client may send nothing, and how long the service may take nothing.

use std::time::Duration;

use tokio::time::Instant;

use crate::listener::body::Owed;

/// A body that is sent on as it comes.
#[derive(Clone)]
pub(crate) struct Upload {
    pub(crate) owed: Owed,
    /// When the request's head was there, from which its deadline was counted.
    pub(crate) arrived: Instant,
    /// How long nothing of the body may move.
    pub(crate) idle: Duration,
}

impl Upload {
    /// When time begins to count: at the body's end, which is not before `now` while it is coming.
    pub(crate) fn counts_from(&self, now: Instant) -> Instant {
        self.owed.ended_at().unwrap_or(now)
    }

    /// What a deadline that was counted from the head becomes.
    pub(crate) fn moved(&self, deadline: Instant, now: Instant) -> Instant {
        deadline + self.counts_from(now).saturating_duration_since(self.arrived)
    }

    /// When an attempt whose alarm rang is to be looked at again, though the body is still coming. `None`: it has ended, or the
    /// service takes nothing of it. A client that sends nothing is stopped by the body itself.
    pub(crate) fn look_again(&self, now: Instant, after: Duration) -> Option<Instant> {
        if self.owed.ended_at().is_some() {
            return None;
        }
        if self.owed.is_waited_for() {
            return Some(now + after);
        }
        let stalled = self.owed.moved_at() + self.idle;
        (stalled > now).then(|| stalled.min(now + after))
    }
}
