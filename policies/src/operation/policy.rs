//! What the transitions of an operation depend on beside its record.

use std::time::Duration;

use crate::retry::{Backoff, Jitter};

/// What the transitions depend on beside the record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepPolicy {
    /// How long an operation may be pending; then it is unknown, whatever became of its owner.
    pub patience: Duration,
    /// How long after it became unknown a late answer may still come; without a status endpoint a person is called then.
    pub late_response: Duration,
    /// How the upstream can be asked, if it can.
    pub asking: Option<Asking>,
    /// How often a request may be dispatched again; only for an upstream that honours keys.
    pub redispatch: Option<Redispatch>,
}

/// How the upstream can be asked what became of a write.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asking {
    /// `not_found` proves nothing until this long after the last dispatch.
    pub settle_after: Duration,
    /// The endpoint itself bars a late original, so `not_found` proves at once.
    pub fenced: bool,
    /// When the next query is made, and when a person is called.
    pub schedule: QuerySchedule,
}

/// When the next status query is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuerySchedule {
    /// The first wait.
    pub first: Duration,
    /// The growth of the wait.
    pub factor: f64,
    /// The longest wait.
    pub max: Duration,
    /// When a person is called.
    pub give_up: Duration,
}

/// How often a write in doubt is dispatched again: the same bytes, under the same key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Redispatch {
    /// How often at most; 0 is never, and then requests are not kept.
    pub attempts: u32,
    /// The waits before each.
    pub backoff: Backoff,
}

impl StepPolicy {
    /// Of an operation to which none applies: a person's word and a restart depend on no time, and without a route nobody can
    /// be asked and nothing can be dispatched.
    pub const NONE: Self =
        Self { patience: Duration::ZERO, late_response: Duration::ZERO, asking: None, redispatch: None };
}

impl Default for Redispatch {
    /// Never. A service that lost an answer is in trouble, so the waits begin longer than a retry's, and go on for longer.
    fn default() -> Self {
        let (base, max) = (Duration::from_millis(500), Duration::from_mins(1));
        Self { attempts: 0, backoff: Backoff { base, max, multiplier: 2.0, jitter: Jitter::Full } }
    }
}

impl Default for QuerySchedule {
    /// Soon at first, since most services know within a second what they did; a minute is often enough for one that is down.
    /// A day later somebody is at work who can look.
    fn default() -> Self {
        Self {
            first: Duration::from_millis(200),
            factor: 2.0,
            max: Duration::from_mins(1),
            give_up: Duration::from_hours(24),
        }
    }
}
