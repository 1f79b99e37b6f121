//! Metrics that are read when they are asked for, rather than counted when something happens.

use std::sync::{Arc, Weak};

use mainstay_policies::circuit_breaker;
use tokio::time::Instant;

use crate::{
    app::Shared,
    telemetry::metrics::{Kind, Samples},
};

/// Operation states in the order of [`Ledger::counts`](mainstay_policies::operation::ledger::Ledger::counts).
const STATES: [&str; 5] = ["pending", "succeeded", "failed", "not_executed", "unknown"];

/// Registers every gauge of the running proxy.
pub(crate) fn register(shared: &Arc<Shared>) {
    let on_scrape = |name, help, read: fn(&Shared, &mut Samples)| {
        // The registry is part of what it reads, so it holds no strong reference.
        let shared: Weak<Shared> = Arc::downgrade(shared);
        move |metrics: &crate::telemetry::metrics::Metrics| {
            metrics.on_scrape(name, help, Kind::Gauge, move |samples| {
                if let Some(shared) = shared.upgrade() {
                    read(&shared, samples);
                }
            });
        }
    };
    let metrics = &shared.parts.metrics;
    on_scrape("mainstay_operations", "Operations in the ledger, by state", operations)(metrics);
    on_scrape("mainstay_breaker_state", "Circuit breakers: closed 0, half-open 1, open 2", breakers)(metrics);
    on_scrape("mainstay_retry_budget_balance", "Retries that the budget allows now", budgets)(metrics);
    on_scrape("mainstay_concurrency_in_flight", "Requests that hold a place of the concurrency limit", concurrency)(
        metrics,
    );
    on_scrape("mainstay_connections_open", "Client connections, all listeners together", |shared, samples| {
        samples.push(&[], shared.places.open() as f64);
    })(metrics);
}

fn operations(shared: &Shared, samples: &mut Samples) {
    for (state, count) in STATES.iter().zip(shared.parts.ledger.counts()) {
        samples.push(&[("state", state)], count as f64);
    }
}

fn breakers(shared: &Shared, samples: &mut Samples) {
    use circuit_breaker::State;
    let now = Instant::now();
    for (name, breaker) in shared.snapshot.load().breakers() {
        let value = match breaker.snapshot(now).state {
            State::Closed | State::ForcedClosed | State::Disabled => 0.0,
            State::HalfOpen => 1.0,
            State::Open | State::ForcedOpen => 2.0,
        };
        samples.push(&[("breaker", &name)], value);
    }
}

fn budgets(shared: &Shared, samples: &mut Samples) {
    let now = Instant::now();
    for route in shared.snapshot.load().router.iter() {
        if let Some(retrier) = route.retrier.as_ref().filter(|retrier| retrier.params().budget.is_some()) {
            samples.push(&[("route", &route.params.name), ("policy", &route.params.policy.name)], retrier.balance(now));
        }
    }
}

fn concurrency(shared: &Shared, samples: &mut Samples) {
    for route in shared.snapshot.load().router.iter() {
        if let Some(limit) = &route.concurrency {
            samples.push(
                &[("route", &route.params.name), ("policy", &route.params.policy.name)],
                f64::from(limit.in_flight()),
            );
        }
    }
}
