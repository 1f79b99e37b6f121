//! `ledger`.

use std::path::PathBuf;

use mainstay_policies::idempotency::NODES;
use serde_json::Value;

use crate::config::{
    decode::{Cx, Setting, or, section, words},
    definitions::Definitions,
    model::{Ledger, OnFailure, Store},
    node::Node,
    raw::postgres::{self, RawLease, RawStoreTimeouts, RawTls},
    scalars::Size,
};
use mainstay_policies::operation::ledger::Settle;

/// Where a package or an image would make the directory.
const PATH: &str = "/var/lib/mainstay";
/// A few million records with small responses: far more than a day of writes of one service.
const MAX_BYTES_ON_DISK: u64 = 4 * 1024 * 1024 * 1024;
/// A sidecar's memory limit is 128 to 256 MiB, so trials stay well below it.
const MAX_BYTES_IN_MEMORY: u64 = 64 * 1024 * 1024;
/// Operations that nobody has settled; more means that something is badly wrong.
const MAX_OPEN: usize = 100_000;

section! {
    /// Where operations (keyed writes) are kept.
    RawLedger {
        /// `disk`: a restart loses nothing. `memory`: lost on exit, for trials. `postgres`: one ledger for all replicas. Default disk.
        store: RawStore,
        /// The directory of a ledger on disk; made if it is absent. Default /var/lib/mainstay.
        path: String,
        /// When the end of a write counts as recorded. `durable`: when it is on the disk. `eventual`: when the writer has been
        /// asked to; quicker, and after a crash a repeat may meet `outcome-unknown` instead of its replay, never a second
        /// effect. Default durable.
        settle: Settle,
        /// When the disk fails, after which only a restart opens the ledger again. `exit`: the process drains and ends with
        /// code 4. `stay`: keyed writes are refused until somebody restarts it, other traffic goes on. A full disk is no
        /// failure. Default exit.
        on_failure: OnFailure,
        /// Seals what is kept of requests and answers. Default: not.
        encrypt: KeyFile,
        /// Operations that are not terminal at most; one more is refused. Default 100000.
        max_open: usize,
        /// Bytes of operations and responses at most; one more is refused. Default 4GiB on disk, 64MiB in memory.
        max_bytes: Size,
        /// Which of up to 1024 instances this is, in the snowflakes that it mints. Default: drawn once per ledger; a shared
        /// ledger hands them out.
        node: u32,
        /// Where the store of `postgres` is: `postgres://user@host:port,host:port/database`, without a password.
        url: String,
        /// The store's password, as in `"${PGPASSWORD}"`. Default: none.
        password: String,
        /// A file with the store's password; read at every connect.
        password_file: String,
        /// How connections to the store are protected. Default: TLS, unless the store is on this machine.
        tls: RawTls,
        /// The schema in the store, one for each service. Default mainstay.
        schema: String,
        /// The service whose writes are kept in the store, which refuses those of another.
        service: String,
        /// How long the store may take.
        timeouts: RawStoreTimeouts,
        /// When a replica is taken for dead.
        lease: RawLease,
        /// How often it is looked whether what repeats wait for has changed in the store. Default 25ms.
        wait_poll: std::time::Duration,
        /// `auto`: the store's schema is made and migrated at start. `check`: only checked. Default auto.
        migrate: RawMigrate,
        /// `verified`: the store's settings are read, and one that may lose what it acknowledged is refused. `declared`: somebody
        /// vouches for them. Default verified.
        durability: RawDurability,
        /// Whether the pod stays ready while the store cannot be reached: other replicas cannot reach it either. Default true.
        ready_without: bool,
    }
}

