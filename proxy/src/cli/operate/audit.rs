//! `mainstay audit`

use std::{borrow::Cow, process::ExitCode};

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    ClientError, Listing, Target, end, names_of,
    ops::ids::{short, whole},
    style::Style,
    text::{Column, age, cell, table},
    watch::read_age,
};

/// Show who did what, the latest first
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  mainstay audit --newer 24h --actor ana@desk\n  mainstay audit --operation d4-aab7"
)]
pub struct AuditCommand {
    #[command(flatten)]
    target: Target,
    /// Only about this operation: its id, or what that begins with
    #[arg(long, value_name = "ID")]
    operation: Option<String>,
    /// Only what is newer than this: 30s, 10m, 24h
    #[arg(long, value_name = "AGE", value_parser = read_age)]
    newer: Option<String>,
    /// Only what this one did
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Only acts of this kind: resolve, query, redispatch, force, release, find, reveal, log-level, drain, reload, ...
    #[arg(long)]
    action: Option<String>,
    /// At most so many; 0 is all
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

/// Carries out `mainstay audit`.
pub async fn audit(command: AuditCommand) -> ExitCode {
    end(list(command).await)
}

async fn list(command: AuditCommand) -> Result<String, ClientError> {
    let AuditCommand { target, operation, newer, actor, action, limit } = command;
    let session = target.session()?;
    let operation = match operation {
        Some(id) => Some(whole(&session.client, &id).await?),
        None => None,
    };
    let given = [("operation", operation), ("newer", newer), ("actor", actor), ("action", action)];
    let query: Vec<_> = given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let (found, has_more) = session.client.pages("/audit", &query, "entries", limit).await?;
    let document = json!({ "entries": found, "has_more": has_more });
    let mut text = trail_table(&found, session.is_wide(), Timestamp::now(), &session.style);
    if has_more {
        let limit = limit.to_string();
        text.extend(["\nthere are more than ", &limit, ": narrow it down, or raise --limit (0 is all)"]);
    }
    Ok(session.shown(Listing { document: Cow::Owned(document), names: names_of(&found, "number"), text }).await)
}

fn trail_table(entries: &[Value], is_wide: bool, now: Timestamp, style: &Style) -> String {
    if entries.is_empty() {
        return "nobody has done anything".into();
    }
    let most = |cells: usize| if is_wide { usize::MAX } else { cells };
    let columns = [
        Column("AT", usize::MAX),
        Column("ACTOR", most(16)),
        Column("ACTION", most(10)),
        Column("TARGET", most(21)),
        Column("CHANGE", most(40)),
        // Whole: it is what one looks for here.
        Column("REASON, AND WHY IT WAS REFUSED", usize::MAX),
    ];
    let row = |entry: &Value| {
        let result = cell(&entry["result"]);
        let reason = cell(&entry["reason"]);
        let change = match (entry["before"].as_str(), entry["after"].as_str()) {
            (Some(before), Some(after)) => format!("{before} -> {after}"),
            (None, Some(after)) => after.to_owned(),
            _ if result.starts_with("refused") => "refused".to_owned(),
            // What changes nothing by itself, such as a look: what came of it stands here.
            _ => result.clone(),
        };
        let words = if result == "done" || result == change { reason } else { format!("{reason}; {result}") };
        let at = entry["at"].as_str().and_then(|at| at.parse().ok());
        let at = at.map(|at| if is_wide { style.moment(at) } else { style.brief(at, now) }).unwrap_or_default();
        vec![
            if is_wide { format!("{at} ({})", age(&entry["at"], now)) } else { at },
            cell(&entry["actor"]),
            cell(&entry["action"]),
            target_of(entry, is_wide),
            change,
            words,
        ]
    };
    table(&columns, &entries.iter().map(row).collect::<Vec<_>>())
}

/// An operation by its short id, unless all of it is wanted.
fn target_of(entry: &Value, is_wide: bool) -> String {
    match entry["operation"].as_str() {
        Some(id) if !is_wide && entry["target"] == id => short(id),
        _ => cell(&entry["target"]),
    }
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
                "target": "00000000000000028a1f00000000beef", "operation": "00000000000000028a1f00000000beef", "before": "unknown (resolve_exhausted)",
                "after": "succeeded", "reason": "bank says booked", "result": "done",
            }),
            json!({
                "at": "2026-11-23T02:59:00Z", "actor": "a-very-long-name@a-very-long-host", "action": "force",
                "target": "write@app", "before": null, "after": null, "reason": "down", "result": "refused: no such breaker",
            }),
            json!({
                "at": "2026-11-23T02:58:00Z", "actor": "ana", "action": "reveal", "reason": "a customer called",
                "target": "00000000000000028a1f00000000beef", "operation": "00000000000000028a1f00000000beef",
                "before": null, "after": null, "result": "done",
            }),
            json!({
                "at": "2026-11-23T02:57:00Z", "actor": "ana", "action": "find", "target": "operations", "before": null,
                "after": null, "reason": "not given", "result": "found 2",
            }),
            json!({
                "at": "2026-11-23T02:56:00Z", "actor": "ana", "action": "batch", "target": "operations", "before": null,
                "after": null, "reason": "it is back", "result": "query of 12 begun as job 5e5bd3d2f3a14b1b9a3dbf1b47a3c0de",
            }),
            json!({
                "at": "2026-11-23T02:55:00Z", "actor": "ana", "action": "resolve", "target": "1-8a1f", "before": "succeeded",
                "after": null, "reason": "x", "result": "refused: a settled state never changes",
            }),
        ];
        let expected = "\
AT              ACTOR             ACTION   TARGET      CHANGE                                    REASON, AND WHY IT WAS REFUSED
02:59:00        ana@desk          resolve  2-8a1f      unknown (resolve_exhausted) -> succeeded  bank says booked
11-23 02:59:00  a-very-long-nam…  force    write@app   refused                                   down; refused: no such breaker
11-23 02:58:00  ana               reveal   2-8a1f      done                                      a customer called
11-23 02:57:00  ana               find     operations  found 2                                   not given
11-23 02:56:00  ana               batch    operations  query of 12 begun as job 5e5bd3d2f3a14b…  it is back
11-23 02:55:00  ana               resolve  1-8a1f      refused                                   x; refused: a settled state never changes";
        assert_eq!(trail_table(&entries, false, now, &Style::plain()), expected);
        let wide = trail_table(&entries, true, now, &Style::plain());
        assert!(
            wide.contains("2026-11-24T02:59:00.000Z (1m)")
                && wide.contains("00000000000000028a1f00000000beef")
                && wide.contains("a-very-long-name@a-very-long-host")
        );
        assert!(wide.contains("as job 5e5bd3d2f3a14b1b9a3dbf1b47a3c0de "), "{wide}");
    }
}
