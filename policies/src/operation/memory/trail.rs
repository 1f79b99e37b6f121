//! The audit trail of a ledger in memory.

use std::collections::VecDeque;

use crate::operation::audit::{AUDIT_KEPT, AuditEntry, Audited};

/// What people did, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Trail {
    pub(super) entries: VecDeque<Audited>,
    last: u64,
}

impl Trail {
    /// Adds an entry; its number.
    pub(super) fn append(&mut self, entry: AuditEntry) -> u64 {
        self.last += 1;
        self.entries.push_back(Audited { number: self.last, entry });
        if self.entries.len() as u64 > AUDIT_KEPT {
            self.entries.pop_front();
        }
        self.last
    }
}
