//! `mainstay ops show`: one operation, as it is told to somebody who was just woken up.

use jiff::Timestamp;
use serde_json::Value;

use super::text::{age, cell};

/// The story of an operation, and what may be done next.
pub(super) fn story(operation: &Value, now: Timestamp) -> String {
    let mut lines = vec![headline(operation)];
    lines.push(format!(
        "route {}, upstream {}, {} so far{}",
        cell(&operation["route"]),
        cell(&operation["upstream"]),
        counted(&operation["attempts"], "attempt"),
        operation["http_status"].as_u64().map_or_else(String::new, |status| format!(", last status {status}")),
    ));
    lines.push(String::new());
    let mut events = events(operation);
    // RFC 3339 in UTC, so the order of the texts is the order of the times, but for fractions, which stay within a second.
    events.sort_by_key(|(at, _)| at.parse::<Timestamp>().unwrap_or(Timestamp::MAX));
    for (at, what) in events {
        lines.push(format!("  {at:24}  {:>6}  {what}", age(&at.clone().into(), now)));
    }
    lines.push(String::new());
    lines.extend(next(operation, now));
    lines.join("\n")
}

fn headline(operation: &Value) -> String {
    let meaning = match operation["state"].as_str().unwrap_or_default() {
        "pending" => "its request is in flight",
        "succeeded" => "the service did it",
        "failed" => "the service decided against it",
        "not_executed" => "the service did nothing; its key is free",
        "unknown" => "nobody knows yet whether it happened",
        _ => "",
    };
    format!("{} is {}: {meaning}", cell(&operation["id"]), cell(&operation["state"]))
}

/// What is known to have happened, each with its time.
fn events(operation: &Value) -> Vec<(String, String)> {
    let mut events = Vec::new();
    let mut tell = |at: &Value, what: String| {
        if let Some(at) = at.as_str() {
            events.push((at.to_owned(), what));
        }
    };
    tell(&operation["created_at"], "its first request arrived".into());
    tell(&operation["dispatched_at"], "the last attempt was sent".into());
    if operation["state"] != "pending" {
        let settled = format!("settled: {}, by {}", cell(&operation["reason"]), cell(&operation["source"]));
        tell(&operation["settled_at"], settled);
    }
    tell(
        &operation["attention"]["since"],
        format!("flagged for a person: {}", cell(&operation["attention"]["reason"])),
    );
    for entry in operation["audit"].as_array().into_iter().flatten() {
        let change = match (entry["before"].as_str(), entry["after"].as_str()) {
            (Some(before), Some(after)) => format!(", {before} -> {after}"),
            _ => String::new(),
        };
        let what = format!(
            "{} by {}: {} ({}{change})",
            cell(&entry["action"]),
            cell(&entry["actor"]),
            cell(&entry["reason"]),
            cell(&entry["result"]),
        );
        tell(&entry["at"], what);
    }
    events
}

/// What will happen by itself, and what a person may do.
fn next(operation: &Value, now: Timestamp) -> Vec<String> {
    let id = cell(&operation["id"]);
    let mut lines = Vec::new();
    if operation["state"] == "unknown" {
        lines.push(format!(
            "{} so far, last evidence {}, because {}.",
            counted(&operation["checks"], "question"),
            operation["last_evidence"].as_str().unwrap_or("none"),
            cell(&operation["reason"]),
        ));
    }
    if let Some(at) = operation["next_check_at"].as_str() {
        lines.push(format!("It is due next at {at} ({}).", age(&at.into(), now)));
    }
    if operation["can_be_resolved"] != true {
        lines.push("Nothing is left to be done here.".into());
        if operation["state"] == "pending" {
            lines.pop();
            lines.push("Wait: its attempt will say more than a person can.".into());
        }
        return lines;
    }
    lines.push("Look into the service first: did it happen? Then say so, with what you saw as the reason:".into());
    if operation["state"] == "unknown" {
        lines.push(format!("  mainstay ops query {id} --reason '...'"));
        lines.push(format!("  mainstay ops resolve {id} --as succeeded --reason '...'"));
        lines.push(format!("  mainstay ops resolve {id} --as failed --reason '...'"));
        lines.push(format!("  mainstay ops resolve {id} --as not_executed --reason '...'   # a repeat executes then"));
    } else {
        let state = cell(&operation["state"]);
        lines.push(format!("  mainstay ops resolve {id} --as {state} --reason '...'   # takes the flag away"));
    }
    lines
}

fn counted(number: &Value, noun: &str) -> String {
    match number.as_u64() {
        Some(1) => format!("1 {noun}"),
        Some(number) => format!("{number} {noun}s"),
        None => format!("no {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "00000000000000028a1f00000000beef";

    fn unknown() -> Value {
        json!({
            "id": ID, "route": "/payments/**", "upstream": "app", "state": "unknown", "reason": "attempt_timeout",
            "source": null, "http_status": null, "attempts": 1, "checks": 12,
            "created_at": "2026-11-24T02:48:00Z", "dispatched_at": "2026-11-24T02:48:00.004Z", "settled_at": null,
            "next_check_at": null, "attention": { "since": "2026-11-24T02:58:30Z", "reason": "resolve_exhausted" },
            "last_evidence": "ambiguous", "can_be_resolved": true,
            "audit": [{
                "at": "2026-11-24T02:59:00Z", "actor": "ana@desk", "action": "resolve", "reason": "bank says booked",
                "before": "unknown", "after": null, "result": "refused: It has changed since you read it"
            }],
        })
    }

    fn now() -> Timestamp {
        "2026-11-24T03:00:00Z".parse().unwrap()
    }

    #[test]
    fn an_unknown_operation_is_told_with_what_may_be_done() {
        let expected = "\
00000000000000028a1f00000000beef is unknown: nobody knows yet whether it happened
route /payments/**, upstream app, 1 attempt so far

  2026-11-24T02:48:00Z         12m  its first request arrived
  2026-11-24T02:48:00.004Z     11m  the last attempt was sent
  2026-11-24T02:58:30Z          1m  flagged for a person: resolve_exhausted
  2026-11-24T02:59:00Z          1m  resolve by ana@desk: bank says booked (refused: It has changed since you read it)

12 questions so far, last evidence ambiguous, because attempt_timeout.
Look into the service first: did it happen? Then say so, with what you saw as the reason:
  mainstay ops query 00000000000000028a1f00000000beef --reason '...'
  mainstay ops resolve 00000000000000028a1f00000000beef --as succeeded --reason '...'
  mainstay ops resolve 00000000000000028a1f00000000beef --as failed --reason '...'
  mainstay ops resolve 00000000000000028a1f00000000beef --as not_executed --reason '...'   # a repeat executes then";
        assert_eq!(story(&unknown(), now()), expected);
    }

    #[test]
    fn a_flagged_one_keeps_its_state_and_a_settled_one_needs_nobody() {
        let mut operation = unknown();
        operation["state"] = "failed".into();
        let flagged = story(&operation, now());
        assert!(
            flagged.ends_with(&format!("resolve {ID} --as failed --reason '...'   # takes the flag away")),
            "{flagged}"
        );
        operation["can_be_resolved"] = false.into();
        assert!(story(&operation, now()).ends_with("Nothing is left to be done here."));
        operation["state"] = "pending".into();
        assert!(story(&operation, now()).ends_with("Wait: its attempt will say more than a person can."));
    }
}
