//! Why an operation stands where it stands, in words.

use serde_json::Value;

use super::super::text::cell;

/// Why, in few words, as a table has room for.
pub(in crate::cli::operate) fn why(operation: &Value) -> String {
    let flag = &operation["attention"];
    if let Some(settled) = flag["settled_as"].as_str() {
        let heard =
            flag["http_status"].as_u64().map_or_else(|| phrase(&cell(&flag["heard"])), |status| status.to_string());
        return format!("contradicted: settled as {}, then {heard}", phrase(settled));
    }
    let questions = operation["checks"].as_u64().unwrap_or(0);
    let lost = lost(operation);
    match (flag["reason"].as_str(), operation["state"].as_str()) {
        (Some(_), Some("unknown")) if questions > 0 => {
            format!("gave up asking after {}", counted(questions, "question"))
        }
        (Some(_), Some("unknown")) => format!("{lost}; nobody can be asked"),
        (None, Some("unknown")) if questions > 0 => format!("{lost}; asked {}", times(questions)),
        (None, Some("unknown")) => lost,
        (_, Some("pending")) => "in flight".into(),
        _ => match operation["source"].as_str() {
            Some("status_query") => "asked: ".to_owned() + &last_asked(operation),
            Some("operator") => "a person said so".into(),
            Some("late_response") => format!("a late answer: {}", cell(&operation["http_status"])),
            _ => phrase(&cell(&operation["reason"])),
        },
    }
}

/// What became of the attempt, for as long as its record tells it.
fn lost(operation: &Value) -> String {
    let reason = cell(&operation["reason"]);
    if reason.starts_with("http") {
        format!("answered: {}", cell(&operation["http_status"]))
    } else {
        format!("answer lost: {}", phrase(&reason))
    }
}

fn last_asked(operation: &Value) -> String {
    let asked = operation["history"].as_array().into_iter().flatten().rfind(|event| event["event"] == "asked");
    let status = asked.map(|asked| cell(&asked["http_status"])).filter(|status| !status.is_empty());
    status.unwrap_or_else(|| phrase(&cell(&operation["state"])))
}

/// A fixed phrase of the record, as a person would say it.
pub(super) fn phrase(word: &str) -> String {
    match word {
        "attempt_timeout" => "attempt timed out",
        "timeout" => "timed out",
        "reset" => "connection broke off",
        "refused" => "not taken by the service",
        "connect_error" => "no connection",
        "tls_error" => "no TLS connection",
        "malformed" => "the answer was not HTTP",
        "request_body" => "the caller's body broke off",
        "drain" => "the proxy ended",
        "restart" => "the proxy was started anew",
        "abandoned" => "its caller's task ended",
        "overdue" => "overdue",
        "owner_lost" => "its replica was lost",
        "http_5xx" => "answered with 5xx",
        "http_no_proof" => "answered without proof",
        "request_unreadable" => "its request cannot be read any more",
        "not_executed" => "not executed",
        "circuit-open" => "circuit breaker open",
        other => return other.replace('_', " "),
    }
    .into()
}

pub(super) fn counted(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

fn times(number: u64) -> String {
    if number == 1 { "once".into() } else { format!("{number} times") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_state_is_told_with_what_led_to_it() {
        let told = |more: Value| {
            let mut operation =
                json!({ "state": "unknown", "reason": "attempt_timeout", "checks": 0, "attention": null });
            operation.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            why(&operation)
        };
        let flag = json!({ "reason": "resolve_exhausted" });
        let conflict =
            json!({ "reason": "conflict", "settled_as": "not_executed", "heard": "succeeded", "http_status": 201 });
        for (more, expected) in [
            (json!({}), "answer lost: attempt timed out"),
            (json!({ "checks": 3 }), "answer lost: attempt timed out; asked 3 times"),
            (json!({ "checks": 8, "attention": flag }), "gave up asking after 8 questions"),
            (json!({ "attention": flag }), "answer lost: attempt timed out; nobody can be asked"),
            (
                json!({ "state": "not_executed", "attention": conflict }),
                "contradicted: settled as not executed, then 201",
            ),
            (json!({ "reason": "http_5xx", "http_status": 500 }), "answered: 500"),
            (
                json!({ "state": "succeeded", "source": "status_query",
                    "history": [{ "event": "asked", "http_status": 200 }, { "event": "settled" }] }),
                "asked: 200",
            ),
        ] {
            assert_eq!(told(more), expected);
        }
    }
}