section! {
    /// How the ledger is sealed.
    RawEncrypt {
        /// A file with the key, or several with the newest first: 32 raw bytes, or a line of hex or base64 for each. Nobody but
        /// its user and group may read it.
        key_file: String = required,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum RawStore {
    Disk,
    Memory,
    Postgres,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum RawMigrate {
    Auto,
    Check,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum RawDurability {
    Verified,
    Declared,
}

/// On disk, bounded.
pub(crate) fn default_ledger() -> Ledger {
    Ledger {
        store: Store::Disk { path: PATH.into(), settle: Settle::Durable, key_file: None, on_failure: OnFailure::Exit },
        max_open: MAX_OPEN,
        max_bytes: MAX_BYTES_ON_DISK,
        node: None,
    }
}

impl Setting for Ledger {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let mut raw = RawLedger::decode(node, cx)?;
        let kind = raw.store.take().map_or(RawStore::Disk, |store| store.value);
        if kind != RawStore::Postgres {
            postgres::only_there(&raw, cx);
        }
        let (store, max_bytes) = match kind {
            RawStore::Postgres => (postgres::store(&mut raw, node.at, cx)?, MAX_BYTES_ON_DISK),
            RawStore::Disk => {
                let path = raw.path.map_or_else(|| PATH.into(), |path| path.value.into());
                let key_file = raw.encrypt.map(|file| file.value.0);
                let (settle, on_failure) = (or(raw.settle, Settle::Durable), or(raw.on_failure, OnFailure::Exit));
                (Store::Disk { path, settle, key_file, on_failure }, MAX_BYTES_ON_DISK)
            }
            RawStore::Memory => {
                if let Some(path) = raw.path {
                    cx.error::<()>(path.at, "`store: memory` has no `path`", "remove it, or use `store: disk`");
                }
                if let Some(encrypt) = raw.encrypt {
                    let message = "`store: memory` has no `encrypt`: nothing of it is written anywhere";
                    cx.error::<()>(encrypt.at, message, "remove it, or use `store: disk`");
                }
                if let Some(settle) = raw.settle {
                    let message = "`store: memory` has no `settle`: nothing in it outlives the process";
                    cx.error::<()>(settle.at, message, "remove it, or use `store: disk`");
                }
                if let Some(on_failure) = raw.on_failure {
                    let message = "`store: memory` has no `on_failure`: it has no disk that could fail";
                    cx.error::<()>(on_failure.at, message, "remove it, or use `store: disk`");
                }
                (Store::Memory, MAX_BYTES_IN_MEMORY)
            }
        };
        Some(Self {
            store,
            node: raw.node.and_then(|node| {
                let in_range = |node: &u32| *node < u32::from(NODES);
                u16::try_from(cx.ranged("node", Some(node), 0, in_range, "it is from 0 to 1023")).ok()
            }),
            max_open: cx.ranged("max_open", raw.max_open, MAX_OPEN, |open| *open > 0, "at least 1"),
            max_bytes: cx
                .ranged("max_bytes", raw.max_bytes, Size(max_bytes), |size| size.0 >= 1 << 20, "at least 1MiB")
                .0,
        })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        RawLedger::schema(definitions)
    }
}

/// `encrypt`.
pub(crate) struct KeyFile(pub(super) PathBuf);

impl Setting for KeyFile {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let raw = RawEncrypt::decode(node, cx)?;
        Some(Self(raw.key_file?.value.into()))
    }

    fn schema(definitions: &mut Definitions) -> Value {
        RawEncrypt::schema(definitions)
    }
}

impl Setting for Settle {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &[("durable", Self::Durable), ("eventual", Self::Eventual)])
    }

    fn schema(_: &mut Definitions) -> Value {
        words(&["durable", "eventual"])
    }
}

impl Setting for OnFailure {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &[("exit", Self::Exit), ("stay", Self::Stay)])
    }

    fn schema(_: &mut Definitions) -> Value {
        words(&["exit", "stay"])
    }
}

impl Setting for RawStore {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &[("disk", Self::Disk), ("memory", Self::Memory), ("postgres", Self::Postgres)])
    }

    fn schema(_: &mut Definitions) -> Value {
        words(&["disk", "memory", "postgres"])
    }
}

impl Setting for RawMigrate {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &[("auto", Self::Auto), ("check", Self::Check)])
    }

    fn schema(_: &mut Definitions) -> Value {
        words(&["auto", "check"])
    }
}

impl Setting for RawDurability {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &[("verified", Self::Verified), ("declared", Self::Declared)])
    }

    fn schema(_: &mut Definitions) -> Value {
        words(&["verified", "declared"])
    }
}
