//! What a configuration may take of memory, against what there is.

use std::fmt;

use super::found::Found;
use crate::config::{
    machine,
    model::{Config, Store},
};

const MIB: u64 = 1024 * 1024;
/// What a ledger that keeps its records elsewhere has in memory of one that is open.
const OPEN_RECORD_BYTES: u64 = 640;
/// Above this share of the limit a burst ends the process: the rest is for what streams, and for the program itself.
const TIGHT_PERCENT: u64 = 80;

/// The most that a configuration takes of memory, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryBound {
    /// Operations.
    pub ledger: u64,
    /// Bodies that are held whole.
    pub buffers: u64,
    /// Client connections.
    pub connections: u64,
    /// What the process may have, if anything says so.
    pub limit: Option<u64>,
}

impl MemoryBound {
    /// That of `config`, on this machine or in this container.
    pub fn of(config: &Config) -> Self {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let ledger = match config.ledger.store {
            _ if !config.needs_ledger() => 0,
            Store::Memory => config.ledger.max_bytes,
            Store::Disk { .. } | Store::Postgres(_) => count(config.ledger.max_open).saturating_mul(OPEN_RECORD_BYTES),
        };
        Self {
            ledger,
            buffers: count(config.limits.buffered_bytes.get()),
            connections: count(config.limits.connections.get()).saturating_mul(machine::CONNECTION_BYTES),
            limit: machine::memory_limit(),
        }
    }

    fn total(&self) -> u64 {
        self.ledger.saturating_add(self.buffers).saturating_add(self.connections)
    }

    fn is_tight(&self) -> bool {
        self.limit.is_some_and(|limit| self.total() > limit / 100 * TIGHT_PERCENT)
    }
}

impl fmt::Display for MemoryBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes / MIB;
        let Self { ledger, buffers, connections, limit } = self;
        write!(
            f,
            "memory: at most about {}MiB (ledger {}, buffers {}, connections {})",
            mib(self.total()),
            mib(*ledger),
            mib(*buffers),
            mib(*connections)
        )?;
        match limit {
            Some(limit) => write!(f, " of {}MiB", mib(*limit)),
            None => f.write_str("; nothing says how much there is"),
        }
    }
}

/// What was written and does not fit. What was not written was derived from the limit.
pub(super) fn find(config: &Config, found: &mut Found<'_>) {
    let written =
        [["limits", "buffered_bytes"], ["limits", "connections"], ["ledger", "max_bytes"], ["ledger", "max_open"]];
    let bound = MemoryBound::of(config);
    let Some(path) = written.iter().find(|path| found.writes(*path)).filter(|_| bound.is_tight()) else { return };
    let cure = format!(
        "lower `limits.connections`, `limits.buffered_bytes` or the ledger's bounds, below {TIGHT_PERCENT} % together"
    );
    found.warn("memory-too-tight", path, bound.to_string(), cure);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_said_in_a_line_and_is_tight_above_four_fifths() {
        let mut bound =
            MemoryBound { ledger: 64 * MIB, buffers: 64 * MIB, connections: 15 * MIB, limit: Some(256 * MIB) };
        assert_eq!(bound.to_string(), "memory: at most about 143MiB (ledger 64, buffers 64, connections 15) of 256MiB");
        assert!(!bound.is_tight());
        bound.connections = 90 * MIB;
        assert!(bound.is_tight());
        bound.limit = None;
        assert!(!bound.is_tight());
    }
}
