//! `GET /audit`: who did what.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use mainstay_policies::operation::audit::Audited;
use serde_json::{Value, json};

use super::operators::OperatorRequest;
use crate::api::{Fault, document::time, query::Params, reply::Reply};

/// Entries in one page: by default, and at most.
const PAGE: usize = 50;
const MAX_PAGE: usize = 200;

pub(super) async fn list(asked: &OperatorRequest<'_>) -> Result<Reply, Fault> {
    let params = Params::read(asked.parts.uri.query(), &["operation", "limit", "cursor"])?;
    let limit = params.number("limit", PAGE, MAX_PAGE)?;
    let of = params.of("operation").map(|id| id.parse().map_err(|_| Fault::bad("The parameter operation is an id.")));
    let before = params.of("cursor").map(|cursor| read_cursor(cursor).ok_or_else(bad_cursor)).transpose()?;
    // One more than asked for tells whether there is a next page.
    let found = asked.cx.runtime.resources.ledger.audit(of.transpose()?, before, limit + 1).await;
    let mut found = found.map_err(|_| Fault::ledger())?;
    let has_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| has_more).map(|last| URL_SAFE_NO_PAD.encode(last.number.to_be_bytes()));
    let entries: Vec<Value> = found.iter().map(of_entry).collect();
    Ok(Reply::json(&json!({ "entries": entries, "next_cursor": next })).no_store())
}

/// The document of one entry.
pub(super) fn of_entry(audited: &Audited) -> Value {
    let entry = &audited.entry;
    json!({
        "number": audited.number,
        "at": time(entry.at),
        "actor": entry.actor,
        "action": entry.action,
        "target": entry.target,
        "operation": entry.operation.map(|id| id.to_string()),
        "reason": entry.reason,
        "before": entry.before,
        "after": entry.after,
        "result": entry.result,
    })
}

fn read_cursor(text: &str) -> Option<u64> {
    Some(u64::from_be_bytes(URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?))
}

fn bad_cursor() -> Fault {
    Fault::bad("The parameter cursor is the next_cursor of an earlier page, unchanged.")
}
