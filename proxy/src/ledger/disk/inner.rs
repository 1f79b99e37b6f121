//! What the ledger and its writer share.

use std::{fs::File, path::PathBuf, sync::atomic::AtomicU64};

use mainstay_policies::{
    clock::WallClock,
    operation::{InstanceId, UnixMillis, ledger::Settle},
};
use parking_lot::Mutex;

use super::{held::Records, keys::KeyIndex, sql::Db};

/// What the ledger's users and its writer share.
pub(super) struct Inner {
    pub(crate) clock: WallClock,
    pub(crate) instance: InstanceId,
    pub(crate) secret: [u8; 32],
    pub(crate) max_open: usize,
    pub(crate) max_bytes: u64,
    /// Bytes that the file's pages in use take, as last measured.
    pub(crate) used_bytes: AtomicU64,
    pub(crate) settle: Settle,
    pub(crate) path: PathBuf,
    pub(crate) records: Mutex<Records>,
    /// Everything that is committed.
    pub(crate) keys: Mutex<KeyIndex>,
    pub(crate) reader: Mutex<Db>,
    /// Locked as long as the ledger is open.
    pub(crate) _lock: File,
}

impl Inner {
    /// Now, for what is forgotten.
    pub(crate) fn steady_now(&self) -> UnixMillis {
        self.clock.steady(self.clock.now())
    }
}
