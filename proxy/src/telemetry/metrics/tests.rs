use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use http::StatusCode;
use mainstay_policies::{
    concurrency_limit::OverloadedBy,
    operation::{Source, State},
    problem::Problem,
};

use super::*;

/// A page in text format 0.0.4, read as strictly as its specification says.
struct Page {
    /// By name and labels as written.
    samples: BTreeMap<String, f64>,
    kinds: BTreeMap<String, String>,
}

impl Page {
    fn of(metrics: &Metrics) -> Self {
        Self::parse(&metrics.encode())
    }

    fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'));
        let mut page = Self { samples: BTreeMap::new(), kinds: BTreeMap::new() };
        let mut helped = BTreeSet::new();
        let mut current = String::new();
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let name = help.split(' ').next().unwrap().to_owned();
                assert!(helped.insert(name), "described twice: {line}");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert!(helped.contains(name), "no help: {line}");
                assert!(page.kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "declared twice: {line}");
                name.clone_into(&mut current);
            } else {
                page.sample(line, &current);
            }
        }
        page
    }

    fn sample(&mut self, line: &str, family: &str) {
        assert!(!line.starts_with('#'), "neither help, type nor sample: {line}");
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("{line} stands in {family}"));
        match self.kinds[family].as_str() {
            "histogram" => assert!(["_sum", "_count", "_bucket"].contains(&suffix), "{line}"),
            "counter" => assert!(suffix.is_empty() && name.ends_with("_total"), "{line}"),
            _ => assert!(suffix.is_empty(), "{line}"),
        }
        let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        assert!(self.samples.insert(series.to_owned(), value).is_none(), "twice: {line}");
    }

    #[track_caller]
    fn check(&self, series: &str, expected: f64) {
        let found = self.samples.get(series).copied();
        assert!(found.is_some_and(|found| (found - expected).abs() < 1e-9), "{series} is {found:?}, not {expected}");
    }

    fn has(&self, name: &str) -> bool {
        self.samples.keys().any(|series| series.split('{').next() == Some(name))
    }
}

fn metrics() -> Metrics {
    Metrics::new(&WallClock::system())
}

const PAY: &str = r#"route="pay",upstream="app",policy="write""#;

