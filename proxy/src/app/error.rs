//! Why the program does not start, or a configuration is not taken.

use std::{io, path::PathBuf};

use crate::{
    background::cpu::source::NoCpuAccount,
    ledger::{open::OpenError, principals::PrincipalsError},
    runtime::secured::Unsecured,
};

/// Why the program does not start, or a configuration is not taken.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The operator's: the address is taken, not ours, or not allowed.
    #[error("cannot listen on {address} ({what}): {source}")]
    Listen {
        /// The address.
        address: String,
        /// Which listener.
        what: String,
        /// The system's words.
        source: io::Error,
    },
    /// The operator's: the token of the operators' listener cannot be used.
    #[error("a token of `admin` (`admin.token_file`, `admin.tokens`) cannot be used: {}: {source}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// The operator's: the ledger cannot be opened.
    #[error(transparent)]
    Ledger(#[from] OpenError),
    /// The operator's: how callers are known changes, and keys of before would be lost.
    #[error(transparent)]
    Principals(#[from] PrincipalsError),
    /// The operator's: no ledger was opened at start, for no route protected writes then.
    #[error("writes are protected from now on, and the ledger is opened only at start: restart the proxy")]
    LedgerNotOpen,
    /// The operator's: a route sheds by CPU, and nothing says how busy it is.
    #[error(transparent)]
    Cpu(#[from] NoCpuAccount),
    /// The operator's: a key or a certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] Unsecured),
    /// The machine's: no thread or no runtime.
    #[error("cannot start a worker: {0}")]
    Worker(#[source] io::Error),
}

impl StartError {
    /// Whether the configuration itself is refused: it would be as wrong at any other time and place of this ledger.
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Principals(PrincipalsError::Kept { .. } | PrincipalsError::Others { .. }))
    }
}
