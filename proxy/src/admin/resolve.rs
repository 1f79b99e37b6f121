//! A person says what became of a write.
//!
//! Only what is unknown, or flagged, takes such a word. A terminal state never changes by it: who agrees with it takes the
//! flag away, who does not is refused. An attempt that is in flight will say more than a person can.

use mainstay_policies::{
    evidence::Evidence,
    operation::{
        Event, Operation, State, StepPolicy,
        ledger::LedgerError,
        step::{agrees, may_be_resolved},
    },
};

use super::{
    act::{Act, conflict, stale},
    documents,
    operators::{OperatorRequest, Operators},
};
use crate::api::{Fault, listing::NO_OPERATION, reply::Reply};

/// The reason of a settled operation, which its caller may read; the person's own words are for the audit trail.
const REASON: &str = "operator";

/// What `not_executed` means for the key.
pub(super) const KEY_IS_FREE: &str = "The key is free now: the next repeat of this request is sent to the service and \
    executes. If the first one did happen after all, it happens twice.";

/// `POST /operations/{id}:resolve`
pub(super) async fn resolve(asked: &OperatorRequest<'_>, id: &str) -> Result<Reply, Fault> {
    let id = id.parse().map_err(|_| Fault::absent(NO_OPERATION))?;
    let act = Act::on(asked, "resolve", id, &["state"])?;
    let Some((state, evidence)) = decided(act.member("state")) else {
        return Err(Fault::bad("`state` is one of succeeded, failed, not_executed."));
    };
    let operation = act.operation(id, &asked.parts.headers).await?;
    let settled = settle_as(asked.cx, &act, operation, state, evidence).await?;
    let mut document = documents::whole(asked.cx, &settled).await?;
    if settled.frees_key() {
        document["warning"] = KEY_IS_FREE.into();
    }
    let etag = crate::api::listing::etag(&settled);
    Ok(Reply::json(&document).private().with(http::header::ETAG, etag))
}

/// The same of an operation as it stands; what it is since.
pub(super) async fn settle_as(
    cx: &Operators,
    act: &Act<'_>,
    operation: Operation,
    state: State,
    evidence: Evidence,
) -> Result<Operation, Fault> {
    let before = operation.state.label();
    if let Err(detail) = may_be_resolved(&operation).and_then(|()| agrees(&operation, state)) {
        let fault = if operation.state == State::Pending { in_flight(detail) } else { conflict(detail) };
        return Err(act.refused(Some(before), fault).await);
    }
    let event = Event::Resolved { evidence, reason: REASON.into() };
    let standing_before = standing(&operation);
    let entry = |next: &Operation| act.entry(Some(&standing_before), Some(&standing(next)), "done");
    let recorder = &cx.runtime.resources.recorder;
    let settled = match recorder.apply_as(operation, &event, &StepPolicy::NONE, entry).await {
        Ok(applied) => applied.operation,
        Err(LedgerError::Stale(current)) => return Err(act.refused(Some(before), stale(&current)).await),
        Err(LedgerError::Absent) => return Err(act.refused(Some(before), Fault::absent(NO_OPERATION)).await),
        Err(
            error @ (LedgerError::Fenced
            | LedgerError::Unreadable
            | LedgerError::Full
            | LedgerError::Delayed
            | LedgerError::Unavailable(_)),
        ) => {
            return Err(unwritten(&error));
        }
    };
    act.log("done");
    Ok(settled)
}

/// The state with its flag, for the audit trail.
pub(super) fn standing(operation: &Operation) -> String {
    match operation.attention {
        Some(attention) => format!("{} ({})", operation.state.label(), attention.reason.label()),
        None => operation.state.label().into(),
    }
}

pub(super) fn decided(label: &str) -> Option<(State, Evidence)> {
    let decisions = [
        (State::Succeeded, Evidence::Succeeded),
        (State::Failed, Evidence::Failed),
        (State::NotExecuted, Evidence::NotExecuted),
    ];
    decisions.into_iter().find(|(state, _)| state.label() == label)
}

fn in_flight(detail: &str) -> Fault {
    Fault::new(mainstay_policies::problem::Problem::InProgress, detail)
}

/// Whether it is written is not known, unless the ledger had no room for it.
fn unwritten(error: &LedgerError) -> Fault {
    let mut fault = Fault::ledger();
    fault.detail = if matches!(error, LedgerError::Full) {
        format!("Nothing was recorded: {error}. Make room first.")
    } else {
        format!(
            "The ledger did not take it ({error}); nobody can settle a write until it does. Make room, or mend it, and read the \
             operation before you try again."
        )
    };
    fault
}
