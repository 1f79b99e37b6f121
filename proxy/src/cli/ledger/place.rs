//! Which ledger a command is about, and where its key is.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, ValueEnum};

use crate::config::{
    self,
    model::{Config, Store},
};

/// How long a key is remembered where no configuration says so: `idempotency.tombstone`'s default.
const TOMBSTONE: Duration = Duration::from_hours(30 * 24);

/// Which ledger.
#[derive(Args)]
pub struct Place {
    /// A ledger's directory, or the configuration that names it
    #[arg(value_name = "PATH_OR_CONFIG")]
    pub(super) path: PathBuf,
    /// The key file, if the ledger is sealed and no configuration says so
    #[arg(long, value_name = "FILE")]
    pub(super) key_file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) form: Form,
}

/// How it is said.
#[derive(Args, Clone, Copy)]
pub(in crate::cli) struct Form {
    /// For people, or for programs
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t)]
    pub(in crate::cli) output: Output,
}

/// How it is printed.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) enum Output {
    /// For people.
    #[default]
    Table,
    /// As one JSON document.
    Json,
}

/// A ledger that was found.
pub(super) struct Found {
    /// Its directory, or the file itself.
    pub(super) directory: PathBuf,
    pub(super) key_file: Option<PathBuf>,
    /// How long a key is remembered there.
    pub(super) tombstone: Duration,
}

impl Place {
    /// Where it is; `instead` says what does the same for a ledger in PostgreSQL.
    pub(super) fn find(&self, instead: &str) -> Result<Found, String> {
        let key_file = self.key_file.clone();
        if !is_configuration(&self.path)? {
            return Ok(Found { directory: self.path.clone(), key_file, tombstone: TOMBSTONE });
        }
        let loaded = config::load(&self.path).map_err(|errors| errors.to_string())?;
        match &loaded.config.ledger.store {
            Store::Disk { path, key_file: configured, .. } => Ok(Found {
                directory: path.clone(),
                key_file: key_file.or_else(|| configured.clone()),
                tombstone: tombstone(&loaded.config),
            }),
            Store::Postgres(_) => Err(format!("{} keeps operations in PostgreSQL: {instead}", self.path.display())),
            Store::Memory => {
                Err(format!("{} keeps operations in memory: there is no ledger to look into", self.path.display()))
            }
        }
    }
}

fn is_configuration(path: &Path) -> Result<bool, String> {
    if !path.exists() {
        return Ok(false);
    }
    if path.is_dir() {
        let files = path.read_dir().map_err(|error| format!("{}: {error}", path.display()))?;
        return Ok(files.flatten().any(|file| file.path().extension().is_some_and(|extension| extension == "yaml")));
    }
    Ok(path.extension().is_none_or(|extension| extension != "db"))
}

fn tombstone(config: &Config) -> Duration {
    let policies = config.policies.iter().filter_map(|policy| policy.idempotency.as_ref());
    policies.map(|policy| policy.tombstone).max().unwrap_or(TOMBSTONE)
}
