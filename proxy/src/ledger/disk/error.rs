//! Why the file cannot be opened.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::sql::{MIGRATIONS, SqlError};
use crate::ledger::vault::KeyError;

/// Why a ledger cannot be opened. The operator's to cure; nothing was written over.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory or a file in it cannot be made, read or written.
    #[error(
        "the ledger cannot use {}: {source}; make it writable for this user, with space on its disk, name another one with \
         `ledger.path`, or give up durability with `ledger: {{ store: memory }}`",
        path.display()
    )]
    Directory {
        /// What could not be used.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("the ledger {} is in use by another process: each proxy needs a `ledger.path` of its own", .0.display())]
    Locked(PathBuf),
    /// The file is something else.
    #[error("{} is not a ledger: nothing was written to it; move it away or name another `ledger.path`", .0.display())]
    Foreign(PathBuf),
    /// The file was written by a later version.
    #[error(
        "the ledger {} has format {found}, and this version knows {}: it was written by a later version, and nothing was \
         changed; start that version, or name another `ledger.path`",
        path.display(), MIGRATIONS.len()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
    },
    /// The file is a ledger and cannot be read.
    #[error(
        "the ledger {} cannot be read: {reason}; restore it from a copy, or move it away to start without its operations",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        reason: String,
    },
    /// The keys cannot be had.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Something in it is sealed with a key that is not there.
    #[error(
        "the ledger {} is sealed with key {key}, and the key file does not hold it: put that key back into \
         `ledger.encrypt.key_file`, below the newest; nothing was changed",
        path.display()
    )]
    Sealed {
        /// The file.
        path: PathBuf,
        /// How the key is named: a hash of it.
        key: String,
    },
    /// There is none, and none is made by looking.
    #[error("there is no ledger at {}", .0.display())]
    Absent(PathBuf),
    /// The file was written by an earlier version, and looking changes nothing.
    #[error("the ledger {} has format {found}: start this version on it once, which brings it up to date", path.display())]
    Older {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
    },
    /// The records are sealed, and no key was given.
    #[error("the ledger {} is sealed: give its configuration, or the key with --key-file", .0.display())]
    NoKey(PathBuf),
    /// No thread for the writer.
    #[error("the ledger's writer cannot be started: {0}")]
    Thread(#[source] io::Error),
}

impl OpenError {
    /// What an error of SQLite says of the file. What the disk or the system refuses is no damage.
    pub(super) fn of(path: &Path, error: &SqlError) -> Self {
        use rusqlite::ErrorCode::{
            CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, OutOfMemory, PermissionDenied, ReadOnly,
            SystemIoFailure,
        };
        let code = match error {
            SqlError::Sqlite(error) => error.sqlite_error_code(),
            SqlError::Unreadable(_) => None,
        };
        match code {
            Some(
                CannotOpen | DatabaseBusy | DatabaseLocked | DiskFull | OutOfMemory | PermissionDenied | ReadOnly
                | SystemIoFailure,
            ) => Self::Directory { path: path.to_owned(), source: io::Error::other(error.to_string()) },
            _ => Self::Damaged { path: path.to_owned(), reason: error.to_string() },
        }
    }
}
