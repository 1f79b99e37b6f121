//! The one way in which an operation changes: step, write, tell.
//!
//! Whatever happens to an operation, whoever reports it, comes through here: [`step`] says what follows from it, the ledger
//! keeps that, over others' changes if need be, and the [witness](Witness) learns of it. So nothing that must follow from a
//! change depends on who made it.
//!
//! Here, too, is decided how safely a change is kept. What a client was told, what frees a key and what bounds a number of
//! dispatches is on record before anybody acts on it. What whoever takes over assumes anyway is not waited for: that an
//! attempt was sent, that its owner has gone, when an operation is looked at next. That saves a durable write where each
//! request would wait for one.
//!
//! Whoever waits for a change may leave: it is written and told all the same.

mod recording;

use std::sync::{
    Arc, OnceLock, Weak,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use tokio::time::timeout;

use self::recording::Recording;
use super::{
    Operation,
    audit::AuditEntry,
    event::{Action, Event},
    ledger::{Ledger, LedgerError},
    policy::StepPolicy,
    step::step,
    witness::Witness,
};
use crate::clock::WallClock;

/// Tries to write a change over a record that others change at the same time. Each loss means that somebody else's change was
/// written, and an operation has few changes in it.
const MAX_TRIES: usize = 16;

/// Why an operation is unknown whose owner left it.
const ABANDONED: &str = "abandoned";

/// The one way in which operations of a ledger change; one for a process.
///
/// ```
/// use std::{sync::{Arc, atomic::{AtomicU32, Ordering}}};
/// use mainstay_policies::{
///     clock::WallClock,
///     operation::{Action, Operation, Recorder, Witness, memory::MemoryLedger},
/// };
///
/// #[derive(Default)]
/// struct Settled(AtomicU32);
///
/// impl Witness for Settled {
///     fn changed(&self, before: &Operation, after: &Operation, _: &[Action]) {
///         if after.state.is_terminal() && !before.state.is_terminal() {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
///
/// let clock = WallClock::system();
/// let recorder = Recorder::new(Arc::new(MemoryLedger::new(clock.clone(), 10_000, 64 << 20)), clock);
/// let settled = Arc::new(Settled::default());
/// recorder.tell(Arc::downgrade(&settled) as _);
/// ```
pub struct Recorder(Arc<Door>);

/// What a change needs that goes on after whoever wanted it has left.
struct Door {
    ledger: Arc<dyn Ledger>,
    clock: WallClock,
    /// Handed in once it stands: it may own what owns the recorder.
    witness: OnceLock<Weak<dyn Witness>>,
    /// Changes that nobody waits for any more, and that are not on record yet.
    unrecorded: AtomicUsize,
}

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

impl Recorder {
    /// A recorder over `ledger`, by `clock`, whom nobody witnesses yet.
    pub fn new(ledger: Arc<dyn Ledger>, clock: WallClock) -> Self {
        Self(Arc::new(Door { ledger, clock, witness: OnceLock::new(), unrecorded: AtomicUsize::new(0) }))
    }

    /// From now on `witness` learns of every change, as long as it is there. The first one stays: a recorder has one.
    pub fn tell(&self, witness: Weak<dyn Witness>) {
        if self.0.witness.set(Weak::clone(&witness)).is_ok() {
            self.0.ledger.tell(witness);
        }
    }

    /// Where the operations are kept.
    pub fn ledger(&self) -> &Arc<dyn Ledger> {
        &self.0.ledger
    }

    /// The clock by which they change.
    pub fn clock(&self) -> &WallClock {
        &self.0.clock
    }

    /// Changes that are not on record yet, although whoever wanted them has been told that nobody knows: they are tried on. Each
    /// open operation has few of them, so the ledger's bound of those bounds them, too.
    pub fn unrecorded(&self) -> usize {
        self.0.unrecorded.load(Relaxed)
    }

    /// Applies `event`, over others' changes if need be: as safely as the change demands. What comes back can be
    /// relied on as anything that is read.
    ///
    /// # Errors
    /// The ledger did not take it: the operation stays as open as it was.
    pub async fn apply(
        &self,
        operation: Operation,
        event: &Event,
        policy: &StepPolicy,
    ) -> Result<Applied, LedgerError> {
        let (id, seen) = (operation.id, operation.revision);
        let mut applied = self.apply_to_latest(operation, event, policy).await?;
        if !applied.asks_for(Action::Record) && applied.operation.revision != seen {
            // What came first may not be durable yet: only what can be read is.
            applied.operation = self.0.ledger.read(id).await?.unwrap_or(applied.operation);
        }
        Ok(applied)
    }

    /// The same for whoever executes the operation: what comes back is its latest state even if others' change is not durable
    /// yet, so that nothing is sent of what is settled.
    ///
    /// # Errors
    /// As of [`apply`](Self::apply).
    pub(crate) async fn apply_to_latest(
        &self,
        operation: Operation,
        event: &Event,
        policy: &StepPolicy,
    ) -> Result<Applied, LedgerError> {
        let event = event.clone();
        self.apply_weighed(operation, move |_| event.clone(), policy).await
    }

    /// The same with an event that depends on how the record stands: what is evidence for whoever owns the operation may be
    /// less in the hands of one from whom it was taken.
    ///
    /// # Errors
    /// As of [`apply`](Self::apply).
    pub(crate) async fn apply_weighed(
        &self,
        operation: Operation,
        weigh: impl Fn(&Operation) -> Event + Send + 'static,
        policy: &StepPolicy,
    ) -> Result<Applied, LedgerError> {
        let change = self.0.change(&operation, &weigh(&operation), policy);
        if !change.is_one() {
            return Ok(Applied { operation, actions: change.actions });
        }
        if change.keeping == Keeping::Remembered {
            return self.0.remember(operation, change, weigh, policy);
        }
        let (door, policy) = (Arc::clone(&self.0), *policy);
        self.to_its_end(async move { door.write(operation, change, weigh, &policy).await }).await
    }

    /// Applies `event` once, durably, and only if nobody has changed the operation meanwhile; `entry`, made of the operation as
    /// it is then, is added to the audit trail in the same step. For a person, who decides about what they have seen.
    ///
    /// # Errors
    /// [`LedgerError::Stale`] if somebody did; or the ledger did not take it. There is no entry either.
    pub async fn apply_as(
        &self,
        operation: Operation,
        event: &Event,
        policy: &StepPolicy,
        entry: impl FnOnce(&Operation) -> AuditEntry,
    ) -> Result<Applied, LedgerError> {
        let (next, actions) = step(&operation, event.clone(), policy, self.0.clock.now());
        let (door, entry) = (Arc::clone(&self.0), entry(&next));
        self.to_its_end(async move {
            let after = door.ledger.update_with(next, entry).await?;
            Ok(door.written(&operation, after, actions))
        })
        .await
    }

    /// Waits for a change as long as the ledger says; it is written in any case.
    async fn to_its_end(
        &self,
        change: impl Future<Output = Result<Applied, LedgerError>> + Send + 'static,
    ) -> Result<Applied, LedgerError> {
        let recording = Recording::new(change, Arc::clone(&self.0));
        let Some(patience) = self.0.ledger.patience() else { return recording.await };
        timeout(patience, recording).await.unwrap_or(Err(LedgerError::Delayed))
    }

    /// The owner of a pending operation leaves it: nobody will report on it. For where nobody can wait; a restart
    /// assumes it anyway.
    ///
    /// # Errors
    /// The ledger did not take it: the operation stays pending until its due time makes it unknown.
    pub fn abandon(&self, mut operation: Operation, policy: &StepPolicy) -> Result<Applied, LedgerError> {
        if self.0.ledger.patience().is_some() {
            return Ok(self.abandon_in_time(operation, *policy));
        }
        for _ in 0..MAX_TRIES {
            let (next, actions) = step(&operation, Event::OwnerLost { reason: ABANDONED }, policy, self.0.clock.now());
            if !actions.contains(&Action::Record) {
                return Ok(Applied { operation, actions });
            }
            match self.0.ledger.release(next) {
                Ok(after) => return Ok(self.0.written(&operation, after, actions)),
                Err(LedgerError::Stale(current)) => operation = *current,
                Err(error) => return Err(error),
            }
        }
        Err(changes_too_fast())
    }
}

impl Recorder {
    /// The same where the ledger may be away: it is told when it is on record.
    fn abandon_in_time(&self, operation: Operation, policy: StepPolicy) -> Applied {
        let lost = |_: &Operation| Event::OwnerLost { reason: ABANDONED };
        let change = self.0.change(&operation, &lost(&operation), &policy);
        let applied = Applied { operation: change.next.clone(), actions: change.actions.clone() };
        let door = Arc::clone(&self.0);
        // Nobody waits for it.
        drop(Recording::new(async move { door.write(operation, change, lost, &policy).await }, Arc::clone(&self.0)));
        applied
    }
}

impl Door {
    fn change(&self, operation: &Operation, event: &Event, policy: &StepPolicy) -> Change {
        let (next, actions) = step(operation, event.clone(), policy, self.clock.now());
        let keeping = Keeping::of(event, operation, &next);
        Change { next, actions, keeping }
    }

    /// What is kept in memory only: there is nothing to wait for.
    fn remember(
        &self,
        mut operation: Operation,
        mut change: Change,
        weigh: impl Fn(&Operation) -> Event,
        policy: &StepPolicy,
    ) -> Result<Applied, LedgerError> {
        for _ in 0..MAX_TRIES {
            if !change.is_one() {
                return Ok(Applied { operation, actions: change.actions });
            }
            match self.ledger.sent(change.next) {
                Ok(after) => return Ok(self.written(&operation, after, change.actions)),
                Err(LedgerError::Stale(current)) => operation = *current,
                Err(error) => return Err(error),
            }
            change = self.change(&operation, &weigh(&operation), policy);
        }
        Err(changes_too_fast())
    }

    /// Writes a change over whatever others have written meanwhile.
    async fn write(
        &self,
        mut operation: Operation,
        mut change: Change,
        weigh: impl Fn(&Operation) -> Event + Send,
        policy: &StepPolicy,
    ) -> Result<Applied, LedgerError> {
        for _ in 0..MAX_TRIES {
            if !change.is_one() {
                return Ok(Applied { operation, actions: change.actions });
            }
            let Change { next, actions, keeping } = change;
            let written = match keeping {
                Keeping::Remembered => self.ledger.sent(next),
                Keeping::Deferred => self.ledger.defer(next).await,
                Keeping::Durable => self.ledger.update(next).await,
                Keeping::DurableIfItCan => match self.ledger.update(next.clone()).await {
                    Err(LedgerError::Unavailable(_)) => self.ledger.defer(next).await,
                    written => written,
                },
            };
            match written {
                Ok(after) => return Ok(self.written(&operation, after, actions)),
                Err(LedgerError::Stale(current)) => operation = *current,
                Err(error) => return Err(error),
            }
            change = self.change(&operation, &weigh(&operation), policy);
        }
        Err(changes_too_fast())
    }

    /// What was written, told.
    fn written(&self, before: &Operation, after: Operation, actions: Vec<Action>) -> Applied {
        if actions.contains(&Action::Record)
            && let Some(witness) = self.witness.get().and_then(Weak::upgrade)
        {
            witness.changed(before, &after, &actions);
        }
        Applied { operation: after, actions }
    }
}

/// What an event makes of an operation.
struct Change {
    next: Operation,
    actions: Vec<Action>,
    keeping: Keeping,
}

impl Change {
    /// Whether anything is to be written.
    fn is_one(&self) -> bool {
        self.actions.contains(&Action::Record)
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("clock", &self.0.clock).finish_non_exhaustive()
    }
}

/// How safely a change is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeping {
    /// In memory until the next change brings it along.
    Remembered,
    /// Written, but not waited for: a crash may lose it.
    Deferred,
    /// On record before anybody acts on it.
    Durable,
    /// Durable; where the ledger has no room, rather deferred than not at all.
    DurableIfItCan,
}

