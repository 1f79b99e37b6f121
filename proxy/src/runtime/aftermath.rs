//! What a change of an operation sets off: it is counted, caches forget, and a person is called in the log.
//!
//! Told by the [`Recorder`](mainstay_policies::operation::Recorder), the one door through which operations change, so that
//! nothing here depends on who settled a write: its answer, a late one, a question, another dispatch, or a person. Nothing
//! here waits or fails. What needs the request at hand, such as the write's own path, is with whoever has it
//! (`operation/write.rs`).

use std::time::Duration;

use mainstay_policies::operation::{Action, Contradiction, Operation, Source, State, Witness};

use super::Runtime;
use crate::telemetry::metrics::RouteMetrics;

/// What was heard against the state of a settled operation.
fn contradiction(operation: &Operation) -> Option<Contradiction> {
    operation.attention.and_then(|flag| flag.heard)
}

impl Runtime {
    /// Counts of the operation's route; it may have gone with a reload.
    fn count(&self, operation: &Operation, count: impl FnOnce(&RouteMetrics)) {
        match self.snapshot.load().protecting(&operation.route, &operation.upstream) {
            Some(route) => count(&route.metrics),
            None => count(&self.resources.metrics.route(&operation.route, &operation.upstream, "")),
        }
    }
}

impl Witness for Runtime {
    fn changed(&self, before: &Operation, after: &Operation, actions: &[Action]) {
        self.notices.changed(before, after);
        self.tell_operation(before, after);
        for action in actions {
            if let Action::Alert(reason) = action
                && self.notices.may_call()
            {
                tracing::warn!(operation = %after.id, reason = reason.label(), "an operation needs a person");
            }
        }
        if let Some(heard) = contradiction(after).filter(|_| contradiction(before).is_none()) {
            tracing::error!(
                operation = %after.id, route = %after.route, upstream = %after.upstream,
                settled = after.state.label(), settled_by = after.source.map(Source::label),
                heard = heard.evidence.label(), source = heard.source.label(),
                http_status = heard.status.map(|status| status.as_u16()),
                "a settled write was contradicted"
            );
            self.count(after, |metrics| metrics.operation_contradicted(after.state, heard.evidence, heard.source));
        }
        if after.state == before.state {
            return;
        }
        let snapshot = self.snapshot.load();
        let source = after.source.filter(|_| after.state.is_terminal());
        self.count(after, |metrics| metrics.operation_settled(after.state, source));
        if after.state == State::Unknown {
            self.count(after, |metrics| metrics.operation_doubted(&after.reason));
        } else if before.state == State::Unknown && after.state.is_terminal() {
            let since = after.dispatched_at.unwrap_or(after.created_at);
            let took = Duration::from_millis(after.settled_at.map_or(0, |at| at.saturating_sub(since)));
            self.count(after, |metrics| metrics.doubt_ended(took));
        }
        // Whoever reads an answer has the request at hand, and knows better what it changed.
        if matches!(after.source, Some(Source::StatusQuery | Source::Operator)) {
            snapshot.forget_settled(before.state, after);
        }
    }
}
