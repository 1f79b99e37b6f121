//! What people did, in the store.

use mainstay_policies::operation::{
    Operation, OperationId,
    audit::{AuditEntry, Audited},
};
use tokio_postgres::Row;

use super::{connect::Params, row::owner_column};

/// An entry by column.
pub(super) struct Entry {
    at: i64,
    seq: Option<i64>,
    tag: Option<i64>,
    said: AuditEntry,
}

impl Entry {
    pub(super) fn of(entry: AuditEntry) -> Self {
        Self {
            at: entry.at.cast_signed(),
            seq: entry.operation.map(|id| id.seq.cast_signed()),
            tag: entry.operation.map(|id| id.tag.cast_signed()),
            said: entry,
        }
    }

    pub(super) fn params(&self) -> Params<'_> {
        let AuditEntry { actor, action, target, reason, before, after, result, .. } = &self.said;
        vec![&self.at, actor, action, target, &self.seq, &self.tag, reason, before, after, result]
    }
}

/// An entry about a change, which is written only if that is.
pub(super) struct About {
    seq: i64,
    owner: i64,
    epoch: i64,
    revision: i64,
    entry: Entry,
}

pub(super) fn about(next: &Operation, entry: &AuditEntry) -> About {
    About {
        seq: next.id.seq.cast_signed(),
        owner: owner_column(next.owner),
        epoch: next.epoch.cast_signed(),
        revision: next.revision.cast_signed() + 1,
        entry: Entry::of(entry.clone()),
    }
}

impl About {
    pub(super) fn params(&self) -> Params<'_> {
        let mut params: Params<'_> = vec![&self.seq, &self.owner, &self.epoch, &self.revision];
        params.extend(self.entry.params());
        params
    }
}

/// An entry of a row.
pub(super) fn read(row: &Row) -> Audited {
    let id = |at: usize| row.get::<_, Option<i64>>(at).map(i64::cast_unsigned);
    let operation = id(5).zip(id(6)).map(|(seq, tag)| OperationId { seq, tag });
    Audited {
        number: row.get::<_, i64>(0).cast_unsigned(),
        entry: AuditEntry {
            at: row.get::<_, i64>(1).cast_unsigned(),
            actor: row.get(2),
            action: row.get(3),
            target: row.get(4),
            operation,
            reason: row.get(7),
            before: row.get(8),
            after: row.get(9),
            result: row.get(10),
        },
    }
}
