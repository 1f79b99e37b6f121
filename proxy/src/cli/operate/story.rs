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
    if let Some((settled, heard)) = contradiction(operation) {
        return format!("{} CONTRADICTED: settled as {settled}, but {heard}", cell(&operation["id"]));
    }
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

/// Both sides of a contradiction, in words.
fn contradiction(operation: &Value) -> Option<(&'static str, &'static str)> {
    let flag = &operation["attention"];
    let settled = match flag["settled_as"].as_str()? {
        "succeeded" => "done",
        "failed" => "failed",
        _ => "not executed",
    };
    let heard = match flag["heard"].as_str()? {
        "succeeded" => "it happened",
        "failed" => "the service decided against it",
        "not_executed" => "the service did nothing",
        _ => "the service is still at it",
    };
    Some((settled, heard))
}

/// Who says what is known of an operation.
fn speaker(source: &Value) -> &'static str {
    match source.as_str().unwrap_or_default() {
        "response" => "the answer",
        "late_response" => "a late answer",
        "status_query" => "the service, asked",
        "redispatch" => "the answer to another dispatch",
        "operator" => "a person",
        _ => "nobody",
    }
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
    let flag = &operation["attention"];
    let flagged = match contradiction(operation) {
        Some((_, heard)) => {
            let status = flag["http_status"].as_u64().map_or_else(String::new, |status| format!(", by {status}"));
            format!("CONTRADICTED: {} says that {heard}{status}", speaker(&flag["contradicted_by"]))
        }
        None => format!("flagged for a person: {}", cell(&flag["reason"])),
    };
    tell(&flag["since"], flagged);
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

/// What may have happened twice, and what a person does about a contradiction.
fn after_contradiction(operation: &Value) -> Vec<String> {
    let id = cell(&operation["id"]);
    let later: Vec<String> = operation["attention"]["later"].as_array().into_iter().flatten().map(cell).collect();
    let look = if later.is_empty() {
        "Its key was not used for another write since. Look into the service: did it happen, or not?".to_owned()
    } else {
        format!(
            "The key was used again: {id} and {} may both have happened. Look for two effects in the service, and take one back \
             there.",
            later.join(", ")
        )
    };
    vec![
        look,
        "A settled state never changes. When you have put it right in the service, take the flag away:".into(),
        format!("  mainstay ops resolve {id} --acknowledge --reason '...'"),
    ]
}

/// What will happen by itself, and what a person may do.
fn next(operation: &Value, now: Timestamp) -> Vec<String> {
    if contradiction(operation).is_some() {
        return after_contradiction(operation);
    }
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
    if operation["state"] == "unknown"
        && operation["can_be_queried"] != true
        && operation["can_be_redispatched"] != true
    {
        lines.push("Nobody can ask the service: its policy has no `status`, or had none when it began.".into());
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
        if operation["can_be_queried"] == true {
            lines.push(format!("  mainstay ops query {id} --reason '...'   # asks the service once more"));
        }
        if operation["can_be_redispatched"] == true {
            lines.push(format!("  mainstay ops redispatch {id} --reason '...'   # sends it again, under the same key"));
        }
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
            "last_evidence": "ambiguous", "can_be_resolved": true, "can_be_queried": true, "can_be_redispatched": false,
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
  mainstay ops query 00000000000000028a1f00000000beef --reason '...'   # asks the service once more
  mainstay ops resolve 00000000000000028a1f00000000beef --as succeeded --reason '...'
  mainstay ops resolve 00000000000000028a1f00000000beef --as failed --reason '...'
  mainstay ops resolve 00000000000000028a1f00000000beef --as not_executed --reason '...'   # a repeat executes then";
        assert_eq!(story(&unknown(), now()), expected);
    }

    #[test]
    fn a_contradiction_is_told_as_what_it_is() {
        let mut operation = unknown();
        operation["state"] = "not_executed".into();
        operation["reason"] = "status_query".into();
        operation["source"] = "status_query".into();
        operation["settled_at"] = "2026-11-24T02:48:30Z".into();
        operation["audit"] = json!([]);
        operation["attention"] = json!({
            "since": "2026-11-24T02:58:30Z", "reason": "conflict", "settled_as": "not_executed", "settled_by": "status_query",
            "settled_at": "2026-11-24T02:48:30Z", "heard": "succeeded", "contradicted_by": "late_response",
            "contradicted_at": "2026-11-24T02:58:30Z", "http_status": 201,
            "later": ["00000000000000038a1f00000000beef"],
        });
        let expected = "\
00000000000000028a1f00000000beef CONTRADICTED: settled as not executed, but it happened
route /payments/**, upstream app, 1 attempt so far

  2026-11-24T02:48:00Z         12m  its first request arrived
  2026-11-24T02:48:00.004Z     11m  the last attempt was sent
  2026-11-24T02:48:30Z         11m  settled: status_query, by status_query
  2026-11-24T02:58:30Z          1m  CONTRADICTED: a late answer says that it happened, by 201

The key was used again: 00000000000000028a1f00000000beef and 00000000000000038a1f00000000beef may both have happened. Look for two effects in the service, and take one back there.
A settled state never changes. When you have put it right in the service, take the flag away:
  mainstay ops resolve 00000000000000028a1f00000000beef --acknowledge --reason '...'";
        assert_eq!(story(&operation, now()), expected);
        operation["attention"]["later"] = json!([]);
        assert!(story(&operation, now()).contains("Its key was not used for another write since."));
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

    #[test]
    fn only_what_would_be_accepted_is_offered() {
        let mut operation = unknown();
        operation["can_be_queried"] = false.into();
        let told = story(&operation, now());
        assert!(!told.contains("ops query") && told.contains("Nobody can ask the service"), "{told}");
        operation["can_be_redispatched"] = true.into();
        let told = story(&operation, now());
        assert!(told.contains("ops redispatch") && !told.contains("Nobody can ask"), "{told}");
    }
}
