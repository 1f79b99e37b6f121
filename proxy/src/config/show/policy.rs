//! Policies, shown.

use http::HeaderName;
use mainstay_policies::{
    access::{AccessList, PathRule, Rule as AccessRule},
    circuit_breaker::{CircuitBreaker, Scope},
    concurrency_limit::{Adaptive, Aimd, Bbr, ConcurrencyLimit},
    fallback::{Fallback, To},
    idempotency::{
        Credentials, FingerprintBody, Idempotency, JsonCondition, JsonExpect, KeyFrom, KeySource, KeySyntax, Mint,
        OnConcurrent, Outcomes, Redispatch, ResolvedResponse, ResolvedResponses, ResponseStatus, Rule, StatusQuery,
    },
    rate_limit::{self, Behavior, Key, RateLimit, WarmUp},
    retry::{Backoff, Condition, Delays, Hedge, HedgeAfter, Jitter, Retry},
};
use serde_json::{Map, Value, json};

use super::words::{duration, map, size, text, with, word};
use crate::config::{
    model::{Cache, Policy},
    raw::{GRPC, VERDICTS, shown},
    units::{format_duration, format_rate},
};

pub(super) fn policy(policy: &Policy) -> Value {
    let timeout = with(
        json!({ "total": duration(policy.timeout.total), "idle": duration(policy.timeout.idle) }),
        [("attempt", policy.timeout.attempt.map(duration))],
    );
    with(
        json!({ "timeout": timeout }),
        [
            ("retry", policy.retry.as_ref().map(retry)),
            ("rate_limit", policy.rate_limit.as_ref().map(rate_limit)),
            ("concurrency_limit", policy.concurrency_limit.as_ref().map(concurrency_limit)),
            ("circuit_breaker", policy.circuit_breaker.as_ref().map(circuit_breaker)),
            ("idempotency", policy.idempotency.as_ref().map(idempotency)),
            ("access", policy.access.as_deref().map(access)),
            ("fallback", policy.fallback.as_ref().map(fallback)),
            ("cache", policy.cache.as_ref().map(cache)),
        ],
    )
}

pub(super) fn access(list: &AccessList) -> Value {
    let rules = |rules: &[AccessRule]| (!rules.is_empty()).then(|| rules.iter().map(access_rule).collect::<Value>());
    with(json!({}), [("allow", rules(&list.allow)), ("deny", rules(&list.deny))])
}

fn cache(cache: &Cache) -> Value {
    let invalidate: Vec<Value> = cache.invalidate.iter().map(|pattern| text(&pattern.text)).collect();
    json!({
        "max_bytes": size(usize::try_from(cache.params.max_bytes).unwrap_or(usize::MAX)),
        "max_body": size(cache.params.max_body),
        "stale_if_error": duration(cache.params.stale_if_error),
        "stale_while_revalidate": duration(cache.params.stale_while_revalidate),
        "invalidate": invalidate,
    })
}

fn fallback(fallback: &Fallback) -> Value {
    let on: Vec<&str> = fallback.on.iter().map(|reason| reason.label()).collect();
    let shown = json!({ "on": on });
    match &fallback.to {
        To::Stale(limit) => with(shown, [("stale", Some(duration(*limit)))]),
        To::Upstream(upstream) => with(shown, [("upstream", Some(text(upstream)))]),
        To::Answer(answer) => {
            let headers: Map<String, Value> = answer
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), text(value.to_str().unwrap_or_default())))
                .collect();
            with(
                shown,
                [
                    ("status", Some(answer.status.as_u16().into())),
                    ("headers", (!headers.is_empty()).then(|| headers.into())),
                    ("body", (!answer.body.is_empty()).then(|| text(&String::from_utf8_lossy(&answer.body)))),
                ],
            )
        }
    }
}

fn access_rule(rule: &AccessRule) -> Value {
    let clients: Vec<Value> = rule.clients.iter().map(|network| text(&network.to_string())).collect();
    let methods: Vec<&str> = rule.methods.iter().map(http::Method::as_str).collect();
    let principals: Vec<Value> = rule.principals.iter().map(|pattern| text(&pattern.0)).collect();
    with(
        json!({}),
        [
            ("client", (!clients.is_empty()).then(|| clients.into())),
            ("methods", (!methods.is_empty()).then(|| json!(methods))),
            ("path", rule.path.as_ref().map(|path| text(&path_text(path)))),
            ("principal", (!principals.is_empty()).then(|| principals.into())),
        ],
    )
}

