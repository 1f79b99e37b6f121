//! Every short and long form, and what it means.

use std::time::Duration;

use mainstay_policies::idempotency::JsonExpect;
use serde_json::json;

use super::{parse, try_parse};
use crate::config::model::{OnFailure, Store};
use mainstay_policies::operation::ledger::Settle;

/// The example of the design and of the README.
pub(super) const EXAMPLE: &str = "
listeners:
  inbound:
    address: 0.0.0.0:8080
upstreams:
  app:
    endpoints: [http://127.0.0.1:9000]
routes:
  - match: { path: /payments/**, methods: [POST] }
    upstream: app
    policy: write
  - match: { path: /** }
    upstream: app
    policy: read
policies:
  read:  { timeout: 1s, retry: 3, rate_limit: 500/s, circuit_breaker: { error_ratio: 0.5 } }
  write: { timeout: { total: 2s, attempt: 600ms }, idempotency: { required: true } }
";

#[test]
fn the_designs_example_means_what_it_says() {
    let config = parse(EXAMPLE);
    let [write, read] = config.routes.as_slice() else { panic!("two routes") };
    assert_eq!((&*write.name, &*write.policy.name), ("/payments/**", "write"));
    assert_eq!(write.policy.timeout.total, Duration::from_secs(2));
    assert_eq!(write.policy.timeout.attempt, Some(Duration::from_millis(600)));
    assert!(write.policy.idempotency.as_ref().is_some_and(|idempotency| idempotency.required));
    assert_eq!(read.policy.retry.as_ref().map(|retry| retry.max_retries), Some(3));
    assert_eq!(read.policy.circuit_breaker.as_ref().and_then(|breaker| breaker.error_ratio), Some(0.5));
    assert_eq!(read.upstream.endpoints[0].authority, "127.0.0.1:9000");
}

/// Routes and upstreams around a policy.
fn with_policy(policy: &str) -> String {
    format!(
        "listeners: {{ inbound: {{ address: 0.0.0.0:8080 }} }}
upstreams: {{ app: {{ endpoints: [http://127.0.0.1:9000] }} }}
routes: [{{ match: '/payments/{{id}}', upstream: app, policy: it }}]
policies: {{ it: {policy} }}
"
    )
}

/// Both ways of writing a policy mean the same.
#[track_caller]
fn same(short: &str, long: &str) {
    assert_eq!(parse(&with_policy(short)), parse(&with_policy(long)));
}

#[test]
fn a_short_form_is_its_long_form_with_defaults() {
    same("{ timeout: 1s }", "{ timeout: { total: 1s, idle: 5m } }");
    same("{ timeout: 1500ms }", "{ timeout: 1.5s }");
    same("{}", "{ timeout: 15s }");
    same("{ retry: 3 }", "{ retry: { max_retries: 3 } }");
    same(
        "{ retry: 3 }",
        "{ retry: { max_retries: 3, backoff: { base: 25ms, max: 1s, multiplier: 2, jitter: full }, max_body: 64KiB,
           budget: { percent: 20, min_retries_per_sec: 3, ttl: 10s }, on: [connect_error, refused, reset, timeout, 503] } }",
    );
    same("{ rate_limit: 500/s }", "{ rate_limit: { requests: 500 } }");
    same(
        "{ rate_limit: 600/m }",
        "{ rate_limit: { requests: 600, unit: 1m, burst: 600, behavior: reject, key: route } }",
    );
    same("{ rate_limit: 5/10s }", "{ rate_limit: { requests: 5, unit: 10s } }");
    same("{ concurrency_limit: 100 }", "{ concurrency_limit: { max_concurrent: 100, max_wait: 0s, max_queue: 0 } }");
    same("{ concurrency_limit: { max_concurrent: 1, max_wait: 0 } }", "{ concurrency_limit: 1 }");
    same("{ idempotency: true }", "{ idempotency: {} }");
    same("{ circuit_breaker: 0.5 }", "{ circuit_breaker: { error_ratio: 0.5 } }");
    same("{ cache: true }", "{ cache: {} }");
    same("{ cache: 1MiB }", "{ cache: { max_bytes: 1MiB } }");
    same("{ fallback: 204 }", "{ fallback: { status: 204 } }");
    same("{ access: [10.0.0.0/8] }", "{ access: { allow: [10.0.0.0/8] } }");
    same("{ rate_limit: { requests: 1, key: none } }", "{ rate_limit: 1/s }");
    same(
        "{ idempotency: {} }",
        "{ idempotency: { required: false, methods: [POST, PATCH], principal: optional,
           key: { header: Idempotency-Key, syntax: lenient, mint: none }, fingerprint: { body: exact, headers: [] },
           outcome: { not_executed: [401, 403, 407, 425, 429], succeeded: [], failed: [], ongoing: [], rules: [] },
           on_concurrent: reject, max_body: 1MiB, max_response: 256KiB, retention: 24h, tombstone: 30d,
           late_response: 30s, replay: { headers: [] } } }",
    );
    same(
        "{ circuit_breaker: { error_ratio: 0.5 } }",
        "{ circuit_breaker: { error_ratio: 0.5, window: 10s, min_requests: 5, open_duration: 5s, scope: upstream,
           half_open: { probes: 1, timeout: 10s } } }",
    );
}

#[test]
fn a_rate_limit_by_header_may_be_written_with_and_without_quotes() {
    same(
        "{ rate_limit: { requests: 5, key: {header.X-Tenant} } }",
        "{ rate_limit: { requests: 5, key: '{header.x-tenant}' } }",
    );
}

#[test]
fn a_match_may_be_just_a_path() {
    let short = EXAMPLE.replace("match: { path: /** }", "match: /**");
    assert_ne!(short, EXAMPLE);
    assert_eq!(parse(&short), parse(EXAMPLE));
}

#[test]
fn json_conditions_keep_the_type_of_their_values() {
    let policy = |value: &str| {
        with_policy(&format!(
            "{{ idempotency: {{ outcome: {{ rules: [{{ json: {{ /a: {value} }}, then: failed }}] }} }} }}"
        ))
    };
    let condition = |value: &str| {
        let config = parse(&policy(value));
        let idempotency = config.policies[0].idempotency.clone().expect("the policy has idempotency");
        idempotency.outcome.rules[0].json[0].expect.clone()
    };
    let one = |value: serde_json::Value| JsonExpect::OneOf(vec![value]);
    assert_eq!(condition("1"), one(json!(1)));
    assert_eq!(condition("'1'"), one(json!("1")));
    assert_eq!(condition("true"), one(json!(true)));
    assert_eq!(condition("DONE"), one(json!("DONE")));
    assert_eq!(condition("~"), one(json!(null)));
    assert_eq!(condition("{ equals: { b: [1] } }"), one(json!({ "b": [1] })));
    assert_eq!(condition("[A, 2]"), JsonExpect::OneOf(vec![json!("A"), json!(2)]));
    assert_eq!(condition("{ exists: false }"), JsonExpect::Exists(false));
}

#[test]
fn yaml_anchors_and_merge_keys_share_policies() {
    let anchored = EXAMPLE.replace(
        "  write: {",
        "  slow: { <<: &base { retry: 1 }, timeout: 9s }\n  other: { <<: *base, timeout: 8s }\n  write: {",
    );
    let config = parse(&anchored);
    let other = config.policies.iter().find(|policy| &*policy.name == "other").expect("it is defined");
    assert_eq!(other.timeout.total, Duration::from_secs(8));
    assert_eq!(other.retry.as_ref().map(|retry| retry.max_retries), Some(1));
}

#[test]
fn a_memory_ledger_under_protected_writes_is_a_warning() {
    let warns = |text: &str| {
        let findings = try_parse(text).expect("it is valid").findings;
        findings.iter().any(|finding| finding.code == "ledger-in-memory")
    };
    let in_memory = |text: &str| format!("{text}ledger: {{ store: memory }}\n");
    assert!(warns(&in_memory(EXAMPLE)));
    assert!(!warns(EXAMPLE), "on disk is the default");
    assert!(!warns(&in_memory(&with_policy("{ timeout: 1s }"))));
}

#[test]
fn a_ledger_is_on_disk_unless_it_says_otherwise() {
    let ledger = |text: &str| parse(&format!("{EXAMPLE}{text}\n")).ledger.clone();
    let disk = |path: &str| Store::Disk {
        path: path.into(),
        settle: Settle::Durable,
        key_file: None,
        on_failure: OnFailure::Exit,
    };
    for (text, store, max_bytes) in [
        ("", disk("/var/lib/mainstay"), 4 << 30),
        ("ledger: { max_open: 5 }", disk("/var/lib/mainstay"), 4 << 30),
        ("ledger: { store: disk, path: data }", disk("data"), 4 << 30),
        ("ledger: { path: /data, max_bytes: 1GiB }", disk("/data"), 1 << 30),
        ("ledger: { store: memory }", Store::Memory, 64 << 20),
    ] {
        let ledger = ledger(text);
        assert_eq!((ledger.store, ledger.max_bytes), (store, max_bytes), "{text}");
    }
}

#[test]
fn paths_are_split_into_segments() {
    use mainstay_policies::path::{PathPattern, Segment};
    let literal = |text: &str| Segment::Literal(text.to_owned());
    let param = |name: &str| Segment::Param(name.to_owned());
    for (text, segments, rest) in [
        ("/", vec![literal("")], false),
        ("/a", vec![literal("a")], false),
        ("/a/", vec![literal("a"), literal("")], false),
        ("/a/{id}/b", vec![literal("a"), param("id"), literal("b")], false),
        ("/**", vec![], true),
        ("/a/**", vec![literal("a")], true),
        ("/{x}/**", vec![param("x")], true),
    ] {
        let expected = PathPattern { text: text.to_owned(), segments, rest };
        assert_eq!(text.parse(), Ok(expected), "{text}");
    }
}
