//! Reading operations, whosever they are.

use std::collections::BTreeMap;

use http::header;
use mainstay_policies::operation::{
    Operation, UnixMillis,
    ledger::{Filter, Ledger, LedgerError},
};
use serde_json::{Map, Value, json};

use super::{
    documents::{of_operation, whole},
    filters::{self, FILTERS},
    id_prefix::IdPrefix,
    operators::OperatorRequest,
};
use crate::api::{
    Fault,
    document::time,
    listing::{NO_OPERATION, Page, etag},
    query::{Params, is_none_match},
    reply::Reply,
};

/// Operations that are counted by groups, and groups that are told apart.
const MAX_COUNTED: usize = 100_000;
const MAX_GROUPS: usize = 1000;
/// Operations that are read at once.
const STRETCH: usize = 512;
/// What operations are grouped by.
const DIMENSIONS: [&str; 5] = ["route", "reason", "state", "upstream", "policy"];

/// `GET /operations`
pub(super) async fn list(asked: &OperatorRequest<'_>) -> Result<Reply, Fault> {
    let known: Vec<&str> = FILTERS.into_iter().chain(["group_by", "limit", "cursor"]).collect();
    let params = Params::read(asked.parts.uri.query(), &known)?;
    let resources = &asked.cx.runtime.resources;
    let page = Page::read(&params, resources.ledger.fingerprint_secret().ok_or_else(Fault::ledger)?)?;
    let (filter, prefix) = filters::read(&params, resources.clock.now())?;
    if let Some(by) = params.of("group_by") {
        return groups(resources.ledger.as_ref(), filter, prefix.as_ref(), by).await;
    }
    // One more than asked for tells whether there is a next page.
    let found = matching(resources.ledger.as_ref(), &filter, prefix.as_ref(), page.after, page.limit + 1).await;
    let mut found = found.map_err(|_| Fault::ledger())?;
    let next = page.cut(&mut found);
    let operations: Vec<Value> = found.iter().map(|operation| of_operation(asked.cx, operation)).collect();
    Ok(Reply::json(&json!({ "operations": operations, "next_cursor": next })).no_store())
}

/// Operations that match, after `after`; at most `limit`.
pub(super) async fn matching(
    ledger: &dyn Ledger,
    filter: &Filter,
    prefix: Option<&IdPrefix>,
    after: Option<mainstay_policies::operation::OperationId>,
    limit: usize,
) -> Result<Vec<Operation>, LedgerError> {
    match prefix {
        Some(prefix) => prefix.list(ledger, filter, after, limit).await,
        None => ledger.list(filter.clone(), after, limit).await,
    }
}

/// How many there are of each kind, and since when.
async fn groups(ledger: &dyn Ledger, filter: Filter, prefix: Option<&IdPrefix>, by: &str) -> Result<Reply, Fault> {
    let by: Vec<&str> = by.split(',').collect();
    if let Some(unknown) = by.iter().find(|name| !DIMENSIONS.contains(name)) {
        let shown: String = unknown.chars().filter(|c| !c.is_control()).take(32).collect();
        let known = DIMENSIONS.join(", ");
        return Err(Fault::bad(format!("`{shown}` is nothing to group by; the parameter group_by takes {known}.")));
    }
    let mut groups: BTreeMap<Vec<String>, (u64, UnixMillis)> = BTreeMap::new();
    let (mut counted, mut after, mut is_complete) = (0, None, true);
    loop {
        let found = matching(ledger, &filter, prefix, after, STRETCH).await.map_err(|_| Fault::ledger())?;
        for operation in &found {
            let name: Vec<String> = by.iter().map(|dimension| dimension_of(operation, dimension)).collect();
            if groups.len() >= MAX_GROUPS && !groups.contains_key(&name) {
                is_complete = false;
                continue;
            }
            let (count, oldest) = groups.entry(name).or_insert((0, operation.created_at));
            *count += 1;
            *oldest = (*oldest).min(operation.created_at);
        }
        counted += found.len();
        match found.last() {
            Some(last) if found.len() == STRETCH && counted < MAX_COUNTED => after = Some(last.id),
            Some(_) if found.len() == STRETCH => {
                is_complete = false;
                break;
            }
            _ => break,
        }
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    let of_group = |(name, (count, oldest)): &(Vec<String>, (u64, UnixMillis))| {
        let mut group: Map<String, Value> =
            by.iter().zip(name).map(|(by, name)| ((*by).to_owned(), name.clone().into())).collect();
        group.insert("count".into(), (*count).into());
        group.insert("oldest_at".into(), time(*oldest).into());
        Value::Object(group)
    };
    let groups: Vec<Value> = groups.iter().map(of_group).collect();
    Ok(Reply::json(&json!({ "groups": groups, "complete": is_complete })).no_store())
}

fn dimension_of(operation: &Operation, dimension: &str) -> String {
    let text = match dimension {
        "route" => &*operation.route,
        "reason" => operation.attention.map_or(&*operation.reason, |flag| flag.reason.label()),
        "state" => operation.state.label(),
        "upstream" => &*operation.upstream,
        _ => &*operation.provenance.policy,
    };
    text.to_owned()
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
