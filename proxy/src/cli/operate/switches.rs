//! `mainstay log-level`.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value};

use super::{ClientError, Output, Session, Target, actor_of, end, json, text::cell, watch::read_age};

/// Say how much is logged, or have more or less of it
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  mainstay log-level\n  mainstay log-level info,mainstay=debug --for 10m")]
pub struct LogLevelCommand {
    /// The level: error, warn, info, debug, trace, or of parts: info,mainstay=debug. Without one, the one that counts is said
    level: Option<String>,
    /// Go back after so long to what the configuration says; without it, the next reload does
    #[arg(long = "for", value_name = "TIME", value_parser = read_age, requires = "level")]
    time: Option<String>,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    target: Target,
}

/// Who does it, and why, where that need not be said.
#[derive(Args, Clone, Debug)]
struct Who {
    /// Why; kept in the audit trail
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[arg(long, value_name = "NAME", help = "Who does it; kept in the audit trail [default: $USER@host]")]
    actor: Option<String>,
}

impl Who {
    /// The members of an act's body; `done` is what was typed.
    async fn body(self, session: &Session, done: &str) -> Result<Map<String, Value>, ClientError> {
        let mut body = Map::new();
        if let Some(actor) = actor_of(&session.client, self.actor).await? {
            body.insert("actor".into(), actor.into());
        }
        body.insert("reason".into(), self.reason.unwrap_or_else(|| format!("mainstay {done}")).into());
        Ok(body)
    }
}

/// Carries out `mainstay log-level`.
pub async fn log_level(command: LogLevelCommand) -> ExitCode {
    end(set_level(command).await)
}

async fn set_level(command: LogLevelCommand) -> Result<String, ClientError> {
    let LogLevelCommand { level, time, who, target } = command;
    let session = target.session()?;
    let document = match level {
        None => session.client.get("/log-level").await?.document,
        Some(level) => {
            let mut body = who.body(&session, &format!("log-level {level}")).await?;
            body.insert("level".into(), level.into());
            body.extend(time.map(|time| ("for".to_owned(), time.into())));
            session.client.put("/log-level", &Value::Object(body)).await?.document
        }
    };
    Ok(match session.output {
        Output::Json => json(&document),
        _ => cell(&document["level"]),
    })
}
