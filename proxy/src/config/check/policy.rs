//! What in one policy cannot work as it looks, whichever route uses it.

use http::Method;
use mainstay_policies::{
    concurrency_limit::{Adaptive, ConcurrencyLimit},
    idempotency::{Idempotency, StatusQuery},
    retry::{Condition, Retry},
};

use super::{
    found::Found,
    routes::{fitting_retries, most_attempts},
};
use crate::config::{model::Policy, raw::split_variables, units::human};

pub(super) fn find(policy: &Policy, found: &mut Found<'_>) {
    let name = &*policy.name;
    if let Some(attempt) = policy.timeout.attempt {
        attempts(policy, attempt, found);
    } else {
        hanging(policy, found);
    }
    if let Some(retry) = &policy.retry {
        retries(policy, retry, found);
    }
    if let Some(limit) = &policy.concurrency_limit {
        concurrency(name, limit, found);
    }
    if let Some(idempotency) = &policy.idempotency {
        doubt(name, idempotency, found);
        if let Some(status) = &idempotency.status {
            settling(policy, idempotency, status, found);
        }
    }
}

/// The retries that a policy makes, if it makes any.
fn retried(policy: &Policy) -> Option<&Retry> {
    policy.retry.as_ref().filter(|retry| retry.max_retries > 0)
}

/// Attempts that are bounded, against the whole.
fn attempts(policy: &Policy, attempt: std::time::Duration, found: &mut Found<'_>) {
    let (name, total) = (&*policy.name, policy.timeout.total);
    let path = ["policies", name, "timeout", "attempt"];
    if attempt >= total {
        let message = format!(
            "policy `{name}`: `timeout.attempt` ({}) is not shorter than `timeout.total` ({}), so it never ends an attempt",
            human(attempt),
            human(total)
        );
        found.warn("attempt-never-ends", &path, message, "make it shorter, or remove it");
        return;
    }
    let fit = u32::try_from(total.as_nanos().div_ceil(attempt.as_nanos().max(1))).unwrap_or(u32::MAX);
    let too_many = |retry: &&Retry| retry.on.contains(&Condition::Timeout) && retry.max_retries >= fit;
    if let Some(retry) = retried(policy).filter(too_many) {
        let message = format!(
            "policy `{name}`: when attempts time out ({} each), only {fit} of {} fit into `timeout.total` ({})",
            human(attempt),
            u64::from(retry.max_retries) + 1,
            human(total)
        );
        found.warn("attempts-do-not-fit", &path, message, "shorten the attempts, or make fewer");
    }
}

/// Attempts that only the whole bounds.
fn hanging(policy: &Policy, found: &mut Found<'_>) {
    let is_retried = retried(policy).is_some_and(|it| it.on.contains(&Condition::Timeout));
    let waiting = match (is_retried, policy.circuit_breaker.is_some()) {
        (true, true) => "it is not retried, and the circuit breaker sees it only then",
        (true, false) => "it is not retried",
        (false, true) => "the circuit breaker sees it only then",
        (false, false) => return,
    };
    let name = &*policy.name;
    let message = format!(
        "policy `{name}`: without `timeout.attempt` an attempt that hangs lasts until `timeout.total`: {waiting}"
    );
    let cure = format!("add `timeout: {{ total: {}, attempt: … }}`", human(policy.timeout.total));
    found.warn("attempt-unbounded", &["policies", name, "timeout"], message, cure);
}

/// Retries against time, and against the service.
fn retries(policy: &Policy, retry: &Retry, found: &mut Found<'_>) {
    let (name, total) = (&*policy.name, policy.timeout.total);
    let path = ["policies", name, "retry"];
    if retry.max_retries == 0 && retry.hedge.is_none() {
        let message = format!("policy `{name}`: `retry` without `max_retries` retries nothing");
        found.warn("retries-nothing", &path, message, "say how often, or remove it");
    }
    let fitting = fitting_retries(retry, total);
    if fitting < retry.max_retries {
        let message = format!(
            "policy `{name}`: the waits of {} of {} retries do not fit into `timeout.total` ({}), so they are never made",
            retry.max_retries - fitting,
            retry.max_retries,
            human(total)
        );
        found.warn("waits-do-not-fit", &path, message, "shorten the waits, or make fewer retries");
    }
    if retry.budget.is_none() && retry.max_retries > 0 {
        let message = format!(
            "policy `{name}`: with `budget: none` a service that fails gets up to {} times its load",
            most_attempts(retry, total)
        );
        let cure = "remove `budget: none`: by default retries add a fifth";
        found.warn("retry-without-budget", &["policies", name, "retry", "budget"], message, cure);
    }
}

