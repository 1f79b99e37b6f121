//! What a setting is called elsewhere, for those who bring a name along from another proxy or library.
//!
//! The same table as in `policies/README.md`, which a test holds against it.

/// A setting here, and its names elsewhere.
type Entry = (&'static str, &'static [&'static str]);

/// Paths are from the policy down.
const NAMES: [Entry; 26] = [
    ("timeout.total", &["timeout", "timeoutDuration", "timeouts.general"]),
    ("timeout.attempt", &["per_try_timeout", "perTryTimeout"]),
    ("retry.max_retries", &["num_retries", "attempts", "maxAttempts", "retries.maxRetries"]),
    ("retry.backoff", &["retry_back_off", "intervalFunction", "retries.policy: exponential"]),
    ("retry.budget", &["retry_budget"]),
    ("retry.on", &["retry_on", "retryOn", "retryExceptions", "matching.httpStatusCodes"]),
    ("retry.hedge", &["hedge_policy"]),
    ("rate_limit.requests", &["token_bucket", "limitForPeriod", "count", "maxRequestsPerSecond"]),
    ("rate_limit.unit", &["limitRefreshPeriod"]),
    ("rate_limit.queue.max_wait", &["timeoutDuration", "maxQueueingTimeMs"]),
    ("rate_limit.warm_up.period", &["warmUpPeriodSec"]),
    (
        "concurrency_limit.max_concurrent",
        &["max_requests", "http2MaxRequests", "maxConcurrentCalls", "count", "maxConcurrency"],
    ),
    ("concurrency_limit.max_wait", &["maxWaitDuration"]),
    ("concurrency_limit.adaptive: aimd", &["adaptive_concurrency"]),
    ("concurrency_limit.adaptive: bbr", &["BBR"]),
    ("concurrency_limit.cpu", &["highestCpuUsage", "CPUThreshold"]),
    ("circuit_breaker.error_ratio", &["failure_percentage_threshold", "failureRateThreshold", "count"]),
    ("circuit_breaker.slow_call", &["slowCallRateThreshold", "slowRatioThreshold"]),
    ("circuit_breaker.error_count", &["count"]),
    (
        "circuit_breaker.consecutive_errors",
        &["consecutive_5xx", "consecutive5xxErrors", "trip: consecutiveFailures > n"],
    ),
    (
        "circuit_breaker.min_requests",
        &["failure_percentage_request_volume", "minimumNumberOfCalls", "minRequestAmount"],
    ),
    ("circuit_breaker.window", &["interval", "slidingWindowSize", "statIntervalMs"]),
    ("circuit_breaker.open_duration", &["base_ejection_time", "waitDurationInOpenState", "timeWindow", "timeout"]),
    ("circuit_breaker.half_open.probes", &["permittedNumberOfCallsInHalfOpenState", "maxRequests"]),
    ("access", &["rbac", "AuthorizationPolicy"]),
    ("fallback", &["blockHandler"]),
];

/// What `key` is called here, if it is a name from elsewhere; first of all what belongs to the section that is being read,
/// which `path` leads to.
pub(super) fn here(path: &[String], key: &str) -> Vec<&'static str> {
    let key = normal(key);
    let called = |names: &[&str]| names.iter().any(|name| normal(last_word(name)) == key);
    let all: Vec<&str> = NAMES.iter().filter(|(_, names)| called(names)).map(|(ours, _)| *ours).collect();
    let near: Vec<&str> = all.iter().copied().filter(|ours| is_in(path, ours)).collect();
    if near.is_empty() { all } else { near }
}

/// Whether a setting belongs to the section that `path` leads to.
pub(super) fn is_in(path: &[String], ours: &str) -> bool {
    ours.split_once('.').is_some_and(|(section, _)| path.iter().skip(2).any(|step| step == section))
}

/// The key in a name that is written with its parents or its value.
fn last_word(name: &str) -> &str {
    let key = name.split(':').next().unwrap_or(name);
    key.rsplit('.').next().unwrap_or(key)
}

/// The same for `perTryTimeout` and `per_try_timeout`.
fn normal(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of the table of names: what it is here, and everything in backticks that it is elsewhere.
    fn published() -> Vec<(Vec<String>, Vec<String>)> {
        let readme = include_str!("../../../policies/README.md");
        let (_, table) = readme.split_once("| here |").expect("the README has a table of names");
        let ticked = |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
        let rows = table.lines().filter(|line| line.starts_with("| `"));
        rows.map(|row| {
            let (ours, theirs) = row[2..].split_once('|').expect("a row has cells");
            (ticked(ours), ticked(theirs))
        })
        .collect()
    }

    #[test]
    fn every_name_of_the_published_table_is_known() {
        let rows = published();
        assert!(rows.len() > 20, "{rows:?}");
        let section = |ours: &[String]| ours[0].split(['.', ':']).next().unwrap_or_default().to_owned();
        // A heading of our own elsewhere (`cache`, `fallback`) is no foreign name.
        let is_ours = |name: &str| ["cache", "Cache", "fallback"].contains(&name);
        for (ours, theirs) in rows {
            let is_same = |name: &str| ours.iter().any(|ours| normal(last_word(ours)) == normal(last_word(name)));
            for name in theirs.iter().filter(|name| !is_ours(name) && !is_same(name)) {
                let known = here(&["policies".into(), "it".into(), section(&ours)], last_word(name));
                assert!(
                    known.iter().any(|known| ours.iter().any(|ours| ours == known || known.ends_with(ours.as_str()))),
                    "`{name}` is {ours:?} in the README, and {known:?} here"
                );
            }
        }
    }

    #[test]
    fn the_section_that_is_read_counts_first() {
        let at = |section: &str| vec!["policies".to_owned(), "it".into(), section.into()];
        assert_eq!(here(&at("rate_limit"), "timeoutDuration"), ["rate_limit.queue.max_wait"]);
        assert_eq!(here(&at("retry"), "attempts"), ["retry.max_retries"]);
        assert_eq!(here(&at("retry"), "per_try_timeout"), ["timeout.attempt"]);
        assert_eq!(here(&at("retry"), "zebra"), [""; 0]);
    }
}
