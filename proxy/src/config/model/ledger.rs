//! Where operations are kept.

use std::path::PathBuf;

use mainstay_policies::operation::ledger::Settle;

use super::Postgres;

/// Where operations are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// Which backend.
    pub store: Store,
    /// Operations kept that are not terminal; one more is refused.
    pub max_open: usize,
    /// Bytes of operations and responses kept; one more is refused.
    pub max_bytes: u64,
    /// Which of several instances this is, in the keys that it mints; drawn by the ledger if it is not given.
    pub node: Option<u16>,
}

/// Which ledger backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// In memory, lost on exit: for trials.
    Memory,
    /// In a directory of its own.
    Disk {
        /// The directory.
        path: PathBuf,
        /// When the end of a write counts as recorded.
        settle: Settle,
        /// Where the keys are with which it is sealed; `None` does not seal.
        key_file: Option<PathBuf>,
        /// What becomes of the process when the disk fails.
        on_failure: OnFailure,
    },
    /// In PostgreSQL, one for all replicas.
    Postgres(Box<Postgres>),
}

/// What becomes of the process when the ledger's disk fails: only a restart opens the ledger again. A full disk is no failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// It drains and ends, so that whoever supervises it starts it again.
    #[default]
    Exit,
    /// It stays: keyed writes are refused, other traffic goes on.
    Stay,
}
