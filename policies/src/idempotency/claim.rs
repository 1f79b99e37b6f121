//! The exclusive right to execute one pending operation.

use std::sync::Arc;

use super::{Settlement, response_reason, status::AttemptGuard};
use crate::{
    evidence::Evidence,
    faults::{Safeguard, is_off},
    operation::{
        Event, Observation, Operation, OperationId, Recorder, Retained, Source, State, StepPolicy, ledger::LedgerError,
    },
};

/// Why an operation stays in doubt although its attempt says that nothing was done: another process has it.
const OWNER_LOST: &str = "owner_lost";

/// The exclusive right to execute one pending operation.
///
/// Dropped while the operation is still pending, it leaves the operation `unknown`: whatever was under way, nobody will
/// report on it. The key is not freed.
pub struct Claim {
    operation: Operation,
    recorder: Arc<Recorder>,
    policy: StepPolicy,
    /// Attempts that may have acted and have not answered.
    in_doubt: u32,
    /// An attempt was allowed to be sent; whether it was is another matter.
    was_allowed: bool,
    /// The operation's epoch when it was claimed: with another, somebody else has taken it over.
    epoch: u64,
    /// How it ended is on its way to the record, however long that takes.
    is_settling: bool,
    /// Nobody else attempts the operation as long as this is held.
    _in_flight: AttemptGuard,
}

impl Claim {
    pub(super) fn new(
        operation: Operation,
        recorder: Arc<Recorder>,
        policy: StepPolicy,
        in_flight: AttemptGuard,
    ) -> Self {
        let epoch = operation.epoch;
        Self {
            operation,
            recorder,
            policy,
            in_doubt: 0,
            was_allowed: false,
            epoch,
            is_settling: false,
            _in_flight: in_flight,
        }
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
    pub async fn dispatched(&mut self) -> Result<(), LedgerError> {
        self.apply(&Event::Dispatched).await?;
        if self.operation.state.is_terminal() {
            return Err(LedgerError::Stale(Box::new(self.operation.clone())));
        }
        self.allow()
    }

    /// Whether another byte may go out for it: to be asked again as the last thing before the first one.
    ///
    /// # Errors
    /// [`LedgerError::Fenced`]: somebody else has taken the operation over, or may have.
    pub fn may_send(&self) -> Result<(), LedgerError> {
        if is_off(Safeguard::LastCheck) {
            return Ok(());
        }
        if self.operation.epoch != self.epoch {
            return Err(LedgerError::Fenced);
        }
        self.recorder.ledger().may_dispatch(&self.operation)
    }

    /// Asks the same, for where the claim is not at hand.
    pub fn permission(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let (recorder, operation) = (Arc::clone(&self.recorder), self.operation.clone());
        move || is_off(Safeguard::LastCheck) || recorder.ledger().may_dispatch(&operation).is_ok()
    }

    fn allow(&mut self) -> Result<(), LedgerError> {
        self.may_send()?;
        self.was_allowed = true;
        Ok(())
    }

    /// To be called before the first byte of a dispatch that nobody asked for. It is counted durably: however often the process
    /// dies, no more are made than the policy allows.
    ///
    /// # Errors
    /// The attempt must not be sent, as for [`dispatched`](Self::dispatched).
    pub async fn redispatched(&mut self) -> Result<(), LedgerError> {
        let counted = self.operation.redispatches;
        self.apply(&Event::Redispatched).await?;
        // Another dispatch may have settled it meanwhile, and counted itself.
        if self.operation.redispatches == counted || self.operation.state.is_terminal() {
            return Err(LedgerError::Stale(Box::new(self.operation.clone())));
        }
        self.allow()
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
        let needs_to_be_alone = proves_only_itself(&what);
        let says_unsent = matches!(what, Settlement::NotExecuted { .. });
        let observation = self.weigh(what, source);
        let (epoch, was_allowed) = (self.epoch, self.was_allowed);
        let weighed = move |of: &Operation| {
            let mut observation = observation.clone();
            if of.epoch != epoch && !is_off(Safeguard::FencedWord) {
                let is_alone = of.redispatches == 0 && !(says_unsent && was_allowed);
                observation.after_takeover(is_alone || !needs_to_be_alone);
            }
            Event::Observed(observation)
        };
        let applied = self.recorder.apply_weighed(self.operation.clone(), weighed, &self.policy).await;
        self.is_settling |= matches!(applied, Err(LedgerError::Delayed));
        self.operation = applied?.operation;
        Ok(&self.operation)
    }

    async fn apply(&mut self, event: &Event) -> Result<&Operation, LedgerError> {
        self.operation = self.recorder.apply_to_latest(self.operation.clone(), event, &self.policy).await?.operation;
        Ok(&self.operation)
    }

    /// What the end of one attempt says about the whole operation.
    fn weigh(&mut self, what: Settlement, source: Source) -> Observation {
        let proves_only_itself = proves_only_itself(&what);
        let (evidence, reason, status, retained) = match what {
            Settlement::NotExecuted { reason } => (Evidence::NotExecuted, reason.into(), None, Retained::None),
            Settlement::Ambiguous { reason, status, stored } => {
                (Evidence::Ambiguous, reason.into(), status, stored.map_or(Retained::None, Retained::Stored))
            }
            Settlement::Response { evidence, status, code, retained, .. } => {
                (evidence, response_reason(status, code), Some(status), retained)
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
}

/// Whether the end of an attempt says nothing about other attempts of the same operation.
fn proves_only_itself(what: &Settlement) -> bool {
    match what {
        Settlement::NotExecuted { .. } | Settlement::Response { evidence: Evidence::NotExecuted, .. } => true,
        Settlement::Ambiguous { .. } => false,
        Settlement::Response { evidence, of_state, .. } => *evidence == Evidence::Failed && *of_state,
    }
}

impl Observation {
    /// The operation was taken over meanwhile. A complete answer of the service is proof still, as one that comes late; that
    /// nothing was sent, or an answer that speaks of its own attempt only, if `is_proof` says that it stands for all.
    fn after_takeover(&mut self, is_proof: bool) {
        if !is_proof {
            self.evidence = Evidence::Ambiguous;
            self.reason = OWNER_LOST.into();
            self.retained = Retained::None;
        }
        self.source = Source::LateResponse;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.operation.state == State::Pending && !self.is_settling {
            // If the ledger does not take it, the operation stays pending until its due time makes it unknown.
            let _ = self.recorder.abandon(self.operation.clone(), &self.policy);
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
