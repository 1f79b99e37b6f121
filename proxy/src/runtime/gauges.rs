//! Metrics that are read when they are asked for, rather than counted when something happens.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Duration,
};

use mainstay_policies::{circuit_breaker, operation::ledger::Load};
use tokio::time::Instant;

use super::{Runtime, named, route::Route, shared_ledger, told::takes_new_keys};
use crate::{
    config::model::Direction,
    telemetry::metrics::{Kind, Samples},
    wire::tls::Validity,
};

/// Registers every gauge of the running proxy.
pub(crate) fn register(runtime: &Arc<Runtime>) {
    let of_kind = |kind, name, help, read: fn(&Runtime, &mut Samples)| {
        // The registry is part of what it reads, so it holds no strong reference.
        let runtime: Weak<Runtime> = Arc::downgrade(runtime);
        move |metrics: &crate::telemetry::metrics::Metrics| {
            metrics.on_scrape(name, help, kind, move |samples| {
                if let Some(runtime) = runtime.upgrade() {
                    read(&runtime, samples);
                }
            });
        }
    };
    let on_scrape = |name, help, read| of_kind(Kind::Gauge, name, help, read);
    shared_ledger::register(runtime);
    register_certificates(runtime);
    register_bodies(runtime);
    let metrics = &runtime.resources.metrics;
    on_scrape("mainstay_ledger_bytes", "Bytes of the ledger in use", |runtime, samples| {
        load(runtime, samples, |load| (load.max_bytes > 0).then_some(load.bytes));
    })(metrics);
    on_scrape("mainstay_ledger_max_bytes", "Bytes of the ledger at most", |runtime, samples| {
        load(runtime, samples, |load| Some(load.max_bytes).filter(|max| *max > 0));
    })(metrics);
    on_scrape("mainstay_ledger_queue_depth", "Writes that wait for the ledger", |runtime, samples| {
        load(runtime, samples, |load| Some(load.queued as u64));
    })(metrics);
    let help = "Changes of circuit breakers, by what they became";
    of_kind(Kind::Counter, "mainstay_breaker_transitions", help, transitions)(metrics);
    let help = "Attempts that found no connection to an upstream, by cause";
    of_kind(Kind::Counter, "mainstay_upstream_connect_errors", help, connect_errors)(metrics);
    let help = "Answers about the names of endpoints, and answers that were none";
    of_kind(Kind::Counter, "mainstay_upstream_resolutions", help, resolutions)(metrics);
    let help = "Endpoints of upstreams: those that the last attempt could connect to, and the others; apart, those that fail their health checks";
    on_scrape("mainstay_upstream_endpoints", help, endpoints)(metrics);
    let help = "Connections to upstreams: in use (of HTTP/2 all that are open), and idle";
    on_scrape("mainstay_upstream_connections", help, connections)(metrics);
    let help = "Operations that are open, by state: of this replica, and of all that share its ledger";
    on_scrape("mainstay_operations", help, operations)(metrics);
    let help = "Whether the ledger takes new writes; in quarantine it does not";
    on_scrape("mainstay_ledger_writable", help, |runtime, samples| {
        samples.push(&[], f64::from(u8::from(takes_new_keys(runtime.resources.ledger.as_ref()))));
    })(metrics);
    on_scrape("mainstay_breaker_state", "Circuit breakers: closed 0, half-open 1, open 2", breakers)(metrics);
    on_scrape("mainstay_breaker_forced", "Circuit breakers that an operator holds, by where", forced)(metrics);
    on_scrape("mainstay_retry_budget_balance", "Retries that the budget allows now", budgets)(metrics);
    on_scrape("mainstay_concurrency_in_flight", "Requests that hold a place of the concurrency limit", concurrency)(
        metrics,
    );
    on_scrape(
        "mainstay_cpu_load_ratio",
        "CPU in use, smoothed, as limits with adaptive: bbr see it",
        |runtime, samples| {
            if let Some(share) = runtime.resources.cpu.share() {
                samples.push(&[], share);
            }
        },
    )(metrics);
    on_scrape("mainstay_concurrency_capacity", "Requests at once that the upstream was seen to manage", capacity)(
        metrics,
    );
    on_scrape("mainstay_load_shedding", "Whether requests over that capacity are shed now", shedding)(metrics);
    on_scrape("mainstay_draining", "Whether callers are told to go elsewhere", |runtime, samples| {
        samples.push(&[], f64::from(u8::from(runtime.is_draining(Direction::Inbound))));
    })(metrics);
    on_scrape("mainstay_connections_open", "Client connections, all listeners together", |runtime, samples| {
        samples.push(&[], runtime.places.open() as f64);
    })(metrics);
}

