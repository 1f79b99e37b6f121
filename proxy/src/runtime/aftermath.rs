//! What a change of an operation sets off: it is counted, caches forget, and a person is called in the log.
//!
//! Told by the [`Recorder`](mainstay_policies::operation::Recorder), the one door through which operations change, so that
//! nothing here depends on who settled a write: its answer, a late one, a question, another dispatch, or a person. Nothing
//! here waits or fails. What needs the request at hand, such as the write's own path, is with whoever has it
//! (`operation/write.rs`).

use mainstay_policies::operation::{Action, Operation, Source, Witness};

use super::Runtime;

impl Witness for Runtime {
    fn changed(&self, before: &Operation, after: &Operation, actions: &[Action]) {
        for action in actions {
            if let Action::Alert(reason) = action {
                tracing::warn!(operation = %after.id, reason = reason.label(), "an operation needs a person");
            }
        }
        if after.state == before.state {
            return;
        }
        let snapshot = self.snapshot.load();
        let source = after.source.filter(|_| after.state.is_terminal());
        if let Some(route) = snapshot.protecting(&after.route, &after.upstream) {
            route.metrics.operation_settled(after.state, source);
        } else {
            // Its route has gone with a reload.
            let metrics = self.resources.metrics.route(&after.route, &after.upstream, "");
            metrics.operation_settled(after.state, source);
        }
        // Whoever reads an answer has the request at hand, and knows better what it changed.
        if matches!(after.source, Some(Source::StatusQuery | Source::Operator)) {
            snapshot.forget_settled(before.state, after);
        }
    }
}
