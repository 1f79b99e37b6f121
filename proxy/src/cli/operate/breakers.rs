//! `mainstay breakers`

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use super::{
    Output, Target, Why, client,
    client::{Client, ClientError, segment},
    end, json,
    text::{Column, cell, table},
};

/// Look at circuit breakers, and hold them open, closed or disabled
#[derive(Args, Debug)]
pub struct BreakersCommand {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    what: Option<Breakers>,
}

#[derive(Subcommand, Debug)]
enum Breakers {
    /// List circuit breakers (the same as no command)
    Ls,
    /// Hold a breaker where it is put, until it is released or the proxy ends
    Force {
        /// The breaker, as listed
        name: String,
        /// Where: open rejects every call, closed and disabled let every call through
        #[arg(value_enum)]
        state: Held,
        #[command(flatten)]
        why: Why,
    },
    /// Let a held breaker go: closed, with nothing counted
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
    let BreakersCommand { target, what } = command;
    let (client, output) = (client(&target)?, target.output);
    match what {
        None | Some(Breakers::Ls) => list(&client, output).await,
        Some(Breakers::Force { name, state, why }) => {
            let state = match state {
                Held::Open => "open",
                Held::Closed => "closed",
                Held::Disabled => "disabled",
            };
            act(&client, &name, "force", &why.body(&client, &[("state", state)]).await?, output).await
        }
        Some(Breakers::Release { name, why }) => {
            act(&client, &name, "release", &why.body(&client, &[]).await?, output).await
        }
    }
}

async fn list(client: &Client, output: Output) -> Result<String, ClientError> {
    let document = client.get("/breakers").await?.document;
    Ok(match output {
        Output::Json => json(&document),
        _ => breakers_table(document["breakers"].as_array().map(Vec::as_slice).unwrap_or_default()),
    })
}

fn breakers_table(breakers: &[Value]) -> String {
    if breakers.is_empty() {
        return "no policy in use has a circuit breaker".into();
    }
    let columns = [
        Column("NAME", 52),
        Column("STATE", 13),
        Column("CALLS", 8),
        Column("ERRORS", 8),
        Column("SLOW", 8),
        Column("IN A ROW", 8),
        Column("OPENED", 8),
    ];
    let row = |breaker: &Value| {
        ["name", "state", "requests", "errors", "slow", "consecutive_errors", "opened"]
            .map(|member| cell(&breaker[member]))
            .to_vec()
    };
    table(&columns, &breakers.iter().map(row).collect::<Vec<_>>())
}

async fn act(client: &Client, name: &str, action: &str, body: &Value, output: Output) -> Result<String, ClientError> {
    let target = format!("/breakers/{}:{action}", segment(name));
    let document = client.post(&target, None, body).await?.document;
    Ok(match output {
        Output::Json => json(&document),
        _ => format!("{name}: {}", cell(&document["state"])),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn breakers_are_listed_with_what_they_saw() {
        let breakers = [
            json!({ "name": "write@app", "state": "forced_open", "requests": 12, "errors": 3, "slow": 0,
                "consecutive_errors": 1, "opened": 2 }),
            json!({ "name": "read@app~10", "state": "closed", "requests": 120_000, "errors": 0, "slow": 7,
                "consecutive_errors": 0, "opened": 0 }),
        ];
        let expected = "\
NAME         STATE        CALLS   ERRORS  SLOW  IN A ROW  OPENED
write@app    forced_open  12      3       0     1         2
read@app~10  closed       120000  0       7     0         0";
        assert_eq!(breakers_table(&breakers), expected);
    }
}
