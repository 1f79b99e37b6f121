//! A ledger in PostgreSQL.

use std::{fmt, path::PathBuf, time::Duration};

use crate::wire::tls::ClientTls;

/// How a ledger in PostgreSQL is reached and kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Postgres {
    /// Where it is: `postgres://user@host:port,host:port/database`, without a password.
    pub url: String,
    /// The password, if it is given; never shown.
    pub password: Option<Secret>,
    /// A file with it, read at every connect.
    pub password_file: Option<PathBuf>,
    /// How connections to it are protected.
    pub tls: StoreTls,
    /// The schema; one for each service.
    pub schema: String,
    /// The service whose writes are kept there.
    pub service: String,
    /// How long things may take.
    pub timeouts: StoreTimeouts,
    /// How often this replica says that it lives.
    pub heartbeat: Duration,
    /// For how long others believe that.
    pub ttl: Duration,
    /// How often it is looked whether what repeats wait for has changed.
    pub wait_poll: Duration,
    /// Whether the schema is made and migrated, rather than only checked.
    pub migrates: bool,
    /// Whether somebody vouches for the store's durability where it cannot be read.
    pub durability_is_declared: bool,
    /// Whether this replica is ready to serve while the store cannot be reached.
    pub ready_without: bool,
    /// Where the keys are with which it is sealed; `None` does not seal.
    pub key_file: Option<PathBuf>,
}

/// How connections to the store are protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreTls {
    /// They do not leave this machine.
    Near,
    /// It was said that the network protects them.
    Off,
    /// By TLS, and the store shows a certificate for its name.
    VerifyFull(Box<ClientTls>),
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreTimeouts {
    /// To connect.
    pub connect: Duration,
    /// Until each answer of the store.
    pub answer: Duration,
    /// Until a new operation is on record, its wait for its turn included.
    pub begin: Duration,
    /// Until a caller is told that the outcome is unknown because it could not be recorded; recording goes on.
    pub settle: Duration,
    /// Until a read is given up.
    pub read: Duration,
}

/// Something that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
