//! One keyed write, from the first request that carried the key to its final outcome.
//!
//! [`Operation`] is what is recorded, [`step`](step::step) is the pure transition function, [`Ledger`](ledger::Ledger) is
//! where operations are kept.

mod record;

pub mod ledger;

pub use record::{
    Attention, AttentionReason, InstanceId, KeyHash, Operation, OperationId, Retained, Source, State, StoredResponse,
    UnixMillis,
};
