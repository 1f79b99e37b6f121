//! What becomes of a repeat: it waits, the service is asked, and it is told how things stand.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{
    Answer, Asker, OnConcurrent, Protection, Repeat,
    answer::answer,
    status::{Held, QUERY_TIMEOUT, TURN_WITHIN},
};
use crate::operation::{Operation, State, step::Event};

/// The longest `Prefer: wait` that is honoured: a waiting request holds a connection.
pub const MAX_PREFER_WAIT: Duration = Duration::from_secs(30);

impl Protection {
    /// The answer to a repeat: waits for the first request if the policy or the caller says so, then asks the upstream
    /// once if the outcome is unknown and it can be asked; then waits on, if the caller wants that, for what others hear.
    pub async fn resolve_repeat(
        &self,
        repeat: Repeat,
        prefer_wait: Option<Duration>,
        asker: Option<&dyn Asker>,
    ) -> Answer {
        let began = Instant::now();
        let mut operation = self.catch_up(repeat.operation).await;
        let preferred = prefer_wait.map(|wait| wait.min(MAX_PREFER_WAIT));
        let mut preference_applied = None;
        if operation.state == State::Pending {
            let wait = preferred.unwrap_or(match self.params.on_concurrent {
                OnConcurrent::Reject => Duration::ZERO,
                OnConcurrent::Wait(wait) => wait,
            });
            preference_applied = preferred;
            operation = self.wait_while(State::Pending, operation, began + wait).await;
        }
        if operation.state == State::Unknown
            && let Some(asker) = asker
        {
            operation = self.query(operation, asker).await;
        }
        // The resolver goes on asking; whoever wants to wait for what it hears may.
        if operation.state == State::Unknown
            && let Some(wait) = preferred
        {
            preference_applied = preferred;
            operation = self.wait_while(State::Unknown, operation, began + wait).await;
        }
        let kind = answer(&operation, self.recorder.clock().now(), &self.params);
        Answer { operation, kind, preference_applied }
    }

    /// Asks the upstream about an unknown operation, unless it cannot be asked or was asked often enough; returns the
    /// operation as it stands then.
    pub async fn query(&self, operation: Operation, asker: &dyn Asker) -> Operation {
        let Some(status) = self.params.status.as_ref().filter(|_| operation.status_target.is_some()) else {
            return operation;
        };
        let rate = self.query_rate().unwrap_or(status.rate_per_sec);
        let permit = match self.gate.enter(operation.id, &operation.upstream, rate, TURN_WITHIN) {
            Ok(permit) => permit,
            // The other one's result is as good.
            Err(Held::InFlight) => return self.wait_for_query(operation).await,
            Err(Held::Rate) => return operation,
        };
        permit.turn().await;
        match self.ask(operation.clone(), asker).await {
            Ok(Some((_, applied))) => applied.operation,
            // What the ledger does not take is lost: the operation stays as open as it was.
            Ok(None) | Err(_) => operation,
        }
    }

    /// Does what is due for an operation that time alone moves on, so that its repeats do not depend on a resolver.
    async fn catch_up(&self, operation: Operation) -> Operation {
        // Whoever owns it keeps its times; what another process owns is that one's to move on.
        let is_ours = operation.owner == self.recorder.ledger().instance();
        let is_due = is_ours && operation.next_check_at.is_some_and(|due| due <= self.recorder.clock().now());
        let can_be_asked = self.policy.asking.is_some() && operation.status_target.is_some();
        if is_due && (operation.state == State::Pending || !can_be_asked) {
            let applied = self.apply(operation.clone(), &Event::Due).await;
            return applied.map_or(operation, |applied| applied.operation);
        }
        operation
    }

    /// The operation once it has left `state`, or at the deadline.
    async fn wait_while(&self, state: State, mut operation: Operation, deadline: Instant) -> Operation {
        while operation.state == state {
            let changed = self.recorder.ledger().changed(operation.id, operation.revision);
            match timeout_at(deadline, changed).await {
                Ok(Ok(current)) => operation = current,
                Ok(Err(_)) | Err(_) => break,
            }
        }
        operation
    }

    /// Waits until a query that another one makes has been heard, or its time is over.
    async fn wait_for_query(&self, mut operation: Operation) -> Operation {
        let deadline = Instant::now() + QUERY_TIMEOUT;
        let checks = operation.checks;
        while operation.state == State::Unknown && operation.checks == checks {
            let changed = self.recorder.ledger().changed(operation.id, operation.revision);
            match timeout_at(deadline, changed).await {
                Ok(Ok(current)) => operation = current,
                Ok(Err(_)) | Err(_) => break,
            }
        }
        operation
    }
}

#[cfg(test)]
mod tests;
