//! What a resolver does about operations of one route: nobody waits for it.

use std::sync::Arc;

use super::{Asker, Heard, QUERY_TIMEOUT, ask, target};
use crate::{
    evidence::Verdict,
    idempotency::{Claim, Protection, StatusQuery, replay},
    operation::{Applied, Event, Operation, StoredResponse, ledger::LedgerError},
};

impl Protection {
    /// Records an event about an operation of this route.
    ///
    /// # Errors
    /// As of [`Recorder::apply`](crate::operation::Recorder::apply).
    pub async fn apply(&self, operation: Operation, event: &Event) -> Result<Applied, LedgerError> {
        self.recorder.apply(operation, event, &self.policy).await
    }

    /// Asks the upstream what became of an operation, and records what it says. The caller holds the
    /// [permit](super::QueryPermit). `None` if it cannot be asked.
    ///
    /// # Errors
    /// The ledger did not take it.
    pub async fn ask(&self, operation: Operation, asker: &dyn Asker) -> Result<Option<(Heard, Applied)>, LedgerError> {
        let (Some(status), Some(target)) = (&self.params.status, operation.status_target.clone()) else {
            return Ok(None);
        };
        let now = self.recorder.clock().now();
        let was_open = self.gate.is_open(operation.id);
        let mut heard = ask(asker, &operation.upstream, status, &target, Some(operation.id), now).await;
        let is_open = was_open || self.gate.is_open(operation.id);
        let is_absent = heard.verdict == Some(Verdict::NotFound);
        // We know better than a service that does not know the write: we are still sending it, or waiting for its answer.
        if heard.verdict == Some(Verdict::NotFound) && is_open && !status.fenced {
            heard.verdict = None;
        }
        // That it is not there proves something only by the time that has passed, and nobody knows how much that is.
        if heard.verdict == Some(Verdict::NotFound) && self.gate.put_forward(self.recorder.clock().now()).is_some() {
            heard.verdict = None;
        }
        // The same of what another process owns, until that one has noticed, too.
        let is_anothers = operation.owner != self.recorder.ledger().instance();
        if heard.verdict == Some(Verdict::NotFound) && is_anothers && self.gate.others_may_lag() {
            heard.verdict = None;
        }
        if heard.verdict.is_some_and(|verdict| verdict != Verdict::NotFound)
            && self.is_anothers(&operation, status).await?
        {
            heard.verdict = None;
        }
        let answer = heard.answer.take().filter(|_| heard.verdict.is_some()).and_then(|answer| self.kept(&answer));
        let Heard { verdict, status, retry_after, .. } = heard;
        let too_early = is_absent && verdict.is_none();
        let event = Event::Queried { verdict, too_early, http_status: status, asked_at: now, retry_after, answer };
        Ok(Some((heard, self.apply(operation, &event).await?)))
    }

    /// What is kept of the status endpoint's answer for repeats of the write, as of a response to it.
    fn kept(&self, answer: &StoredResponse) -> Option<Arc<StoredResponse>> {
        if !self.params.keeps_status_answers() || answer.body.len() > self.params.max_response {
            return None;
        }
        let mut headers = replay::kept_headers(&answer.headers, &self.params.replay_headers);
        headers.insert(replay::MAINSTAY_RESOLVED, http::HeaderValue::from_static("status-query"));
        Some(Arc::new(StoredResponse { status: answer.status, headers, body: answer.body.clone() }))
    }

    /// Whether what the service says about the key may be about a write of another principal, who used the same one. That
    /// neither write is there would hold for both. A question that does not name the key is about no write in particular, and
    /// the policy takes the answer all the same.
    async fn is_anothers(&self, operation: &Operation, status: &StatusQuery) -> Result<bool, LedgerError> {
        let names_key = target::placeholders(&status.path).any(|name| name == "key");
        match operation.question().filter(|_| names_key) {
            // Asked after the answer: whatever that was about had been recorded before it was sent.
            Some(question) => self.recorder.ledger().is_anothers(question, operation.principal).await,
            None => Ok(false),
        }
    }

    /// The right to dispatch an operation again; `None` while an attempt of it is in flight.
    ///
    /// Earlier attempts are in doubt, so only what speaks for all of them settles it.
    pub fn take_up(&self, operation: Operation) -> Option<Claim> {
        let mut claim = self.claim(operation)?;
        claim.leave_in_doubt();
        Some(claim)
    }

    /// Queries per second to this upstream by this process; `None` if it cannot be asked. The rate is the service's, so
    /// processes that share the ledger share it, too; but none is left with so little that it never asks.
    pub fn query_rate(&self) -> Option<f64> {
        const LEAST_PER_SEC: f64 = 0.2;
        let replicas = self.recorder.ledger().replicas().max(1) as f64;
        self.params.status.as_ref().map(|status| {
            let whole = status.rate_per_sec;
            (whole / replicas).max(LEAST_PER_SEC.min(whole))
        })
    }

    /// The longest time until an operation of this route is looked at again, whatever the clock does meanwhile.
    pub fn longest_wait(&self) -> std::time::Duration {
        let asking = self.policy.asking.map(|asking| asking.schedule.max);
        let redispatch = self.policy.redispatch.map(|redispatch| redispatch.backoff.max);
        asking.into_iter().chain(redispatch).fold(self.policy.patience.max(QUERY_TIMEOUT), std::cmp::max)
    }

    pub(in crate::idempotency) fn claim(&self, operation: Operation) -> Option<Claim> {
        let in_flight = self.gate.attempt(operation.id)?;
        Some(Claim::new(operation, Arc::clone(&self.recorder), self.policy, in_flight))
    }
}