/// A pattern that matches the same paths: names of segments do not matter here.
fn path_text(path: &PathRule) -> String {
    let mut segments: Vec<String> = path
        .segments
        .iter()
        .enumerate()
        .map(|(at, segment)| segment.clone().unwrap_or_else(|| format!("{{segment{at}}}")))
        .collect();
    if path.rest {
        segments.push("**".into());
    }
    format!("/{}", segments.join("/"))
}

fn retry(retry: &Retry) -> Value {
    let (backoff, schedule) = match &retry.delays {
        Delays::Backoff(waits) => (Some(backoff(waits)), None),
        Delays::Schedule(waits) => (None, Some(waits.iter().map(|wait| duration(*wait)).collect())),
    };
    let budget = match &retry.budget {
        None => json!("none"),
        Some(budget) => json!({
            "percent": budget.percent,
            "min_retries_per_sec": budget.min_retries_per_sec,
            "ttl": duration(budget.ttl),
        }),
    };
    let conditions: Vec<Value> = retry.on.iter().copied().map(condition).collect();
    with(
        json!({ "max_retries": retry.max_retries }),
        [
            ("backoff", backoff),
            ("schedule", schedule),
            ("budget", Some(budget)),
            ("on", Some(conditions.into())),
            ("max_body", Some(size(retry.max_body))),
            ("hedge", retry.hedge.as_ref().map(hedge)),
        ],
    )
}

fn hedge(hedge: &Hedge) -> Value {
    let after = match hedge.after {
        HedgeAfter::Fixed(after) => duration(after),
        HedgeAfter::Percentile(percent) => format!("p{percent}").into(),
    };
    json!({ "after": after, "max": hedge.max })
}

fn backoff(backoff: &Backoff) -> Value {
    json!({
        "base": duration(backoff.base),
        "max": duration(backoff.max),
        "multiplier": backoff.multiplier,
        "jitter": match backoff.jitter { Jitter::Full => "full", Jitter::None => "none" },
    })
}

fn redispatch(redispatch: &Redispatch) -> Value {
    json!({ "attempts": redispatch.attempts, "backoff": backoff(&redispatch.backoff) })
}

fn condition(condition: Condition) -> Value {
    match condition {
        Condition::ConnectError => "connect_error".into(),
        Condition::Refused => "refused".into(),
        Condition::Reset => "reset".into(),
        Condition::Timeout => "timeout".into(),
        Condition::Status(status) => status.as_u16().into(),
        Condition::Grpc(code) => match GRPC.get(usize::from(code)) {
            Some(name) => format!("grpc:{name}").into(),
            None => format!("grpc:{code}").into(),
        },
    }
}

pub(super) fn rate_limit(limit: &RateLimit) -> Value {
    let warm_up = |curve: &WarmUp| json!({ "period": duration(curve.period), "cold_factor": curve.cold_factor });
    let (behavior, queue, curve) = match &limit.behavior {
        Behavior::Reject => ("reject", None, None),
        Behavior::Queue { max_wait } => ("queue", Some(*max_wait), None),
        Behavior::WarmUp(curve) => ("warm_up", None, Some(warm_up(curve))),
        Behavior::WarmUpQueue { warm_up: curve, max_wait } => ("warm_up_queue", Some(*max_wait), Some(warm_up(curve))),
    };
    let shown = json!({
        "requests": limit.requests.get(),
        "unit": duration(limit.unit),
        "burst": limit.burst.get(),
        "key": match &limit.key {
            Key::Route => json!("route"),
            Key::Principal => json!("principal"),
            Key::ClientIp => json!("client_ip"),
            Key::Header(name) => text(&format!("{{header.{name}}}")),
        },
        "max_keys": limit.max_keys,
        "behavior": behavior,
        "headers": limit.headers,
        "scope": match limit.scope {
            rate_limit::Scope::Replica => "replica",
            rate_limit::Scope::Service => "service",
        },
    });
    with(shown, [("queue", queue.map(|wait| json!({ "max_wait": duration(wait) }))), ("warm_up", curve)])
}