/// Queues that nobody joins, and shedding that never happens.
fn concurrency(name: &str, limit: &ConcurrencyLimit, found: &mut Found<'_>) {
    let at = |key: &'static str| ["policies", name, "concurrency_limit", key];
    if limit.max_wait.is_zero() != (limit.max_queue == 0) {
        let (no, yes) = if limit.max_wait.is_zero() { ("max_wait", "max_queue") } else { ("max_queue", "max_wait") };
        let message =
            format!("policy `{name}`: `concurrency_limit.{yes}` has no effect without `{no}`: no request waits");
        found.warn("queue-without-effect", &at(yes), message, format!("add `{no}`, or remove it"));
    }
    let Some(Adaptive::Bbr(bbr)) = &limit.adaptive else { return };
    if bbr.cpu_percent == 100 {
        let message = format!(
            "policy `{name}`: `concurrency_limit.cpu` is 100%, which a smoothed load hardly ever reaches: almost nothing is shed"
        );
        found.warn("sheds-nothing", &at("cpu"), message, "use 80% or so");
    }
    if limit.max_concurrent.get() <= 2 {
        let message = format!(
            "policy `{name}`: `concurrency_limit.adaptive: bbr` has no effect with a `max_concurrent` below 3: it always leaves \
             two requests in flight"
        );
        found.warn("sheds-nothing", &at("max_concurrent"), message, "raise it, or remove `adaptive`");
    }
}

/// Lost answers that only a person can settle.
fn doubt(name: &str, idempotency: &Idempotency, found: &mut Found<'_>) {
    let path = ["policies", name, "idempotency"];
    let said = found.says(&["policies", name, "idempotency", "status"], "none");
    // `redispatch` is only allowed where the upstream honours the key, so it settles.
    if idempotency.status.is_some() || idempotency.redispatch.attempts > 0 || said {
        return;
    }
    let message = format!(
        "policy `{name}`: a lost answer waits for a person: nothing says how to ask the service what became of the write"
    );
    found.warn("doubt-without-status", &path, message, "add `status`, or say `status: none`");
}

/// Retention and status queries.
fn settling(policy: &Policy, idempotency: &Idempotency, status: &StatusQuery, found: &mut Found<'_>) {
    let name = &*policy.name;
    let request = ["policies", name, "idempotency", "status", "request"];
    if idempotency.retention < status.schedule.give_up {
        let message = format!(
            "policy `{name}`: `idempotency.retention` ({}) is shorter than `status.schedule.give_up` ({}): responses expire while \
             writes are still being settled",
            human(idempotency.retention),
            human(status.schedule.give_up)
        );
        let path = ["policies", name, "idempotency", "retention"];
        found.warn("retention-too-short", &path, message, "keep responses at least as long");
    }
    if status.believes_absence_late() && status.schedule.give_up <= status.settle_after {
        let message = format!(
            "policy `{name}`: `status.schedule.give_up` ({}) is over before `status.settle_after` ({}) is, from when on `not_found` is \
             believed: a person is called for every write that the service does not know",
            human(status.schedule.give_up),
            human(status.settle_after)
        );
        let path = ["policies", name, "idempotency", "status", "schedule", "give_up"];
        found.warn("gives-up-too-early", &path, message, "ask on for several times as long as `settle_after`");
    }
    if status.method != Method::GET && status.method != Method::HEAD {
        let message = format!(
            "policy `{name}`: `status.request` is a {}: a question is asked again and again, and must change nothing",
            status.method
        );
        found.warn("unsafe-status-request", &request, message, "use GET, if the service offers it");
    }
    if split_variables(&status.path).is_none_or(|names| names.is_empty()) {
        let message = format!(
            "policy `{name}`: `status.request` holds neither {{key}} nor {{operation}} nor {{path.NAME}}, so every write gets one \
             answer"
        );
        found.warn("status-names-no-write", &request, message, "put what names the write into its path");
    }
}
