//! What is allowed and cannot work as it looks. Each warning says what will happen and what to do.

use std::time::Duration;

use http::Method;
use mainstay_policies::{
    concurrency_limit::{Adaptive, ConcurrencyLimit},
    idempotency::{Idempotency, KeyFrom, KeyPart, KeyTemplate, Mint, StatusQuery},
    rate_limit::Key,
    retry::Condition,
};

use mainstay_policies::path::{PathPattern, Segment};

use super::routes::fitting_retries;
use crate::config::units::human;
use crate::config::{
    Warning,
    model::{Config, Match, Policy, Principal, Route},
    raw::split_variables,
};

pub(super) fn find(config: &Config) -> Vec<Warning> {
    let mut found = Vec::new();
    for policy in &config.policies {
        time(policy, &mut found);
        if let Some(idempotency) = &policy.idempotency {
            settling(policy, idempotency, &mut found);
        }
        if let Some(limit) = &policy.concurrency_limit {
            concurrency(policy, limit, &mut found);
        }
    }
    principals(config, &mut found);
    for (index, route) in config.routes.iter().enumerate() {
        writes(route, &mut found);
        shared_keys(config, index, route, &mut found);
        shadows(config, index, route, &mut found);
    }
    nodes(config, &mut found);
    unused(config, &mut found);
    drain(config, &mut found);
    found
}

fn warn(found: &mut Vec<Warning>, policy: &Policy, text: &str) {
    found.push(Warning::new(format!("policy `{}`: {text}", policy.name)));
}

/// Timeouts, retries and breaker against each other.
fn time(policy: &Policy, found: &mut Vec<Warning>) {
    let total = policy.timeout.total;
    let retry = policy.retry.as_ref().filter(|retry| retry.max_retries > 0);
    match policy.timeout.attempt {
        Some(attempt) if attempt >= total => {
            let text = format!(
                "`timeout.attempt` ({}) is not shorter than `timeout.total` ({}), so it never ends an attempt",
                human(attempt),
                human(total)
            );
            warn(found, policy, &text);
        }
        Some(attempt) => {
            let fit = u32::try_from(total.as_nanos().div_ceil(attempt.as_nanos().max(1))).unwrap_or(u32::MAX);
            if let Some(retry) =
                retry.filter(|retry| retry.on.contains(&Condition::Timeout) && retry.max_retries >= fit)
            {
                let text = format!(
                    "when attempts time out ({} each), only {fit} of {} fit into `timeout.total` ({})",
                    human(attempt),
                    u64::from(retry.max_retries) + 1,
                    human(total)
                );
                warn(found, policy, &text);
            }
        }
        None => {
            let waiting =
                match (retry.is_some_and(|it| it.on.contains(&Condition::Timeout)), policy.circuit_breaker.is_some()) {
                    (true, true) => Some("it is not retried, and the circuit breaker sees it only then"),
                    (true, false) => Some("it is not retried"),
                    (false, true) => Some("the circuit breaker sees it only then"),
                    (false, false) => None,
                };
            if let Some(waiting) = waiting {
                let text =
                    format!("without `timeout.attempt` an attempt that hangs lasts until `timeout.total`: {waiting}");
                warn(found, policy, &text);
            }
        }
    }
    if let Some(retry) = retry {
        let fitting = fitting_retries(retry, total);
        if fitting < retry.max_retries {
            let text = format!(
                "the waits of {} of {} retries do not fit into `timeout.total` ({}), so they are never made",
                retry.max_retries - fitting,
                retry.max_retries,
                human(total)
            );
            warn(found, policy, &text);
        }
    }
    if policy.retry.as_ref().is_some_and(|retry| retry.max_retries == 0 && retry.hedge.is_none()) {
        warn(found, policy, "`retry` without `max_retries` retries nothing");
    }
}

/// Queues that nobody joins, and shedding that never happens.
fn concurrency(policy: &Policy, limit: &ConcurrencyLimit, found: &mut Vec<Warning>) {
    if limit.max_wait.is_zero() != (limit.max_queue == 0) {
        let (no, yes) = if limit.max_wait.is_zero() { ("max_wait", "max_queue") } else { ("max_queue", "max_wait") };
        warn(found, policy, &format!("`concurrency_limit.{yes}` has no effect without `{no}`: no request waits"));
    }
    let Some(Adaptive::Bbr(bbr)) = &limit.adaptive else { return };
    if bbr.cpu_percent == 100 {
        let text = "`concurrency_limit.cpu` is 100%, which a smoothed load hardly ever reaches: almost nothing is shed";
        warn(found, policy, text);
    }
    if limit.max_concurrent.get() <= 2 {
        let text = "`concurrency_limit.adaptive: bbr` has no effect with a `max_concurrent` below 3: it always leaves two \
                    requests in flight";
        warn(found, policy, text);
    }
}

