//! Asking the service, or sending a write again, because a person wants it now.

use http::StatusCode;
use mainstay_policies::operation::{Operation, State};

use super::{
    act::{Act, conflict},
    documents,
    operators::OperatorRequest,
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
    if before.state == State::Unknown {
        act.begins(&standing(&before)).await?;
    }
    match asked.cx.resolver.query_now(id).await {
        Ok(answer) => finish(asked, &act, &before, &answer.operation, &format!("heard {}", answer.heard)).await,
        Err(not_done) => Err(act.refused(Some(&standing(&before)), fault(&not_done)).await),
    }
}

/// `POST /operations/{id}:redispatch`: sends the write again, byte for byte, to a service that honours its key.
pub(super) async fn redispatch(asked: &OperatorRequest<'_>, id: &str) -> Result<Reply, Fault> {
    let id = id.parse().map_err(|_| Fault::absent(NO_OPERATION))?;
    let act = Act::on(asked, "redispatch", id, &[])?;
    let before = act.operation(id, &asked.parts.headers).await?;
    act.begins(&standing(&before)).await?;
    match asked.cx.resolver.redispatch_now(id).await {
        Ok(operation) => finish(asked, &act, &before, &operation, "sent").await,
        Err(not_done) => Err(act.refused(Some(&standing(&before)), fault(&not_done)).await),
    }
}

async fn finish(
    asked: &OperatorRequest<'_>,
    act: &Act<'_>,
    before: &Operation,
    after: &Operation,
    result: &str,
) -> Result<Reply, Fault> {
    act.came_to(Some(&standing(before)), Some(&standing(after)), result).await?;
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
