//! `mainstay log-level` and `mainstay reload`.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value};

use super::{ClientError, Output, Session, Target, actor_of, end, items, json, refused, text::cell, watch::read_age};
use crate::cli::output::{FAILED, fail, print};

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

/// Read the configuration again, and take it if it is valid: exit code 0 if it counts now, 1 if it was refused
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  mainstay reload\n  mainstay reload --reason 'the new limits'")]
pub struct ReloadCommand {
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

/// Carries out `mainstay reload`.
pub async fn reload(command: ReloadCommand) -> ExitCode {
    match read_again(command).await {
        Ok((text, false)) => print(text),
        // Programs read the document where they always do.
        Ok((text, true)) if text.starts_with('{') => {
            print(text);
            ExitCode::from(FAILED)
        }
        Ok((text, true)) => fail(format_args!("mainstay: {text}")),
        Err(error) => refused(&error),
    }
}

/// What came of it, and whether that is a refusal.
async fn read_again(command: ReloadCommand) -> Result<(String, bool), ClientError> {
    let ReloadCommand { who, target } = command;
    let session = target.session()?;
    let body = who.body(&session, "reload").await?;
    let document = session.client.post("/reload", None, &Value::Object(body)).await?.document;
    let text = match session.output {
        Output::Json => json(&document),
        Output::Ids => cell(&document["hash"]),
        Output::Table | Output::Wide => said(&document),
    };
    Ok((text, document["result"] == "refused"))
}

/// The finding about a change that is not taken while the process runs.
const NEEDS_RESTART: &str = "needs-restart";

/// What came of a reload.
fn said(document: &Value) -> String {
    let changed: Vec<String> = items(document, "changed").iter().map(cell).collect();
    let more = document["changed_count"].as_u64().unwrap_or(0).saturating_sub(changed.len() as u64);
    let waiting: Vec<String> = items(document, "findings")
        .iter()
        .filter(|finding| finding["code"] == NEEDS_RESTART)
        .map(|finding| format!("not in force until a restart: {}", cell(&finding["subject"])))
        .collect();
    let mut lines = match document["result"].as_str() {
        Some("refused") => vec![format!("refused; the configuration in force stays\n{}", cell(&document["error"]))],
        Some("unchanged") if waiting.is_empty() => vec!["unchanged: it means what it meant before".to_owned()],
        Some("unchanged") => Vec::new(),
        _ => vec![format!("reloaded: #{}", cell(&document["hash"]))],
    };
    lines.extend(changed.into_iter().map(|change| format!("  {change}")));
    if more > 0 {
        lines.push(format!("  and {more} more"));
    }
    lines.extend(waiting);
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_reload_changed_is_said_and_so_is_why_one_was_refused() {
        let taken = json!({ "result": "reloaded", "hash": "4f1c2a", "changed": ["a: 1 -> 2"], "changed_count": 3, "error": null });
        assert_eq!(said(&taken), "reloaded: #4f1c2a\n  a: 1 -> 2\n  and 2 more");
        let waiting = json!({ "result": "unchanged", "hash": "4f1c2a", "changed": [], "changed_count": 0, "error": null,
            "findings": [{ "code": "anonymous-keys", "subject": "policies.p" }, { "code": "needs-restart", "subject": "ledger" }] });
        assert_eq!(said(&waiting), "not in force until a restart: ledger");
        let refused =
            json!({ "result": "refused", "error": "mainstay.yaml:1:1: no", "changed": [], "changed_count": 0 });
        assert_eq!(said(&refused), "refused; the configuration in force stays\nmainstay.yaml:1:1: no");
    }
}
