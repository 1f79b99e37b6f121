//! Uniform pacing: every request gets the next free slot.

use std::time::Duration;

use super::{
    RateLimit, Usage,
    ticks::{Booking, Ticks, Verdict, nanos, rescaled},
};

#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    /// The last slot given out.
    last: Option<Booking>,
}

impl Pace {
    /// `slot = max(now, last + interval)`, refused if it is more than `max_wait` away.
    pub(super) fn book(&mut self, params: &RateLimit, interval: Ticks, max_wait: Duration, now: u64) -> Verdict {
        let scale = params.requests.get();
        let now = Ticks::from(now) * Ticks::from(scale);
        let max_wait = max_wait.as_nanos().saturating_mul(scale.into());
        let after_last = self.last.map_or(0, |last| rescaled(last.at, last.scale, scale).saturating_add(interval));
        let at = after_last.max(now);
        let wait = at - now;
        let usage = Usage {
            limit: scale.into(),
            remaining: max_wait.saturating_sub(wait).checked_div(interval).map_or(u64::MAX, |left| left as u64),
            reset: Duration::from_nanos(nanos(wait, scale)),
        };
        if wait > max_wait {
            return Verdict::Reject { retry_after: Duration::from_nanos(nanos(wait - max_wait, scale)), usage };
        }
        let booking = Booking { at, interval, scale };
        self.last = Some(booking);
        // The next slot is an interval away: only then is the limit unused.
        let usage = Usage { reset: Duration::from_nanos(nanos(wait.saturating_add(interval), scale)), ..usage };
        if wait == 0 { Verdict::Admit(usage) } else { Verdict::Wait { booking, usage } }
    }

    /// Takes the slot back if it is the last one; says whether it was.
    pub(super) fn cancel(&mut self, booking: Booking) -> bool {
        let is_last = self.last == Some(booking);
        if is_last {
            self.last = Some(Booking { at: booking.at.saturating_sub(booking.interval), ..booking });
        }
        is_last
    }

    /// The time from the last slot to the next, rounded down: what is taken off for it leaves no time too short.
    pub(super) fn interval(&self) -> Duration {
        let whole = |last: Booking| u64::try_from(last.interval / Ticks::from(last.scale)).unwrap_or(u64::MAX);
        self.last.map_or(Duration::ZERO, |last| Duration::from_nanos(whole(last)))
    }

    pub(super) fn is_idle(&self, now: u64) -> bool {
        self.last.is_none_or(|last| last.at + last.interval <= Ticks::from(now) * Ticks::from(last.scale))
    }
}
