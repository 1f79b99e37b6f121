//! One limit's state, whichever behaviour it has; pure: (state, parameters, now).

use std::time::Duration;

use super::{
    Behavior, RateLimit, Usage,
    gcra::Gcra,
    pace::Pace,
    ticks::{Booking, Ticks, Verdict},
    warm_up::Warmth,
};

#[derive(Clone, Debug)]
pub(super) enum State {
    Reject(Gcra),
    Queue(Pace),
    WarmUp(Box<Warmth>),
    WarmUpQueue(Box<(Warmth, Pace)>),
}

impl State {
    pub(super) fn new(params: &RateLimit) -> Self {
        match &params.behavior {
            Behavior::Reject => Self::Reject(Gcra::default()),
            Behavior::Queue { .. } => Self::Queue(Pace::default()),
            Behavior::WarmUp(_) => Self::WarmUp(Box::default()),
            Behavior::WarmUpQueue { .. } => Self::WarmUpQueue(Box::default()),
        }
    }

    pub(super) fn admit(&mut self, params: &RateLimit, now: u64) -> Verdict {
        match (self, &params.behavior) {
            (Self::Reject(gcra), Behavior::Reject) => gcra.admit(params, now),
            (Self::Queue(pace), Behavior::Queue { max_wait }) => {
                pace.book(params, params.unit.as_nanos(), *max_wait, now)
            }
            (Self::WarmUp(warmth), Behavior::WarmUp(warm_up)) => warmth.admit(params, warm_up, now),
            (Self::WarmUpQueue(state), Behavior::WarmUpQueue { warm_up, max_wait }) => {
                let (warmth, pace) = &mut **state;
                let interval = params.unit.as_nanos() as f64 * warmth.slowdown(params, warm_up, now);
                let verdict = pace.book(params, interval.round() as Ticks, *max_wait, now);
                if !matches!(verdict, Verdict::Reject { .. }) {
                    warmth.count();
                }
                verdict
            }
            // A limiter and its table are made for one behaviour; were they ever not, the limit begins anew.
            (state, _) => {
                *state = Self::new(params);
                state.admit(params, now)
            }
        }
    }

    /// How the limit stands, without a request.
    pub(super) fn usage(&self, params: &RateLimit, now: u64) -> Usage {
        let mut asked = self.clone();
        match asked.admit(params, now) {
            Verdict::Admit(usage) | Verdict::Wait { usage, .. } => Usage {
                remaining: usage.remaining.saturating_add(1),
                reset: usage.reset.saturating_sub(asked.interval(params)),
                ..usage
            },
            Verdict::Reject { usage, .. } => usage,
        }
    }

    /// By how much the request that was just let in put off the time at which the limit is unused.
    fn interval(&self, params: &RateLimit) -> Duration {
        match self {
            Self::Reject(_) => params.unit / params.requests.get(),
            Self::Queue(pace) => pace.interval(),
            Self::WarmUp(_) => Duration::ZERO,
            Self::WarmUpQueue(state) => state.1.interval(),
        }
    }

    /// A waiter left.
    pub(super) fn cancel(&mut self, booking: Booking) {
        match self {
            Self::Queue(pace) => {
                pace.cancel(booking);
            }
            Self::WarmUpQueue(state) => {
                if state.1.cancel(booking) {
                    state.0.uncount();
                }
            }
            Self::Reject(_) | Self::WarmUp(_) => {}
        }
    }

    /// Whether forgetting this state would change nothing.
    pub(super) fn is_idle(&mut self, params: &RateLimit, now: u64) -> bool {
        match (self, &params.behavior) {
            (Self::Reject(gcra), _) => gcra.is_idle(params, now),
            (Self::Queue(pace), _) => pace.is_idle(now),
            (Self::WarmUp(warmth), Behavior::WarmUp(warm_up)) => warmth.is_cold(params, warm_up, now),
            (Self::WarmUpQueue(state), Behavior::WarmUpQueue { warm_up, .. }) => {
                state.1.is_idle(now) && state.0.is_cold(params, warm_up, now)
            }
            _ => true,
        }
    }
}
