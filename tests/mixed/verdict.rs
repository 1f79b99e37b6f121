//! What must hold when the load is over.

use std::time::Duration;

use mainstay_tests::{
    client::Request,
    proxy::{Proxy, metric_in},
};
use tokio::time::{Instant, sleep};

use crate::{
    rules::{self, MIXED, PLACE, TURN},
    turns::begun,
    world::World,
};

/// Everything that goes on after its client has left has ended by then: the longest total time, and a body that is idle.
const SETTLED: Duration = Duration::from_secs(12);
/// Growth of resident memory from a fifth of the run to its end.
const GROWTH_BYTES: u64 = 32 * 1024 * 1024;
/// Descriptors that a proxy without clients may have beyond those of its start: pooled connections to the services.
const POOLED: usize = 96;

/// Memory and descriptors at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) rss: u64,
    pub(crate) fds: usize,
}

impl Sample {
    pub(crate) fn of(proxy: &Proxy) -> Self {
        Self { rss: proxy.rss(), fds: proxy.fds() }
    }
}

/// Waits until nothing is in flight any more, then compares.
pub(crate) async fn judge(world: &World, proxy: &Proxy, first: Sample, samples: &[Sample]) {
    let began = Instant::now();
    let metrics = loop {
        let metrics = proxy.probe("/metrics").await.text();
        let busy: f64 = ["mainstay_requests_in_flight", "mainstay_concurrency_in_flight"]
            .iter()
            .filter_map(|name| metric_in(&metrics, name, &[]))
            .sum();
        if busy == 0.0 || began.elapsed() > SETTLED {
            break metrics;
        }
        sleep(Duration::from_millis(100)).await;
    };
    for policy in rules::all() {
        count(world, &metrics, policy);
    }
    resources(world, proxy, first, samples);
    breakers(world, proxy).await;
    if proxy.log().contains("panicked") {
        world.condemn("the proxy panicked".to_owned());
    }
}

fn count(world: &World, metrics: &str, policy: &'static str) {
    let read = |name: &str, labels: &[(&str, &str)]| {
        let labels: Vec<_> = labels.iter().copied().chain([("policy", policy)]).collect();
        metric_in(metrics, name, &labels).unwrap_or_default() as u64
    };
    let tally = world.tally(policy);
    let refused = tally.rate_limited + tally.overloaded + tally.circuit_open;
    let cancelled = read("mainstay_requests_cancelled_total", &[]);
    let pairs = [
        ("requests in flight", read("mainstay_requests_in_flight", &[]), 0),
        ("places taken", read("mainstay_concurrency_in_flight", &[]), 0),
        ("requests", begun(metrics, policy), tally.sent),
        ("rate-limited", read("mainstay_rate_limited_total", &[]), tally.rate_limited),
        ("overloaded", read("mainstay_overloaded_total", &[]), tally.overloaded),
        ("circuit-open", read("mainstay_problems_total", &[("problem", "circuit-open")]), tally.circuit_open),
        ("admitted, refused and gone from a queue", tally.admitted + refused + queued(&tally, policy), tally.sent),
        ("answered and left", tally.answered() + tally.left(), tally.sent),
    ];
    for (what, proxy, clients) in pairs {
        if proxy != clients {
            world.condemn(format!("{policy}: {what}: {proxy} by the proxy, {clients} by the clients: {tally:?}"));
        }
    }
    // Who leaves inside a body may have been handed all of it.
    if cancelled > tally.left() || (policy != "write" && cancelled < tally.reset_held) {
        world.condemn(format!("{policy}: {cancelled} cancelled by the proxy's count: {tally:?}"));
    }
}

fn queued(tally: &crate::world::Tally, policy: &str) -> u64 {
    if [PLACE, TURN].contains(&policy) { tally.left_queued } else { 0 }
}

fn resources(world: &World, proxy: &Proxy, first: Sample, samples: &[Sample]) {
    let last = Sample::of(proxy);
    let warm = samples.get(samples.len() / 5).copied().unwrap_or(last);
    if last.rss > warm.rss + GROWTH_BYTES {
        world.condemn(format!("memory grew from {warm:?} to {last:?}"));
    }
    if last.fds > first.fds + POOLED {
        world.condemn(format!("descriptors: {} at the start, {} at the end", first.fds, last.fds));
    }
}

/// With services that are well again, no breaker may stay open or half-open.
async fn breakers(world: &World, proxy: &Proxy) {
    let began = Instant::now();
    loop {
        for policy in MIXED {
            let request = if policy == "write" {
                Request::keyed("/write/0", &format!("last-{}", began.elapsed().as_nanos()), "x")
            } else {
                Request::get(&format!("/{policy}/0"))
            };
            proxy.send(request.header("X-Plan", "ok").header("X-User", "last")).await;
        }
        let metrics = proxy.probe("/metrics").await.text();
        if metric_in(&metrics, "mainstay_breaker_state", &[]) == Some(0.0) {
            return;
        }
        if began.elapsed() > SETTLED {
            let stuck = metrics.lines().filter(|line| line.starts_with("mainstay_breaker_state")).collect::<Vec<_>>();
            return world.condemn(format!("a breaker is stuck: {stuck:#?}"));
        }
        sleep(Duration::from_millis(100)).await;
    }
}
