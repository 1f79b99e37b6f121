//! `mainstay ops tail`: what happens, as it happens.

use std::{process::ExitCode, time::Duration};

use clap::{Args, ValueEnum};
use http::StatusCode;
use jiff::Timestamp;
use serde_json::Value;

use super::{
    super::{
        ClientError, Output, Session,
        events::{Event, Events},
        refused,
        text::{cell, measured},
    },
    ids::short,
    words::phrase,
};
use crate::cli::output::put;

/// Between two attempts to reach a proxy that is gone.
const TRY_AGAIN: Duration = Duration::from_secs(1);

#[derive(Args, Debug)]
pub(super) struct Tail {
    /// What is told, several with commas [default: operation,breaker,config,ledger]
    #[arg(long, value_enum, value_name = "KIND", value_delimiter = ',')]
    kind: Vec<Kind>,
    /// Only what is about this route
    #[arg(long)]
    route: Option<String>,
    /// Only what is about this upstream
    #[arg(long)]
    upstream: Option<String>,
    /// Only operations that came into this state
    #[arg(long, value_parser = ["pending", "succeeded", "failed", "not_executed", "unknown"])]
    state: Option<String>,
    /// Only operations that need a person
    #[arg(long)]
    attention: bool,
    /// End after so many
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
}

/// What happens.
#[derive(ValueEnum, Clone, Copy, Debug)]
enum Kind {
    /// A write that changed its state, or is flagged
    Operation,
    /// Requests: at most 20 of a second
    Request,
    /// A circuit breaker that changed its state
    Breaker,
    /// A configuration that was taken or refused
    Config,
    /// A ledger that can no longer be written, or again
    Ledger,
}

impl Kind {
    const DEFAULT: [Self; 4] = [Self::Operation, Self::Breaker, Self::Config, Self::Ledger];

    const fn label(self) -> &'static str {
        match self {
            Self::Operation => "operation",
            Self::Request => "request",
            Self::Breaker => "breaker",
            Self::Config => "config",
            Self::Ledger => "ledger",
        }
    }
}

impl Tail {
    /// Whether an event is wanted. That some are missing everybody has to know.
    fn wants(&self, event: &Event) -> bool {
        let is = |member: &str, wanted: &Option<String>| {
            wanted.as_ref().is_none_or(|wanted| event.data[member] == wanted.as_str())
        };
        let is_flagged = !self.attention || !event.data["attention"].is_null();
        event.kind == "lost"
            || is("route", &self.route) && is("upstream", &self.upstream) && is("state", &self.state) && is_flagged
    }
}

