//! Whom changes are told that the ledger made by itself.
//!
//! A takeover is nobody's order, so it does not come through the door by which all else is told. One that is made before anybody
//! listens, as right after a start, is told once somebody does.

use std::sync::Weak;

use mainstay_policies::operation::{Operation, Witness, witness::actions_of};
use parking_lot::Mutex;

/// Changes that are kept until somebody listens: what a few looks take over.
const KEPT: usize = 4_096;

/// Whom changes are told that the ledger made by itself.
#[derive(Default)]
pub(in crate::ledger) struct Told(Mutex<State>);

#[derive(Default)]
struct State {
    witness: Option<Weak<dyn Witness>>,
    kept: Vec<(Operation, Operation)>,
}

impl Told {
    /// From now on `witness` is told, of what was before, too.
    pub(in crate::ledger) fn to(&self, witness: Weak<dyn Witness>) {
        let kept = {
            let mut state = self.0.lock();
            state.witness = Some(witness);
            std::mem::take(&mut state.kept)
        };
        for (before, after) in kept {
            self.changed(before, after);
        }
    }

    /// An operation was changed.
    pub(in crate::ledger) fn changed(&self, before: Operation, after: Operation) {
        let witness = {
            let mut state = self.0.lock();
            let Some(witness) = state.witness.clone() else {
                if state.kept.len() < KEPT {
                    state.kept.push((before, after));
                }
                return;
            };
            witness
        };
        // Not under the lock: whoever listens may ask the ledger.
        if let Some(witness) = witness.upgrade() {
            witness.changed(&before, &after, &actions_of(&before, &after));
        }
    }
}
