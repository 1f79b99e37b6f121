//! The counters of a route.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
};

use http::StatusCode;
use mainstay_policies::{
    concurrency_limit::OverloadedBy,
    evidence::Cause,
    operation::{Source, State},
    problem::Problem,
};
use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use super::histogram::Histogram;

/// Routes that are configured no more but still shown, so that a scrape after a reload sees their last values.
const MAX_RETIRED: usize = 256;
/// Reasons of one family and route at most; what comes after them is `other`.
const MAX_REASONS: usize = 32;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptResult {
    /// With a response head.
    Response(StatusCode),
    /// Without.
    Failed(Cause),
    /// It was given up because nobody waited for it any more.
    Cancelled,
}

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
        counters.attempts[result.index()].fetch_add(1, Relaxed);
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

    /// A stored answer was replayed.
    pub fn replayed(&self) {
        self.0.counters().replays.fetch_add(1, Relaxed);
    }

    /// Idempotency refused a request.
    pub fn idempotency_refused(&self, problem: Problem) {
        self.0.counters().refused.add(problem.slug());
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

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// In the order of their declaration.
const CAUSES: [Cause; 8] = [
    Cause::Connect,
    Cause::Tls,
    Cause::Refused,
    Cause::Reset,
    Cause::Malformed,
    Cause::RequestBody,
    Cause::AttemptTimeout,
    Cause::TotalTimeout,
];
const STATES: [State; 5] = [State::Pending, State::Succeeded, State::Failed, State::NotExecuted, State::Unknown];
const SOURCES: [Option<Source>; 6] = [
    None,
    Some(Source::Response),
    Some(Source::LateResponse),
    Some(Source::StatusQuery),
    Some(Source::Redispatch),
    Some(Source::Operator),
];
/// Classes, causes, and `cancelled`.
const RESULTS: usize = CLASSES.len() + CAUSES.len() + 1;
const PROBLEMS: usize = Problem::ALL.len();

/// A status is 100 to 999; what is not a known class is the server's fault.
fn class_index(status: StatusCode) -> usize {
    (usize::from(status.as_u16()) / 100 - 1).min(CLASSES.len() - 1)
}

impl AttemptResult {
    fn index(self) -> usize {
        match self {
            Self::Response(status) => class_index(status),
            Self::Failed(cause) => CLASSES.len() + cause as usize,
            Self::Cancelled => RESULTS - 1,
        }
    }

    fn label(index: usize) -> &'static str {
        match index.checked_sub(CLASSES.len()) {
            None => CLASSES[index],
            Some(cause) => CAUSES.get(cause).map_or("cancelled", |cause| cause.label()),
        }
    }
}

#[derive(Debug)]
struct Counters {
    requests: [AtomicU64; CLASSES.len()],
    cancelled: AtomicU64,
    in_flight: AtomicI64,
    duration: Histogram,
    attempts: [AtomicU64; RESULTS],
    attempt_duration: Histogram,
    retries: Reasons,
    retries_denied: Reasons,
    fallbacks: Reasons,
    cache: Reasons,
    rate_limited: AtomicU64,
    overloaded: AtomicU64,
    shed: AtomicU64,
    breaker_rejected: AtomicU64,
    begun: AtomicU64,
    settled: [[AtomicU64; SOURCES.len()]; STATES.len()],
    replays: AtomicU64,
    refused: Reasons,
    problems: [AtomicU64; PROBLEMS],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            requests: Default::default(),
            cancelled: AtomicU64::default(),
            in_flight: AtomicI64::default(),
            duration: Histogram::default(),
            attempts: Default::default(),
            attempt_duration: Histogram::default(),
            retries: Reasons::default(),
            retries_denied: Reasons::default(),
            fallbacks: Reasons::default(),
            cache: Reasons::default(),
            rate_limited: AtomicU64::default(),
            overloaded: AtomicU64::default(),
            shed: AtomicU64::default(),
            breaker_rejected: AtomicU64::default(),
            begun: AtomicU64::default(),
            settled: Default::default(),
            replays: AtomicU64::default(),
            refused: Reasons::default(),
            problems: [const { AtomicU64::new(0) }; PROBLEMS],
        }
    }
}

