//! The breaker's states and what moves it between them; pure: (state, event, now).

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    CircuitBreaker, Ejections,
    ejection::Ejection,
    window::{Counts, Window},
};

/// How a call ended. Its slowness is measured, not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// The service answered, a 4xx included.
    Success,
    /// The transport failed, time ran out, or the status is an error.
    Error,
}

/// Where an operator holds a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forced {
    /// Every call is rejected.
    Open,
    /// Every call is let through; results are counted and trip nothing.
    Closed,
    /// Every call is let through; nothing is counted.
    Disabled,
}

/// What a breaker does with the next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Calls go through.
    Closed,
    /// Calls are rejected.
    Open,
    /// A few calls go through as probes.
    HalfOpen,
    /// [`Forced::Open`].
    ForcedOpen,
    /// [`Forced::Closed`].
    ForcedClosed,
    /// [`Forced::Disabled`].
    Disabled,
}

impl State {
    /// The bounded label for metrics and documents.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::ForcedOpen => "forced_open",
            Self::ForcedClosed => "forced_closed",
            Self::Disabled => "disabled",
        }
    }
}

/// How often a breaker changed state; kept across reloads, for counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transitions {
    /// Closed or half-open to open.
    pub opened: u64,
    /// Open to half-open.
    pub half_opened: u64,
    /// Half-open to closed.
    pub closed: u64,
}

/// What a breaker looks like at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its state. An open breaker stays open until the next call, even when its time is over.
    pub state: State,
    /// Completions in the window.
    pub requests: u64,
    /// Errors in the window.
    pub errors: u64,
    /// Slow calls in the window.
    pub slow: u64,
    /// Errors in a row.
    pub consecutive_errors: u32,
    /// While open: how long until the next call may go through.
    pub retry_after: Option<Duration>,
    /// Changes of state so far.
    pub transitions: Transitions,
    /// When it came to its state; `None` if it has been in it from the beginning.
    pub since: Option<Instant>,
}

/// Why a breaker opened last: what reached which bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trip {
    /// The condition as the configuration names it; `half_open`: a probe was not good, or none ended in time.
    pub condition: &'static str,
    /// What it was: a ratio, or a count.
    pub value: f64,
    /// What it must stay below.
    pub threshold: f64,
    /// Completions in the window then.
    pub requests: u64,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed,
    Open { until: Instant },
    HalfOpen { deadline: Instant, permits: u32, good: u32 },
}

/// Permission for one call, to be handed back with its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    epoch: u64,
    pub(super) probe: bool,
}

#[derive(Debug)]
pub(super) struct Machine {
    phase: Phase,
    epoch: u64,
    window: Window,
    consecutive_errors: u32,
    forced: Option<Forced>,
    group: Option<Arc<Ejections>>,
    /// Held while not closed.
    ejection: Option<Ejection>,
    transitions: Transitions,
    trip: Option<Trip>,
    /// When it came to its state, if it ever changed.
    since: Option<Instant>,
}

impl Machine {
    pub(super) fn new(params: &CircuitBreaker, now: Instant) -> Self {
        Self {
            phase: Phase::Closed,
            epoch: 0,
            window: Window::new(params.window, now),
            consecutive_errors: 0,
            forced: None,
            group: None,
            ejection: None,
            transitions: Transitions::default(),
            trip: None,
            since: None,
        }
    }

    pub(super) fn in_group(self, group: Arc<Ejections>) -> Self {
        Self { group: Some(group), ..self }
    }

    /// A fresh machine for new parameters that keeps what an operator decided and what metrics count.
    pub(super) fn renewed(&self, params: &CircuitBreaker, now: Instant) -> Self {
        let (forced, group, transitions) = (self.forced, self.group.clone(), self.transitions);
        let since = if forced.is_some() { self.since } else { Some(now) };
        Self { forced, group, transitions, trip: self.trip, since, ..Self::new(params, now) }
    }

