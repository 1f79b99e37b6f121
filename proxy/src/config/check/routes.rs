//! The worst case of one route.

use std::time::Duration;

use mainstay_policies::{
    idempotency::OnConcurrent,
    rate_limit::Behavior,
    retry::{Backoff, Delays, Jitter, Retry},
};

use crate::config::model::Route;
use crate::config::units::human;

/// The worst case of one route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteBounds {
    /// The route's name.
    pub name: String,
    /// What it matches: methods and path.
    pub matches: String,
    /// The upstream's name.
    pub upstream: String,
    /// The policy's name.
    pub policy: String,
    /// A response's head is there after this long at most.
    pub latency: Duration,
    /// What `latency` is made of.
    pub latency_because: String,
    /// The service sees one request this often at most.
    pub attempts: u32,
    /// What bounds `attempts`.
    pub attempts_because: String,
}

impl RouteBounds {
    pub(super) fn of(route: &Route) -> Self {
        let policy = &route.policy;
        let mut latency = policy.timeout.total;
        let mut parts = vec![format!("timeout.total {}", human(latency))];
        let mut wait = |what: &str, wait: Duration| {
            if !wait.is_zero() {
                latency += wait;
                parts.push(format!("{what} {}", human(wait)));
            }
        };
        if let Some(Behavior::Queue { max_wait } | Behavior::WarmUpQueue { max_wait, .. }) =
            policy.rate_limit.as_ref().map(|limit| &limit.behavior)
        {
            wait("rate_limit.queue.max_wait", *max_wait);
        }
        if let Some(limit) = &policy.concurrency_limit {
            wait("concurrency_limit.max_wait", limit.max_wait);
        }
        if let Some(OnConcurrent::Wait(time)) = policy.idempotency.as_ref().map(|it| it.on_concurrent) {
            wait("idempotency.on_concurrent.wait", time);
        }
        let (attempts, attempts_because) = attempts(policy.retry.as_ref(), policy.timeout.total);
        let methods = route.matches.methods.iter().map(http::Method::as_str).collect::<Vec<_>>().join(",");
        Self {
            name: route.name.to_string(),
            matches: format!("{} {}", if methods.is_empty() { "*" } else { &methods }, route.matches.path.text),
            upstream: route.upstream.name.to_string(),
            policy: route.policy.name.to_string(),
            latency,
            latency_because: parts.join(" + "),
            attempts,
            attempts_because,
        }
    }
}

fn attempts(retry: Option<&Retry>, total: Duration) -> (u32, String) {
    let Some(retry) = retry.filter(|retry| retry.max_retries > 0 || retry.hedge.is_some()) else {
        return (1, "nothing is retried".into());
    };
    let hedges = retry.hedge.as_ref().map_or(0, |hedge| hedge.max);
    let fitting = fitting_retries(retry, total);
    let because = if fitting < retry.max_retries {
        format!("the waits of only {fitting} of {} retries fit into {}", retry.max_retries, human(total))
    } else {
        format!("1 + max_retries {}", retry.max_retries)
    };
    let because = if hedges > 0 { format!("{because}, each with {hedges} hedges") } else { because };
    (most_attempts(retry, total), because)
}

/// How often the service sees one request at most.
pub(super) fn most_attempts(retry: &Retry, total: Duration) -> u32 {
    let hedges = retry.hedge.as_ref().map_or(0, |hedge| hedge.max);
    (fitting_retries(retry, total) + 1).saturating_mul(hedges + 1)
}

/// How many retries can begin within the total time if every attempt fails at once and every wait is as short as it can be.
pub(super) fn fitting_retries(retry: &Retry, total: Duration) -> u32 {
    let mut elapsed = Duration::ZERO;
    for k in 1..=retry.max_retries {
        elapsed += shortest_wait(&retry.delays, k);
        if elapsed >= total {
            return k - 1;
        }
    }
    retry.max_retries
}

fn shortest_wait(delays: &Delays, k: u32) -> Duration {
    match delays {
        Delays::Backoff(Backoff { jitter: Jitter::Full, .. }) => Duration::ZERO,
        Delays::Backoff(backoff) => {
            let grown = backoff.base.as_secs_f64() * backoff.multiplier.powf(f64::from(k - 1));
            backoff.max.min(Duration::try_from_secs_f64(grown).unwrap_or(backoff.max))
        }
        Delays::Schedule(waits) => {
            let index = usize::try_from(k - 1).unwrap_or(usize::MAX).min(waits.len().saturating_sub(1));
            waits.get(index).copied().unwrap_or_default()
        }
    }
}
