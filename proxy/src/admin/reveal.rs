//! `POST /operations/{id}:reveal`: which payment it is. Only where the configuration allows it, and never without a trace of who
//! looked. What is not kept cannot be shown: of the key there is a hash, but its service may be asked by it, or its request be
//! kept for another dispatch.

use mainstay_policies::{
    idempotency::{Key, query::target},
    operation::{KeptRequest, Operation, StoredRequest},
    problem::Problem,
};
use serde_json::{Value, json};

use super::{
    act::Act,
    operators::{OperatorRequest, Operators},
};
use crate::api::{Fault, listing::NO_OPERATION, reply::Reply};

/// `POST /operations/{id}:reveal`
pub(super) async fn reveal(asked: &OperatorRequest<'_>, id: &str) -> Result<Reply, Fault> {
    let id = id.parse().map_err(|_| Fault::absent(NO_OPERATION))?;
    let act = Act::on(asked, "reveal", id, &[])?;
    if !asked.cx.settings().reveal {
        let fault = Fault::new(Problem::Forbidden, "Keys are shown only where `admin.reveal: true` is configured.");
        return Err(act.refused(None, fault).await);
    }
    let ledger = &asked.cx.runtime.resources.ledger;
    let operation = ledger.read(id).await.map_err(|_| Fault::ledger())?;
    let Some(operation) = operation else { return Err(act.refused(None, Fault::absent(NO_OPERATION)).await) };
    let request = match operation.request {
        KeptRequest::Kept => ledger.request(id).await.ok().flatten(),
        KeptRequest::None | KeptRequest::Given(_) => None,
    };
    let key = key(asked.cx, &operation, request.as_deref());
    let shown = json!({
        "id": operation.id.to_string(),
        "key": key,
        "principal": null,
        "principal_hash": super::documents::hex(&operation.principal),
        "status_request": operation.status_target.as_deref(),
        "request": request.as_deref().map(|request| json!({ "method": request.method.as_str(), "target": &*request.target })),
    });
    // Nobody looks without a trace.
    act.looked("done").await?;
    Ok(Reply::json(&shown).no_store())
}

/// The key, if it is kept anywhere.
fn key(cx: &Operators, operation: &Operation, request: Option<&StoredRequest>) -> Option<Value> {
    let snapshot = cx.runtime.snapshot.load();
    let (_, protection) = snapshot.route_of(operation)?;
    let params = protection.params();
    if let Some(sent) = request.and_then(|request| request.headers.get(&params.key.header)) {
        let key = Key::parse(sent.as_bytes(), params.key.syntax).ok()?;
        return Some(key.as_str().into());
    }
    let status = params.status.as_ref()?;
    target::key_in(&status.path, operation.status_target.as_deref()?).map(Value::from)
}