/// Counts by a reason that is known only at run time; off the usual path, so a lock will do.
#[derive(Debug, Default)]
struct Reasons(Mutex<Vec<(Box<str>, u64)>>);

impl Reasons {
    fn add(&self, reason: &str) {
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

/// Every route that is configured, and some that were.
#[derive(Debug, Default)]
pub(super) struct Routes(Mutex<BTreeMap<Labels, Arc<Route>>>);

impl Routes {
    pub(super) fn resolve(&self, route: &str, upstream: &str, policy: &str) -> RouteMetrics {
        let labels = Labels { route: route.into(), upstream: upstream.into(), policy: policy.into() };
        let mut routes = self.0.lock();
        if let Some(known) = routes.get(&labels) {
            return RouteMetrics(Arc::clone(known));
        }
        let is_retired = |route: &Arc<Route>| Arc::strong_count(route) == 1;
        // Counting is linear, so it is done once per as many new routes as may be retired.
        let due = routes.len().is_multiple_of(MAX_RETIRED);
        if due && routes.values().filter(|route| is_retired(route)).count() >= MAX_RETIRED {
            routes.retain(|_, route| !is_retired(route));
        }
        let route = Arc::new(Route { labels: labels.clone(), counters: OnceLock::new() });
        routes.insert(labels, Arc::clone(&route));
        RouteMetrics(route)
    }
}

/// One family's samples of one route: extra labels and a value.
type Emit<'a> = &'a mut dyn FnMut(&[(&str, &str)], u64) -> fmt::Result;

impl Collector for Routes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // The lock is not held while text is written: a reload waits for it.
        let routes: Vec<_> = self.0.lock().values().filter(|route| route.counters.get().is_some()).cloned().collect();
        if routes.is_empty() {
            return Ok(());
        }
        let page = Page { routes };
        page.traffic(&mut encoder)?;
        page.decisions(&mut encoder)?;
        page.operations(&mut encoder)
    }
}

struct Page {
    routes: Vec<Arc<Route>>,
}

impl Page {
    fn traffic(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        self.counter(to, "mainstay_requests", "Requests answered, by class of status", |counters, emit| {
            by_label("status", CLASSES.into_iter().zip(&counters.requests), emit)
        })?;
        self.counter(to, "mainstay_requests_cancelled", "Requests whose caller left", |counters, emit| {
            emit(&[], counters.cancelled.load(Relaxed))
        })?;
        let (name, help) = ("mainstay_requests_in_flight", "Requests begun and not ended");
        let mut family = to.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for route in &self.routes {
            let value = route.counters().in_flight.load(Relaxed);
            ConstGauge::new(value).encode(family.encode_family(&route.labels.with(&[]))?)?;
        }
        let (name, help) = ("mainstay_request_duration_seconds", "From a request's head to the end of its response");
        self.histogram(to, name, help, |counters| &counters.duration)?;
        self.counter(to, "mainstay_attempts", "Attempts ended, by result", |counters, emit| {
            by_label("result", (0..RESULTS).map(AttemptResult::label).zip(&counters.attempts), emit)
        })?;
        let (name, help) =
            ("mainstay_attempt_duration_seconds", "From an attempt's start to its response head or failure");
        self.histogram(to, name, help, |counters| &counters.attempt_duration)
    }