/// Keys, retention and status queries.
fn settling(policy: &Policy, idempotency: &Idempotency, found: &mut Vec<Warning>) {
    let Some(status) = &idempotency.status else { return };
    if idempotency.retention < status.schedule.give_up {
        let text = format!(
            "`idempotency.retention` ({}) is shorter than `status.schedule.give_up` ({}): responses expire while writes are \
             still being settled",
            human(idempotency.retention),
            human(status.schedule.give_up)
        );
        warn(found, policy, &text);
    }
    if !names_the_write(status) {
        let text =
            "`status.request` holds neither {key} nor {operation} nor {path.NAME}, so every write gets one answer";
        warn(found, policy, text);
    }
}

fn names_the_write(status: &StatusQuery) -> bool {
    split_variables(&status.path).is_some_and(|names| !names.is_empty())
}

/// Rules about principals where a listener knows none.
fn principals(config: &Config, found: &mut Vec<Warning>) {
    let anonymous: Vec<&str> =
        config.listeners.iter().filter(|it| it.principal == Principal::Anonymous).map(|it| &*it.name).collect();
    let Some(listener) = anonymous.first() else { return };
    for policy in
        config.policies.iter().filter(|policy| config.routes.iter().any(|route| route.policy.name == policy.name))
    {
        if policy.idempotency.as_ref().is_some_and(|idempotency| idempotency.principal_required) {
            let text = format!(
                "`principal: required`, but listener `{listener}` is anonymous: there a keyed write always gets 401"
            );
            warn(found, policy, &text);
        }
        let template = policy.idempotency.as_ref().and_then(template_of);
        if template.is_some_and(|template| template.parts().any(|part| *part == KeyPart::Principal)) {
            let text = format!(
                "`key.from` names {{principal}}, but listener `{listener}` is anonymous: there no key is ever made"
            );
            warn(found, policy, &text);
        }
        if policy.rate_limit.as_ref().is_some_and(|limit| limit.key == Key::Principal) {
            let text = format!(
                "`rate_limit.key: principal`, but listener `{listener}` is anonymous: there all callers share one limit"
            );
            warn(found, policy, &text);
        }
    }
}

fn template_of(idempotency: &Idempotency) -> Option<&KeyTemplate> {
    match &idempotency.key.from {
        Some(KeyFrom::Template(template)) => Some(template),
        Some(KeyFrom::Content { .. }) | None => None,
    }
}

/// Snowflakes of instances that cannot be told apart.
fn nodes(config: &Config, found: &mut Vec<Warning>) {
    let snowflakes = |route: &&std::sync::Arc<Route>| {
        route.policy.idempotency.as_ref().is_some_and(|idempotency| idempotency.key.mint == Mint::Snowflake)
    };
    if config.ledger.node.is_none()
        && let Some(route) = config.routes.iter().find(snowflakes)
    {
        found.push(Warning::new(format!(
            "route `{}` mints snowflakes without `ledger.node`: two instances in a thousand draw the same node, and may mint the \
             same key; number the instances, or use uuidv7",
            route.name
        )));
    }
}

/// Routes whose writes get the same keys.
fn shared_keys(config: &Config, index: usize, route: &Route, found: &mut Vec<Warning>) {
    let template = |route: &Route| route.policy.idempotency.as_ref().and_then(template_of).cloned();
    let Some(keys) = template(route) else { return };
    let earlier = config.routes[..index].iter();
    let mut earlier = earlier.filter(|earlier| earlier.upstream.name == route.upstream.name);
    if let Some(earlier) = earlier.find(|earlier| template(earlier).as_ref() == Some(&keys)) {
        found.push(Warning::new(format!(
            "route `{}`: its keys are those of route `{}`, so the second of two writes gets 422; begin `key.from` with a word \
             of its own in each policy, such as `like:`",
            route.name, earlier.name
        )));
    }
}

