//! `mainstay breakers`

use std::{borrow::Cow, process::ExitCode};

use clap::{Args, Subcommand, ValueEnum};
use http::StatusCode;
use jiff::Timestamp;
use serde_json::Value;

use super::{
    ClientError, Listing, Output, Session, Target, Why,
    client::segment,
    end, items, json, names_of,
    style::Style,
    text::{Column, age, cell, long_span, table_with_alarms},
};
use crate::config::suggest;

/// Look at circuit breakers, and hold them open, closed or disabled
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  mainstay breakers\n  mainstay breakers -o json")]
pub struct BreakersCommand {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    what: Option<Breakers>,
}

#[derive(Subcommand, Debug)]
enum Breakers {
    /// List circuit breakers (the same as no command)
    #[command(after_help = "Examples:\n  mainstay breakers ls\n  mainstay breakers ls -o ids")]
    Ls,
    /// Hold a breaker where it is put, for a time, or until it is released or the proxy ends
    #[command(
        after_help = "Examples:\n  mainstay breakers force write@pay open --for 10m --reason 'the bank is down'\n  \
                            mainstay breakers force read@pay disabled --reason 'counts the wrong errors'"
    )]
    Force {
        /// The breaker, as listed
        name: String,
        /// Where: open rejects every call, closed and disabled let every call through
        #[arg(value_enum)]
        state: Held,
        /// Release it by itself after such a time, at most 24h
        #[arg(long = "for", value_name = "DURATION")]
        within: Option<String>,
        #[command(flatten)]
        why: Why,
    },
    /// Let a held breaker go: closed, with nothing counted
    #[command(after_help = "Examples:\n  mainstay breakers release write@pay --reason 'the bank is back'\n  \
                            mainstay breakers release write@pay --reason over --actor ana")]
    Release {
        /// The breaker, as listed
        name: String,
        #[command(flatten)]
        why: Why,
    },
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum Held {
    Open,
    Closed,
    Disabled,
}

/// Carries out `mainstay breakers`.
pub async fn breakers(command: BreakersCommand) -> ExitCode {
    end(carry_out(command).await)
}

async fn carry_out(command: BreakersCommand) -> Result<String, ClientError> {
    let session = command.target.session()?;
    match command.what {
        None | Some(Breakers::Ls) => list(&session).await,
        Some(Breakers::Force { name, state, within, why }) => {
            let state = match state {
                Held::Open => "open",
                Held::Closed => "closed",
                Held::Disabled => "disabled",
            };
            let more = within.as_deref().map(|within| ("for", within));
            let more: Vec<_> = [("state", state)].into_iter().chain(more).collect();
            act(&session, &name, "force", &why.body(&session.client, &more).await?).await
        }
        Some(Breakers::Release { name, why }) => {
            act(&session, &name, "release", &why.body(&session.client, &[]).await?).await
        }
    }
}

async fn list(session: &Session) -> Result<String, ClientError> {
    let document = session.client.get("/breakers").await?.document;
    let breakers = items(&document, "breakers");
    let text = breakers_table(breakers, session.is_wide(), Timestamp::now(), &session.style);
    Ok(session.shown(Listing { document: Cow::Borrowed(&document), names: names_of(breakers, "name"), text }).await)
}

/// What was counted, for whoever has room for it.
const COUNTS: [(&str, &str); 5] = [
    ("CALLS", "requests"),
    ("ERRORS", "errors"),
    ("SLOW", "slow"),
    ("IN A ROW", "consecutive_errors"),
    ("OPENED", "opened"),
];

