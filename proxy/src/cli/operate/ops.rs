//! `mainstay ops`

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Output, Target, Why, client,
    client::{Client, ClientError, segment},
    end, json,
    story::story,
    text::{Column, age, cell, table},
};
use crate::config::parse_duration;

/// Look at operations, and settle what the machine could not
#[derive(Args, Debug)]
pub struct OpsCommand {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    what: Ops,
}

#[derive(Subcommand, Debug)]
enum Ops {
    /// List operations, the oldest first
    Ls(Ls),
    /// Tell the story of one operation, and what may be done next
    Show {
        /// The operation
        id: String,
    },
    /// Say what became of a write that is unknown, or take a flag away
    Resolve {
        /// The operation
        id: String,
        /// What became of the write; `not_executed` frees its key, so that a repeat executes
        #[arg(long = "as", value_enum, required_unless_present = "acknowledge", conflicts_with = "acknowledge")]
        state: Option<Decision>,
        /// A settled write that was contradicted has been put right: the flag goes, its state stays
        #[arg(long)]
        acknowledge: bool,
        #[command(flatten)]
        why: Why,
    },
    /// Ask the service now what became of a write
    Query {
        /// The operation
        id: String,
        #[command(flatten)]
        why: Why,
    },
    /// Send a write again, byte for byte, where the service honours its key
    Redispatch {
        /// The operation
        id: String,
        #[command(flatten)]
        why: Why,
    },
}

#[derive(Args, Debug)]
struct Ls {
    /// Only in this state
    #[arg(long, value_parser = ["pending", "succeeded", "failed", "not_executed", "unknown"])]
    state: Option<String>,
    /// Only of this route
    #[arg(long)]
    route: Option<String>,
    /// Only of this upstream
    #[arg(long)]
    upstream: Option<String>,
    /// Only older than this: 30s, 10m, 24h
    #[arg(long, value_name = "AGE", value_parser = read_age)]
    older: Option<String>,
    /// Only those that wait for a person
    #[arg(long)]
    attention: bool,
    /// At most so many; 0 is all
    #[arg(long, default_value_t = 1000)]
    limit: usize,
}

/// Refuses what the proxy would refuse, with the help of the command line.
fn read_age(text: &str) -> Result<String, String> {
    match parse_duration(text) {
        Ok(_) => Ok(text.to_owned()),
        Err((wrong, cure)) => Err(format!("{wrong}; {cure}")),
    }
}

/// What a person may say of a write.
#[derive(ValueEnum, Clone, Copy, Debug)]
#[value(rename_all = "snake_case")]
enum Decision {
    /// The service did it.
    Succeeded,
    /// The service decided against it.
    Failed,
    /// The service did nothing.
    NotExecuted,
}

/// Carries out `mainstay ops`.
pub async fn ops(command: OpsCommand) -> ExitCode {
    end(carry_out(command).await)
}

async fn carry_out(command: OpsCommand) -> Result<String, ClientError> {
    let OpsCommand { target, what } = command;
    let (client, output) = (client(&target)?, target.output);
    match what {
        Ops::Ls(wanted) => list(&client, wanted, output).await,
        Ops::Show { id } => show(&client, &id, output).await,
        Ops::Resolve { id, state, acknowledge: _, why } => {
            let settled;
            let state = match state {
                Some(Decision::Succeeded) => "succeeded",
                Some(Decision::Failed) => "failed",
                Some(Decision::NotExecuted) => "not_executed",
                // Whoever acknowledges agrees with the state that it has.
                None => {
                    settled = cell(&client.get(&path(&id, "")).await?.document["state"]);
                    &settled
                }
            };
            act(&client, &id, "resolve", &why.body(&[("state", state)]), output).await
        }
        Ops::Query { id, why } => act(&client, &id, "query", &why.body(&[]), output).await,
        Ops::Redispatch { id, why } => act(&client, &id, "redispatch", &why.body(&[]), output).await,
    }
}