/// Retries of writes.
fn writes(route: &Route, found: &mut Vec<Warning>) {
    let policy = &route.policy;
    // What was provably not sent may be sent by anybody, and a policy that asks for no more gets what it says.
    let is_unsent = |condition: &Condition| matches!(condition, Condition::ConnectError | Condition::Refused);
    if policy.retry.as_ref().is_none_or(|retry| retry.max_retries == 0 || retry.on.iter().all(is_unsent)) {
        return;
    }
    let unsafe_methods = [Method::POST, Method::PATCH];
    let methods = &route.matches.methods;
    let protected = policy.idempotency.as_ref().map(|idempotency| idempotency.methods.as_slice()).unwrap_or_default();
    let matched = |method: &&Method| methods.is_empty() || methods.contains(method);
    let (keyed, bare): (Vec<&Method>, Vec<&Method>) =
        unsafe_methods.iter().filter(matched).partition(|method| protected.contains(method));
    let list = |methods: &[&Method]| methods.iter().map(|method| method.as_str()).collect::<Vec<_>>().join(" and ");
    if !bare.is_empty() {
        found.push(Warning::new(format!(
            "route `{}`: {} requests carry no key here, so they are retried only when nothing was sent; {}",
            route.name,
            list(&bare),
            if methods.is_empty() {
                "name the `methods` of this route, or add `idempotency`"
            } else {
                "add `idempotency`"
            }
        )));
    }
    if !keyed.is_empty() && !route.upstream.honours_key {
        found.push(Warning::new(format!(
            "route `{}`: upstream `{}` does not declare `honours_key: true`, so keyed {} requests are retried only when nothing was sent",
            route.name,
            route.upstream.name,
            list(&keyed)
        )));
    }
}

/// Routes that can never match.
fn shadows(config: &Config, index: usize, route: &Route, found: &mut Vec<Warning>) {
    if let Some(earlier) = config.routes[..index].iter().find(|earlier| covers(&earlier.matches, &route.matches)) {
        found.push(Warning::new(format!(
            "route `{}` never matches: the earlier route `{}` takes all of its requests; put the narrower one first",
            route.name, earlier.name
        )));
    }
    let under = |rest: &str| rest.is_empty() || rest.starts_with('/');
    if route.matches.path.text.strip_prefix(&*config.control.path).is_some_and(under) {
        found.push(Warning::new(format!(
            "route `{}` never matches: `{}` belongs to Mainstay; move `control.path`",
            route.name, config.control.path
        )));
    }
}

/// Whether everything that the second matches is matched by the first.
fn covers(first: &Match, second: &Match) -> bool {
    let methods = first.methods.is_empty()
        || (!second.methods.is_empty() && second.methods.iter().all(|method| first.methods.contains(method)));
    let host = first.host.is_none() || first.host == second.host;
    let headers = first.headers.iter().all(|header| second.headers.contains(header));
    methods && host && headers && covers_path(&first.path, &second.path)
}

fn covers_path(first: &PathPattern, second: &PathPattern) -> bool {
    let lengths = match (first.rest, second.rest) {
        (true, _) => first.segments.len() <= second.segments.len(),
        (false, true) => false,
        (false, false) => first.segments.len() == second.segments.len(),
    };
    lengths
        && first.segments.iter().zip(&second.segments).all(|pair| match pair {
            (Segment::Literal(first), Segment::Literal(second)) => first == second,
            (Segment::Literal(_), Segment::Param(_)) => false,
            (Segment::Param(_), Segment::Literal(text)) => !text.is_empty(),
            (Segment::Param(_), Segment::Param(_)) => true,
        })
}

fn unused(config: &Config, found: &mut Vec<Warning>) {
    for policy in &config.policies {
        if !config.routes.iter().any(|route| route.policy.name == policy.name) {
            warn(found, policy, "no route uses it");
        }
    }
    for upstream in &config.upstreams {
        if !config.routes.iter().any(|route| route.upstream.name == upstream.name) {
            found.push(Warning::new(format!("upstream `{}`: no route uses it", upstream.name)));
        }
    }
}

/// Requests that may outlive the drain.
fn drain(config: &Config, found: &mut Vec<Warning>) {
    let longest = config.routes.iter().map(|route| route.policy.timeout.total).max().unwrap_or(Duration::ZERO);
    if config.drain.timeout < longest {
        found.push(Warning::new(format!(
            "`drain.timeout` ({}) is shorter than the longest `timeout.total` ({}): requests in flight may be cut off at exit",
            human(config.drain.timeout),
            human(longest)
        )));
    }
}
