//! Reading operations, whosever they are.

use std::time::Duration;

use http::header;
use mainstay_policies::operation::ledger::Filter;
use serde_json::{Value, json};

use super::{
    documents::{of_operation, whole},
    operators::OperatorRequest,
};
use crate::{
    api::{
        Fault,
        listing::{self, NO_OPERATION, Page, etag},
        query::{Params, is_none_match},
        reply::Reply,
    },
    config::parse_duration,
};

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
    let operations: Vec<Value> = found.iter().map(|operation| of_operation(asked.cx, operation)).collect();
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
    let mut document = whole(asked.cx, &operation).await?;
    let offers = asked.cx.resolver.offers(&operation);
    document["can_be_queried"] = offers.query.into();
    document["can_be_redispatched"] = offers.redispatch.into();
    Ok(Reply::json(&document).private().with(header::ETAG, tag))
}