    /// Begins anew in the same group. What metrics count goes on, and no ticket given before is of this epoch.
    pub(super) fn forget(&mut self, params: &CircuitBreaker, now: Instant) {
        let (epoch, group, transitions) = (self.epoch + 1, self.group.clone(), self.transitions);
        *self = Self { epoch, group, transitions, ..Self::new(params, now) };
    }

    /// A call wants to go through; the error is how long it should wait.
    pub(super) fn acquire(&mut self, params: &CircuitBreaker, now: Instant) -> Result<Ticket, Duration> {
        if let Some(forced) = self.forced {
            return match forced {
                Forced::Open => Err(params.open_duration),
                Forced::Closed | Forced::Disabled => Ok(self.ticket(false)),
            };
        }
        self.expire_probes(params, now);
        if let Phase::Open { until } = self.phase {
            if now < until {
                return Err(until - now);
            }
            let deadline = later(now, params.half_open.timeout);
            self.enter(Phase::HalfOpen { deadline, permits: params.half_open.probes.get(), good: 0 }, now);
            self.transitions.half_opened += 1;
        }
        match &mut self.phase {
            Phase::HalfOpen { deadline, permits: 0, .. } => {
                Err(deadline.saturating_duration_since(now).min(params.open_duration))
            }
            Phase::HalfOpen { permits, .. } => {
                *permits -= 1;
                Ok(self.ticket(true))
            }
            Phase::Closed | Phase::Open { .. } => Ok(self.ticket(false)),
        }
    }

    /// A call ended after `latency`.
    pub(super) fn record(
        &mut self,
        params: &CircuitBreaker,
        ticket: Ticket,
        outcome: CallOutcome,
        latency: Duration,
        now: Instant,
    ) {
        self.expire_probes(params, now);
        if ticket.epoch != self.epoch || self.forced == Some(Forced::Disabled) {
            return;
        }
        let error = outcome == CallOutcome::Error;
        let slow = params.slow_call.as_ref().is_some_and(|slow_call| latency > slow_call.duration);
        match &mut self.phase {
            Phase::Closed => {
                self.window.at(now);
                let counts = self.window.add(error, slow);
                self.consecutive_errors = if error { self.consecutive_errors.saturating_add(1) } else { 0 };
                if self.forced.is_none()
                    && let Some(trip) = self.trips(params, counts)
                    && self.may_eject()
                {
                    self.open(now, params, trip);
                }
            }
            Phase::HalfOpen { .. } if error || slow => self.open(now, params, PROBE_FAILED),
            Phase::HalfOpen { good, .. } => {
                *good += 1;
                if *good >= params.half_open.probes.get() {
                    self.enter(Phase::Closed, now);
                    self.transitions.closed += 1;
                }
            }
            Phase::Open { .. } => {}
        }
    }

    /// A call ended without a result.
    pub(super) fn cancel(&mut self, ticket: Ticket) {
        if let Phase::HalfOpen { permits, .. } = &mut self.phase
            && ticket.probe
            && ticket.epoch == self.epoch
        {
            *permits += 1;
        }
    }

    /// An operator holds the breaker.
    pub(super) fn force(&mut self, forced: Forced, now: Instant) {
        self.forced = Some(forced);
        self.enter(Phase::Closed, now);
    }

    /// An operator lets it go: closed, with an empty window.
    pub(super) fn release(&mut self, now: Instant) {
        if self.forced.take().is_some() {
            self.enter(Phase::Closed, now);
        }
    }

