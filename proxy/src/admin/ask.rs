//! Asking the service, or sending a write again, because a person wants it now.

use std::time::Duration;

use http::StatusCode;
use mainstay_policies::{idempotency::query::TURN_WITHIN, operation::Operation};

use super::{
    act::{Act, conflict},
    documents,
    operators::{OperatorRequest, Operators},
    resolve::standing,
};
use crate::{
    api::{
        Fault,
        listing::{NO_OPERATION, etag},
        reply::Reply,
    },
    background::resolver::NotDone,
};

/// `POST /operations/{id}:query`: asks the service's status endpoint, whatever the schedule says.
pub(super) async fn query(asked: &OperatorRequest<'_>, id: &str) -> Result<Reply, Fault> {
    let id = id.parse().map_err(|_| Fault::absent(NO_OPERATION))?;
    let act = Act::on(asked, "query", id, &[])?;
    let before = act.operation(id, &asked.parts.headers).await?;
    let (after, result) = query_as(asked.cx, &act, &before, TURN_WITHIN).await?;
    finish(asked, &after, &result).await
}

/// The same of an operation as it stands, waiting for its turn for at most so long; what became of it, and what was heard.
pub(super) async fn query_as(
    cx: &Operators,
    act: &Act<'_>,
    before: &Operation,
    turn_within: Duration,
) -> Result<(Operation, String), Fault> {
    // It changes nothing by itself, so its end alone is written down.
    match cx.resolver.query_now(before.id, turn_within).await {
        Ok(answer) => {
            let result = format!("heard {}", answer.heard);
            act.came_to(Some(&standing(before)), Some(&standing(&answer.operation)), &result).await?;
            Ok((answer.operation, result))
        }
        Err(not_done) => Err(act.refused(Some(&standing(before)), fault(&not_done)).await),
    }
}

/// `POST /operations/{id}:redispatch`: sends the write again, byte for byte, to a service that honours its key.
pub(super) async fn redispatch(asked: &OperatorRequest<'_>, id: &str) -> Result<Reply, Fault> {
    let id = id.parse().map_err(|_| Fault::absent(NO_OPERATION))?;
    let act = Act::on(asked, "redispatch", id, &[])?;
    let before = act.operation(id, &asked.parts.headers).await?;
    let (after, result) = redispatch_as(asked.cx, &act, &before).await?;
    finish(asked, &after, &result).await
}

/// The same of an operation as it stands.
pub(super) async fn redispatch_as(
    cx: &Operators,
    act: &Act<'_>,
    before: &Operation,
) -> Result<(Operation, String), Fault> {
    act.begins(&standing(before)).await?;
    match cx.resolver.redispatch_now(before.id).await {
        Ok(after) => {
            act.came_to(Some(&standing(before)), Some(&standing(&after)), "sent").await?;
            Ok((after, "sent".into()))
        }
        Err(not_done) => Err(act.refused(Some(&standing(before)), fault(&not_done)).await),
    }
}

async fn finish(asked: &OperatorRequest<'_>, after: &Operation, result: &str) -> Result<Reply, Fault> {
    let mut document = documents::whole(asked.cx, after).await?;
    document["result"] = result.into();
    Ok(Reply::json(&document).private().with(http::header::ETAG, etag(after)))
}

fn fault(not_done: &NotDone) -> Fault {
    match not_done {
        NotDone::Absent => Fault::absent(NO_OPERATION),
        NotDone::Settled(current) => conflict(format!("It is settled: {}.", current.state.label())),
        NotDone::Impossible(why) => conflict(*why),
        NotDone::Busy(why) => Fault::bad(*why).with(StatusCode::CONFLICT, "It is being dealt with already"),
        NotDone::Ledger(error) => {
            tracing::warn!(%error, "what an operator ordered could not be recorded");
            Fault::ledger()
        }
    }
}
