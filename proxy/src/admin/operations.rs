//! Reading operations, whosever they are.

use std::time::Duration;

use http::header;
use mainstay_policies::operation::{
    Operation,
    ledger::{Filter, Ledger},
    step::may_be_resolved,
};
use serde_json::{Value, json};

use super::{audit, operators::OperatorRequest};
use crate::{
    api::{
        Fault, document,
        listing::{self, NO_OPERATION, Page, etag},
        query::{Params, is_none_match},
        reply::Reply,
    },
    config::parse_duration,
};

/// Entries of the audit trail in the document of one operation.
const TRAIL: usize = 50;

/// `GET /operations`
pub(super) async fn list(asked: &OperatorRequest<'_>) -> Result<Reply, Fault> {
    let known = ["state", "route", "upstream", "older", "attention", "limit", "cursor"];
    let params = Params::read(asked.parts.uri.query(), &known)?;
    let page = Page::read(&params, asked.cx.runtime.resources.ledger.fingerprint_secret().ok_or_else(Fault::ledger)?)?;
    let filter = Filter {
        state: listing::state(&params)?,
        route: params.of("route").map(str::to_owned),
        upstream: params.of("upstream").map(str::to_owned),
        created_before: created_before(&params, asked.cx.runtime.resources.clock.now())?,
        attention: attention(&params)?,
        ..Filter::default()
    };
    // One more than asked for tells whether there is a next page.
    let found = asked.cx.runtime.resources.ledger.list(filter, page.after, page.limit + 1).await;
    let mut found = found.map_err(|_| Fault::ledger())?;
    let next = page.cut(&mut found);
    let operations: Vec<Value> = found.iter().map(of_operation).collect();
    Ok(Reply::json(&json!({ "operations": operations, "next_cursor": next })).no_store())
}

fn created_before(params: &Params<'_>, now: u64) -> Result<Option<u64>, Fault> {
    let Some(older) = params.of("older") else { return Ok(None) };
    let older: Duration =
        parse_duration(older).map_err(|_| Fault::bad("The parameter older is a duration: 30s, 10m, 24h, 7d."))?;
    Ok(Some(now.saturating_sub(u64::try_from(older.as_millis()).unwrap_or(u64::MAX))))
}

fn attention(params: &Params<'_>) -> Result<Option<bool>, Fault> {
    match params.of("attention") {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(Fault::bad("The parameter attention is true or false.")),
    }
}

/// `GET /operations/{id}`
pub(super) async fn show(asked: &OperatorRequest<'_>, id: &str) -> Result<Reply, Fault> {
    Params::read(asked.parts.uri.query(), &[])?;
    let id = id.parse().map_err(|_| Fault::absent(NO_OPERATION))?;
    let ledger = &asked.cx.runtime.resources.ledger;
    let operation = ledger.read(id).await.map_err(|_| Fault::ledger())?;
    let operation = operation.ok_or_else(|| Fault::absent(NO_OPERATION))?;
    let tag = etag(&operation);
    if is_none_match(&asked.parts.headers, &tag) {
        return Ok(Reply::not_modified().private().with(header::ETAG, tag));
    }
    let mut document = whole(ledger.as_ref(), &operation).await?;
    let offers = asked.cx.resolver.offers(&operation);
    document["can_be_queried"] = offers.query.into();
    document["can_be_redispatched"] = offers.redispatch.into();
    Ok(Reply::json(&document).private().with(header::ETAG, tag))
}

/// The document of one operation with its audit trail, the oldest entry first.
pub(super) async fn whole(ledger: &dyn Ledger, operation: &Operation) -> Result<Value, Fault> {
    let trail = ledger.audit(Some(operation.id), None, TRAIL).await.map_err(|_| Fault::ledger())?;
    let mut document = of_operation(operation);
    if operation.attention.is_some_and(|flag| flag.heard.is_some()) {
        // Under a key that was free meanwhile the write may have been done once more.
        let latest = ledger.find(operation.key_hash).await.map_err(|_| Fault::ledger())?;
        let later: Vec<String> =
            latest.filter(|latest| latest.id.seq > operation.id.seq).iter().map(|later| later.id.to_string()).collect();
        document["attention"]["later"] = later.into();
    }
    document["audit"] = trail.iter().rev().map(audit::of_entry).collect();
    Ok(document)
}

/// What callers see, and what only operators do.
fn of_operation(operation: &Operation) -> Value {
    let mut document = document::of_operation(operation);
    document["upstream"] = (*operation.upstream).into();
    document["principal_hash"] = hex(&operation.principal).into();
    document["owner"] = uuid::Uuid::from_u128(operation.owner.0).to_string().into();
    document["epoch"] = operation.epoch.into();
    document["revision"] = operation.revision.into();
    document["checks"] = operation.checks.into();
    document["can_be_resolved"] = may_be_resolved(operation).is_ok().into();
    document
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
