//! The documents that operators read of operations: what callers see, and what only operators do.

use mainstay_policies::{
    evidence::Evidence,
    operation::{
        Operation, Source,
        history::{Entry, TOO_EARLY},
        step::{after, may_be_resolved},
    },
};
use serde_json::{Value, json};

use super::{audit, operators::Operators};
use crate::{
    api::{
        Fault,
        document::{self, time},
    },
    config::model::TRACE_ID,
};

/// Entries of the audit trail in the document of one operation.
const TRAIL: usize = 50;

/// The document of one operation with its audit trail, the oldest entry first.
pub(super) async fn whole(cx: &Operators, operation: &Operation) -> Result<Value, Fault> {
    let ledger = &cx.runtime.resources.ledger;
    let trail = ledger.audit(Some(operation.id), None, TRAIL).await.map_err(|_| Fault::ledger())?;
    let mut document = of_operation(cx, operation);
    let same_key = under_its_key(cx, operation).await?;
    if operation.attention.is_some_and(|flag| flag.heard.is_some()) {
        // Under a key that was free meanwhile the write may have been done once more.
        let later = same_key.iter().filter(|other| other.id.seq > operation.id.seq);
        document["attention"]["later"] = later.map(|later| later.id.to_string()).collect();
    }
    document["same_key"] = same_key.iter().map(of_other).collect();
    document["audit"] = trail.iter().rev().map(audit::of_entry).collect();
    Ok(document)
}

/// Others under the key of an operation, the oldest first: the latest one, and those before it as far as the service is asked about
/// them by the same words.
async fn under_its_key(cx: &Operators, operation: &Operation) -> Result<Vec<Operation>, Fault> {
    let ledger = &cx.runtime.resources.ledger;
    let mut others: Vec<Operation> =
        ledger.find(operation.key_hash).await.map_err(|_| Fault::ledger())?.into_iter().collect();
    if let Some(question) = operation.question() {
        others.extend(ledger.asked_by(question).await.map_err(|_| Fault::ledger())?);
    }
    others.retain(|other| other.key_hash == operation.key_hash && other.id != operation.id);
    others.sort_by_key(|other| other.id.seq);
    others.dedup_by_key(|other| other.id);
    Ok(others)
}

fn of_other(other: &Operation) -> Value {
    json!({
        "id": other.id.to_string(),
        "state": other.state.label(),
        "created_at": time(other.created_at),
        "needs_a_person": other.attention.is_some(),
    })
}

/// The document of one operation, as it stands in listings.
pub(super) fn of_operation(cx: &Operators, operation: &Operation) -> Value {
    let mut document = document::of_operation(operation);
    let more = json!({
        "upstream": &*operation.upstream,
        "principal_hash": hex(&operation.principal),
        "owner": uuid::Uuid::from_u128(operation.owner.0).to_string(),
        "epoch": operation.epoch,
        "revision": operation.revision,
        "checks": operation.checks,
        "redispatches": operation.redispatches,
        "can_be_resolved": may_be_resolved(operation).is_ok(),
        "can_be_revealed": cx.settings().reveal,
        "trace_id": operation.provenance.trace_id.map(|id| hex(&id)),
        "trace_url": trace_url(cx, operation),
        "policy": &*operation.provenance.policy,
        "listener": &*operation.provenance.listener,
        "method": operation.provenance.method.as_ref().map(http::Method::as_str),
        "path": path(cx, operation),
        "history": history(cx, operation),
        "history_folded": operation.history.folded(),
    });
    if let (Value::Object(document), Value::Object(more)) = (&mut document, more) {
        document.extend(more);
    }
    document
}

/// Where its trace is shown, as `telemetry.trace_url` says.
fn trace_url(cx: &Operators, operation: &Operation) -> Option<String> {
    let snapshot = cx.runtime.snapshot.load();
    let template = snapshot.config.telemetry.trace_url.as_deref()?;
    Some(template.replace(TRACE_ID, &hex(&operation.provenance.trace_id?)))
}

/// The path of its route, as configured; the route's name, where it is configured no more.
fn path(cx: &Operators, operation: &Operation) -> String {
    let snapshot = cx.runtime.snapshot.load();
    let route = snapshot.protecting(&operation.route, &operation.upstream);
    route.map_or_else(|| operation.route.to_string(), |route| route.params.matches.path.text.clone())
}

/// What has happened to it. Where its service did not know it too early for that to be believed, with when it will be.
fn history(cx: &Operators, operation: &Operation) -> Vec<Value> {
    let snapshot = cx.runtime.snapshot.load();
    let route = snapshot.protecting(&operation.route, &operation.upstream);
    let asking = route.and_then(|route| route.protection.as_ref()?.step_policy().asking);
    let told = operation.events().into_iter().map(|entry| {
        let mut event = of_event(&entry);
        if let Some(asking) = asking.filter(|asking| entry.cause == Some(TOO_EARLY) && !asking.fenced) {
            let believed_at = after(operation.sent_by(entry.at), asking.settle_after);
            event["proves_nothing_before"] = time(believed_at).into();
        }
        event
    });
    told.collect()
}

/// One event; what it has not is left out.
fn of_event(entry: &Entry) -> Value {
    let mut document = json!({ "at": time(entry.at), "event": entry.kind.label() });
    let members = [
        ("http_status", entry.http_status.map(|status| status.as_u16().into())),
        ("evidence", entry.evidence.map(|evidence| Evidence::label(evidence).into())),
        ("by", entry.by.map(|by| Source::label(by).into())),
        ("because", entry.cause.map(Value::from)),
    ];
    for (name, value) in members {
        if let Some(value) = value {
            document[name] = value;
        }
    }
    document
}

/// Lower-case digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
