//! Where operations are kept: [`disk`] is one store, `vault` and `record` are how any store writes and seals.

pub mod disk;
pub(crate) mod open;
mod record;
mod vault;

pub use disk::{DiskLedger, Options};
