//! The counts of all routes, as a page of metrics.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use mainstay_policies::{operation::Source, problem::Problem};
use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use super::{
    Labels, MAX_RETIRED, Route, RouteMetrics,
    counters::{CLASSES, Counters, Reasons, SOURCES, STATES},
};
use crate::telemetry::metrics::{
    histogram::Histogram,
    recent::{Counts, MOST, Recent, Subject},
};

/// Every route that is configured, and some that were.
#[derive(Debug, Default)]
pub(crate) struct Routes(Mutex<BTreeMap<Labels, Arc<Route>>>);

impl Routes {
    pub(crate) fn resolve(&self, route: &str, upstream: &str, policy: &str) -> RouteMetrics {
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
        let (minute, five) = (Mutex::default(), Mutex::default());
        let route = Arc::new(Route { labels: labels.clone(), counters: OnceLock::new(), minute, five });
        routes.insert(labels, Arc::clone(&route));
        RouteMetrics(route)
    }
}

impl Routes {
    /// Those that something asked for.
    fn used(&self) -> Vec<Arc<Route>> {
        self.0.lock().values().filter(|route| route.counters.get().is_some()).cloned().collect()
    }

    /// Looks at all of them; what they grew by together.
    pub(crate) fn look(&self, recent: &Recent) -> Counts {
        let (mut all, mut kept) = (Counts::default(), 0);
        for route in self.used() {
            let minute = &mut *route.minute.lock();
            let counts = route.counters().counts();
            let may_remember = kept < MOST;
            all += &recent.look(Subject { counts, minute }, may_remember);
            route.five.lock().look(route.counters().stages(), recent.parts.next(), may_remember);
            kept += usize::from(minute.is_kept());
        }
        all
    }

    /// What they grew by together since the last look.
    pub(crate) fn since_look(&self) -> Counts {
        let mut all = Counts::default();
        for route in self.used() {
            let minute = route.minute.lock();
            all += &minute.since_look(&route.counters().counts());
        }
        all
    }

    /// Exemplars by the series of their buckets.
    pub(crate) fn exemplars(&self) -> HashMap<String, String> {
        let routes = self.used();
        let mut found = HashMap::new();
        for route in routes {
            let labels =
                route.labels.with(&[]).into_iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value)));
            let labels = labels.collect::<Vec<_>>().join(",");
            let counters = route.counters();
            for (family, exemplars) in
                [(REQUEST_DURATION, &counters.exemplars), (ATTEMPT_DURATION, &counters.attempt_exemplars)]
            {
                for exemplar in exemplars.all() {
                    let series = format!("{family}_bucket{{le=\"{}\",{labels}}}", exemplar.le());
                    found.insert(series, exemplar.written());
                }
            }
        }
        found
    }
}

/// A label's value as the library writes it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The families that have exemplars.
const REQUEST_DURATION: &str = "mainstay_request_duration_seconds";
const ATTEMPT_DURATION: &str = "mainstay_attempt_duration_seconds";

/// One family's samples of one route: extra labels and a value.
type Emit<'a> = &'a mut dyn FnMut(&[(&str, &str)], u64) -> fmt::Result;

impl Collector for Routes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // The lock is not held while text is written: a reload waits for it.
        let routes = self.used();
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
        let (name, help) = (REQUEST_DURATION, "From a request's head to the end of its response");
        self.histogram(to, name, help, |counters| &counters.duration)?;
        self.counter(to, "mainstay_attempts", "Attempts ended, by result", |counters, emit| {
            by_label("result", CLASSES.into_iter().chain(["cancelled"]).zip(&counters.attempts), emit)?;
            let failures = counters.failures.0.lock();
            failures.iter().try_for_each(|(word, count)| emit(&[("result", word)], *count))
        })?;
        let (name, help) = (ATTEMPT_DURATION, "From an attempt's start to its response head or failure");
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
        let (name, help) =
            ("mainstay_operations_contradicted", "Settled operations that were contradicted: look at each");
        self.counter(to, name, help, |counters, emit| {
            counters.contradicted.0.lock().iter().try_for_each(|((state, heard, source), count)| {
                let labels = [("settled", state.label()), ("heard", heard.label()), ("source", source.label())];
                emit(&labels, *count)
            })
        })?;
        let (name, help) = ("mainstay_operations_doubted", "Operations that fell into doubt, by what happened");
        self.reasons(to, name, help, |counters| &counters.doubted)?;
        let (name, help) = (
            "mainstay_time_in_doubt_seconds",
            "From a write's dispatch to the word that settled it, where it was in doubt",
        );
        let mut family = to.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for route in self.routes.iter().filter(|route| !route.counters().in_doubt.is_empty()) {
            route.counters().in_doubt.encode(&mut family.encode_family(&route.labels.with(&[]))?)?;
        }
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
