//! `mainstay drain`: the preStop hook of a sidecar, whose image has no shell.

use std::{process::ExitCode, time::Duration};

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{ClientError, Output, Target, end, json, watch::read_time};

/// Turn traffic away: readiness fails and clients are told to go elsewhere, while what comes is served
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  mainstay drain --wait 5s\n  mainstay drain --undo")]
pub struct DrainCommand {
    #[command(flatten)]
    target: Target,
    /// Which listeners
    #[arg(long, value_enum, default_value_t)]
    scope: Scope,
    /// Return only after so long, such as 5s
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = read_time)]
    wait: Duration,
    /// Take a drain back: readiness returns, and clients are told nothing more; refused once SIGTERM has come
    #[arg(long, conflicts_with_all = ["scope", "wait"])]
    undo: bool,
}

/// Which listeners turn traffic away.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Scope {
    /// Where others call the service; its own calls go on as before
    #[default]
    Inbound,
    /// Where the service calls others, too
    All,
}

/// Carries out `mainstay drain`.
pub async fn drain(command: DrainCommand) -> ExitCode {
    end(carry_out(command).await)
}

async fn carry_out(command: DrainCommand) -> Result<String, ClientError> {
    let DrainCommand { target, scope, wait, undo } = command;
    let session = target.session()?;
    if undo {
        let document = session.client.delete("/drain").await?.document;
        return Ok(match session.output {
            Output::Json => json(&document),
            _ => "not draining: readiness no longer fails for it, and clients are told nothing more".into(),
        });
    }
    let scope = match scope {
        Scope::Inbound => "inbound",
        Scope::All => "all",
    };
    let document = session.client.post("/drain", None, &json!({ "scope": scope })).await?.document;
    tokio::time::sleep(wait).await;
    Ok(match session.output {
        Output::Json => json(&document),
        _ => "draining: readiness fails and clients are told to go elsewhere; what comes is served".into(),
    })
}
