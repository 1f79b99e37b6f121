//! What people order: ask now, dispatch now.

use std::{sync::Arc, time::Duration};

use mainstay_policies::{
    idempotency::{Protection, query::Held},
    operation::{KeptRequest, Operation, OperationId, State, ledger::LedgerError},
};
use tokio::sync::oneshot;

use super::work::Work;
use crate::{
    operation::redispatch::{NotSent, Redispatch},
    runtime::Runtime,
};

/// Orders to the resolver; cheap to make.
#[derive(Clone)]
pub(crate) struct Resolver {
    runtime: Arc<Runtime>,
}

/// What a status query brought.
#[derive(Debug)]
pub(crate) struct QueryReport {
    /// The operation as it stands since.
    pub(crate) operation: Operation,
    /// `succeeded`, `failed`, `not_executed`, `ongoing`, `ambiguous`, `not_found` or `no_evidence`.
    pub(crate) heard: &'static str,
}

/// Why it was not done. Nothing was sent.
#[derive(Debug)]
pub(crate) enum NotDone {
    /// No such operation.
    Absent,
    /// It is settled.
    Settled(Box<Operation>),
    /// It cannot be done as things are configured, or with what is kept; in words for people.
    Impossible(&'static str),
    /// Not at the moment; in words for people.
    Busy(&'static str),
    /// The ledger did not take it.
    Ledger(LedgerError),
}

impl From<LedgerError> for NotDone {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

/// What a person may have done about an operation, as things are configured.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Offers {
    /// The service can be asked.
    pub(crate) query: bool,
    /// The write can be sent again.
    pub(crate) redispatch: bool,
}

impl Resolver {
    pub(crate) const fn new(runtime: Arc<Runtime>) -> Self {
        Self { runtime }
    }

    /// Asks the status endpoint about an unknown operation, flagged or not, within the upstream's rate: for its turn it is waited
    /// no longer than `turn_within`.
    ///
    /// # Errors
    /// Why it was not asked.
    pub(crate) async fn query_now(&self, id: OperationId, turn_within: Duration) -> Result<QueryReport, NotDone> {
        let (work, operation) = self.work(id).await?;
        let rate = query_rate(&work.protection, &operation);
        let rate = rate.ok_or(NotDone::Impossible("Its route has no status endpoint, or had none when it began."))?;
        let permit = match self.runtime.resources.gate.enter(id, &operation.upstream, rate, turn_within) {
            Ok(permit) => permit,
            Err(Held::InFlight) => return Err(NotDone::Busy("It is being asked about at this moment.")),
            Err(Held::Rate) => return Err(NotDone::Busy("The service is asked as often as `status.rate` allows.")),
        };
        permit.turn().await;
        let (heard, applied) = work.ask(operation).await?;
        Ok(QueryReport { operation: applied.operation, heard: heard.label() })
    }

    /// Dispatches an unknown operation again, beyond `redispatch.attempts` if need be; returns it as it stands when the
    /// attempt has ended.
    ///
    /// # Errors
    /// Why nothing was sent.
    pub(crate) async fn redispatch_now(&self, id: OperationId) -> Result<Operation, NotDone> {
        let (work, operation) = self.work(id).await?;
        if !work.protection.honours_key() {
            return Err(NotDone::Impossible(
                "Its upstream is not declared `honours_key: true`: it might execute the write twice.",
            ));
        }
        let request = match operation.request {
            KeptRequest::Kept => match self.runtime.resources.ledger.request(id).await {
                Err(LedgerError::Unreadable) => {
                    return Err(NotDone::Impossible("What is kept of its request is damaged."));
                }
                read => read?,
            },
            KeptRequest::None | KeptRequest::Given(_) => None,
        };
        let request = request.ok_or(NotDone::Impossible("Its request is not kept: its policy had no `redispatch`."))?;
        let Work { runtime, route, protection, .. } = work;
        let (told, outcome) = oneshot::channel();
        let redispatch = Redispatch { runtime, route, protection, operation, request };
        // Ends by its timeouts: whoever ordered it may leave.
        let running = tokio::spawn(redispatch.run(Some(told)));
        if outcome.await.is_err() {
            match running.await {
                Ok(Err(NotSent::InFlight)) => return Err(NotDone::Busy("An attempt of it is in flight.")),
                Ok(Err(NotSent::TooSoon(_))) => {
                    return Err(NotDone::Busy(
                        "Another replica had it until now and may have been about to send it: order it again when its route's \
                         `timeout.total` has passed.",
                    ));
                }
                Ok(Err(NotSent::Refused(_))) => {
                    return Err(NotDone::Busy("The circuit breaker before its upstream is open."));
                }
                Ok(Err(NotSent::Unreadable)) => return Err(NotDone::Impossible("What is kept is no request.")),
                Ok(Err(NotSent::Ledger(LedgerError::Stale(now)))) if now.state.is_terminal() => {
                    return Err(NotDone::Settled(now));
                }
                Ok(Err(NotSent::Ledger(error))) => return Err(NotDone::Ledger(error)),
                Ok(Ok(())) | Err(_) => {}
            }
        }
        self.runtime.resources.ledger.read(id).await?.ok_or(NotDone::Absent)
    }

    /// Whether the service could be asked about an operation if a person wanted it, and whether it could be dispatched again.
    pub(crate) fn offers(&self, operation: &Operation) -> Offers {
        let snapshot = self.runtime.snapshot.load();
        let found = snapshot.route_of(operation).filter(|_| operation.state == State::Unknown);
        found.map_or(Offers::default(), |(_, protection)| Offers {
            query: query_rate(&protection, operation).is_some(),
            redispatch: protection.honours_key() && matches!(operation.request, KeptRequest::Kept),
        })
    }

    async fn work(&self, id: OperationId) -> Result<(Work, Operation), NotDone> {
        let operation = self.runtime.resources.ledger.read(id).await?.ok_or(NotDone::Absent)?;
        match operation.state {
            State::Pending => return Err(NotDone::Busy("Its attempt is in flight.")),
            State::Unknown => {}
            State::Succeeded | State::Failed | State::NotExecuted => return Err(NotDone::Settled(Box::new(operation))),
        }
        let snapshot = self.runtime.snapshot.load_full();
        let found = snapshot.route_of(&operation);
        let (route, protection) = found.ok_or(NotDone::Impossible("Its route is configured no more."))?;
        Ok((Work { runtime: self.runtime.clone(), snapshot, route, protection }, operation))
    }
}

/// How often the service may be asked about an operation, if it can be asked at all.
fn query_rate(protection: &Protection, operation: &Operation) -> Option<f64> {
    protection.query_rate().filter(|_| operation.status_target.is_some())
}