fn concurrency_limit(limit: &ConcurrencyLimit) -> Value {
    let shown = json!({
        "max_concurrent": limit.max_concurrent.get(),
        "max_wait": duration(limit.max_wait),
        "max_queue": limit.max_queue,
    });
    match &limit.adaptive {
        None => shown,
        Some(Adaptive::Aimd(Aimd { min, max, threshold })) => with(
            shown,
            [
                ("adaptive", Some(json!("aimd"))),
                ("min", Some(json!(min.get()))),
                ("max", Some(json!(max.get()))),
                ("threshold", Some(duration(*threshold))),
            ],
        ),
        Some(Adaptive::Bbr(Bbr { cpu_percent, window, cool_off })) => with(
            shown,
            [
                ("adaptive", Some(json!("bbr"))),
                ("cpu", Some(json!(format!("{cpu_percent}%")))),
                ("window", Some(duration(*window))),
                ("cool_off", Some(duration(*cool_off))),
            ],
        ),
    }
}

fn circuit_breaker(breaker: &CircuitBreaker) -> Value {
    let slow_call = breaker.slow_call.as_ref();
    let conditions = with(
        json!({}),
        [
            ("error_ratio", breaker.error_ratio.map(Value::from)),
            ("slow_call", slow_call.map(|slow| json!({ "duration": duration(slow.duration), "ratio": slow.ratio }))),
            ("error_count", breaker.error_count.map(|count| count.get().into())),
            ("consecutive_errors", breaker.consecutive_errors.map(|count| count.get().into())),
        ],
    );
    with(
        conditions,
        [
            ("window", Some(duration(breaker.window))),
            ("min_requests", Some(breaker.min_requests.get().into())),
            ("open_duration", Some(duration(breaker.open_duration))),
            (
                "half_open",
                Some(json!({
                    "probes": breaker.half_open.probes.get(),
                    "timeout": duration(breaker.half_open.timeout),
                })),
            ),
            (
                "scope",
                Some(json!(match breaker.scope {
                    Scope::Upstream => "upstream",
                    Scope::Endpoint => "endpoint",
                    Scope::Route => "route",
                })),
            ),
            ("max_ejection_percent", Some(breaker.max_ejection_percent.into())),
            ("errors", Some(statuses(&breaker.errors))),
        ],
    )
}

fn idempotency(idempotency: &Idempotency) -> Value {
    let methods: Vec<&str> = idempotency.methods.iter().map(http::Method::as_str).collect();
    let shown = json!({
        "required": idempotency.required,
        "methods": methods,
        "principal": if idempotency.principal_required { "required" } else { "optional" },
        "credentials": match idempotency.credentials { Credentials::Bind => "bind", Credentials::Ignore => "ignore" },
        "key": key(&idempotency.key),
        "fingerprint": {
            "body": match idempotency.fingerprint.body { FingerprintBody::Exact => "exact", FingerprintBody::Json => "json" },
            "headers": headers(&idempotency.fingerprint.headers),
        },
        "outcome": outcome(&idempotency.outcome),
        "on_concurrent": match idempotency.on_concurrent {
            OnConcurrent::Reject => json!("reject"),
            OnConcurrent::Wait(wait) => json!({ "wait": duration(wait) }),
        },
        "max_body": size(idempotency.max_body),
        "max_response": size(idempotency.max_response),
        "retention": duration(idempotency.retention),
        "tombstone": duration(idempotency.tombstone),
        "late_response": duration(idempotency.late_response),
        "replay": { "headers": headers(&idempotency.replay_headers) },
    });
    with(
        shown,
        [
            ("status", idempotency.status.as_ref().map(status)),
            ("redispatch", Some(redispatch(&idempotency.redispatch))),
            ("resolved_response", Some(resolved(&idempotency.resolved_response))),
            ("redirect", Some(idempotency.redirect.into())),
        ],
    )
}

fn resolved(resolved: &ResolvedResponses) -> Value {
    let answer = |shown: Value, answer: &Option<ResolvedResponse>| {
        let answer = answer.as_ref();
        with(
            shown,
            [
                ("status", answer.map(|answer| answer.status.as_u16().into())),
                ("body", answer.map(|answer| text(&answer.body))),
            ],
        )
    };
    let from = if resolved.from_status { "status" } else { "none" };
    with(
        json!({ "succeeded": answer(json!({ "from": from }), &resolved.succeeded) }),
        [("failed", resolved.failed.is_some().then(|| answer(json!({}), &resolved.failed)))],
    )
}

