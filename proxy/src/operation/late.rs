//! After a timeout: the attempt is kept open for `late_response`, so that a late answer settles the operation.

use std::{future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Response, response::Parts};
use http_body::Body;
use mainstay_policies::{
    evidence::{AttemptError, Evidence},
    idempotency::{Protection, Settlement, proof::Testimony, query::GivenUpGuard, response_reason},
    operation::{
        OperationId, Source,
        ledger::LedgerError,
        step::{Event, Observation},
    },
};
use tokio::time::timeout;

use super::{gathered::Gathered, settle::told_by, write::Execution};
use crate::{
    runtime::{Runtime, route::Route},
    upstream::{InFlight, UpstreamBody},
    wire::body::{
        BoxError,
        collect::{self, Collected},
    },
};

/// An attempt whose answer has not come.
pub(super) type Sending = Pin<Box<dyn Future<Output = Result<Response<UpstreamBody>, AttemptError>> + Send>>;

/// Waits for the attempt that was not waited for any more.
pub(super) async fn wait(execution: &mut Execution, sending: Sending) {
    let Some((head, body, trailers)) = answer(&execution.protection, execution.head.is_grpc(), sending).await else {
        return;
    };
    execution.forget_named(&head);
    let settlement =
        testimony(execution.head.is_grpc(), &head, trailers.as_ref()).settlement(&execution.protection, body);
    // A ledger that does not take it has said so in the log; the operation stays unknown.
    execution.settle(settlement, Source::LateResponse).await;
}

/// A late answer as a witness.
const fn testimony<'a>(to_grpc: bool, head: &'a Parts, trailers: Option<&'a HeaderMap>) -> Testimony<'a> {
    Testimony { to_grpc, status: head.status, headers: &head.headers, trailers }
}

/// Waits for the rest of an answer whose head came in time.
pub(super) async fn rest<B>(execution: &mut Execution, head: &Parts, mut gathered: Gathered<B>)
where
    B: Body<Data = Bytes, Error = BoxError> + Unpin,
{
    let whole = timeout(execution.protection.params().late_response, gathered.gather()).await;
    if !matches!(whole, Ok(Ok(()))) || !gathered.is_whole {
        return;
    }
    let (body, trailers) = (gathered.joined(), gathered.trailers.take());
    let body = trailers.is_none().then_some(body);
    let settlement =
        testimony(execution.head.is_grpc(), head, trailers.as_ref()).settlement(&execution.protection, body);
    execution.settle(settlement, Source::LateResponse).await;
}

/// The late answer, and its body if it can be kept. Of one that cannot be passed on the status counts all the same.
async fn answer(
    protection: &Protection,
    is_grpc: bool,
    sending: Sending,
) -> Option<(Parts, Option<Bytes>, Option<HeaderMap>)> {
    let max = protection.params().max_response;
    let whole = async {
        let (head, body) = match sending.await {
            Ok(response) => response.into_parts(),
            Err(error) => return error.status.map(|status| (told_by(status, is_grpc), None, None)),
        };
        let (kept, trailers) = kept(collect::up_to(body, max)).await?;
        Some((head, kept, trailers))
    };
    timeout(protection.params().late_response, whole).await.ok()?
}

/// A body, if it can be kept, and its trailers; `None` if it broke off.
async fn kept<B>(
    collecting: impl Future<Output = Result<Collected<B>, BoxError>>,
) -> Option<(Option<Bytes>, Option<HeaderMap>)>
where
    B: Body<Data = Bytes, Error = BoxError> + Unpin,
{
    match collecting.await.ok()? {
        Collected::Whole { body, trailers } => Some((trailers.is_none().then_some(body), trailers)),
        Collected::TooLarge { rest, .. } => Some((None, collect::discard(rest).await.ok()?)),
    }
}

/// An attempt that timed out and was given up for another one. That it did the write is proof, whenever it says so; anything
/// else speaks of this attempt alone, and what settles the operation is what the others say.
pub(super) struct GivenUp {
    runtime: Arc<Runtime>,
    route: Arc<Route>,
    protection: Arc<Protection>,
    operation: OperationId,
    path: String,
    is_grpc: bool,
    _in_flight: InFlight,
    _open: GivenUpGuard,
}

impl GivenUp {
    pub(super) fn of(execution: &Execution, in_flight: InFlight) -> Self {
        Self {
            runtime: execution.runtime.clone(),
            route: execution.outbound.route.clone(),
            protection: execution.protection.clone(),
            operation: execution.claim.id(),
            path: execution.head.uri.path().to_owned(),
            is_grpc: execution.head.is_grpc(),
            _in_flight: in_flight,
            _open: execution.protection.give_up(execution.claim.id()),
        }
    }

    /// Listens for its answer.
    pub(super) async fn overhear(self, sending: Sending) {
        let Some((head, body, trailers)) = answer(&self.protection, self.is_grpc, sending).await else { return };
        let settlement = testimony(self.is_grpc, &head, trailers.as_ref()).settlement(&self.protection, body);
        let Settlement::Response { evidence: Evidence::Succeeded, status, code, retained, .. } = settlement else {
            return;
        };
        let observation = Observation {
            evidence: Evidence::Succeeded,
            source: Source::LateResponse,
            reason: response_reason(status, code),
            status: Some(status),
            retained,
        };
        if let Err(error) = self.record(&Event::Observed(observation)).await {
            tracing::error!(%error, operation = %self.operation, "the outcome of a write could not be recorded");
        }
    }

    async fn record(&self, event: &Event) -> Result<(), LedgerError> {
        let Some(before) = self.runtime.resources.ledger.read(self.operation).await? else { return Ok(()) };
        let was_open = !before.state.is_terminal();
        self.protection.apply(before, event).await?;
        if was_open {
            self.runtime.snapshot.load().forget(&self.route, &self.path);
        }
        Ok(())
    }
}