async fn list(client: &Client, wanted: Ls, output: Output) -> Result<String, ClientError> {
    let Ls { state, route, upstream, older, attention, limit } = wanted;
    let attention = attention.then(|| "true".to_owned());
    let query: Vec<_> =
        [("state", state), ("route", route), ("upstream", upstream), ("older", older), ("attention", attention)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
    let (found, has_more) = client.pages("/operations", &query, "operations", limit).await?;
    if output == Output::Json {
        return Ok(json(&json!({ "operations": found, "has_more": has_more })));
    }
    let mut text = operations_table(&found, Timestamp::now());
    if has_more {
        let more = format!("\nthere are more than {limit}: narrow it down, or raise --limit (0 is all)");
        text.push_str(&more);
    }
    Ok(text)
}

/// The table of `ls`.
pub(super) fn operations_table(operations: &[Value], now: Timestamp) -> String {
    if operations.is_empty() {
        return "no operations".into();
    }
    let columns = [
        Column("ID", 32),
        Column("STATE", 12),
        Column("AGE", 6),
        Column("ROUTE", 18),
        Column("UPSTREAM", 10),
        Column("TRIES", 5),
        Column("HTTP", 4),
        Column("WHY", 19),
    ];
    let row = |operation: &Value| {
        let why = operation.pointer("/attention/reason").filter(|reason| !reason.is_null());
        vec![
            cell(&operation["id"]),
            cell(&operation["state"]),
            age(&operation["created_at"], now),
            cell(&operation["route"]),
            cell(&operation["upstream"]),
            cell(&operation["attempts"]),
            cell(&operation["http_status"]),
            why.map_or_else(|| cell(&operation["reason"]), |why| format!("! {}", cell(why))),
        ]
    };
    table(&columns, &operations.iter().map(row).collect::<Vec<_>>())
}

async fn show(client: &Client, id: &str, output: Output) -> Result<String, ClientError> {
    let answer = client.get(&path(id, "")).await?;
    Ok(match output {
        Output::Json => json(&answer.document),
        Output::Table => story(&answer.document, Timestamp::now()),
    })
}

/// Reads the operation, acts on it as it was read, and tells the difference.
async fn act(client: &Client, id: &str, action: &str, body: &Value, output: Output) -> Result<String, ClientError> {
    let before = client.get(&path(id, "")).await?;
    let after = client.post(&path(id, &format!(":{action}")), before.etag.as_deref(), body).await?.document;
    if output == Output::Json {
        return Ok(json(&after));
    }
    let standing = |document: &Value| match document["attention"]["reason"].as_str() {
        Some(reason) => format!("{} ({reason})", cell(&document["state"])),
        None => cell(&document["state"]),
    };
    let mut text = format!("{id}: {} -> {}", standing(&before.document), standing(&after));
    for member in ["result", "warning"] {
        if let Some(words) = after[member].as_str() {
            text.extend(["\n", member, ": ", words]);
        }
    }
    Ok(text)
}

fn path(id: &str, act: &str) -> String {
    format!("/operations/{}{act}", segment(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_tells_age_and_why_and_fits_the_terminal() {
        let now: Timestamp = "2026-11-24T03:00:00Z".parse().unwrap();
        let operations = [
            json!({
                "id": "00000000000000028a1f00000000beef", "state": "unknown", "created_at": "2026-11-24T02:48:00Z",
                "route": "/payments/**", "upstream": "app", "attempts": 1, "http_status": null,
                "reason": "attempt_timeout", "attention": null,
            }),
            json!({
                "id": "00000000000000038a1f00000000beef", "state": "not_executed", "created_at": "2026-11-21T02:48:00Z",
                "route": "/a/very/long/path/of/a/route/{id}", "upstream": "an-upstream-with-a-name", "attempts": 10_000,
                "http_status": 503, "reason": "http_5xx", "attention": { "reason": "resolve_exhausted" },
            }),
        ];
        let expected = "\
ID                                STATE         AGE  ROUTE               UPSTREAM    TRIES  HTTP  WHY
00000000000000028a1f00000000beef  unknown       12m  /payments/**        app         1            attempt_timeout
00000000000000038a1f00000000beef  not_executed  3d   /a/very/long/path…  an-upstre…  10000  503   ! resolve_exhausted";
        let table = operations_table(&operations, now);
        assert_eq!(table, expected);
        assert!(table.lines().all(|line| line.chars().count() <= 120));
        assert_eq!(operations_table(&[], now), "no operations");
    }
}
