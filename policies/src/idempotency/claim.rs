//! The exclusive right to execute one pending operation.

use std::sync::Arc;

use super::{Settlement, status::AttemptGuard};
use crate::{
    clock::WallClock,
    evidence::Evidence,
    operation::{
        Operation, OperationId, Retained, Source, State,
        ledger::{Ledger, LedgerError},
        step::{Action, Event, Observation, StepPolicy, step},
    },
};

/// Tries to write a transition over a record that others change at the same time. Each loss means that somebody else's
/// change was written, and an operation has few changes in it.
const MAX_TRIES: usize = 16;

/// The exclusive right to execute one pending operation.
///
/// Dropped while the operation is still pending, it leaves the operation `unknown`: whatever was under way, nobody will
/// report on it. The key is not freed.
pub struct Claim {
    operation: Operation,
    ledger: Arc<dyn Ledger>,
    clock: WallClock,
    policy: StepPolicy,
    /// Attempts that may have acted and have not answered.
    in_doubt: u32,
    /// Nobody else attempts the operation as long as this is held.
    _in_flight: AttemptGuard,
}

impl Claim {
    pub(super) fn new(
        operation: Operation,
        ledger: Arc<dyn Ledger>,
        clock: WallClock,
        policy: StepPolicy,
        in_flight: AttemptGuard,
    ) -> Self {
        Self { operation, ledger, clock, policy, in_doubt: 0, _in_flight: in_flight }
    }

    /// The operation as this claim last saw it.
    pub const fn operation(&self) -> &Operation {
        &self.operation
    }

    /// Its public name.
    pub const fn id(&self) -> OperationId {
        self.operation.id
    }

    /// To be called before the first byte of each attempt.
    ///
    /// # Errors
    /// The attempt must not be sent: the operation was settled meanwhile ([`LedgerError::Stale`]), or the ledger is gone.
    #[expect(clippy::unused_async, reason = "a ledger shared by several processes will have to wait here")]
    pub async fn dispatched(&mut self) -> Result<(), LedgerError> {
        // A restart takes every pending operation for sent, so this need not be durable before the attempt.
        self.note(&Event::Dispatched)?;
        if self.operation.state.is_terminal() {
            return Err(LedgerError::Stale(Box::new(self.operation.clone())));
        }
        Ok(())
    }

    /// To be called before the first byte of a dispatch that nobody asked for. It is counted durably: however often the process
    /// dies, no more are made than the policy allows.
    ///
    /// # Errors
    /// The attempt must not be sent, as for [`dispatched`](Self::dispatched).
    pub async fn redispatched(&mut self) -> Result<(), LedgerError> {
        let counted = self.operation.redispatches;
        self.write(&Event::Redispatched).await?;
        // Another dispatch may have settled it meanwhile, and counted itself.
        if self.operation.redispatches == counted || self.operation.state.is_terminal() {
            return Err(LedgerError::Stale(Box::new(self.operation.clone())));
        }
        Ok(())
    }

    /// To be called when an attempt that may have acted is given up for another one. What later attempts prove is then
    /// proven of them alone: their `not_executed` says nothing about this one.
    pub const fn leave_in_doubt(&mut self) {
        self.in_doubt = self.in_doubt.saturating_add(1);
    }

    /// Whether an attempt may have acted of which nothing is known.
    pub const fn is_in_doubt(&self) -> bool {
        self.in_doubt > 0
    }

    /// Records how the execution ended. May be called again when a late answer comes.
    ///
    /// # Errors
    /// The ledger did not take it; the key is not freed.
    pub async fn settle(&mut self, what: Settlement, source: Source) -> Result<&Operation, LedgerError> {
        let observation = self.weigh(what, source);
        self.write(&Event::Observed(observation)).await
    }

    async fn write(&mut self, event: &Event) -> Result<&Operation, LedgerError> {
        for _ in 0..MAX_TRIES {
            let Some(next) = self.next(event) else { return Ok(&self.operation) };
            match self.ledger.update(next).await {
                Ok(written) => {
                    self.operation = written;
                    return Ok(&self.operation);
                }
                Err(LedgerError::Stale(current)) => self.operation = *current,
                Err(error) => return Err(error),
            }
        }
        Err(LedgerError::Unavailable("the operation changes faster than it can be written".into()))
    }

    /// What the end of one attempt says about the whole operation.
    fn weigh(&mut self, what: Settlement, source: Source) -> Observation {
        let proves_only_itself = match &what {
            Settlement::NotExecuted { .. } | Settlement::Response { evidence: Evidence::NotExecuted, .. } => true,
            Settlement::Ambiguous { .. } => false,
            Settlement::Response { evidence, of_state, .. } => *evidence == Evidence::Failed && *of_state,
        };
        let (evidence, reason, status, retained) = match what {
            Settlement::NotExecuted { reason } => (Evidence::NotExecuted, reason.into(), None, Retained::None),
            Settlement::Ambiguous { reason, status, stored } => {
                (Evidence::Ambiguous, reason.into(), status, stored.map_or(Retained::None, Retained::Stored))
            }
            Settlement::Response { evidence, status, retained, .. } => {
                (evidence, format!("http_{}", status.as_u16()).into(), Some(status), retained)
            }
        };
        let is_late = source == Source::LateResponse;
        // A late answer speaks for one attempt that was in doubt; the others stay in doubt.
        let others_in_doubt = if is_late { self.in_doubt > 1 } else { self.in_doubt > 0 };
        if others_in_doubt && proves_only_itself {
            let (evidence, reason) = (Evidence::Ambiguous, "attempt_in_doubt".into());
            return Observation { evidence, source, reason, status, retained: Retained::None };
        }
        if !is_late && evidence == Evidence::Ambiguous {
            self.in_doubt = self.in_doubt.saturating_add(1);
        }
        Observation { evidence, source, reason, status, retained }
    }

    /// The operation after `event`; `None` if it changes nothing.
    fn next(&self, event: &Event) -> Option<Operation> {
        let (next, actions) = step(&self.operation, event.clone(), &self.policy, self.clock.now());
        actions.contains(&Action::Record).then_some(next)
    }

    fn note(&mut self, event: &Event) -> Result<(), LedgerError> {
        for _ in 0..MAX_TRIES {
            let Some(next) = self.next(event) else { return Ok(()) };
            match self.ledger.note(next) {
                Ok(written) => {
                    self.operation = written;
                    return Ok(());
                }
                Err(LedgerError::Stale(current)) => self.operation = *current,
                Err(error) => return Err(error),
            }
        }
        Err(LedgerError::Unavailable("the operation changes faster than it can be written".into()))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.operation.state == State::Pending {
            // If the ledger does not take it, the operation stays pending until its due time makes it unknown.
            let _ = self.note(&Event::OwnerLost { reason: "abandoned" });
        }
    }
}

impl std::fmt::Debug for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claim").field("operation", &self.operation.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
