//! Who learns of every change of an operation.

use super::{
    Operation,
    event::{Action, alerts},
};

/// Learns of every change of an operation that was written, once, after it was written.
///
/// It is called where the change is made, also where nobody may wait: it never blocks, and what it sets off fails without the
/// change.
pub trait Witness: Send + Sync + 'static {
    /// An operation changed from `before` to `after`, which is as it is recorded now; `actions` are to be done about it.
    fn changed(&self, before: &Operation, after: &Operation, actions: &[Action]);
}

/// What is to be done after a change that a ledger made by itself, as by a takeover: nobody has asked [`step`](super::step) about
/// it.
pub fn actions_of(before: &Operation, after: &Operation) -> Vec<Action> {
    std::iter::once(Action::Record).chain(alerts(before, after)).collect()
}
