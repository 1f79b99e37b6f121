//! `mainstay ops show`: one operation, as it is told to somebody who was just woken up.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    super::{
        style::Style,
        text::{age, cell},
    },
    ids::{short, short_of},
    words::{counted, phrase},
};

/// Digits of a key's hash that an access line has.
const HASH: usize = 8;

/// The story of an operation, and what may be done next. `later` are the operations under its key since it was contradicted.
pub(in crate::cli::operate) fn story(operation: &Value, later: &[Value], now: Timestamp, style: &Style) -> String {
    let mut events = events(operation, style);
    events.extend(later.iter().filter_map(|later| {
        Some((moment(&later["created_at"])?, format!("the key was used again: {}", short_of(later))))
    }));
    events.extend(acts(operation));
    // In one millisecond, what was told first came first.
    events.sort_by_key(|(at, _)| *at);
    let mut lines = vec![style.alarm_if(!operation["attention"].is_null(), &headline(operation))];
    // What happened today needs no date.
    let is_today = events.iter().all(|(at, _)| style.day(*at) == style.day(now));
    let time = |at: Timestamp| if is_today { style.time_of_day(at) } else { style.moment(at) };
    lines.extend(events.iter().map(|(at, what)| format!("  {}   {what}", time(*at))));
    lines.extend(next(operation, later, now, style));
    lines.extend(traces(operation));
    lines.join("\n")
}

