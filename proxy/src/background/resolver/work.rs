//! What is done about one operation whose turn has come.

use std::{sync::Arc, time::Duration};

use mainstay_policies::{
    idempotency::{
        Applied, Protection,
        query::{Heard, QueryPermit},
    },
    operation::{
        Operation, OperationId, State,
        ledger::LedgerError,
        step::{Action, Event},
    },
};

use crate::{
    faults::{self, Pitfall},
    operation::{
        asker::StatusAsker,
        redispatch::{NotSent, Redispatch},
    },
    respond::failure::Failure,
    runtime::{Runtime, route::Route, snapshot::Snapshot},
};

/// How long an operation is left alone whose attempt is still in flight, or which could not be sent.
const PAUSE: Duration = Duration::from_secs(1);

/// One operation and what is needed to work on it.
pub(super) struct Work {
    pub(super) runtime: Arc<Runtime>,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) route: Arc<Route>,
    pub(super) protection: Arc<Protection>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// What the status endpoint said, if it was asked.
    pub(super) heard: Option<Heard>,
}

impl Work {
    /// Does what is due.
    ///
    /// # Errors
    /// The ledger did not take it.
    pub(super) async fn run(&self, id: OperationId, permit: QueryPermit) -> Result<Done, LedgerError> {
        faults::stumble(Pitfall::Work);
        let Some(operation) = self.runtime.resources.ledger.read(id).await? else { return Ok(Done::default()) };
        let due = self.protection.apply(operation, &Event::Due).await?;
        if due.asks_for(Action::Dispatch) {
            drop(permit);
            self.dispatch(due.operation).await?;
            return Ok(Done::default());
        }
        if !due.asks_for(Action::Ask) {
            return Ok(Done::default());
        }
        let (heard, applied) = self.ask(due.operation).await?;
        drop(permit);
        if applied.asks_for(Action::Dispatch) {
            self.dispatch(applied.operation).await?;
        }
        Ok(Done { heard: Some(heard) })
    }

    /// Asks the status endpoint.
    pub(super) async fn ask(&self, operation: Operation) -> Result<(Heard, Applied), LedgerError> {
        let resources = &self.runtime.resources;
        let asker = StatusAsker::new(self.runtime.clone(), self.snapshot.clone(), resources.background());
        let asker = asker.about(operation.origin);
        let before = operation.state;
        let upstream = operation.upstream.clone();
        let (heard, applied) = match self.protection.ask(operation.clone(), &asker).await? {
            Some(answered) => answered,
            None => (Heard::default(), self.protection.apply(operation, &unheard()).await?),
        };
        resources.metrics.resolver().queried(&upstream, heard.label());
        let now = &applied.operation;
        if now.state != before {
            tracing::debug!(operation = %now.id, state = now.state.label(), "settled by a status query");
        }
        Ok((heard, applied))
    }

    /// Dispatches the request again, if nothing of the operation is in flight.
    async fn dispatch(&self, operation: Operation) -> Result<(), LedgerError> {
        let (id, upstream) = (operation.id, operation.upstream.clone());
        let resources = &self.runtime.resources;
        let asks = self.protection.query_rate().is_some() && operation.status_target.is_some();
        let request = match resources.ledger.request(id).await {
            Ok(Some(request)) => request,
            Ok(None) | Err(LedgerError::Unreadable) => return self.miss_request(operation).await,
            Err(error) => return Err(error),
        };
        let redispatch = Redispatch {
            runtime: self.runtime.clone(),
            route: self.route.clone(),
            protection: self.protection.clone(),
            operation,
            request,
        };
        let wait = match redispatch.run(None).await {
            Ok(()) => {
                let state = resources.ledger.read(id).await?.map_or(State::Unknown, |operation| operation.state);
                resources.metrics.resolver().redispatched(&upstream, state.label());
                return Ok(());
            }
            Err(NotSent::Ledger(error)) => {
                tracing::debug!(%error, operation = %id, "a write was not dispatched again");
                return Ok(());
            }
            Err(NotSent::Unreadable) => {
                let Some(operation) = resources.ledger.read(id).await? else { return Ok(()) };
                return self.miss_request(operation).await;
            }
            Err(NotSent::Refused(Failure::CircuitOpen { retry_after })) => retry_after.max(PAUSE),
            Err(NotSent::TooSoon(wait)) => wait.max(PAUSE),
            Err(NotSent::InFlight | NotSent::Refused(_)) => PAUSE,
        };
        resources.metrics.resolver().redispatched(&upstream, "not_sent");
        // Where the status endpoint is asked, it has its own due time already.
        if !asks && let Some(operation) = resources.ledger.read(id).await? {
            let until = resources.clock.now().saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
            self.protection.apply(operation, &Event::PutOff { until }).await?;
        }
        Ok(())
    }

    /// What was kept for another dispatch is not there, or no request. If the operation is open still, the record says so.
    async fn miss_request(&self, operation: Operation) -> Result<(), LedgerError> {
        let id = operation.id;
        let applied = self.protection.apply(operation, &Event::Unreadable).await?;
        if applied.operation.state == State::Unknown {
            tracing::error!(operation = %id, "the request that was kept cannot be read: it is not dispatched again");
        }
        Ok(())
    }
}

/// A question that could not be asked was not answered.
const fn unheard() -> Event {
    Event::Queried { verdict: None, too_early: false, http_status: None, asked_at: 0, retry_after: None, answer: None }
}
