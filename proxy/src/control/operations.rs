//! Reading operations: by id, by key, as a listing.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, header};
use mainstay_policies::{
    idempotency::{Key, KeySyntax, MAX_PREFER_WAIT, preferred_wait, until_due},
    operation::{
        Operation, State,
        ledger::{Filter, LedgerError},
    },
    problem::Problem,
};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::{CallerRequest, NO_OPERATION_WITH_KEY, Reader, html, passthrough};
use crate::api::{
    Fault, document,
    listing::{self, NO_OPERATION, Page, etag},
    query::{Params, is_none_match},
    reply::Reply,
};
use crate::config::model::List;

/// `GET operations/{id}`
pub(super) async fn read(asked: &CallerRequest<'_>, id: &str) -> Result<Reply, Fault> {
    Params::read(asked.parts.uri.query(), &[])?;
    let operation = by_id(asked, id).await?;
    show(asked, operation).await
}

/// The operation of that name, if it is the caller's principal's.
pub(super) async fn by_id(asked: &CallerRequest<'_>, id: &str) -> Result<Operation, Fault> {
    let id = id.parse().map_err(|_| Fault::absent(NO_OPERATION))?;
    let operation = asked.cx.ledger.read(id).await.map_err(|_| Fault::ledger())?;
    let operation = operation.filter(|operation| asked.owns(operation));
    operation.ok_or_else(|| Fault::absent(NO_OPERATION))
}

/// `GET operations?key=` and `GET operations?state=`
pub(super) async fn find_or_list(asked: &CallerRequest<'_>) -> Result<Reply, Fault> {
    let query = asked.parts.uri.query();
    let is_lookup = query.is_some_and(|query| query.split('&').any(|pair| pair == "key" || pair.starts_with("key=")));
    if !is_lookup {
        return list(asked, &Params::read(query, &["state", "cursor", "limit"])?).await;
    }
    let params = Params::read(query, &["key", "upstream", "path"])?;
    let key = key_of(params.of("key").unwrap_or_default())
        .map_err(|error| Fault::new(Problem::KeyInvalid, error.to_string()))?;
    match find(asked, &key, params.of("upstream")).await? {
        Found::One(operation) => show(asked, *operation).await,
        Found::Several => Err(Fault::new(
            Problem::KeyAmbiguous,
            "More than one operation has this key: name its upstream with &upstream=NAME, or read it by its id.",
        )),
        Found::Hidden => Err(Fault::absent(NO_OPERATION_WITH_KEY)),
        Found::None => match params.of("path") {
            Some(path) => passthrough::ask(asked, &key, path, params.of("upstream")).await,
            None => Err(Fault::absent(NO_OPERATION_WITH_KEY)),
        },
    }
}

/// What is known under a key.
pub(super) enum Found {
    None,
    /// Only an operation that is bound to other credentials than the caller's.
    Hidden,
    One(Box<Operation>),
    Several,
}

/// Looks a key up under every upstream, or under the named one. An upstream that was taken out of the configuration is
/// still found by its name.
pub(super) async fn find(asked: &CallerRequest<'_>, key: &Key, upstream: Option<&str>) -> Result<Found, Fault> {
    let configured = asked.cx.config.upstreams.iter().map(|upstream| Arc::clone(&upstream.name));
    let upstreams = upstream.map_or_else(|| configured.collect(), |name| vec![Arc::from(name)]);
    let credentials = asked.credentials();
    let (mut found, mut is_hidden) = (None, false);
    let principals: Vec<_> = asked.principals().collect();
    for upstream in upstreams {
        // Where the proxy makes the keys, a caller may know one by its template.
        let derived = Key::derived(key.as_str()).ok();
        let keys = || std::iter::once(key).chain(&derived);
        let hashes: Vec<_> =
            principals.iter().flat_map(|principal| keys().map(|key| key.hash(*principal, &upstream))).collect();
        for hash in hashes {
            let Some(operation) = asked.cx.ledger.find(hash).await.map_err(|_| Fault::ledger())? else { continue };
            if !operation.is_open_to(credentials) {
                is_hidden = true;
            } else if found.replace(operation).is_some() {
                return Ok(Found::Several);
            }
        }
    }
    Ok(match found {
        Some(operation) => Found::One(Box::new(operation)),
        None if is_hidden => Found::Hidden,
        None => Found::None,
    })
}

/// A key as callers write it: quoted as in the header, or the bare characters.
pub(super) fn key_of(text: &str) -> Result<Key, mainstay_policies::idempotency::KeyError> {
    if text.starts_with('"')
        && let Ok(key) = Key::parse(text.as_bytes(), KeySyntax::Strict)
    {
        return Ok(key);
    }
    Key::from_text(text)
}

