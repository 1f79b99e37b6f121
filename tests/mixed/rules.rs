//! What the proxy is told: every policy on, and numbers that change with each reload.

use std::net::SocketAddr;

use mainstay_tests::config::Config;

/// Where requests go in the random part of the load; each is also its policy's name and its first path segment.
pub(crate) const MIXED: [&str; 7] = ["read", "pace", "warm", "cold", "write", "bulk", "streams"];
/// Where one turn after another is played, step by step: see `turns.rs`.
pub(crate) const PLACE: &str = "place";
pub(crate) const TURN: &str = "turn";

/// The services behind the proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Services {
    pub(crate) http1: [SocketAddr; 2],
    pub(crate) http2: SocketAddr,
}

/// Every name under which something is counted.
pub(crate) fn all() -> impl Iterator<Item = &'static str> {
    MIXED.into_iter().chain([PLACE, TURN])
}

/// The configuration in its `variant`th shape: other numbers, the same names.
pub(crate) fn config(services: Services, variant: u64) -> Config {
    let v = variant % 4;
    let config = Config::new()
        .upstream("app", services.http1[0], "")
        .endpoints("pair", &services.http1, "")
        .upstream("app2", services.http2, "protocol: http2")
        .top("telemetry: { logs: { access: false, level: warn } }");
    let policies = retried(v).into_iter().chain(paced(v)).chain(bounded(v));
    let config = policies.fold(config, |config, (name, rules)| config.policy(name, &rules));
    let upstream = |name| match name {
        "cold" => "pair",
        "streams" => "app2",
        _ => "app",
    };
    all().fold(config, |config, name| config.route(&format!("path: /{name}/**"), upstream(name), name))
}

/// Failures are tried again.
fn retried(v: u64) -> [(&'static str, String); 3] {
    [
        (
            "read",
            format!(
                "access: {{ deny: [{{ path: /read/denied }}] }}, timeout: {{ total: 3s, attempt: {}ms }}, \
                 retry: {{ max_retries: 2, backoff: {{ base: 5ms, max: 20ms }}, budget: {{ percent: {} }} }}, \
                 rate_limit: {{ requests: {}, unit: 1s, key: \"{{header.X-User}}\", headers: true }}, \
                 concurrency_limit: {{ max_concurrent: {}, max_wait: 200ms, max_queue: 16 }}, \
                 circuit_breaker: {{ error_ratio: 0.5, window: 2s, min_requests: {}, open_duration: 500ms, \
                 half_open: {{ probes: 2, timeout: 2s }} }}",
                300 + 50 * v,
                20 + v,
                4 + v,
                4 + v,
                // The breaker stays the same one across every other reload.
                10 + v / 2,
            ),
        ),
        (
            "cold",
            format!(
                "timeout: 3s, rate_limit: {{ requests: {}, unit: 1s, behavior: warm_up, \
                 warm_up: {{ period: 5s, cold_factor: 3 }} }}, retry: {{ max_retries: 1, hedge: {{ after: 150ms }} }}, \
                 circuit_breaker: {{ error_count: 6, window: 2s, min_requests: 6, open_duration: 400ms, \
                 scope: endpoint, max_ejection_percent: {} }}",
                40 + 10 * v,
                if v == 3 { 50 } else { 100 },
            ),
        ),
        (
            "streams",
            format!(
                "timeout: {{ total: 3s, attempt: 1s }}, retry: 1, rate_limit: {{ requests: {}, unit: 1s }}, \
                 concurrency_limit: {{ max_concurrent: {}, max_wait: 100ms, max_queue: 8 }}, \
                 circuit_breaker: {{ error_ratio: 0.5, window: 2s, min_requests: 10, open_duration: 400ms, \
                 scope: route }}",
                60 + 20 * v,
                8 + v,
            ),
        ),
    ]
}

/// Requests wait for their slot.
fn paced(v: u64) -> [(&'static str, String); 3] {
    [
        (
            "pace",
            format!(
                "timeout: 3s, rate_limit: {{ requests: {}, unit: 1s, behavior: queue, queue: {{ max_wait: {}ms }} }}, \
                 circuit_breaker: {{ consecutive_errors: 5, open_duration: 400ms, scope: route, \
                 half_open: {{ timeout: 1s }} }}",
                25 + 5 * v,
                200 + 50 * v,
            ),
        ),
        (
            "warm",
            format!(
                "timeout: 3s, rate_limit: {{ requests: {}, unit: 1s, behavior: warm_up_queue, \
                 queue: {{ max_wait: 300ms }}, warm_up: {{ period: 5s, cold_factor: 3 }} }}, \
                 concurrency_limit: {{ max_concurrent: {}, adaptive: aimd, min: 2, max: 32, threshold: 100ms, \
                 max_wait: 100ms, max_queue: 8 }}, \
                 circuit_breaker: {{ slow_call: {{ duration: 150ms, ratio: 0.6 }}, window: 2s, min_requests: 8, \
                 open_duration: 500ms }}",
                40 + 10 * v,
                8 + v,
            ),
        ),
        (
            TURN,
            format!(
                "timeout: 20s, rate_limit: {{ requests: 5, unit: 1s, behavior: queue, queue: {{ max_wait: {}s }} }}",
                10 + v
            ),
        ),
    ]
}

/// Few at a time.
fn bounded(v: u64) -> [(&'static str, String); 3] {
    [
        (
            "write",
            format!(
                "timeout: {{ total: 3s, attempt: 1s, idle: 2s }}, \
                 concurrency_limit: {{ max_concurrent: {}, max_wait: 100ms, max_queue: 8 }}, \
                 circuit_breaker: {{ consecutive_errors: 6, open_duration: 400ms }}, \
                 idempotency: {{ required: true, retention: 20s, tombstone: 20s, late_response: 2s, \
                 status: {{ request: \"GET /by-ref/{{key}}\", settle_after: 5s, rate: 20/s, rules: [\
                 {{ status: 200, then: succeeded }}, {{ status: 404, then: not_found }}] }} }}",
                8 + v,
            ),
        ),
        (
            "bulk",
            format!(
                "timeout: {{ total: 5s, idle: 3s }}, rate_limit: 1000/s, \
                 concurrency_limit: {{ max_concurrent: {}, max_wait: 300ms, max_queue: 8 }}",
                6 + v,
            ),
        ),
        (
            PLACE,
            format!("timeout: 20s, concurrency_limit: {{ max_concurrent: 1, max_wait: {}s, max_queue: 2 }}", 10 + v),
        ),
    ]
}