    pub(super) fn snapshot(&mut self, params: &CircuitBreaker, now: Instant) -> Snapshot {
        self.expire_probes(params, now);
        let counts = self.window.at(now);
        let (state, retry_after) = match (self.forced, self.phase) {
            (Some(Forced::Open), _) => (State::ForcedOpen, Some(params.open_duration)),
            (Some(Forced::Closed), _) => (State::ForcedClosed, None),
            (Some(Forced::Disabled), _) => (State::Disabled, None),
            (None, Phase::Closed) => (State::Closed, None),
            (None, Phase::Open { until }) => (State::Open, Some(until.saturating_duration_since(now))),
            (None, Phase::HalfOpen { .. }) => (State::HalfOpen, None),
        };
        Snapshot {
            state,
            requests: counts.requests,
            errors: counts.errors,
            slow: counts.slow,
            consecutive_errors: self.consecutive_errors,
            retry_after,
            transitions: self.transitions,
            since: self.since,
        }
    }

    /// What completed in each part of the window, the oldest first.
    pub(super) fn buckets(&mut self, now: Instant) -> [Counts; 10] {
        self.window.buckets(now)
    }

    /// Why it opened last, if it ever did.
    pub(super) const fn trip(&self) -> Option<Trip> {
        self.trip
    }

    /// A half-open epoch without a verdict was reopened when its time was over, whenever that is noticed.
    fn expire_probes(&mut self, params: &CircuitBreaker, now: Instant) {
        if let Phase::HalfOpen { deadline, .. } = self.phase
            && now >= deadline
        {
            self.open(deadline, params, PROBE_FAILED);
        }
    }

    /// Whether a condition is met, and which.
    fn trips(&self, params: &CircuitBreaker, counts: Counts) -> Option<Trip> {
        let trip = |condition, value, threshold| Trip { condition, value, threshold, requests: counts.requests };
        let reached = |condition, count: u64, limit: Option<NonZeroU32>| {
            let limit = limit.filter(|limit| count >= limit.get().into())?;
            Some(trip(condition, count as f64, limit.get().into()))
        };
        let in_a_row = reached("consecutive_errors", self.consecutive_errors.into(), params.consecutive_errors);
        if in_a_row.is_some() || counts.requests < params.min_requests.get().into() {
            return in_a_row;
        }
        // A quotient of whole numbers is the f64 nearest to it, as is a ratio read from text: 3 of 10 is 0.3 exactly. A ratio
        // of 0 or less would trip on nothing at all: it asks for one. More than 1 counts as 1.
        let share = |condition, count: u64, ratio: f64| {
            let share = count as f64 / counts.requests as f64;
            (!ratio.is_nan() && count > 0 && share >= ratio.min(1.0)).then(|| trip(condition, share, ratio))
        };
        params
            .error_ratio
            .and_then(|ratio| share("error_ratio", counts.errors, ratio))
            .or_else(|| params.slow_call.as_ref().and_then(|slow| share("slow_call", counts.slow, slow.ratio)))
            .or_else(|| reached("error_count", counts.errors, params.error_count))
    }

    /// Whether the group lets one more be open; if so, this one counts.
    fn may_eject(&mut self) -> bool {
        if let Some(group) = &self.group
            && self.ejection.is_none()
        {
            self.ejection = group.eject();
            return self.ejection.is_some();
        }
        true
    }

    fn open(&mut self, at: Instant, params: &CircuitBreaker, trip: Trip) {
        self.trip = Some(trip);
        self.enter(Phase::Open { until: later(at, params.open_duration) }, at);
        self.transitions.opened += 1;
    }

    fn enter(&mut self, phase: Phase, now: Instant) {
        if matches!(phase, Phase::Closed) {
            self.ejection = None;
        }
        self.phase = phase;
        self.since = Some(now);
        self.epoch += 1;
        self.window.clear();
        self.consecutive_errors = 0;
    }

    fn ticket(&self, probe: bool) -> Ticket {
        Ticket { epoch: self.epoch, probe }
    }
}

/// One probe is enough to know.
const PROBE_FAILED: Trip = Trip { condition: "half_open", value: 1.0, threshold: 1.0, requests: 1 };

/// `at + duration`, or as good as never (30 years) where that overflows.
fn later(at: Instant, duration: Duration) -> Instant {
    at.checked_add(duration).unwrap_or_else(|| at + Duration::from_hours(24 * 365 * 30))
}
