//! A limiter that threads share.

use std::{mem, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    RateLimit, SharedLimit, TopKeys, Usage,
    table::{Place, Table},
    ticks::{Booking, Verdict},
};

/// A rate limit and the state of its keys; one per route policy. Clones are the same limit.
#[derive(Clone, Debug)]
pub struct Limiter {
    params: RateLimit,
    table: Arc<Table>,
    /// What it has in common with the limits of other replicas.
    shared: Option<Arc<SharedLimit>>,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Admission {
    /// It goes on.
    Admitted(Usage),
    /// It waits for its slot, then goes on.
    Wait(Slot, Usage),
    /// It is refused; nothing of it reached the service.
    Rejected {
        /// When a request would be admitted.
        retry_after: Duration,
        /// How the limit stands.
        usage: Usage,
    },
}

/// A booked slot. Dropped before [`taken`](Self::taken) it is cancelled, and free for others if it is the last one.
#[derive(Debug)]
#[must_use = "a slot that is dropped is given back"]
pub struct Slot {
    table: Arc<Table>,
    place: Place,
    booking: Booking,
    open: bool,
}

impl Slot {
    /// When the request may go on.
    pub fn until(&self) -> Instant {
        let nanos = Duration::from_nanos(self.booking.at_nanos());
        // No wait is longer than max_wait; what overflows a clock is as good as never.
        let far = Duration::from_hours(24 * 365 * 30);
        self.table.epoch.checked_add(nanos).unwrap_or_else(|| self.table.epoch + far)
    }

    /// The request goes on: the slot is used.
    pub fn taken(mut self) {
        self.open = false;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.open {
            self.table.cancel(self.place, self.booking);
        }
    }
}

impl Limiter {
    /// An unused limit.
    pub fn new(params: RateLimit) -> Self {
        let table = Arc::new(Table::new(&params));
        Self { params, table, shared: None }
    }

    /// The same as a part of a limit that replicas share.
    #[must_use]
    pub fn shared(mut self, limit: Arc<SharedLimit>) -> Self {
        self.shared = Some(limit);
        self
    }

    /// The parameters.
    pub fn params(&self) -> &RateLimit {
        &self.params
    }

    /// How much of a limit that replicas share is this one's.
    pub fn share(&self) -> Option<f64> {
        self.shared.as_ref().map(|shared| shared.fraction())
    }

    /// The limit under new parameters. Where only numbers changed, what was used stays used and a warm limit stays as warm;
    /// another key or behaviour begins anew.
    #[must_use]
    pub fn reconfigured(&self, params: RateLimit) -> Self {
        let same_kind = mem::discriminant(&params.behavior) == mem::discriminant(&self.params.behavior);
        if same_kind && params.key == self.params.key {
            Self { params, table: Arc::clone(&self.table), shared: None }
        } else {
            Self::new(params)
        }
    }

    /// Asks to let one request of `key` through; the key is empty for a limit of the whole route and for a request without one.
    pub fn admit(&self, key: &[u8], now: Instant) -> Admission {
        let (place, verdict) = match &self.shared {
            None => self.table.admit(&self.params, key, self.nanos(now)),
            Some(shared) => self.table.admit(&self.params.part(shared.ask()), key, self.nanos(now)),
        };
        match verdict {
            Verdict::Admit(usage) => Admission::Admitted(usage),
            Verdict::Wait { booking, usage } => {
                Admission::Wait(Slot { table: Arc::clone(&self.table), place, booking, open: true }, usage)
            }
            Verdict::Reject { retry_after, usage } => Admission::Rejected { retry_after, usage },
        }
    }

    /// How the limit of the whole route stands, without asking for anything.
    pub fn usage(&self, now: Instant) -> Usage {
        match &self.shared {
            None => self.table.usage(&self.params, self.nanos(now)),
            Some(shared) => self.table.usage(&self.params.part(shared.fraction()), self.nanos(now)),
        }
    }

    /// Who has used most of a limit by key, at most `most` of them. Off the hot path, and bounded.
    pub fn top(&self, now: Instant, most: usize) -> TopKeys {
        match &self.shared {
            None => self.table.top(&self.params, self.nanos(now), most),
            Some(shared) => self.table.top(&self.params.part(shared.fraction()), self.nanos(now), most),
        }
    }

    /// Forgets idle keys, looking at up to `max_work`, on from where the last sweep stopped. Call it now and then, off the hot
    /// path; memory is bounded without it.
    pub fn sweep(&self, now: Instant, max_work: usize) {
        self.table.sweep(&self.params, self.nanos(now), max_work);
    }

    /// Keys that are remembered.
    pub fn keys(&self) -> usize {
        self.table.len()
    }

    #[cfg(test)]
    pub(super) fn epoch(&self) -> Instant {
        self.table.epoch
    }

    fn nanos(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.table.epoch).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The value of `Retry-After`: whole seconds, rounded up, at least 1.
pub fn retry_after_secs(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0)).max(1)
}
