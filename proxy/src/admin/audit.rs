//! `GET /audit`: who did what.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use mainstay_policies::operation::{OperationId, UnixMillis, audit::Audited};
use serde_json::{Value, json};

use super::{filters::ago, operators::OperatorRequest};
use crate::api::{Fault, document::time, query::Params, reply::Reply};

/// Entries in one page: by default, and at most.
const PAGE: usize = 50;
const MAX_PAGE: usize = 200;
/// Entries that are read at once, and that one request looks at, for those of one person or of one kind.
const BATCH: usize = 500;
const LOOKED_AT: usize = 5_000;

/// Which entries are wanted.
struct Wanted<'a> {
    operation: Option<OperationId>,
    actor: Option<&'a str>,
    action: Option<&'a str>,
    since: Option<UnixMillis>,
}

/// What was found, and where the next page begins.
struct Page {
    entries: Vec<Audited>,
    next: Option<u64>,
}

pub(super) async fn list(asked: &OperatorRequest<'_>) -> Result<Reply, Fault> {
    let query = asked.parts.uri.query();
    let params = Params::read(query, &["operation", "actor", "action", "newer", "limit", "cursor"])?;
    let limit = params.number("limit", PAGE, MAX_PAGE)?;
    let of = params.of("operation").map(|id| id.parse().map_err(|_| Fault::bad("The parameter operation is an id.")));
    let before = params.of("cursor").map(|cursor| read_cursor(cursor).ok_or_else(bad_cursor)).transpose()?;
    let wanted = Wanted {
        operation: of.transpose()?,
        actor: params.of("actor"),
        action: params.of("action"),
        since: ago(&params, "newer", asked.cx.runtime.resources.clock.now())?,
    };
    let Page { entries, next } = find(asked, &wanted, before, limit).await?;
    let next = next.map(|number| URL_SAFE_NO_PAD.encode(number.to_be_bytes()));
    let entries: Vec<Value> = entries.iter().map(of_entry).collect();
    Ok(Reply::json(&json!({ "entries": entries, "next_cursor": next })).no_store())
}

/// Reads from the latest on until there are enough, or enough was looked at: the next page goes on from there.
async fn find(
    asked: &OperatorRequest<'_>,
    wanted: &Wanted<'_>,
    mut before: Option<u64>,
    limit: usize,
) -> Result<Page, Fault> {
    let (mut entries, mut looked_at) = (Vec::new(), 0);
    // One more than asked for tells whether there is a next page.
    let batch = if wanted.is_of_all() { limit + 1 } else { BATCH };
    while looked_at < LOOKED_AT {
        let ledger = &asked.cx.runtime.resources.ledger;
        let read = ledger.audit(wanted.operation, before, batch).await.map_err(|_| Fault::ledger())?;
        let is_last = read.len() < batch;
        looked_at += read.len();
        for audited in read {
            if wanted.since.is_some_and(|since| audited.entry.at < since) {
                return Ok(Page { entries, next: None });
            }
            if !wanted.takes(&audited) {
                before = Some(audited.number);
                continue;
            }
            if entries.len() == limit {
                return Ok(Page { entries, next: before });
            }
            before = Some(audited.number);
            entries.push(audited);
        }
        if is_last {
            return Ok(Page { entries, next: None });
        }
    }
    Ok(Page { entries, next: before })
}

impl Wanted<'_> {
    /// Whether the ledger finds them by itself.
    const fn is_of_all(&self) -> bool {
        self.actor.is_none() && self.action.is_none()
    }

    fn takes(&self, audited: &Audited) -> bool {
        self.actor.is_none_or(|actor| audited.entry.actor == actor)
            && self.action.is_none_or(|action| audited.entry.action == action)
    }
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