    fn decisions(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        self.reasons(to, "mainstay_retries", "Retries made", |counters| &counters.retries)?;
        self.reasons(to, "mainstay_retry_denied", "Retries not made", |counters| &counters.retries_denied)?;
        let (name, help) = ("mainstay_fallbacks", "Failures answered with a fallback, by reason");
        self.reasons(to, name, help, |counters| &counters.fallbacks)?;
        let (name, help) = ("mainstay_cache_requests", "What the cache did for requests");
        self.reasons(to, name, help, |counters| &counters.cache)?;
        self.counter(to, "mainstay_rate_limited", "Requests over the rate limit", |counters, emit| {
            emit(&[], counters.rate_limited.load(Relaxed))
        })?;
        self.counter(to, "mainstay_overloaded", "Requests over the concurrency limit", |counters, emit| {
            emit(&[], counters.overloaded.load(Relaxed))
        })?;
        self.counter(
            to,
            "mainstay_load_shed",
            "Those of them that a busy CPU was the reason for",
            |counters, emit| emit(&[], counters.shed.load(Relaxed)),
        )?;
        self.counter(to, "mainstay_breaker_rejected", "Attempts that the breaker refused", |counters, emit| {
            emit(&[], counters.breaker_rejected.load(Relaxed))
        })?;
        self.counter(to, "mainstay_problems", "Answers that Mainstay made itself", |counters, emit| {
            by_label("problem", Problem::ALL.iter().map(|problem| problem.slug()).zip(&counters.problems), emit)
        })
    }

    fn operations(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        self.counter(to, "mainstay_operations_begun", "Operations begun", |counters, emit| {
            emit(&[], counters.begun.load(Relaxed))
        })?;
        let (name, help) = ("mainstay_operations_settled", "Operations that came to a state, and what told us so");
        self.counter(to, name, help, |counters, emit| {
            for (state, by_source) in STATES.iter().zip(&counters.settled) {
                for (source, count) in SOURCES.iter().zip(by_source) {
                    let source = source.map_or("none", Source::label);
                    nonzero(&[("state", state.label()), ("source", source)], count.load(Relaxed), emit)?;
                }
            }
            Ok(())
        })?;
        self.counter(to, "mainstay_replays", "Stored answers replayed", |counters, emit| {
            emit(&[], counters.replays.load(Relaxed))
        })?;
        let (name, help) = ("mainstay_idempotency_refused", "Requests that idempotency refused");
        self.reasons(to, name, help, |counters| &counters.refused)
    }

    fn counter(
        &self,
        to: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        visit: impl Fn(&Counters, Emit<'_>) -> fmt::Result,
    ) -> fmt::Result {
        let mut family = to.encode_descriptor(name, help, None, MetricType::Counter)?;
        for route in &self.routes {
            visit(route.counters(), &mut |extra, value| {
                ConstCounter::new(value).encode(family.encode_family(&route.labels.with(extra))?)
            })?;
        }
        Ok(())
    }

    fn reasons(
        &self,
        to: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        read: fn(&Counters) -> &Reasons,
    ) -> fmt::Result {
        self.counter(to, name, help, |counters, emit| {
            read(counters).0.lock().iter().try_for_each(|(reason, count)| emit(&[("reason", reason)], *count))
        })
    }

    fn histogram(
        &self,
        to: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        read: fn(&Counters) -> &Histogram,
    ) -> fmt::Result {
        let mut family = to.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for route in &self.routes {
            read(route.counters()).encode(&mut family.encode_family(&route.labels.with(&[]))?)?;
        }
        Ok(())
    }
}

impl Labels {
    fn with<'a>(&'a self, extra: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let own = [("route", &*self.route), ("upstream", &*self.upstream), ("policy", &*self.policy)];
        own.into_iter().chain(extra.iter().copied()).collect()
    }
}

fn by_label<'a>(
    label: &str,
    counts: impl Iterator<Item = (&'static str, &'a AtomicU64)>,
    emit: Emit<'_>,
) -> fmt::Result {
    for (value, count) in counts {
        nonzero(&[(label, value)], count.load(Relaxed), emit)?;
    }
    Ok(())
}

/// A series begins when there is something to count: a route has too many that never will.
fn nonzero(labels: &[(&str, &str)], count: u64, emit: Emit<'_>) -> fmt::Result {
    if count > 0 { emit(labels, count) } else { Ok(()) }
}