/// Tells what happens until somebody ends it, reads no more, or has heard enough. A proxy that goes is waited for.
pub(super) async fn tail(session: &Session, wanted: Tail) -> ExitCode {
    let kinds = if wanted.kind.is_empty() { &Kind::DEFAULT[..] } else { &wanted.kind };
    let kinds: Vec<&str> = kinds.iter().map(|kind| kind.label()).collect();
    let mut told = 0;
    let mut was_there = false;
    loop {
        match Events::of(&session.client, &kinds).await {
            Ok(mut events) => {
                let again = if was_there { " again: what happened meanwhile is not told" } else { "" };
                eprintln!("following {}{again}", session.client.named().await);
                was_there = true;
                while let Some(event) = events.next().await {
                    let Some(line) = line(session, &event).filter(|_| wanted.wants(&event)) else { continue };
                    if put(line).is_err() {
                        return ExitCode::SUCCESS;
                    }
                    told += u64::from(event.kind != "lost");
                    if wanted.count.is_some_and(|most| told >= most) {
                        return ExitCode::SUCCESS;
                    }
                }
                eprintln!("the proxy is gone; it is waited for");
            }
            Err(error) if !was_there || !may_pass(&error) => return refused(&error),
            Err(_) => {}
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
}

/// Whether the next attempt may go better.
const fn may_pass(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { .. } => true,
        ClientError::Refused { status, .. } => matches!(*status, StatusCode::SERVICE_UNAVAILABLE),
        _ => false,
    }
}

/// How an event is printed; `None` for what says only that somebody is there.
fn line(session: &Session, event: &Event) -> Option<String> {
    let Event { kind, data } = event;
    match session.output {
        Output::Json => {
            let mut document = data.clone();
            document["event"] = kind.as_str().into();
            (kind != "hello").then(|| document.to_string())
        }
        Output::Ids => data["operation"].as_str().map(str::to_owned),
        Output::Table | Output::Wide => {
            let (text, is_alarm) = words(event, session.is_wide())?;
            let at = data["at"].as_str().and_then(|at| at.parse::<Timestamp>().ok());
            let at = at.map_or_else(|| " ".repeat("15:37:53.403".len()), |at| session.style.time_of_day(at));
            Some(format!("{at}  {}", session.style.alarm_if(is_alarm, &text)))
        }
    }
}

/// An event in words, and whether it calls somebody.
fn words(Event { kind, data }: &Event, is_wide: bool) -> Option<(String, bool)> {
    let id = |id: &Value| id.as_str().map(|id| if is_wide { id.to_owned() } else { short(id) });
    let because = |why: String| if why.is_empty() { why } else { format!(" ({why})") };
    Some(match kind.as_str() {
        "operation" => {
            let why = ["reason", "source"].iter().find_map(|member| data[*member].as_str()).map(phrase);
            let call = data["attention"].as_str().map(|reason| format!("  NEEDS A PERSON: {}", phrase(reason)));
            let change = format!("{} -> {}", cell(&data["before"]), cell(&data["state"]));
            let text = format!(
                "{}  {change}{}  {} at {}{}",
                id(&data["operation"]).unwrap_or_default(),
                because(why.unwrap_or_default()),
                cell(&data["route"]),
                cell(&data["upstream"]),
                call.as_deref().unwrap_or_default()
            );
            (text, call.is_some())
        }
        "request" => {
            let status = data["status"].as_u64().map_or_else(|| "no answer".into(), |status| status.to_string());
            let duration = data["duration_ms"].as_f64().map(|ms| measured(ms, " ms")).unwrap_or_default();
            let operation = id(&data["operation"]).map(|id| format!("  {id}")).unwrap_or_default();
            let more = data["left_out"].as_u64().filter(|more| *more > 0);
            let more = more.map(|more| format!("  (and {more} before it)")).unwrap_or_default();
            let route = data["route"].as_str().unwrap_or("(no route)");
            let text = format!(
                "{} {route}  {status}  {duration}  {}{}{operation}{more}",
                cell(&data["method"]),
                cell(&data["outcome"]),
                because(cell(&data["error"]))
            );
            (text, false)
        }
        "breaker" => {
            let state = cell(&data["state"]);
            let name = if state.ends_with("open") { state.to_uppercase() } else { state.clone() };
            let why = because(super::super::breakers::why(data));
            (format!("breaker {} {}{why}", cell(&data["breaker"]), name.replace('_', " ")), state.ends_with("open"))
        }
        "config" => {
            let is_refused = data["result"] == "refused";
            let changed: Vec<String> = super::super::items(data, "changed").iter().map(cell).collect();
            let detail = if is_refused { cell(&data["error"]) } else { changed.join(", ") };
            let result = if is_refused { "REFUSED".to_owned() } else { cell(&data["result"]) };
            (format!("configuration {result}: {detail}"), is_refused)
        }
        "ledger" => {
            let is_amiss = data["health"] != "writable";
            let health = cell(&data["health"]);
            (format!("ledger {}", if is_amiss { health.to_uppercase() } else { health }), is_amiss)
        }
        "lost" => {
            (format!("... {} events are missing: they came faster than they were read", cell(&data["count"])), false)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(kind: &str, data: Value) -> Event {
        Event { kind: kind.into(), data }
    }

    fn operation() -> Event {
        event(
            "operation",
            json!({ "at": "2026-11-24T15:37:54.005Z", "operation": "00000000000000d4aab7000000000001", "route": "/payments/**",
                "upstream": "pay", "before": "pending", "state": "unknown", "reason": "attempt_timeout", "attention": null }),
        )
    }

    #[test]
    fn each_event_is_a_line_that_is_understood() {
        let mut flagged = operation();
        flagged.data["attention"] = "resolve_exhausted".into();
        for (event, expected, calls) in [
            (operation(), "d4-aab7  pending -> unknown (attempt timed out)  /payments/** at pay", false),
            (
                flagged,
                "d4-aab7  pending -> unknown (attempt timed out)  /payments/** at pay  NEEDS A PERSON: resolve exhausted",
                true,
            ),
            (
                event(
                    "request",
                    json!({ "method": "GET", "route": "/**", "status": 504, "duration_ms": 600.4, "outcome": "deadline-exceeded",
                    "error": "attempt_timeout", "operation": null, "left_out": 3 }),
                ),
                "GET /**  504  600 ms  deadline-exceeded (attempt_timeout)  (and 3 before it)",
                false,
            ),
            (
                event(
                    "breaker",
                    json!({ "breaker": "write@pay", "state": "open",
                    "why": { "condition": "error_ratio", "value": 0.62, "threshold": 0.5, "requests": 31 } }),
                ),
                "breaker write@pay OPEN (error_ratio 0.62 of 31)",
                true,
            ),
            (
                event("config", json!({ "result": "reloaded", "changed": ["a: 1 -> 2"] })),
                "configuration reloaded: a: 1 -> 2",
                false,
            ),
            (event("ledger", json!({ "health": "full" })), "ledger FULL", true),
            (
                event("lost", json!({ "count": 12 })),
                "... 12 events are missing: they came faster than they were read",
                false,
            ),
        ] {
            assert_eq!(words(&event, false), Some((expected.to_owned(), calls)), "{event:?}");
        }
        assert_eq!(words(&event("hello", json!({})), false), None);
    }

    #[test]
    fn what_is_missing_passes_every_filter() {
        let all = Tail { kind: Vec::new(), route: None, upstream: None, state: None, attention: false, count: None };
        assert!(all.wants(&operation()));
        let another = Tail { upstream: Some("ship".into()), ..all };
        assert!(!another.wants(&operation()) && another.wants(&event("lost", json!({ "count": 1 }))));
        let flagged = Tail { upstream: Some("pay".into()), attention: true, ..another };
        assert!(!flagged.wants(&operation()));
    }
}
