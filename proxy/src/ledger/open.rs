//! Which store a configuration asks for, opened.

use std::sync::Arc;

use mainstay_policies::{
    clock::WallClock,
    operation::{ledger::Ledger, memory::MemoryLedger},
};

use super::disk::{self, DiskLedger, OpenError};
use crate::config::model::{self, Config, Store};

/// The ledger of `config`. If no route protects writes it is not opened: nothing would be kept there.
pub(crate) fn open_ledger(config: &Config, clock: &WallClock) -> Result<Arc<dyn Ledger>, OpenError> {
    let model::Ledger { store, max_open, max_bytes, .. } = &config.ledger;
    Ok(match store {
        Store::Disk { path, settle, key_file, .. } if config.protects_writes() => {
            let options = disk::Options {
                max_open: *max_open,
                max_bytes: *max_bytes,
                settle: *settle,
                key_file: key_file.clone(),
            };
            Arc::new(DiskLedger::open(path, clock.clone(), &options)?)
        }
        Store::Disk { .. } | Store::Memory => Arc::new(MemoryLedger::new(clock.clone(), *max_open, *max_bytes)),
    })
}
