//! `mainstay audit`

use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Output, Target, client,
    client::ClientError,
    end, json,
    text::{Column, age, cell, table},
};

/// Show who did what, the latest first
#[derive(Args, Debug)]
pub struct AuditCommand {
    #[command(flatten)]
    target: Target,
    /// Only about this operation
    #[arg(long, value_name = "ID")]
    operation: Option<String>,
    /// At most so many; 0 is all
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

/// Carries out `mainstay audit`.
pub async fn audit(command: AuditCommand) -> ExitCode {
    end(list(command).await)
}

async fn list(command: AuditCommand) -> Result<String, ClientError> {
    let AuditCommand { target, operation, limit } = command;
    let query: Vec<_> = operation.into_iter().map(|id| ("operation", id)).collect();
    let (found, _) = client(&target)?.pages("/audit", &query, "entries", limit).await?;
    Ok(match target.output {
        Output::Json => json(&json!({ "entries": found })),
        _ => trail_table(&found, Timestamp::now()),
    })
}

fn trail_table(entries: &[Value], now: Timestamp) -> String {
    if entries.is_empty() {
        return "nobody has done anything".into();
    }
    let columns = [
        Column("AGE", 4),
        Column("ACTOR", 16),
        Column("ACTION", 10),
        Column("TARGET", 32),
        Column("CHANGE", 40),
        // Whole: it is what one looks for here.
        Column("REASON, AND WHY IT WAS REFUSED", usize::MAX),
    ];
    let row = |entry: &Value| {
        let change = match (entry["before"].as_str(), entry["after"].as_str()) {
            (Some(before), Some(after)) => format!("{before} -> {after}"),
            (None, Some(after)) => after.to_owned(),
            _ => "refused".to_owned(),
        };
        let result = cell(&entry["result"]);
        let reason = cell(&entry["reason"]);
        let words = if result == "done" { reason } else { format!("{reason}; {result}") };
        vec![
            age(&entry["at"], now),
            cell(&entry["actor"]),
            cell(&entry["action"]),
            cell(&entry["target"]),
            change,
            words,
        ]
    };
    table(&columns, &entries.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trail_tells_who_did_what_and_what_came_of_it() {
        let now: Timestamp = "2026-11-24T03:00:00Z".parse().unwrap();
        let entries = [
            json!({
                "at": "2026-11-24T02:59:00Z", "actor": "ana@desk", "action": "resolve",
                "target": "00000000000000028a1f00000000beef", "before": "unknown (resolve_exhausted)",
                "after": "succeeded", "reason": "bank says booked", "result": "done",
            }),
            json!({
                "at": "2026-11-23T02:59:00Z", "actor": "a-very-long-name@a-very-long-host", "action": "force",
                "target": "write@app", "before": null, "after": null, "reason": "down", "result": "refused: no such breaker",
            }),
        ];
        let expected = "\
AGE  ACTOR             ACTION   TARGET                            CHANGE                                    REASON, AND WHY IT WAS REFUSED
1m   ana@desk          resolve  00000000000000028a1f00000000beef  unknown (resolve_exhausted) -> succeeded  bank says booked
1d   a-very-long-nam…  force    write@app                         refused                                   down; refused: no such breaker";
        assert_eq!(trail_table(&entries, now), expected);
    }
}
