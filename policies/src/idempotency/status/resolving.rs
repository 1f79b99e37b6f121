//! What a resolver does about operations of one route: nobody waits for it.

use std::sync::Arc;

use super::{Asker, Heard, QUERY_TIMEOUT, ask, target};
use crate::{
    evidence::{Evidence, Verdict},
    idempotency::{Claim, Protection, StatusQuery, outcome},
    operation::{
        Operation,
        ledger::LedgerError,
        step::{Action, Event, step},
    },
};

/// Tries to write a transition over a record that others change at the same time.
const MAX_TRIES: usize = 16;

/// An operation after an event, and what is to be done about it.
#[derive(Clone, Debug)]
pub struct Applied {
    /// As it is recorded now.
    pub operation: Operation,
    /// What is to be done.
    pub actions: Vec<Action>,
}

impl Applied {
    /// Whether `action` is to be done.
    pub fn asks_for(&self, action: Action) -> bool {
        self.actions.contains(&action)
    }
}

impl Protection {
    /// Records an event about an operation. What changes nothing but when it is looked at next need not outlive a crash,
    /// after which everything is looked at anyway; the rest is durable.
    ///
    /// # Errors
    /// The ledger did not take it: the operation stays as open as it was.
    pub async fn apply(&self, mut operation: Operation, event: &Event) -> Result<Applied, LedgerError> {
        let mut raced = false;
        for _ in 0..MAX_TRIES {
            let (next, actions) = step(&operation, event.clone(), &self.policy, self.clock.now());
            if !actions.contains(&Action::Record) {
                // What came first may not be durable yet: only what can be read is.
                let known = if raced { self.ledger.read(operation.id).await? } else { None };
                return Ok(Applied { operation: known.unwrap_or(operation), actions });
            }
            let only_time = (next.state, next.attention) == (operation.state, operation.attention)
                && next.redispatches == operation.redispatches
                && next.retained == operation.retained;
            let written = if only_time { self.ledger.note(next) } else { self.ledger.update(next).await };
            match written {
                Ok(operation) => return Ok(Applied { operation, actions }),
                Err(LedgerError::Stale(current)) => {
                    raced = true;
                    operation = *current;
                }
                Err(error) => return Err(error),
            }
        }
        Err(LedgerError::Unavailable("the operation changes faster than it can be written".into()))
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
        let now = self.clock.now();
        let mut heard = ask(asker, &operation.upstream, status, &target, Some(operation.id), now).await;
        // That it is not there proves something only by the time that has passed, and nobody knows how much that is.
        if heard.verdict == Some(Verdict::NotFound) && self.gate.put_forward(self.clock.now()).is_some() {
            heard.verdict = None;
        }
        if heard.verdict.is_some_and(|verdict| verdict != Verdict::NotFound)
            && self.is_anothers(&operation, status).await?
        {
            heard.verdict = None;
        }
        let event = Event::Queried { verdict: heard.verdict, asked_at: now, retry_after: heard.retry_after };
        Ok(Some((heard, self.apply(operation, &event).await?)))
    }

    /// Whether what the service says about the key may be about a write of another principal, who used the same one. That
    /// neither write is there would hold for both. A question that does not name the key is about no write in particular, and
    /// the policy takes the answer all the same.
    async fn is_anothers(&self, operation: &Operation, status: &StatusQuery) -> Result<bool, LedgerError> {
        let names_key = target::placeholders(&status.path).any(|name| name == "key");
        match operation.question().filter(|_| names_key) {
            // Asked after the answer: whatever that was about had been recorded before it was sent.
            Some(question) => self.ledger.is_anothers(question, operation.principal).await,
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

    /// Whether a response says by its status that its attempt did nothing.
    pub fn proves_nothing_was_done(&self, status: http::StatusCode, headers: &http::HeaderMap) -> bool {
        outcome::classify(&self.params.outcome, status, headers, None) == Evidence::NotExecuted
    }

    /// Queries per second to this upstream; `None` if it cannot be asked.
    pub fn query_rate(&self) -> Option<f64> {
        self.params.status.as_ref().map(|status| status.rate_per_sec)
    }

    /// The longest time until an operation of this route is looked at again, whatever the clock does meanwhile.
    pub fn longest_wait(&self) -> std::time::Duration {
        let asking = self.policy.asking.map(|asking| asking.schedule.max);
        let redispatch = self.policy.redispatch.map(|redispatch| redispatch.backoff.max);
        asking.into_iter().chain(redispatch).fold(self.policy.patience.max(QUERY_TIMEOUT), std::cmp::max)
    }

    pub(in crate::idempotency) fn claim(&self, operation: Operation) -> Option<Claim> {
        let in_flight = self.gate.attempt(operation.id)?;
        Some(Claim::new(operation, Arc::clone(&self.ledger), self.clock.clone(), self.policy, in_flight))
    }
}
