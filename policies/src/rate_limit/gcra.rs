//! The generic cell rate algorithm (ITU-T I.371), a token bucket in one number: the theoretical arrival time.

use std::time::Duration;

use super::{
    RateLimit, Usage,
    state::{Ticks, Verdict, nanos, rescaled},
};

#[derive(Clone, Debug, Default)]
pub(super) struct Gcra {
    tat: Ticks,
    scale: u32,
}

impl Gcra {
    pub(super) fn admit(&mut self, params: &RateLimit, now: u64) -> Verdict {
        let scale = params.requests.get();
        self.tat = rescaled(self.tat, self.scale, scale);
        self.scale = scale;
        let interval = params.unit.as_nanos();
        let capacity = interval.saturating_mul(params.burst.get().into());
        let now = Ticks::from(now) * Ticks::from(scale);
        let next = self.tat.max(now).saturating_add(interval);
        let admitted = next - now <= capacity;
        if admitted {
            self.tat = next;
        }
        let debt = self.tat.saturating_sub(now);
        let usage = Usage {
            limit: params.burst.get().into(),
            remaining: capacity.saturating_sub(debt).checked_div(interval).map_or(u64::MAX, |left| left as u64),
            reset: Duration::from_nanos(nanos(debt, scale)),
        };
        if admitted {
            return Verdict::Admit(usage);
        }
        Verdict::Reject { retry_after: Duration::from_nanos(nanos(next - now - capacity, scale)), usage }
    }

    pub(super) fn is_idle(&self, now: u64) -> bool {
        self.tat <= Ticks::from(now) * Ticks::from(self.scale)
    }
}
