//! Which store a configuration asks for, opened.

use std::{sync::Arc, time::Duration};

use mainstay_policies::{
    clock::WallClock,
    operation::{ledger::Ledger, memory::MemoryLedger},
};

use super::{
    disk::{self, DiskLedger},
    postgres::{self, OnCommit, PostgresLedger},
};
use crate::config::model::{self, Config, Store};

/// Why a ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// One on disk.
    #[error(transparent)]
    Disk(#[from] disk::OpenError),
    /// One in PostgreSQL.
    #[error(transparent)]
    Postgres(#[from] postgres::OpenError),
}

/// The ledger of `config`; `on_commit` is told how long each commit of one on disk took. If no route protects writes it is not
/// opened: nothing would be kept there. Its tasks, if it has any, run on the runtime on which it is opened.
pub(crate) async fn open_ledger(
    config: &Config,
    clock: &WallClock,
    on_commit: impl Fn(Duration, Option<usize>) + Send + Sync + 'static,
) -> Result<Arc<dyn Ledger>, OpenError> {
    let model::Ledger { store, max_open, max_bytes, .. } = &config.ledger;
    Ok(match store {
        Store::Disk { path, settle, key_file, .. } if config.protects_writes() => {
            let options = disk::Options {
                max_open: *max_open,
                max_bytes: *max_bytes,
                settle: *settle,
                key_file: key_file.clone(),
            };
            Arc::new(DiskLedger::open_observed(path, clock.clone(), &options, move |took| on_commit(took, None))?)
        }
        Store::Postgres(settings) if config.needs_ledger() => {
            let on_commit = OnCommit(Arc::new(move |took, operations| on_commit(took, Some(operations))));
            Arc::new(PostgresLedger::open(postgres::Options { on_commit, ..postgres_options(settings, config) }).await?)
        }
        Store::Disk { .. } | Store::Postgres(_) | Store::Memory => {
            Arc::new(MemoryLedger::new(clock.clone(), *max_open, *max_bytes))
        }
    })
}

/// How this process uses a ledger in PostgreSQL.
pub fn postgres_options(settings: &model::Postgres, config: &Config) -> postgres::Options {
    let retentions = config.policies.iter().filter_map(|policy| policy.idempotency.as_ref());
    postgres::Options {
        settings: settings.clone(),
        name: host_name(),
        max_open: config.ledger.max_open,
        retention: retentions.map(|idempotency| idempotency.retention).max().unwrap_or(Duration::ZERO),
        clock: None,
        on_commit: OnCommit::nobody(),
    }
}

/// What people call this replica: in a cluster, the pod's name.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "mainstay".to_owned() } else { name.to_owned() }
}
