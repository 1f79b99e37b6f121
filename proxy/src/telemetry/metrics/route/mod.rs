//! The counters of a route.

pub(crate) mod counters;
pub(crate) mod expose;

use std::sync::{Arc, OnceLock, atomic::Ordering::Relaxed};

use http::StatusCode;
use mainstay_policies::{
    clock::UnixMillis,
    concurrency_limit::OverloadedBy,
    evidence::Evidence,
    operation::{Source, State},
    problem::Problem,
};

use parking_lot::Mutex;

use self::counters::{AttemptResult, Counters, RESULTS, class_index};
use super::{
    lately::{FiveMinutes, Stages},
    recent::{Counts, Minute},
};

/// Routes that are configured no more but still shown, so that a scrape after a reload sees their last values.
const MAX_RETIRED: usize = 256;

/// The counters of one route with its upstream and its policy. Cheap to clone; every method is a few nanoseconds.
#[derive(Clone, Debug)]
pub struct RouteMetrics(Arc<Route>);

impl RouteMetrics {
    /// A request came to this route; it [ends](Self::end) once.
    pub fn begin(&self) {
        self.0.counters().in_flight.fetch_add(1, Relaxed);
    }

    /// It has ended, after so long: with this response, body and all, or with none, because its client has left.
    pub fn end(&self, status: Option<StatusCode>, took: std::time::Duration) {
        let counters = self.0.counters();
        counters.in_flight.fetch_sub(1, Relaxed);
        match status {
            Some(status) => {
                counters.requests[class_index(status)].fetch_add(1, Relaxed);
                counters.duration.observe(took);
            }
            None => {
                counters.cancelled.fetch_add(1, Relaxed);
            }
        }
    }

    /// An attempt took this long and ended so.
    pub fn attempt(&self, result: AttemptResult, took: std::time::Duration) {
        let counters = self.0.counters();
        counters.attempt_duration.observe(took);
        let class = match result {
            AttemptResult::Failed(word) => return counters.failures.add(word),
            AttemptResult::Response(status) => class_index(status),
            AttemptResult::Cancelled => RESULTS - 1,
        };
        counters.attempts[class].fetch_add(1, Relaxed);
    }

    /// A failed attempt is tried again, for this reason.
    pub fn retry(&self, reason: &str) {
        self.0.counters().retries.add(reason);
    }

    /// A failed attempt would have been tried again, but for this: `budget`, `unsafe`, `deadline`, `body` …
    pub fn retry_denied(&self, reason: &str) {
        self.0.counters().retries_denied.add(reason);
    }

    /// What the cache did for a request: `hit`, `miss`, `revalidated`, `collapsed`, `stale`, `bypass`.
    pub fn cache(&self, did: &str) {
        self.0.counters().cache.add(did);
    }

    /// A failure was answered with a fallback, for this reason.
    pub fn fallback(&self, reason: &str) {
        self.0.counters().fallbacks.add(reason);
    }

    /// The rate limit refused a request.
    pub fn rate_limited(&self) {
        self.0.counters().rate_limited.fetch_add(1, Relaxed);
    }

    /// The concurrency limit refused a request.
    pub fn overloaded(&self, by: OverloadedBy) {
        self.0.counters().overloaded.fetch_add(1, Relaxed);
        if by == OverloadedBy::Cpu {
            self.0.counters().shed.fetch_add(1, Relaxed);
        }
    }

    /// A request waits for its turn under a limit.
    pub(crate) fn queued(&self) {
        self.0.counters().queued.fetch_add(1, Relaxed);
    }

    /// The breaker refused an attempt.
    pub fn breaker_rejected(&self) {
        self.0.counters().breaker_rejected.fetch_add(1, Relaxed);
    }

    /// An operation was begun.
    pub fn operation_begun(&self) {
        self.0.counters().begun.fetch_add(1, Relaxed);
    }

    /// An operation came to this state, and this told us so (`None`: nothing did, as with `unknown`).
    pub fn operation_settled(&self, state: State, source: Option<Source>) {
        self.0.counters().settled[state as usize][source.map_or(0, |source| source as usize + 1)].fetch_add(1, Relaxed);
    }

    /// A settled operation was contradicted: it stays in this state, and this was heard, from there.
    pub fn operation_contradicted(&self, state: State, heard: Evidence, source: Source) {
        self.0.counters().contradicted.add(state, heard, source);
    }

    /// An operation fell into doubt, for this reason.
    pub fn operation_doubted(&self, reason: &str) {
        self.0.counters().doubted.add(reason);
    }

    /// An operation that was in doubt was settled, this long after it was dispatched.
    pub fn doubt_ended(&self, after: std::time::Duration) {
        self.0.counters().in_doubt.observe(after);
    }

    /// A request that took so long can be looked at in its trace.
    pub fn exemplar(&self, took: std::time::Duration, trace_id: String, at: UnixMillis) {
        let counters = self.0.counters();
        counters.exemplars.put(counters.duration.bound_of(took), trace_id, took, Some(at));
    }

    /// The same of an attempt. It may be told without a time, and an attempt has no wall clock at hand.
    pub fn attempt_exemplar(&self, took: std::time::Duration, trace_id: String) {
        let counters = self.0.counters();
        counters.attempt_exemplars.put(counters.attempt_duration.bound_of(took), trace_id, took, None);
    }

    /// A stored answer was replayed.
    pub fn replayed(&self) {
        self.0.counters().replays.fetch_add(1, Relaxed);
    }

    /// Idempotency refused a request.
    pub fn idempotency_refused(&self, problem: Problem) {
        self.0.counters().refused.add(problem.slug());
    }

    /// What the last minute was like; `None` if it is not known, because too many routes are in use.
    pub(crate) fn last_minute(&self) -> Option<Counts> {
        let Some(counters) = self.0.counters.get() else { return Some(Counts::default()) };
        self.0.minute.lock().grown(&counters.counts())
    }

    /// What became of requests in the last five minutes; of a route beyond those that are remembered, in the last seconds.
    pub(crate) fn five_minutes(&self) -> Stages {
        let Some(counters) = self.0.counters.get() else { return Stages::default() };
        self.0.five.lock().grown(&counters.stages())
    }

    /// Requests that are under way.
    pub(crate) fn in_flight(&self) -> i64 {
        self.0.counters.get().map_or(0, |counters| counters.in_flight.load(Relaxed))
    }

    /// Mainstay answered by itself.
    pub fn problem(&self, problem: Problem) {
        self.0.counters().problems[problem as usize].fetch_add(1, Relaxed);
    }
}

#[derive(Debug)]
struct Route {
    labels: Labels,
    /// Made by the first request: thousands of idle routes cost next to nothing.
    counters: OnceLock<Box<Counters>>,
    /// Only whoever looks at counters again takes this lock.
    minute: Mutex<Minute>,
    five: Mutex<FiveMinutes>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Labels {
    route: Box<str>,
    upstream: Box<str>,
    policy: Box<str>,
}

impl Route {
    fn counters(&self) -> &Counters {
        self.counters.get_or_init(Box::default)
    }
}

impl Labels {
    fn with<'a>(&'a self, extra: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let own = [("route", &*self.route), ("upstream", &*self.upstream), ("policy", &*self.policy)];
        own.into_iter().chain(extra.iter().copied()).collect()
    }
}