impl Keeping {
    fn of(event: &Event, before: &Operation, after: &Operation) -> Self {
        match event {
            // Whoever takes over takes every pending operation for sent, and for lost.
            Event::Dispatched => Self::Remembered,
            Event::OwnerLost { .. } => Self::Deferred,
            // How an attempt ended is all that is left of it; and however often the process dies, no more dispatches are made
            // than the policy allows.
            Event::Observed(_) | Event::Redispatched => Self::Durable,
            // A process that takes over from this one would believe that the time has passed.
            Event::ClockPutForward { .. } => Self::DurableIfItCan,
            // What changes nothing but when it is looked at next need not outlive a crash, after which everything is looked at
            // anyway.
            Event::Queried { .. }
            | Event::Due
            | Event::PutOff { .. }
            | Event::DueBy { .. }
            | Event::Unreadable
            | Event::Resolved { .. } => {
                let only_time = (after.state, after.attention) == (before.state, before.attention)
                    && after.redispatches == before.redispatches
                    && after.retained == before.retained;
                if only_time { Self::Deferred } else { Self::Durable }
            }
        }
    }
}

fn changes_too_fast() -> LedgerError {
    LedgerError::Unavailable("the operation changes faster than it can be written".into())
}

#[cfg(test)]
mod tests;
