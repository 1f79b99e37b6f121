//! `GET /config`: what is in force, and where it was written; `POST /reload`: reads the files again.

use std::time::Duration;

use http::StatusCode;
use mainstay_policies::problem::Problem;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::{act::Act, operators::OperatorRequest};
use crate::{
    api::{Fault, document::time, reply::Reply},
    config::{self, Finding, Place, watch::Outcome},
    runtime::served::{Known, Refusal},
};

/// For files to be read, checked and put in force: an address is bound, a ledger asked. Below the life of a connection.
const RELOAD_WITHIN: Duration = Duration::from_secs(45);
/// Changed settings that are named; the rest is counted.
const NAMED: usize = 100;

/// `GET /config`: as `mainstay config show`, but for where secrets are; and where it was written.
pub(super) async fn config(asked: &OperatorRequest<'_>) -> Reply {
    let runtime = &asked.cx.runtime;
    let (in_force, known) = (runtime.snapshot.load().config.clone(), runtime.served.known());
    let mut effective = config::document(&in_force);
    if let Some(Value::Array(tokens)) = effective.pointer_mut("/admin/tokens") {
        for token in tokens {
            token["file"] = "(set)".into();
        }
    }
    if let Some(token_file) = effective.pointer_mut("/admin/token_file") {
        *token_file = "(set)".into();
    }
    Reply::json(&json!({
        "file": known.file.as_ref().map(|file| file.display().to_string()),
        "hash": config::hash(&in_force),
        "loaded_at": time(runtime.resources.metrics.config_served_since()),
        "last_error": known.refusal.as_deref().map(of_refusal),
        "findings": of_findings(&known.findings),
        "effective": effective,
        "places": places(&known).await,
    }))
    .no_store()
}

fn of_refusal(refusal: &Refusal) -> Value {
    json!({ "at": time(refusal.at), "message": refusal.message, "findings": of_findings(&refusal.findings) })
}

fn of_findings(findings: &[Finding]) -> Vec<Value> {
    findings.iter().map(Finding::document).collect()
}

/// Where each setting is written, by its name; null if the files have changed since.
async fn places(known: &Known) -> Option<Value> {
    let (file, digest) = (known.file.clone()?, known.digest);
    let read = tokio::task::spawn_blocking(move || config::places(&file, digest));
    let places = read.await.ok()??;
    let places =
        places.into_iter().map(|Place { setting, file, line }| (setting, json!({ "file": file, "line": line })));
    Some(Value::Object(places.collect::<Map<_, _>>()))
}

/// `POST /reload`: does what a change of the files does, at once, and says what became of it.
pub(super) async fn reload(asked: &OperatorRequest<'_>) -> Result<Reply, Fault> {
    let act = Act::read(asked, "reload", "configuration", &[])?;
    let in_force = || asked.cx.runtime.snapshot.load().config.clone();
    let config_before = in_force();
    let before = config::hash(&config_before);
    let Some(orders) = &asked.cx.orders else {
        let fault = Fault::bad("This process was started without a file, so there is none to read again.");
        return Err(act.refused(Some(&before), fault.with(StatusCode::CONFLICT, "There is no file")).await);
    };
    let Outcome { findings, error, .. } = match timeout(RELOAD_WITHIN, orders.reload()).await {
        Ok(Some(outcome)) => outcome,
        Ok(None) => {
            let fault = Fault::bad("The process ends: it reads nothing any more.");
            return Err(act.refused(Some(&before), fault.with(StatusCode::CONFLICT, "The process ends")).await);
        }
        Err(_) => {
            let detail = "The files are being read still: see last_error and loaded_at of /config in a while.";
            return Err(act.refused(Some(&before), Fault::new(Problem::Timeout, detail)).await);
        }
    };
    // Since it was ordered: the files' own watcher may have been quicker.
    let config_after = in_force();
    let (after, changed) = (config::hash(&config_after), config::changes(&config_before, &config_after));
    let result = match &error {
        Some(_) => "refused",
        None if changed.is_empty() && before == after => "unchanged",
        None => "reloaded",
    };
    let why = error.as_deref().and_then(|error| error.lines().next()).map(|line| format!("refused: {line}"));
    act.came_to(Some(&before), Some(&after), why.as_deref().unwrap_or(result)).await?;
    Ok(Reply::json(&json!({
        "result": result,
        "changed": &changed[..changed.len().min(NAMED)],
        "changed_count": changed.len(),
        "hash": after,
        "error": error,
        "findings": of_findings(&findings),
    }))
    .no_store())
}
