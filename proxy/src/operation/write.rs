//! A keyed write that is under way, and how its end is recorded and told.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{Response, StatusCode, response::Parts};
use mainstay_policies::{
    idempotency::{Claim, Protection, Settlement, Standing, WriteOutcome},
    operation::{OperationId, Source, State},
};
use tokio::sync::oneshot;

use crate::{
    attempts::{attempt::Outbound, head::Head, run::Tally},
    faults::{self, Point},
    respond::failure::Failure,
    runtime::Runtime,
    wire::body::{ProxyBody, budget::Held},
};

/// One keyed write on its way.
pub(crate) struct Execution {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) outbound: Outbound,
    pub(crate) protection: Arc<Protection>,
    pub(crate) claim: Claim,
    pub(crate) head: Head,
    pub(crate) body: Bytes,
    /// Ordered by the resolver or a person: nobody waits for the answer.
    pub(crate) is_redispatch: bool,
    /// The upstream's own 5xx to an attempt that was given up for another one.
    pub(crate) given_up: Option<(Parts, Bytes)>,
    /// What became of the last attempt.
    pub(crate) last: Tally,
    /// How it ended, once that is recorded: for who speaks of it after its answer has begun.
    pub(crate) ended: Arc<OnceLock<Standing>>,
    /// Taken by the answer.
    pub(crate) answer: Option<oneshot::Sender<Executed>>,
    /// Room for its body and its answer; none where nobody waits.
    pub(crate) held: Option<Arc<Held>>,
}

/// What the client is told.
pub(crate) struct Executed {
    pub(crate) outcome: Result<Response<ProxyBody>, Failure>,
    pub(crate) attempts: u32,
    /// What became of the last of them.
    pub(crate) last: Tally,
    pub(crate) operation: OperationId,
    pub(crate) state: State,
    /// When its answer began.
    pub(crate) standing: Standing,
    /// As in [`Execution`].
    pub(crate) ended: Arc<OnceLock<Standing>>,
}

impl Executed {
    /// The task ended without an answer; its claim has put the operation in doubt.
    pub(crate) fn lost(operation: OperationId) -> Self {
        let failure = Failure::OutcomeUnknown { status: StatusCode::BAD_GATEWAY, operation };
        Self {
            outcome: Err(failure),
            attempts: 1,
            last: Tally::default(),
            operation,
            state: State::Unknown,
            standing: Standing::LOST,
            ended: Arc::default(),
        }
    }
}

impl Execution {
    /// Nobody knows. `upstream_status` is the upstream's, where there was one; `status` is what the caller gets.
    pub(super) async fn in_doubt(
        &mut self,
        reason: &'static str,
        upstream_status: Option<StatusCode>,
        status: StatusCode,
        attempts: u32,
    ) {
        // Recorded or not, it is unknown: a restart takes a pending operation for one.
        self.settle(Settlement::Ambiguous { reason, status: upstream_status, stored: None }, Source::Response).await;
        let outcome = self.outcome_unknown(status);
        self.tell(Err(outcome), attempts);
    }

    /// Records how the execution ended; the state that the operation has then. `None`: the ledger did not take it, the key is
    /// not freed, and the log says so.
    pub(super) async fn settle(&mut self, what: Settlement, source: Source) -> Option<State> {
        let id = self.claim.id();
        let source = if self.is_redispatch { Source::Redispatch } else { source };
        faults::reach(Point::BeforeSettle);
        let settled = self.claim.settle(what, source).await;
        // A write that could not be recorded may have happened, too.
        if !matches!(settled, Ok(operation) if matches!(operation.state, State::Failed | State::NotExecuted)) {
            self.runtime.snapshot.load().forget(&self.outbound.route, self.head.uri.path());
        }
        match settled {
            Ok(operation) => {
                faults::reach(Point::AfterSettle);
                let _ = self.ended.set(Standing::of(operation, self.protection.now()));
                Some(operation.state)
            }
            Err(error) => {
                tracing::error!(%error, operation = %id, "the outcome of a write could not be recorded");
                None
            }
        }
    }

    /// No cache may answer with what was before a write at the places that its answer names.
    pub(super) fn forget_named(&self, answer: &Parts) {
        if !answer.status.is_client_error() {
            let (snapshot, path) = (self.runtime.snapshot.load(), self.head.uri.path());
            snapshot.forget_named(&self.outbound.route, &self.head.headers, path, &answer.headers);
        }
    }

    pub(super) fn outcome_unknown(&self, status: StatusCode) -> Failure {
        Failure::OutcomeUnknown { status, operation: self.claim.id() }
    }

    /// Answers the client, if it is still there.
    pub(super) fn tell(&mut self, outcome: Result<Response<ProxyBody>, Failure>, attempts: u32) {
        let (operation, state) = (self.claim.id(), self.claim.operation().state);
        let standing = self.standing(outcome.as_ref().err());
        if let Some(answer) = self.answer.take() {
            let ended = Arc::clone(&self.ended);
            let last = self.last;
            let _ = answer.send(Executed { outcome, attempts, last, operation, state, standing, ended });
        }
    }

    /// How the write stands, beside what its client is told. What could not be recorded is in doubt, and so is what is told to
    /// be.
    fn standing(&self, told: Option<&Failure>) -> Standing {
        let standing = Standing::of(self.claim.operation(), self.protection.now());
        let is_open = matches!(standing.outcome, WriteOutcome::InProgress);
        match told {
            Some(Failure::OutcomeUnknown { .. }) if standing.outcome != WriteOutcome::Unknown => Standing::LOST,
            Some(_) if is_open => Standing::LOST,
            _ => standing,
        }
    }
}
