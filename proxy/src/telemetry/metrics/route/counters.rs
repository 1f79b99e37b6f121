//! What is counted of one route.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use http::StatusCode;
use mainstay_policies::{
    evidence::Evidence,
    operation::{Source, State},
    problem::Problem,
};
use parking_lot::Mutex;

use crate::telemetry::metrics::{
    exemplar::Exemplars,
    histogram::{DOUBT_US, Histogram},
    lately::Stages,
    recent::Counts,
};

/// Reasons of one family and route at most; what comes after them is `other`.
const MAX_REASONS: usize = 32;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptResult {
    /// With a response head.
    Response(StatusCode),
    /// Without, for this reason: one of the words that the access log has for it.
    Failed(&'static str),
    /// It was given up because nobody waited for it any more.
    Cancelled,
}

pub(super) const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

pub(super) const STATES: [State; 5] =
    [State::Pending, State::Succeeded, State::Failed, State::NotExecuted, State::Unknown];

pub(super) const SOURCES: [Option<Source>; 6] = [
    None,
    Some(Source::Response),
    Some(Source::LateResponse),
    Some(Source::StatusQuery),
    Some(Source::Redispatch),
    Some(Source::Operator),
];

/// Classes, and `cancelled`; reasons of failures are counted by themselves.
pub(super) const RESULTS: usize = CLASSES.len() + 1;

const PROBLEMS: usize = Problem::ALL.len();

/// A status is 100 to 999; what is not a known class is the server's fault.
pub(super) fn class_index(status: StatusCode) -> usize {
    (usize::from(status.as_u16()) / 100 - 1).min(CLASSES.len() - 1)
}

#[derive(Debug)]
pub(super) struct Counters {
    pub(crate) requests: [AtomicU64; CLASSES.len()],
    pub(crate) cancelled: AtomicU64,
    pub(crate) in_flight: AtomicI64,
    pub(crate) duration: Histogram,
    pub(crate) attempts: [AtomicU64; RESULTS],
    /// Attempts without an answer, by reason.
    pub(crate) failures: Reasons,
    pub(crate) attempt_duration: Histogram,
    pub(crate) retries: Reasons,
    pub(crate) retries_denied: Reasons,
    pub(crate) fallbacks: Reasons,
    pub(crate) cache: Reasons,
    pub(crate) rate_limited: AtomicU64,
    pub(crate) overloaded: AtomicU64,
    pub(crate) shed: AtomicU64,
    /// Requests that waited for their turn under a limit.
    pub(crate) queued: AtomicU64,
    pub(crate) breaker_rejected: AtomicU64,
    pub(crate) begun: AtomicU64,
    pub(crate) settled: [[AtomicU64; SOURCES.len()]; STATES.len()],
    pub(crate) contradicted: Contradictions,
    pub(crate) doubted: Reasons,
    pub(crate) in_doubt: Histogram,
    /// A sampled request of each bucket of `duration`, the latest.
    pub(crate) exemplars: Exemplars,
    /// The same of attempts.
    pub(crate) attempt_exemplars: Exemplars,
    pub(crate) replays: AtomicU64,
    pub(crate) refused: Reasons,
    pub(crate) problems: [AtomicU64; PROBLEMS],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            requests: Default::default(),
            cancelled: AtomicU64::default(),
            in_flight: AtomicI64::default(),
            duration: Histogram::default(),
            attempts: Default::default(),
            failures: Reasons::default(),
            attempt_duration: Histogram::default(),
            retries: Reasons::default(),
            retries_denied: Reasons::default(),
            fallbacks: Reasons::default(),
            cache: Reasons::default(),
            rate_limited: AtomicU64::default(),
            overloaded: AtomicU64::default(),
            shed: AtomicU64::default(),
            queued: AtomicU64::default(),
            breaker_rejected: AtomicU64::default(),
            begun: AtomicU64::default(),
            settled: Default::default(),
            contradicted: Contradictions::default(),
            doubted: Reasons::default(),
            in_doubt: Histogram::with(&DOUBT_US),
            exemplars: Exemplars::default(),
            attempt_exemplars: Exemplars::default(),
            replays: AtomicU64::default(),
            refused: Reasons::default(),
            problems: [const { AtomicU64::new(0) }; PROBLEMS],
        }
    }
}

impl Counters {
    /// What is looked at again, in the order of [`Counted`](crate::telemetry::metrics::recent::Counted).
    pub(super) fn counts(&self) -> Counts {
        let answers = self.requests.each_ref().map(|count| count.load(Relaxed));
        let by_asking = self.settled.iter().map(|by_source| by_source[Source::StatusQuery as usize + 1].load(Relaxed));
        let of = [
            answers.iter().sum(),
            answers[CLASSES.len() - 1],
            self.cancelled.load(Relaxed),
            self.retries.sum(),
            self.rate_limited.load(Relaxed) + self.overloaded.load(Relaxed),
            self.replays.load(Relaxed),
            self.doubted.sum(),
            by_asking.sum(),
        ];
        Counts::new(of, self.duration.counts())
    }
}

impl Counters {
    /// The same by the stages of a request's way, in the order of [`Stage`](crate::telemetry::metrics::lately::Stage).
    pub(super) fn stages(&self) -> Stages {
        let ended: u64 = self.requests.iter().map(|count| count.load(Relaxed)).sum();
        [
            ended + self.cancelled.load(Relaxed),
            self.rate_limited.load(Relaxed) + self.overloaded.load(Relaxed),
            self.queued.load(Relaxed),
            self.replays.load(Relaxed),
            self.retries.sum(),
            self.breaker_rejected.load(Relaxed),
            self.failures.of(&["attempt_timeout", "timeout"]),
            self.fallbacks.sum(),
            self.cache.of(&["hit", "collapsed", "stale"]),
        ]
        .map(|count| count as u32)
    }
}

/// Settled writes that were contradicted: by their state, what was heard, and from whom. There are few kinds, and each time is
/// one too many, so a lock will do.
#[derive(Debug, Default)]
pub(super) struct Contradictions(pub(super) Mutex<Vec<(Contradiction, u64)>>);

/// The state, what was heard against it, and from whom.
pub(super) type Contradiction = (State, Evidence, Source);

impl Contradictions {
    pub(crate) fn add(&self, state: State, heard: Evidence, source: Source) {
        let mut counts = self.0.lock();
        match counts.iter_mut().find(|(kind, _)| *kind == (state, heard, source)) {
            Some((_, count)) => *count += 1,
            None => counts.push(((state, heard, source), 1)),
        }
    }
}

/// Counts by a reason that is known only at run time; off the usual path, so a lock will do.
#[derive(Debug, Default)]
pub(super) struct Reasons(pub(super) Mutex<Vec<(Box<str>, u64)>>);

impl Reasons {
    /// Those for certain reasons.
    fn of(&self, reasons: &[&str]) -> u64 {
        self.0.lock().iter().filter(|(reason, _)| reasons.contains(&&**reason)).map(|(_, count)| count).sum()
    }

    /// All of them together.
    fn sum(&self) -> u64 {
        self.0.lock().iter().map(|(_, count)| count).sum()
    }

    pub(crate) fn add(&self, reason: &str) {
        let mut counts = self.0.lock();
        let reason = if counts.len() < MAX_REASONS || counts.iter().any(|(known, _)| **known == *reason) {
            reason
        } else {
            "other"
        };
        match counts.iter_mut().find(|(known, _)| **known == *reason) {
            Some((_, count)) => *count += 1,
            None => counts.push((reason.into(), 1)),
        }
    }
}
