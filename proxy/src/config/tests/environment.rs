//! `${NAME}` inside scalar values.

use std::time::Duration;

use super::{good::EXAMPLE, parse, try_parse};

/// The example with its read policy's time and retries replaced.
fn with(timeout: &str, retry: &str) -> String {
    EXAMPLE.replace("timeout: 1s, retry: 3", &format!("timeout: {timeout}, retry: {retry}"))
}

#[test]
fn variables_become_durations_numbers_booleans_and_parts_of_texts() {
    let text = with("'${TIMEOUT}'", "'${RETRIES}'")
        .replace("required: true", "required: \"${REQUIRED}\"")
        .replace("0.0.0.0:8080", "127.0.0.1:${PORT}");
    let config = parse(&text);
    assert_eq!(config.listeners[0].address.to_string(), "127.0.0.1:8080");
    assert_eq!(config.policies[0].timeout.total, Duration::from_millis(750));
    assert_eq!(config.policies[0].retry.as_ref().map(|retry| retry.max_retries), Some(3));
    assert!(config.policies[1].idempotency.as_ref().is_some_and(|idempotency| idempotency.required));
}

#[test]
fn an_unquoted_variable_works_in_a_block() {
    let config = parse(&format!("{EXAMPLE}drain:\n  delay: ${{TIMEOUT}}\n  timeout: ${{NOWHERE:-9s}}\n"));
    assert_eq!(config.drain.delay, Duration::from_millis(750));
    assert_eq!(config.drain.timeout, Duration::from_secs(9));
}

#[test]
fn a_default_stands_for_an_unset_or_an_empty_variable() {
    for (timeout, expected) in [
        ("'${NOWHERE:-2s}'", Duration::from_secs(2)),
        ("'${EMPTY:-3s}'", Duration::from_secs(3)),
        ("'${TIMEOUT:-4s}'", Duration::from_millis(750)),
    ] {
        assert_eq!(parse(&with(timeout, "3")).policies[0].timeout.total, expected, "{timeout}");
    }
}

#[test]
fn two_dollars_are_one_and_one_alone_is_itself() {
    let name = |written: &str| {
        parse(&format!("{EXAMPLE}telemetry: {{ service_name: '{written}' }}\n")).telemetry.service_name.clone()
    };
    assert_eq!(name("$${PORT}"), "${PORT}");
    assert_eq!(name("a$$b"), "a$b");
    assert_eq!(name("$PORT"), "$PORT");
    assert_eq!(name("cost$"), "cost$");
    assert_eq!(name("${PORT}$$${RETRIES}"), "8080$3");
}

#[test]
fn a_value_adds_no_structure() {
    let error = try_parse(&with("'${NASTY}'", "3")).expect_err("it is no duration").to_string();
    assert!(error.contains("what came from `${NASTY}` is not a quantity"), "{error}");
    let config = parse(&format!("{EXAMPLE}telemetry: {{ service_name: '${{NASTY}}' }}\n"));
    assert_eq!(config.telemetry.service_name, "1s }\nretry: 9 # \"'");
}

#[test]
fn what_comes_from_the_environment_is_shown_nowhere() {
    let config =
        parse(&format!("{EXAMPLE}telemetry: {{ service_name: 'x ${{NASTY}}' }}\nledger: {{ path: '/${{PORT}}/x' }}\n"));
    let shown = crate::config::show(&config);
    assert!(shown.contains("x «from ${NASTY}»") && shown.contains("/«from ${PORT}»/x"), "{shown}");
    assert!(!shown.contains("retry: 9"), "{shown}");
    assert!(!format!("{:?}", config.environment).contains("retry: 9"));
    for (timeout, retry) in [("'${NASTY}'", "3"), ("1s", "'${NASTY}'")] {
        let error = try_parse(&with(timeout, retry)).expect_err("it is no such thing").to_string();
        assert!(!error.contains("retry: 9") && error.contains("${NASTY}"), "{error}");
    }
}

#[test]
fn keys_are_left_alone() {
    let error = try_parse(&format!("{EXAMPLE}'${{PORT}}': 1\n")).expect_err("it is no key").to_string();
    assert!(error.contains("unknown key `${PORT}`"), "{error}");
}
