//! Where operations are kept: [`disk`] is a store of one process, [`postgres`] one of several replicas, with what is the same
//! for any such store in `shared`; [`principals`] is how callers are known, which a ledger remembers; `vault` and `record` are how each of them writes and seals.

pub mod disk;
pub mod open;
pub mod postgres;
pub mod principals;
mod record;
mod shared;
mod vault;

pub use disk::{DiskLedger, Options};
