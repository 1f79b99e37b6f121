//! `ledger`.

use schemars::{Schema, SchemaGenerator};

use crate::config::{
    decode::{Cx, Setting, or, section, words},
    model::{Ledger, Store},
    node::Node,
    scalars::Size,
};

/// A sidecar's memory limit is 128 to 256 MiB, so trials stay well below it.
const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Operations that nobody has settled; more means that something is badly wrong.
const MAX_OPEN: usize = 100_000;

section! {
    /// Where operations (keyed writes) are kept.
    RawLedger {
        /// `memory`: lost on exit, for trials. Default memory.
        store: Store,
        /// Operations that are not terminal at most; one more is refused. Default 100000.
        max_open: usize,
        /// Bytes of operations and responses at most; one more is refused. Default 64MiB.
        max_bytes: Size,
    }
    later ["path", "settle", "encrypt"]
}

/// In memory, bounded.
pub(crate) fn default_ledger() -> Ledger {
    Ledger { store: Store::Memory, max_open: MAX_OPEN, max_bytes: MAX_BYTES }
}

impl Setting for Ledger {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let raw = RawLedger::decode(node, cx)?;
        let default = default_ledger();
        Some(Self {
            store: or(raw.store, default.store),
            max_open: cx.ranged("max_open", raw.max_open, default.max_open, |open| *open > 0, "at least 1"),
            max_bytes: cx
                .ranged("max_bytes", raw.max_bytes, Size(default.max_bytes), |size| size.0 >= 1 << 20, "at least 1MiB")
                .0,
        })
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        RawLedger::schema(generator)
    }
}

impl Setting for Store {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if node.is_word("disk") {
            return cx.error(node.at, "`store: disk` is not available in this version", "use memory");
        }
        if node.is_word("memory") { Some(Self::Memory) } else { cx.mismatch(node, "memory") }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        words(&["memory"])
    }
}