fn register_bodies(runtime: &Arc<Runtime>) {
    let register = |name, help, read: fn(&Runtime) -> usize| {
        let weak = Arc::downgrade(runtime);
        runtime.resources.metrics.on_scrape(name, help, Kind::Gauge, move |samples| {
            if let Some(runtime) = weak.upgrade() {
                samples.push(&[], read(&runtime) as f64);
            }
        });
    };
    let held = "Bytes of bodies that are held whole";
    register("mainstay_buffered_bytes", held, |runtime| runtime.resources.bodies.held());
    let most = "Bytes of bodies that may be held whole";
    register("mainstay_buffered_max_bytes", most, |runtime| runtime.resources.bodies.most());
}

fn register_certificates(runtime: &Arc<Runtime>) {
    let register = |name, help, read: fn(&Validity) -> Duration| {
        let weak = Arc::downgrade(runtime);
        runtime.resources.metrics.on_scrape(name, help, Kind::Gauge, move |samples| {
            if let Some(runtime) = weak.upgrade() {
                certificates(&runtime, samples, read);
            }
        });
    };
    let help = "Since when certificates that are shown are valid; of several the one that ends first";
    register("mainstay_tls_certificate_not_before_timestamp_seconds", help, |validity| validity.not_before);
    let help = "Until when certificates that are shown are valid; of several the one that ends first";
    register("mainstay_tls_certificate_not_after_timestamp_seconds", help, |validity| validity.not_after);
}

fn certificates(runtime: &Runtime, samples: &mut Samples, read: fn(&Validity) -> Duration) {
    let mut all = runtime.snapshot.load().secured.all();
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (place, kept) in all {
        let shown = kept.shown();
        if let Some((_, first)) = shown.iter().min_by_key(|(_, validity)| validity.not_after) {
            samples.push(&[("use", &place)], read(first).as_secs_f64());
        }
    }
}

fn operations(runtime: &Runtime, samples: &mut Samples) {
    let ledger = &runtime.resources.ledger;
    let own = ledger.owned();
    let all = ledger.census().map_or(own, |census| [census.pending, census.unknown]);
    for (scope, counts) in [("replica", own), ("service", all)] {
        for (state, count) in ["pending", "unknown"].into_iter().zip(counts) {
            samples.push(&[("state", state), ("scope", scope)], count as f64);
        }
    }
}

fn load(runtime: &Runtime, samples: &mut Samples, read: fn(&Load) -> Option<u64>) {
    if let Some(value) = runtime.resources.ledger.load().as_ref().and_then(read) {
        samples.push(&[], value as f64);
    }
}

fn resolutions(runtime: &Runtime, samples: &mut Samples) {
    let snapshot = runtime.snapshot.load();
    for (name, upstream) in snapshot.upstreams.iter().collect::<BTreeMap<_, _>>() {
        let Some(counts) = upstream.resolutions() else { continue };
        for (result, count) in ["success", "failure"].into_iter().zip(counts) {
            samples.push(&[("upstream", name), ("result", result)], count as f64);
        }
    }
}

fn connect_errors(runtime: &Runtime, samples: &mut Samples) {
    let snapshot = runtime.snapshot.load();
    for (name, upstream) in snapshot.upstreams.iter().collect::<BTreeMap<_, _>>() {
        for (cause, count) in upstream.connect_errors() {
            samples.push(&[("upstream", name), ("cause", cause)], count as f64);
        }
    }
}

