//! One keyed write, from the first request that carried the key to its final outcome.
//!
//! [`Operation`] is what is recorded, [`step`](step::step) is the pure transition function, [`Ledger`](ledger::Ledger) is
//! where operations are kept, [`MemoryLedger`](memory::MemoryLedger) its simplest form, and [`conformance`] what every
//! ledger must pass.

mod event;
mod filter;
mod policy;
mod question;
mod record;

pub mod audit;
pub mod conformance;
pub mod history;
pub mod ledger;
pub mod memory;
pub mod recorder;
pub mod share;
pub mod step;
pub mod witness;

pub use crate::clock::UnixMillis;
pub use event::{Action, Event, Observation};
pub use policy::{Asking, QuerySchedule, Redispatch, StepPolicy};
pub use question::{QUESTION_LOOKS, Question};
pub use record::{
    Attention, AttentionReason, Contradiction, FingerprintVersion, InstanceId, KeptRequest, KeyHash, Operation,
    OperationId, Provenance, Retained, Source, State, StoredRequest, StoredResponse, TraceOrigin,
};
pub use recorder::{Applied, Recorder};
pub use witness::Witness;