fn breakers_table(breakers: &[Value], is_wide: bool, now: Timestamp, style: &Style) -> String {
    if breakers.is_empty() {
        return "no policy in use has a circuit breaker".into();
    }
    let most = |cells: usize| if is_wide { usize::MAX } else { cells };
    let mut columns = vec![
        Column("NAME", most(40)),
        Column("STATE", 13),
        Column("SINCE", 6),
        Column("WHY", most(24)),
        Column("PROBES-IN", 9),
        Column("FORCED-BY", most(24)),
    ];
    // What fits beside the others in 120 characters.
    let counts = if is_wide { &COUNTS[..] } else { &COUNTS[..2] };
    columns.extend(counts.iter().map(|(title, _)| Column(title, 8)));
    let row = |breaker: &Value| {
        let probes = match breaker["probes_in_ms"].as_u64() {
            Some(0) => "next call".to_owned(),
            Some(wait) => long_span(wait.div_ceil(1000)),
            None => String::new(),
        };
        let by = &breaker["forced_by"];
        let reason = if is_wide && by.is_object() { format!(": {}", cell(&by["reason"])) } else { String::new() };
        let until = by["until"].as_str().map(|_| format!(", ends {}", age(&by["until"], now))).unwrap_or_default();
        let mut cells = vec![
            cell(&breaker["name"]),
            cell(&breaker["state"]),
            age(&breaker["since"], now),
            why(breaker),
            probes,
            format!("{}{until}{reason}", cell(&by["actor"])),
        ];
        cells.extend(counts.iter().map(|(_, member)| cell(&breaker[*member])));
        cells
    };
    let rows: Vec<Vec<String>> = breakers.iter().map(row).collect();
    let is_open = |at: usize| breakers[at]["state"].as_str().is_some_and(|state| state.ends_with("open"));
    table_with_alarms(&columns, &rows, style, is_open)
}

/// What made it open: `error_ratio 0.62 of 31`. Empty where it is not known.
pub(super) fn why(breaker: &Value) -> String {
    let why = &breaker["why"];
    let Some(condition) = why["condition"].as_str() else { return String::new() };
    let value = why["value"].as_f64().map(|value| format!(" {}", (value * 100.0).round() / 100.0)).unwrap_or_default();
    let of = why["requests"].as_u64().map(|requests| format!(" of {requests}")).unwrap_or_default();
    format!("{condition}{value}{of}")
}

async fn act(session: &Session, name: &str, action: &str, body: &Value) -> Result<String, ClientError> {
    let target = format!("/breakers/{}:{action}", segment(name));
    let document = match session.client.post(&target, None, body).await {
        Err(ClientError::Refused { status: StatusCode::NOT_FOUND, detail }) => {
            return Err(ClientError::NotFound(format!("{detail}{}", near(session, name).await)));
        }
        done => done?.document,
    };
    Ok(match session.output {
        Output::Json => json(&document),
        Output::Ids => cell(&document["name"]),
        Output::Table | Output::Wide => format!("{name}: {}", cell(&document["state"])),
    })
}

/// The breaker that was meant, if one is like it.
async fn near(session: &Session, name: &str) -> String {
    let listed = session.client.get("/breakers").await.map(|answer| answer.document).unwrap_or_default();
    let names = names_of(items(&listed, "breakers"), "name");
    suggest(name, names.iter().map(String::as_str)).map(|cure| format!(" {cure}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn breakers_are_listed_with_why_they_opened_and_who_holds_them() {
        let now: Timestamp = "2026-11-24T03:00:00Z".parse().unwrap();
        let breakers = [
            json!({ "name": "write@app", "state": "open", "since": "2026-11-24T02:59:20Z", "probes_in_ms": 2_900,
                "why": { "condition": "error_ratio", "value": 0.6211, "threshold": 0.5, "requests": 31 }, "forced_by": null,
                "requests": 31, "errors": 19, "slow": 0, "consecutive_errors": 1, "opened": 2 }),
            json!({ "name": "read@app~10", "state": "forced_closed", "since": "2026-11-24T01:00:00Z", "why": null,
                "forced_by": { "actor": "ana", "reason": "counts the wrong errors", "at": "2026-11-24T01:00:00Z", "until": "2026-11-24T03:08:00Z" },
                "requests": 120_000, "errors": 0, "slow": 7, "consecutive_errors": 0, "opened": 0 }),
        ];
        let expected = "\
NAME         STATE          SINCE  WHY                     PROBES-IN  FORCED-BY        CALLS   ERRORS
write@app    open           40s    error_ratio 0.62 of 31  3 s                         31      19
read@app~10  forced_closed  2h                                        ana, ends in 8m  120000  0";
        assert_eq!(breakers_table(&breakers, false, now, &Style::plain()), expected);
        let wide = breakers_table(&breakers, true, now, &Style::plain());
        assert!(wide.contains("ana, ends in 8m: counts the wrong errors") && wide.contains("IN A ROW"), "{wide}");
    }
}
