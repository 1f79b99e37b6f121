//! Changes of operations that depend on no policy: those of which nobody has one, and those of time alone.

use std::time::Duration;

use mainstay_policies::operation::{
    Operation, UnixMillis,
    ledger::{Due, Ledger, LedgerError},
    step::{Action, Event, StepPolicy, step},
};

/// Operations that are read from the ledger's index at once.
pub(super) const PAGE: usize = 1024;
/// A change is tried over others' as often.
const MAX_TRIES: usize = 16;

const BARE: StepPolicy =
    StepPolicy { patience: Duration::ZERO, late_response: Duration::ZERO, asking: None, redispatch: None };

/// Records an event that depends on no policy. What only says when an operation is looked at next need not outlive a crash,
/// after which everything is looked at anyway.
pub(super) async fn apply(
    ledger: &dyn Ledger,
    mut operation: Operation,
    event: &Event,
    now: UnixMillis,
) -> Result<Vec<Action>, LedgerError> {
    for _ in 0..MAX_TRIES {
        let (next, actions) = step(&operation, event.clone(), &BARE, now);
        if next == operation {
            return Ok(actions);
        }
        let only_time = (next.state, next.attention) == (operation.state, operation.attention);
        let written = match event {
            // A process that takes over from this one would believe that the time has passed. Where the disk has no room,
            // rather in memory than not at all.
            Event::ClockPutForward { .. } => match ledger.update(next.clone()).await {
                Err(LedgerError::Unavailable(_)) => ledger.note(next),
                written => written,
            },
            _ if only_time => ledger.note(next),
            _ => ledger.update(next).await,
        };
        match written {
            Ok(_) => return Ok(actions),
            Err(LedgerError::Stale(current)) => operation = *current,
            Err(error) => return Err(error),
        }
    }
    Ok(Vec::new())
}

/// Everything that is open and not a person's.
pub(super) async fn open(ledger: &dyn Ledger) -> Result<Vec<Due>, LedgerError> {
    let mut open: Vec<Due> = Vec::new();
    loop {
        let more = ledger.due(u64::MAX, open.last().map(Due::place), PAGE).await?;
        let is_last = more.len() < PAGE;
        open.extend(more);
        if is_last {
            return Ok(open);
        }
    }
}