fn key(key: &KeySource) -> Value {
    let (from, window, mint) = match &key.from {
        Some(KeyFrom::Content { window }) => (Some(json!("fingerprint")), Some(duration(*window)), None),
        Some(KeyFrom::Template(template)) => (Some(json!(text(template.as_str()))), None, Some(key.mint)),
        None => (None, None, Some(key.mint)),
    };
    let mint = mint.map(|mint| match mint {
        Mint::None => "none",
        Mint::UuidV7 => "uuidv7",
        Mint::Snowflake => "snowflake",
    });
    let shown = json!({
        "header": text(key.header.as_str()),
        "syntax": match key.syntax { KeySyntax::Lenient => "lenient", KeySyntax::Strict => "strict" },
    });
    with(shown, [("from", from), ("window", window), ("mint", mint.map(Value::from))])
}

fn outcome(outcome: &Outcomes) -> Value {
    json!({
        "not_executed": statuses(&outcome.not_executed),
        "succeeded": statuses(&outcome.succeeded),
        "failed": statuses(&outcome.failed),
        "ongoing": statuses(&outcome.ongoing),
        "rules": outcome.rules.iter().map(rule).collect::<Vec<_>>(),
    })
}

fn status(status: &StatusQuery) -> Value {
    json!({
        "request": text(&format!("{} {}", status.method, status.path)),
        "rules": status.rules.iter().map(rule).collect::<Vec<_>>(),
        "settle_after": duration(status.settle_after),
        "fenced": status.fenced,
        "shared": status.shared,
        "schedule": {
            "first": duration(status.schedule.first),
            "factor": status.schedule.factor,
            "max": duration(status.schedule.max),
            "give_up": duration(status.schedule.give_up),
        },
        "rate": rate(status.rate_per_sec),
    })
}

/// The rate as a count and a time that divide to the same number: per second if that is whole, else the longest usual unit.
fn rate(per_second: f64) -> String {
    use std::time::Duration;
    let units = [Duration::from_secs(1), Duration::from_mins(1), Duration::from_hours(1), Duration::from_hours(24)];
    for unit in units {
        let count = (per_second * unit.as_secs_f64()).round();
        if count >= 1.0
            && count <= f64::from(u32::MAX)
            && (count / unit.as_secs_f64()).to_bits() == per_second.to_bits()
        {
            return format_rate(count as u32, unit);
        }
    }
    // One per so many nanoseconds.
    format!("1/{}", format_duration(Duration::from_secs_f64(1.0 / per_second)))
}

fn rule(rule: &Rule) -> Value {
    let conditions = rule.json.iter().map(|condition| (condition.pointer.clone(), expectation(condition)));
    let json = (!rule.json.is_empty()).then(|| map(conditions));
    with(
        json!({}),
        [
            ("status", rule.status.map(response_status)),
            ("json", json),
            ("then", Some(word(&VERDICTS, &rule.then).into())),
        ],
    )
}

fn expectation(condition: &JsonCondition) -> Value {
    match &condition.expect {
        JsonExpect::Exists(exists) => json!({ "exists": exists }),
        JsonExpect::OneOf(values) => match values.as_slice() {
            [value] => json!({ "equals": escaped(value) }),
            values => json!({ "in": values.iter().map(escaped).collect::<Vec<_>>() }),
        },
    }
}

/// A JSON value whose texts survive substitution.
fn escaped(value: &Value) -> Value {
    match value {
        Value::String(string) => text(string),
        Value::Array(items) => items.iter().map(escaped).collect(),
        Value::Object(entries) => {
            Value::Object(entries.iter().map(|(key, value)| (key.clone(), escaped(value))).collect::<Map<_, _>>())
        }
        plain => plain.clone(),
    }
}

fn statuses<S: Copy + Into<ResponseStatus>>(statuses: &[S]) -> Value {
    statuses.iter().map(|status| response_status((*status).into())).collect()
}

fn response_status(status: ResponseStatus) -> Value {
    match status {
        ResponseStatus::Http(status) => status.as_u16().into(),
        ResponseStatus::Grpc(_) => shown(status).into(),
    }
}

fn headers(headers: &[HeaderName]) -> Value {
    headers.iter().map(|name| text(name.as_str())).collect()
}