#[tokio::test(start_paused = true)]
async fn requests_and_attempts_are_counted_and_timed() {
    let metrics = metrics();
    let route = metrics.route("pay", "app", "write");
    for _ in 0..4 {
        route.begin();
    }
    route.end(Some(StatusCode::CREATED), Duration::from_millis(3));
    route.end(Some(StatusCode::SERVICE_UNAVAILABLE), Duration::from_mins(1));
    route.end(None, Duration::from_mins(2));
    route.attempt(AttemptResult::Response(StatusCode::OK), Duration::from_micros(500));
    route.attempt(AttemptResult::Failed("reset"), Duration::from_micros(501));
    route.attempt(AttemptResult::Cancelled, Duration::ZERO);

    let page = Page::of(&metrics);
    page.check(&format!(r#"mainstay_requests_total{{{PAY},status="2xx"}}"#), 1.0);
    page.check(&format!(r#"mainstay_requests_total{{{PAY},status="5xx"}}"#), 1.0);
    page.check(&format!("mainstay_requests_cancelled_total{{{PAY}}}"), 1.0);
    page.check(&format!("mainstay_requests_in_flight{{{PAY}}}"), 1.0);
    page.check(&format!("mainstay_request_duration_seconds_count{{{PAY}}}"), 2.0);
    page.check(&format!("mainstay_request_duration_seconds_sum{{{PAY}}}"), 60.003);
    page.check(&format!(r#"mainstay_attempts_total{{{PAY},result="2xx"}}"#), 1.0);
    page.check(&format!(r#"mainstay_attempts_total{{{PAY},result="reset"}}"#), 1.0);
    page.check(&format!(r#"mainstay_attempts_total{{{PAY},result="cancelled"}}"#), 1.0);
    route.end(None, Duration::ZERO);
    Page::of(&metrics).check(&format!("mainstay_requests_in_flight{{{PAY}}}"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn histogram_buckets_are_cumulative_and_hold_their_upper_bound() {
    let metrics = metrics();
    let route = metrics.route("pay", "app", "write");
    for us in [500, 501, 1_000, 31_000_000] {
        route.attempt(AttemptResult::Cancelled, Duration::from_micros(us));
    }
    let page = Page::of(&metrics);
    let bucket = |le: &str| {
        let labels = [format!(r#"{PAY},le="{le}""#), format!(r#"le="{le}",{PAY}"#)];
        labels.map(|labels| page.samples.get(&format!("mainstay_attempt_duration_seconds_bucket{{{labels}}}")).copied())
    };
    for (le, expected) in [("0.0005", 1.0), ("0.001", 3.0), ("30.0", 3.0), ("+Inf", 4.0)] {
        assert!(bucket(le).contains(&Some(expected)), "{le}: {:?}", bucket(le));
    }
}

#[test]
fn decisions_and_operations_are_counted_by_reason() {
    let metrics = metrics();
    let route = metrics.route("pay", "app", "write");
    route.retry("503");
    route.retry("503");
    route.retry_denied("budget");
    route.rate_limited();
    route.overloaded(OverloadedBy::Places);
    route.overloaded(OverloadedBy::Cpu);
    route.breaker_rejected();
    route.operation_begun();
    route.operation_settled(State::Unknown, None);
    route.operation_settled(State::Succeeded, Some(Source::LateResponse));
    route.operation_settled(State::Failed, Some(Source::Operator));
    route.replayed();
    route.idempotency_refused(Problem::KeyReused);
    route.problem(Problem::Draining);
    let page = Page::of(&metrics);
    for (name, labels, expected) in [
        ("retries", r#",reason="503""#, 2.0),
        ("retry_denied", r#",reason="budget""#, 1.0),
        ("rate_limited", "", 1.0),
        ("overloaded", "", 2.0),
        ("load_shed", "", 1.0),
        ("breaker_rejected", "", 1.0),
        ("operations_begun", "", 1.0),
        ("operations_settled", r#",state="unknown",source="none""#, 1.0),
        ("operations_settled", r#",state="succeeded",source="late_response""#, 1.0),
        ("operations_settled", r#",state="failed",source="operator""#, 1.0),
        ("replays", "", 1.0),
        ("idempotency_refused", r#",reason="key-reused""#, 1.0),
        ("problems", r#",problem="draining""#, 1.0),
    ] {
        page.check(&format!("mainstay_{name}_total{{{PAY}{labels}}}"), expected);
    }
}

#[test]
fn every_label_has_its_own_place() {
    let metrics = metrics();
    let route = metrics.route("pay", "app", "write");
    for problem in Problem::ALL {
        route.problem(*problem);
    }
    for word in ["refused", "connect_timeout", "dns", "eof", "attempt_timeout", "timeout"] {
        route.attempt(AttemptResult::Failed(word), Duration::ZERO);
        Page::of(&metrics).check(&format!(r#"mainstay_attempts_total{{{PAY},result="{word}"}}"#), 1.0);
    }
    let page = Page::of(&metrics);
    for problem in Problem::ALL {
        page.check(&format!(r#"mainstay_problems_total{{{PAY},problem="{}"}}"#, problem.slug()), 1.0);
    }
    for code in 100..1000 {
        route.begin();
        route.end(Some(StatusCode::from_u16(code).unwrap()), Duration::ZERO);
    }
    Page::of(&metrics).check(&format!(r#"mainstay_requests_total{{{PAY},status="5xx"}}"#), 500.0);
}

#[test]
fn reasons_are_bounded() {
    let metrics = metrics();
    let route = metrics.route("pay", "app", "write");
    for reason in 0..1000 {
        route.retry(&reason.to_string());
    }
    let page = Page::of(&metrics);
    let series = page.samples.keys().filter(|series| series.starts_with("mainstay_retries_total")).count();
    assert_eq!(series, 33);
    page.check(&format!(r#"mainstay_retries_total{{{PAY},reason="other"}}"#), 968.0);
}

#[test]
fn counters_survive_a_reload_and_routes_that_are_gone_do_not_pile_up() {
    let metrics = metrics();
    metrics.route("pay", "app", "write").replayed();
    metrics.route("pay", "app", "write").replayed();
    Page::of(&metrics).check(&format!("mainstay_replays_total{{{PAY}}}"), 2.0);

    let kept = metrics.route("kept", "app", "write");
    kept.replayed();
    for reload in 0..5_000 {
        metrics.route(&format!("route-{reload}"), "app", "write").replayed();
    }
    let page = Page::of(&metrics);
    let series = page.samples.keys().filter(|series| series.starts_with("mainstay_replays_total")).count();
    assert!(series <= 2 * 256 + 1, "{series} routes are kept");
    page.check(r#"mainstay_replays_total{route="kept",upstream="app",policy="write"}"#, 1.0);
}

#[test]
fn a_route_that_nothing_asked_for_prints_nothing() {
    let metrics = metrics();
    let _idle = metrics.route("idle", "app", "write");
    assert!(!metrics.encode().contains("idle"));
}

#[test]
fn label_values_cannot_break_the_page() {
    let metrics = metrics();
    metrics.route("a\"b\\c\nmainstay_forged 1", "app", "write").replayed();
    let page = Page::of(&metrics);
    page.check(r#"mainstay_replays_total{route="a\"b\\c\nmainstay_forged 1",upstream="app",policy="write"}"#, 1.0);
    assert!(!page.has("mainstay_forged"));
}

#[test]
fn what_lives_elsewhere_is_read_at_scrape_time() {
    let metrics = metrics();
    let state = Arc::new(AtomicU64::new(0));
    let read = Arc::clone(&state);
    metrics.on_scrape("mainstay_breaker_state", "0 closed, 1 half-open, 2 open", Kind::Gauge, move |samples| {
        samples.push(&[("policy", "write"), ("upstream", "app")], read.load(Relaxed) as f64);
    });
    metrics.on_scrape("mainstay_breaker_transitions", "Changes of state", Kind::Counter, |samples| {
        samples.push(&[("to", "open")], 7.0);
    });
    metrics.on_scrape("mainstay_nothing", "Prints nothing", Kind::Gauge, |_| {});
    state.store(2, Relaxed);
    let page = Page::of(&metrics);
    page.check(r#"mainstay_breaker_state{policy="write",upstream="app"}"#, 2.0);
    page.check(r#"mainstay_breaker_transitions_total{to="open"}"#, 7.0);
    assert!(!page.kinds.contains_key("mainstay_nothing"));
}

#[test]
fn the_process_and_its_configuration_are_shown() {
    let metrics = metrics();
    metrics.config_taken("4f1c2a", &WallClock::system());
    metrics.config_refused();
    let page = Page::of(&metrics);
    page.check("mainstay_config_last_reload_successful", 0.0);
    page.check(r#"mainstay_config_reloads_total{result="success"}"#, 1.0);
    page.check(r#"mainstay_config_reloads_total{result="failure"}"#, 1.0);
    page.check(&format!(r#"mainstay_build_info{{version="{}"}}"#, env!("CARGO_PKG_VERSION")), 1.0);
    for name in ["mainstay_uptime_seconds", "process_start_time_seconds", "mainstay_log_lines_dropped_total"] {
        assert!(page.has(name), "{name}");
    }
    assert!(page.samples["process_resident_memory_bytes"] > 1e6);
    assert!(page.samples["process_open_fds"] > 2.0);
    assert!(page.samples["process_cpu_seconds_total"] >= 0.0);
    metrics.config_taken("4f1c2a", &WallClock::system());
    Page::of(&metrics).check("mainstay_config_last_reload_successful", 1.0);
}

#[test]
fn connections_and_spans_are_counted() {
    let metrics = metrics();
    let listener = metrics.listener("inbound");
    let open = listener.connection();
    drop(metrics.listener("inbound").connection());
    listener.connection_limited();
    metrics.spans().exported(5);
    metrics.spans().dropped_queue_full(2);
    let page = Page::of(&metrics);
    page.check(r#"mainstay_connections_active{listener="inbound"}"#, 1.0);
    page.check(r#"mainstay_connections_total{listener="inbound"}"#, 2.0);
    page.check(r#"mainstay_connections_limited_total{listener="inbound"}"#, 1.0);
    page.check("mainstay_spans_exported_total", 5.0);
    page.check(r#"mainstay_spans_dropped_total{reason="queue_full"}"#, 2.0);
    page.check(r#"mainstay_spans_dropped_total{reason="shutdown"}"#, 0.0);
    drop(open);
}
