//! `GET operations/{id}/result`: what is kept of the answer to a write, for whom that answer was.

use http::StatusCode;
use mainstay_policies::{
    idempotency::WriteOutcome,
    operation::{Operation, Retained},
    problem::Problem,
};

use super::{CallerRequest, operations};
use crate::api::{Fault, listing::NO_OPERATION, query::Params, reply::Reply};

/// The kept answer as a repeat gets it; or why there is none.
pub(super) async fn read(asked: &CallerRequest<'_>, id: &str) -> Result<Reply, Fault> {
    Params::read(asked.parts.uri.query(), &[])?;
    let operation = operations::by_id(asked, id).await?;
    // Whoever knows the name of an operation may read how it stands; what the service said is for its caller alone.
    if !operation.is_open_to(asked.credentials()) {
        return Err(Fault::absent(NO_OPERATION));
    }
    let is_over = operation.expires_at().is_some_and(|at| at <= asked.cx.clock.now());
    match &operation.retained {
        Retained::Stored(stored) if operation.state.is_terminal() && !is_over => {
            Ok(Reply::stored(stored, WriteOutcome::of(&operation)).private())
        }
        _ => Err(none(&operation, is_over)),
    }
}

fn none(operation: &Operation, is_over: bool) -> Fault {
    let (problem, detail) = match WriteOutcome::of(operation) {
        WriteOutcome::InProgress => (Problem::InProgress, "The write is in flight: there is no result yet."),
        WriteOutcome::Unknown => {
            (Problem::OutcomeUnknown, "It is not known whether this write happened: there is no result.")
        }
        _ if is_over => (Problem::KeyExpired, "The write was settled, and its answer is no longer kept."),
        _ => (Problem::ResponseNotRetained, "No answer of this write was kept; its operation says how it stands."),
    };
    let fault = Fault::new(problem, detail);
    Fault { status: StatusCode::CONFLICT, ..fault }
}