fn headline(operation: &Value) -> String {
    let id = short_of(operation);
    if let Some((settled, heard)) = contradiction(operation) {
        return format!("{id}  CONTRADICTED: settled as {settled}, but {heard}");
    }
    let meaning = match operation["state"].as_str().unwrap_or_default() {
        "pending" => "its request is in flight",
        "succeeded" => "the service did it",
        "failed" => "the service decided against it",
        "not_executed" => "the service did nothing; its key is free",
        "unknown" => "nobody knows yet whether it happened",
        _ => "",
    };
    let state = phrase(&cell(&operation["state"])).to_uppercase();
    let call = if operation["attention"].is_null() { "" } else { " (a person is needed)" };
    format!("{id}  {state}: {meaning}{call}")
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

fn moment(at: &Value) -> Option<Timestamp> {
    at.as_str()?.parse().ok()
}

/// What its record tells: what an event led to stands in its line.
fn events(operation: &Value, style: &Style) -> Vec<(Timestamp, String)> {
    let history = operation["history"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut told: Vec<(Timestamp, String)> = Vec::new();
    let mut sent_at = None;
    let mut dispatches = 0;
    for event in history {
        let Some(at) = moment(&event["at"]) else { continue };
        let kind = event["event"].as_str().unwrap_or_default();
        let line = match kind {
            "dispatched" | "redispatched" => {
                sent_at = Some(at);
                dispatches += 1;
                dispatched(operation, kind == "redispatched")
            }
            "lost" => lost(event, sent_at.map(|sent| at.duration_since(sent).as_millis())),
            "answer" => format!("answered: {}", heard(event)),
            "asked" => format!("asked the service: {}{}", heard(event), belief(event, at, style)),
            "late_answer" => {
                let which = if dispatches < 2 { "the first dispatch" } else { "a dispatch" };
                format!("a late answer to {which}: {}", heard(event))
            }
            "settled" | "contradicted" => {
                let outcome =
                    if kind == "settled" { phrase(&cell(&event["evidence"])) } else { "contradiction".into() };
                match told.last_mut().filter(|(before, _)| *before == at) {
                    Some((_, line)) => line.extend([" -> ", outcome.as_str()]),
                    // A person's word, which the audit trail tells.
                    None if event["by"] == "operator" => continue,
                    None => told.push((at, format!("{}: {outcome}", speaker(&event["by"])))),
                }
                continue;
            }
            "flagged" => "a person was called: nothing else can settle it".into(),
            "begun" if history.len() == 1 => "its first request arrived".into(),
            // The audit trail has it with its reason.
            _ => continue,
        };
        told.push((at, line));
    }
    if let (Some(folded @ 1..), Some((at, _))) = (operation["history_folded"].as_u64(), told.first()) {
        told.insert(0, (*at, format!("... {} of its events are not kept", counted(folded, "other"))));
    }
    told
}

fn dispatched(operation: &Value, is_again: bool) -> String {
    let again = if is_again { " again, without its caller" } else { "" };
    let (method, path) = (cell(&operation["method"]), cell(&operation["path"]));
    format!("dispatched{again} to {} ({})", cell(&operation["upstream"]), format!("{method} {path}").trim())
}

fn lost(event: &Value, after_ms: Option<i128>) -> String {
    let cause = event["because"].as_str().map(phrase);
    if event["evidence"] == "not_executed" {
        return format!("it did not reach the service: {}", cause.unwrap_or_default());
    }
    let after = after_ms.filter(|_| event["because"] == "attempt_timeout" || event["because"] == "timeout");
    let after = after.map(|ms| format!(" after {ms} ms")).unwrap_or_default();
    format!("answer lost: {}{after}", cause.unwrap_or_else(|| "nobody knows why".into()))
}

fn heard(event: &Value) -> String {
    let status = cell(&event["http_status"]);
    match (status.is_empty(), event["evidence"].as_str()) {
        (false, _) => status,
        (true, Some(evidence)) => phrase(evidence),
        (true, None) => "no answer".into(),
    }
}

/// Why it was believed that the service does not know a write, or from when on it will be. `at` is when it said so.
fn belief(event: &Value, at: Timestamp, style: &Style) -> String {
    match (event["because"].as_str(), moment(&event["proves_nothing_before"])) {
        (Some("fenced"), _) => ", believed because the endpoint is said to be fenced".into(),
        (Some("settle_after"), _) => ", believed because it can no longer be on its way".into(),
        (Some("too_early"), Some(then)) => {
            let is_today = style.day(then) == style.day(at);
            let then = if is_today { style.time_of_day(then) } else { style.moment(then) };
            format!(", which proves nothing before {then}")
        }
        _ if event["evidence"].is_null() && !event["http_status"].is_null() => ", which proves nothing".into(),
        _ => String::new(),
    }
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

/// What people did: a word about its end stands for the one about its beginning.
fn acts(operation: &Value) -> Vec<(Timestamp, String)> {
    let trail = operation["audit"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_told_later = |at: usize| {
        let (entry, mut later) = (&trail[at], trail[at + 1..].iter());
        entry["result"] == "begun"
            && later.any(|later| later["action"] == entry["action"] && later["actor"] == entry["actor"])
    };
    let told = trail.iter().enumerate().filter(|(at, _)| !is_told_later(*at)).filter_map(|(_, entry)| {
        let change = match (entry["before"].as_str(), entry["after"].as_str()) {
            (Some(before), Some(after)) => format!(", {before} -> {after}"),
            _ => String::new(),
        };
        let [action, actor, reason, result] = ["action", "actor", "reason", "result"].map(|name| cell(&entry[name]));
        Some((moment(&entry["at"])?, format!("{action} by {actor}: {reason} ({result}{change})")))
    });
    told.collect()
}

/// Commands with what they are for, in two columns.
fn commands(lines: &[(String, &str)]) -> Vec<String> {
    let width = lines.iter().map(|(command, _)| command.chars().count()).max().unwrap_or(0);
    lines
        .iter()
        .map(
            |(command, what)| {
                if what.is_empty() { format!("  {command}") } else { format!("  {command:width$}   # {what}") }
            },
        )
        .collect()
}

/// What may have happened twice, and what a person does about a contradiction.
fn after_contradiction(operation: &Value, later: &[Value]) -> Vec<String> {
    let id = cell(&operation["id"]);
    let again: Vec<String> = later.iter().map(short_of).collect();
    let look = if again.is_empty() {
        "Its key was not used for another write since. Look into the service: did it happen, or not?".to_owned()
    } else {
        format!(
            "Both {} and {} may have happened. Look for two effects in the service, and take one back there.",
            short(&id),
            again.join(", ")
        )
    };
    let typed = short(&id);
    let mut lines = vec![look];
    let reveal = (format!("mainstay ops reveal {typed} --reason '…'"), "which payment");
    let then = match operation["state"].as_str() {
        Some("not_executed") => "you have taken the effect back; after it a repeat EXECUTES",
        Some("failed") => "you have taken the effect back; after it the caller is told that a new key is safe",
        _ => "you have put it right; takes the flag away",
    };
    if operation["state"] != "succeeded" {
        lines.push(
            "If you let its effect stand, leave the flag: while it is there, repeats get 409 and nothing is sent."
                .into(),
        );
    }
    let acknowledge = (format!("mainstay ops resolve {typed} --acknowledge --reason '…'"), then);
    let offered = [reveal, acknowledge].into_iter().skip(usize::from(operation["can_be_revealed"] != true));
    lines.extend(commands(&offered.collect::<Vec<_>>()));
    lines
}

/// What will happen by itself, and what a person may do.
fn next(operation: &Value, later: &[Value], now: Timestamp, style: &Style) -> Vec<String> {
    if contradiction(operation).is_some() {
        return after_contradiction(operation, later);
    }
    // Whole enough that a slip of the finger leads to no other write.
    let typed = short_of(operation);
    let is_unknown = operation["state"] == "unknown";
    let mut lines = Vec::new();
    if is_unknown && operation["can_be_queried"] != true && operation["can_be_redispatched"] != true {
        lines.push("Nobody can ask the service: its policy has no `status`, or had none when it began.".into());
    }
    if let Some(at) = moment(&operation["next_check_at"]) {
        let ahead = age(&operation["next_check_at"], now);
        lines.push(format!("It is looked at next at {} ({ahead}).", style.moment(at)));
    }
    if operation["can_be_resolved"] != true {
        lines.push(match operation["state"].as_str() {
            Some("pending") => "Wait: its attempt will say more than a person can.".into(),
            _ => "Nothing is left to be done here.".into(),
        });
        return lines;
    }
    lines.push("Look into the service first: did it happen? Then say so, with what you saw as the reason:".into());
    let act = |act: &str| format!("mainstay ops {act} --reason '…'");
    let mut offered = Vec::new();
    if operation["can_be_revealed"] == true {
        offered.push((act(&format!("reveal {typed}")), "which payment"));
    }
    if operation["can_be_queried"] == true {
        offered.push((act(&format!("query {typed}")), "asks the service once more"));
    }
    if operation["can_be_redispatched"] == true {
        offered.push((act(&format!("redispatch {typed}")), "sends it again, under the same key"));
    }
    if is_unknown {
        offered.push((act(&format!("resolve {typed} --as succeeded")), ""));
        offered.push((act(&format!("resolve {typed} --as failed")), "its caller is told that a new key is safe"));
        offered.push((act(&format!("resolve {typed} --as not_executed")), "a repeat executes then"));
    } else {
        offered.push((act(&format!("resolve {typed} --acknowledge")), "takes the flag away"));
    }
    lines.extend(commands(&offered));
    lines
}

/// Where else it is found: by what access lines have of its key, and by its trace.
fn traces(operation: &Value) -> Vec<String> {
    let key = operation["key_hash"].as_str().and_then(|hash| hash.get(..HASH));
    let link = operation["trace_url"].as_str().map(|link| format!("   {link}")).unwrap_or_default();
    let trace = operation["trace_id"].as_str().map(|id| format!("trace {id}{link}"));
    key.map(|key| format!("key_hash {key}")).into_iter().chain(trace).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "00000000000000d4aab7000000000001";

    fn unknown() -> Value {
        json!({
            "id": ID, "upstream": "pay", "method": "POST", "path": "/payments", "state": "unknown",
            "reason": "attempt_timeout", "next_check_at": null, "trace_id": null,
            "attention": { "since": "2026-11-24T15:40:00Z", "reason": "resolve_exhausted" },
            "history": [
                { "at": "2026-11-24T15:37:53.402Z", "event": "begun" },
                { "at": "2026-11-24T15:37:53.403Z", "event": "dispatched" },
                { "at": "2026-11-24T15:37:54.005Z", "event": "lost", "evidence": "ambiguous", "because": "attempt_timeout" },
                { "at": "2026-11-24T15:38:00Z", "event": "asked", "http_status": 404, "by": "status_query",
                  "because": "too_early", "proves_nothing_before": "2026-11-24T15:38:53.403Z" },
                { "at": "2026-11-24T15:38:30Z", "event": "asked", "http_status": 404, "by": "status_query",
                  "because": "too_early", "proves_nothing_before": "2026-11-25T15:38:53.403Z" },
                { "at": "2026-11-24T15:39:00Z", "event": "asked", "http_status": 500 },
                { "at": "2026-11-24T15:40:00Z", "event": "flagged" },
            ],
            "history_folded": 7,
            "can_be_resolved": true, "can_be_queried": true, "can_be_redispatched": false,
            "audit": [
                { "at": "2026-11-24T15:41:00Z", "actor": "ana", "action": "query", "reason": "to see", "before": "unknown",
                  "after": "unknown", "result": "begun" },
                { "at": "2026-11-24T15:41:01Z", "actor": "ana", "action": "query", "reason": "to see", "before": "unknown",
                  "after": "unknown", "result": "heard no_evidence" },
            ],
        })
    }

    fn now() -> Timestamp {
        "2026-11-24T15:42:00Z".parse().unwrap()
    }

    #[test]
    fn a_story_for_somebody_who_was_just_woken_up() {
        let expected = "\
d4-aab7  UNKNOWN: nobody knows yet whether it happened (a person is needed)
  15:37:53.403   ... 7 others of its events are not kept
  15:37:53.403   dispatched to pay (POST /payments)
  15:37:54.005   answer lost: attempt timed out after 602 ms
  15:38:00.000   asked the service: 404, which proves nothing before 15:38:53.403
  15:38:30.000   asked the service: 404, which proves nothing before 2026-11-25T15:38:53.403Z
  15:39:00.000   asked the service: 500, which proves nothing
  15:40:00.000   a person was called: nothing else can settle it
  15:41:01.000   query by ana: to see (heard no_evidence, unknown -> unknown)
Look into the service first: did it happen? Then say so, with what you saw as the reason:
  mainstay ops query d4-aab7 --reason '…'                       # asks the service once more
  mainstay ops resolve d4-aab7 --as succeeded --reason '…'
  mainstay ops resolve d4-aab7 --as failed --reason '…'         # its caller is told that a new key is safe
  mainstay ops resolve d4-aab7 --as not_executed --reason '…'   # a repeat executes then";
        assert_eq!(story(&unknown(), &[], now(), &Style::plain()), expected);
    }

    #[test]
    fn a_contradicted_write_is_told_with_both_sides_and_with_what_may_have_happened_twice() {
        let operation = json!({
            "id": ID, "upstream": "pay", "method": "POST", "path": "/payments", "state": "not_executed",
            "attention": { "reason": "conflict", "settled_as": "not_executed", "heard": "succeeded", "http_status": 201,
                "since": "2026-11-24T15:38:23.408Z" },
            "history": [
                { "at": "2026-11-24T15:37:53.402Z", "event": "begun" },
                { "at": "2026-11-24T15:37:53.403Z", "event": "dispatched" },
                { "at": "2026-11-24T15:37:54.005Z", "event": "lost", "evidence": "ambiguous", "because": "attempt_timeout" },
                { "at": "2026-11-24T15:37:58.405Z", "event": "asked", "http_status": 404, "evidence": "not_executed",
                  "by": "status_query", "because": "fenced" },
                { "at": "2026-11-24T15:37:58.405Z", "event": "settled", "evidence": "not_executed", "by": "status_query" },
                { "at": "2026-11-24T15:38:23.408Z", "event": "late_answer", "http_status": 201, "evidence": "succeeded" },
                { "at": "2026-11-24T15:38:23.408Z", "event": "contradicted", "http_status": 201, "evidence": "succeeded" },
            ],
            "history_folded": 0, "audit": [], "can_be_revealed": true, "can_be_resolved": true,
            "key_hash": "8f14e45fceea167a5a36dedd4bea2543",
            "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "trace_url": "http://jaeger/trace/4bf92f3577b34da6a3ce929d0e0e4736",
        });
        let later = json!({ "id": "00000000000000d533ac000000000001", "created_at": "2026-11-24T15:38:00.018Z" });
        let expected = "\
d4-aab7  CONTRADICTED: settled as not executed, but it happened
  15:37:53.403   dispatched to pay (POST /payments)
  15:37:54.005   answer lost: attempt timed out after 602 ms
  15:37:58.405   asked the service: 404, believed because the endpoint is said to be fenced -> not executed
  15:38:00.018   the key was used again: d5-33ac
  15:38:23.408   a late answer to the first dispatch: 201 -> contradiction
Both d4-aab7 and d5-33ac may have happened. Look for two effects in the service, and take one back there.
If you let its effect stand, leave the flag: while it is there, repeats get 409 and nothing is sent.
  mainstay ops reveal d4-aab7 --reason '…'                  # which payment
  mainstay ops resolve d4-aab7 --acknowledge --reason '…'   # you have taken the effect back; after it a repeat EXECUTES
key_hash 8f14e45f
trace 4bf92f3577b34da6a3ce929d0e0e4736   http://jaeger/trace/4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(story(&operation, &[later], now(), &Style::plain()), expected);
        let alone = story(&operation, &[], now(), &Style::plain());
        assert!(alone.contains("Its key was not used for another write since."), "{alone}");
        for (state, then) in
            [("failed", "the caller is told that a new key is safe"), ("succeeded", "takes the flag away")]
        {
            let mut operation = operation.clone();
            operation["state"] = state.into();
            let told = story(&operation, &[], now(), &Style::plain());
            assert!(told.contains(then) && told.contains("leave the flag") == (state == "failed"), "{told}");
        }
    }

    #[test]
    fn only_what_would_be_accepted_is_offered() {
        let mut operation = unknown();
        operation["can_be_queried"] = false.into();
        let told = story(&operation, &[], now(), &Style::plain());
        assert!(!told.contains("ops query") && told.contains("Nobody can ask the service"), "{told}");
        operation["can_be_redispatched"] = true.into();
        let told = story(&operation, &[], now(), &Style::plain());
        assert!(told.contains("ops redispatch") && !told.contains("Nobody can ask"), "{told}");
        operation["state"] = "failed".into();
        assert!(story(&operation, &[], now(), &Style::plain()).contains("mainstay ops resolve d4-aab7 --acknowledge"));
        operation["can_be_resolved"] = false.into();
        assert!(story(&operation, &[], now(), &Style::plain()).ends_with("Nothing is left to be done here."));
        operation["state"] = "pending".into();
        assert!(
            story(&operation, &[], now(), &Style::plain())
                .ends_with("Wait: its attempt will say more than a person can.")
        );
    }
}
