//! What may go wrong with the store.

use std::{path::PathBuf, time::Duration};

use mainstay_policies::operation::ledger::LedgerError;
use tokio_postgres::error::SqlState;

use crate::wire::tls;

/// Why something was not done, or may not have been.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    /// No answer came: it may have been done.
    #[error("the store did not answer within {} ms", .0.as_millis())]
    NoAnswer(Duration),
    /// The connection ended: it may have been done.
    #[error("the connection to the store is lost: {0}")]
    Lost(String),
    /// It was committed on one machine only, although the store promises more: it counts as not answered.
    #[error("the store did not confirm that the commit was replicated")]
    Unconfirmed,
    /// The store said no.
    #[error("the store refused: {message} ({})", state.code())]
    Refused { state: SqlState, message: String },
    /// What it acknowledges may be lost.
    #[error("{0}")]
    NotDurable(String),
    /// What it does not have it may have forgotten.
    #[error("the store has forgotten what it had acknowledged, and is being told again")]
    Forgetful,
    /// There is no connection.
    #[error("the store cannot be reached")]
    Unreachable,
    /// What is kept cannot be read.
    #[error("what the store holds cannot be read: {0}")]
    Unreadable(String),
}

impl StoreError {
    pub(super) fn of(error: &tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(db) => Self::Refused { state: db.code().clone(), message: db.message().to_owned() },
            None => Self::Lost(match tls::of_io(error) {
                Some(reason) => format!("TLS: {}", tls::explain(reason)),
                None => chain(error),
            }),
        }
    }

    /// Whether the same is to be asked again because it may have been done, or was undone for no fault of its own.
    pub(super) fn is_ambiguous(&self) -> bool {
        match self {
            Self::NoAnswer(_) | Self::Lost(_) | Self::Unconfirmed | Self::NotDurable(_) | Self::Unreachable => true,
            Self::Refused { state, .. } => {
                ends_connection(state)
                    || matches!(state.code(), "40001" | "40P01" | "40003" | "57014" | "55P03" | "23505" | "25P02")
            }
            Self::Unreadable(_) | Self::Forgetful => false,
        }
    }

    /// Whether the connection is of no use any more.
    pub(super) fn ends_connection(&self) -> bool {
        match self {
            Self::NoAnswer(_) | Self::Lost(_) | Self::Unconfirmed | Self::NotDurable(_) => true,
            Self::Refused { state, .. } => ends_connection(state),
            Self::Unreachable | Self::Unreadable(_) | Self::Forgetful => false,
        }
    }

    /// Why the same is asked again, in a word.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::NoAnswer(_) => "no_answer",
            Self::Lost(_) | Self::Unreachable => "connection",
            Self::Unconfirmed => "unconfirmed",
            Self::NotDurable(_) => "not_durable",
            Self::Forgetful => "lossy",
            Self::Unreadable(_) => "unreadable",
            Self::Refused { state, .. } => match state.code() {
                "40001" | "40003" => "serialization",
                "40P01" => "deadlock",
                "55P03" => "held_up",
                "57014" => "statement_timeout",
                "25006" => "read_only",
                "53100" => "disk_full",
                code if ends_connection(state) || code.starts_with("57") => "shutting_down",
                _ => "refused",
            },
        }
    }

    /// Whether somebody's unfinished transaction holds what was asked for.
    pub(super) fn is_held_up(&self) -> bool {
        matches!(self, Self::Refused { state, .. } if state.code() == "55P03")
    }
}

/// Read-only, shutting down, connection errors, too many connections: another connection may lead elsewhere.
fn ends_connection(state: &SqlState) -> bool {
    let code = state.code();
    code == "25006"
        || code == "53300"
        || code.starts_with("08")
        || matches!(code, "57P01" | "57P02" | "57P03" | "57P04" | "57P05")
}

impl From<StoreError> for LedgerError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unreadable(_) => Self::Unreadable,
            error => Self::Unavailable(error.to_string()),
        }
    }
}

/// Why a ledger in PostgreSQL cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The url is none.
    #[error("ledger.url: {0}")]
    Url(String),
    /// The password file cannot be read.
    #[error("ledger.password_file {}: {source}", path.display())]
    Password {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of `ledger.tls` cannot be used.
    #[error("ledger.tls: {0}")]
    Tls(#[from] tls::FileError),
    /// The key file cannot be used.
    #[error(transparent)]
    Key(#[from] super::super::vault::KeyError),
    /// It cannot be reached.
    #[error("the ledger's store cannot be reached: {0}; check `ledger.url`, the password and the network")]
    Unreachable(String),
    /// The schema is not there, and may not be made.
    #[error(
        "version {version} of the schema `{schema}` cannot be made: {why}; give the user the right to (CREATE on the database), or have its owner run what `mainstay ledger schema {schema} --sql` prints"
    )]
    Schema {
        /// Which.
        schema: String,
        /// What it was to become.
        version: i32,
        /// Why.
        why: String,
    },
    /// Made by a newer version.
    #[error(
        "the schema `{schema}` is of version {found}, and this program knows version {reads} and runs on the one after it: use the version of the program that made it, or a newer one"
    )]
    Newer {
        /// Which.
        schema: String,
        /// Its version.
        found: i32,
        /// The newest that is read.
        reads: i32,
    },
    /// Of an older version, and it may not be migrated.
    #[error(
        "the schema `{schema}` is {}, this program needs version {wants}, and `ledger.migrate: check` leaves it so: have its owner run what `mainstay ledger schema {schema} --sql --from {found}` prints, or set `migrate: auto`",
        if *found == 0 { "not there".to_owned() } else { format!("of version {found}") }
    )]
    Older {
        /// Which.
        schema: String,
        /// Its version; 0 where there is none.
        found: i32,
        /// The version that is needed.
        wants: i32,
    },
    /// Another service's.
    #[error(
        "the schema `{schema}` belongs to the service `{found}`, not to `{wanted}`: two services must never share keys; name another `ledger.schema`"
    )]
    Service {
        /// Which.
        schema: String,
        /// Whose it is.
        found: String,
        /// Whose it was taken for.
        wanted: String,
    },
    /// The store is set so that it may lose what it acknowledged.
    #[error("the store may lose what it acknowledged: {0}")]
    NotDurable(String),
    /// Sealed otherwise.
    #[error("the ledger is sealed {0}: every replica needs the same `ledger.encrypt.key_file`")]
    Sealed(&'static str),
    /// Too many replicas.
    #[error("all 1024 nodes of the ledger are taken by replicas that live")]
    NoNode,
}

/// The store did not do what a start asks of it.
#[expect(clippy::needless_pass_by_value, reason = "it stands where an error is mapped")]
pub(super) fn unreachable(error: StoreError) -> OpenError {
    OpenError::Unreachable(error.to_string())
}

/// An error with its causes: what the driver says by itself is "db error".
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