fn endpoints(runtime: &Runtime, samples: &mut Samples) {
    let snapshot = runtime.snapshot.load();
    for (name, upstream) in snapshot.upstreams.iter().collect::<BTreeMap<_, _>>() {
        let live = upstream.live();
        let (unwell, others): (Vec<_>, Vec<_>) = live.into_iter().partition(|at| upstream.unwell(*at).is_some());
        let lost = others.iter().filter(|endpoint| upstream.reached(**endpoint).lost.is_some()).count();
        samples.push(&[("upstream", name), ("state", "reachable")], (others.len() - lost) as f64);
        samples.push(&[("upstream", name), ("state", "unreachable")], lost as f64);
        if upstream.params().health.is_some() {
            samples.push(&[("upstream", name), ("state", "unhealthy")], unwell.len() as f64);
        }
    }
}

fn connections(runtime: &Runtime, samples: &mut Samples) {
    let snapshot = runtime.snapshot.load();
    for (name, upstream) in snapshot.upstreams.iter().collect::<BTreeMap<_, _>>() {
        for (state, count) in ["in_use", "idle"].iter().zip(upstream.connections()) {
            samples.push(&[("upstream", name), ("state", state)], count as f64);
        }
    }
}

fn breakers(runtime: &Runtime, samples: &mut Samples) {
    use circuit_breaker::State;
    let now = Instant::now();
    for named in runtime.snapshot.load().breakers() {
        let value = match named.breaker.snapshot(now).state {
            State::Closed | State::ForcedClosed | State::Disabled => 0.0,
            State::HalfOpen => 1.0,
            State::Open | State::ForcedOpen => 2.0,
        };
        samples.push(&[("breaker", &named.name)], value);
    }
}

fn transitions(runtime: &Runtime, samples: &mut Samples) {
    let now = Instant::now();
    for named in runtime.snapshot.load().breakers() {
        let changes = named.breaker.snapshot(now).transitions;
        for (to, count) in [("open", changes.opened), ("half_open", changes.half_opened), ("closed", changes.closed)] {
            samples.push(&[("breaker", &named.name), ("to", to)], count as f64);
        }
    }
}

fn forced(runtime: &Runtime, samples: &mut Samples) {
    for named in runtime.snapshot.load().breakers() {
        if let Some(state) = named::forced(named.breaker) {
            samples.push(&[("breaker", &named.name), ("state", state)], 1.0);
        }
    }
}

fn budgets(runtime: &Runtime, samples: &mut Samples) {
    let now = Instant::now();
    by_route(runtime, samples, |route| {
        let retrier = route.retrier.as_ref().filter(|retrier| retrier.params().budget.is_some())?;
        Some(retrier.balance(now))
    });
}

fn concurrency(runtime: &Runtime, samples: &mut Samples) {
    by_route(runtime, samples, |route| Some(f64::from(route.concurrency.as_ref()?.in_flight())));
}

fn capacity(runtime: &Runtime, samples: &mut Samples) {
    let now = Instant::now();
    by_route(runtime, samples, |route| Some(f64::from(route.concurrency.as_ref()?.shedding(now)?.capacity?)));
}

fn shedding(runtime: &Runtime, samples: &mut Samples) {
    let now = Instant::now();
    by_route(runtime, samples, |route| {
        let shedding = route.concurrency.as_ref()?.shedding(now)?;
        Some(f64::from(u8::from(shedding.is_armed)))
    });
}

/// A sample per name and policy: routes that share both, as those of one path for several methods may, are added up.
fn by_route(runtime: &Runtime, samples: &mut Samples, read: impl Fn(&Route) -> Option<f64>) {
    let snapshot = runtime.snapshot.load();
    let mut sums = BTreeMap::new();
    for route in &snapshot.routes {
        if let Some(value) = read(route) {
            *sums.entry((&*route.params.name, &*route.params.policy.name)).or_insert(0.0) += value;
        }
    }
    for ((route, policy), value) in sums {
        samples.push(&[("route", route), ("policy", policy)], value);
    }
}
