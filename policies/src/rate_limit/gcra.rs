//! The generic cell rate algorithm (ITU-T I.371), a token bucket in one number: the theoretical arrival time.

use std::time::Duration;

use super::{
    RateLimit, Usage,
    ticks::{Ticks, Verdict, nanos},
};

#[derive(Clone, Debug, Default)]
pub(super) struct Gcra {
    tat: Ticks,
    /// The parameters that `tat` was counted under: requests, burst, and the unit in nanoseconds.
    scale: u32,
    burst: u32,
    unit: u64,
}

impl Gcra {
    pub(super) fn admit(&mut self, params: &RateLimit, now: u64) -> Verdict {
        self.adopt(params, now);
        let scale = params.requests.get();
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

    /// Under other numbers the bucket is as full, in proportion, as it was: what was used up stays used up, whether the rate,
    /// the unit or the burst changed.
    fn adopt(&mut self, params: &RateLimit, now: u64) {
        let (scale, burst) = (params.requests.get(), params.burst.get());
        let unit = u64::try_from(params.unit.as_nanos()).unwrap_or(u64::MAX);
        if (scale, burst, unit) == (self.scale, self.burst, self.unit) {
            return;
        }
        let capacity = |burst: u32, unit: u64| Ticks::from(unit) * Ticks::from(burst);
        let (before, after) = (capacity(self.burst, self.unit), capacity(burst, unit));
        let debt = self.tat.saturating_sub(Ticks::from(now) * Ticks::from(self.scale)).min(before);
        let owed = match debt.checked_mul(after) {
            Some(product) => product.checked_div(before).unwrap_or(0),
            None => (debt as f64 / before as f64 * after as f64) as Ticks,
        };
        *self = Self { tat: Ticks::from(now) * Ticks::from(scale) + owed.min(after), scale, burst, unit };
    }

    /// Under the parameters of now, whatever those were of the last request.
    pub(super) fn is_idle(&mut self, params: &RateLimit, now: u64) -> bool {
        self.adopt(params, now);
        self.tat <= Ticks::from(now) * Ticks::from(self.scale)
    }
}