/// One operation, once the caller's wait is over.
async fn show(asked: &CallerRequest<'_>, operation: Operation) -> Result<Reply, Fault> {
    let headers = &asked.parts.headers;
    let wait = preferred_wait(headers).map(|wait| wait.min(MAX_PREFER_WAIT));
    let operation = match wait {
        Some(wait) => wait_for_news(asked, operation, wait).await?,
        None => operation,
    };
    let successor = successor(asked, &operation).await?;
    if html::is_wanted(asked) {
        let now = asked.cx.clock.now();
        let page = match &successor {
            Some(later) if later.is_open_to(asked.credentials()) => html::operation(later, now),
            Some(_) => html::superseded(&operation),
            None => html::operation(&operation, now),
        };
        return Ok(page.private());
    }
    let etag = match &successor {
        Some(later) => format!("{}-{}\"", etag(&operation).trim_end_matches('"'), later.id),
        None => etag(&operation),
    };
    let mut reply = if is_none_match(headers, &etag) {
        Reply::not_modified()
    } else {
        Reply::json(&told(asked, &operation, successor.as_ref()))
    };
    if !operation.state.is_terminal() {
        let seconds = until_due(&operation, asked.cx.clock.now()).as_millis().div_ceil(1000);
        reply = reply.with(header::RETRY_AFTER, seconds.to_string());
    }
    if let Some(wait) = wait {
        let applied = HeaderName::from_static("preference-applied");
        reply = reply.with(applied, format!("wait={}", wait.as_secs()));
    }
    Ok(reply.private().with(header::VARY, "accept").with(header::ETAG, etag))
}

/// The operation that was begun under the key of one that was not executed, and so had left it free.
async fn successor(asked: &CallerRequest<'_>, operation: &Operation) -> Result<Option<Operation>, Fault> {
    if operation.state != State::NotExecuted {
        return Ok(None);
    }
    let found = asked.cx.ledger.find(operation.key_hash).await.map_err(|_| Fault::ledger())?;
    // Numbers of replicas do not tell which was first; but what holds the key came after whatever left it free.
    let is_later = |found: &Operation| found.state != State::NotExecuted || found.id.seq > operation.id.seq;
    Ok(found.filter(|found| found.id != operation.id && is_later(found)))
}

/// The document of an operation. The address of its successor is told to whoever may find that by its key: a freed key may have
/// been taken by a caller with other credentials.
fn told(asked: &CallerRequest<'_>, operation: &Operation, successor: Option<&Operation>) -> Value {
    let mut document = document::of_operation(operation);
    if let Some(later) = successor {
        let is_open = later.is_open_to(asked.credentials());
        document::supersede(&mut document, is_open.then(|| format!("{}/operations/{}", asked.links(), later.id)));
    }
    document
}

/// Waits until the operation is settled or, for a caller that has seen a state of it, until it is in another one.
async fn wait_for_news(
    asked: &CallerRequest<'_>,
    mut operation: Operation,
    wait: Duration,
) -> Result<Operation, Fault> {
    let deadline = Instant::now() + wait;
    let headers = &asked.parts.headers;
    let has_seen = headers.contains_key(header::IF_NONE_MATCH);
    while !operation.state.is_terminal() && (!has_seen || is_none_match(headers, &etag(&operation))) {
        let changed = asked.cx.ledger.changed(operation.id, operation.revision);
        match timeout_at(deadline, changed).await {
            Ok(Ok(current)) => operation = current,
            Ok(Err(LedgerError::Absent)) => return Err(Fault::absent(NO_OPERATION)),
            Ok(Err(_)) => return Err(Fault::ledger()),
            Err(_) => break,
        }
    }
    Ok(operation)
}

/// A listing tells more than whoever knows a key knows, so it is for those who are named.
fn may_list(asked: &CallerRequest<'_>) -> Result<(), Fault> {
    if asked.cx.config.control.list == List::Off {
        return Err(Fault::new(Problem::Forbidden, "Operations are not listed here: ask by key, ?key=..."));
    }
    match asked.reader {
        Reader::Anonymous => {
            let detail = "This listener does not know who is calling, so it lists nothing: ask by key, ?key=...";
            Err(Fault::new(Problem::Forbidden, detail))
        }
        Reader::Principal(Some(principal)) if !principal.is_empty() => Ok(()),
        Reader::Principal(_) => {
            let detail = "Operations are listed for an identified caller only, and this request names none.";
            Err(Fault::new(Problem::PrincipalMissing, detail))
        }
    }
}

async fn list(asked: &CallerRequest<'_>, params: &Params<'_>) -> Result<Reply, Fault> {
    let page = Page::read(params, asked.cx.ledger.fingerprint_secret().ok_or_else(Fault::ledger)?)?;
    let filter = Filter { principal: Some(asked.principal_hash), state: listing::state(params)?, ..Filter::default() };
    may_list(asked)?;
    // One more than asked for tells whether there is a next page.
    let found = asked.cx.ledger.list(filter, page.after, page.limit + 1).await;
    let mut found = found.map_err(|_| Fault::ledger())?;
    let next = page.cut(&mut found);
    let mut operations = Vec::with_capacity(found.len());
    for operation in &found {
        operations.push(told(asked, operation, successor(asked, operation).await?.as_ref()));
    }
    Ok(Reply::json(&json!({ "operations": operations, "next_cursor": next })).private())
}
