//! The audit trail on disk: a table that a person reads with `sqlite3`, column by column.

use mainstay_policies::operation::{
    OperationId,
    audit::{AUDIT_KEPT, AuditEntry, Audited},
};
use rusqlite::{Connection, Row, params};

use super::sql::SqlError;

const COLUMNS: &str = "SELECT number, at, actor, action, target, seq, tag, reason, before, after, result FROM audit";

/// Appends an entry, and drops what is one too many; the entry's number.
pub(super) fn append(connection: &Connection, entry: &AuditEntry) -> Result<u64, SqlError> {
    let (seq, tag) = entry.operation.map(|id| (id.seq.cast_signed(), id.tag.cast_signed())).unzip();
    let sql = "INSERT INTO audit (at, actor, action, target, seq, tag, reason, before, after, result)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    connection.prepare_cached(sql)?.execute(params![
        entry.at.cast_signed(),
        entry.actor,
        entry.action,
        entry.target,
        seq,
        tag,
        entry.reason,
        entry.before,
        entry.after,
        entry.result,
    ])?;
    let number = connection.last_insert_rowid().cast_unsigned();
    if let Some(oldest) = number.checked_sub(AUDIT_KEPT) {
        connection.prepare_cached("DELETE FROM audit WHERE number <= ?1")?.execute([oldest.cast_signed()])?;
    }
    Ok(number)
}

/// The latest entry first; those before `before`, of one operation or all, at most `limit`.
pub(super) fn read(
    connection: &Connection,
    of: Option<OperationId>,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<Audited>, SqlError> {
    let before = before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    // Written out for each, so that the index is used where it helps.
    let found = match of {
        None => {
            let sql = format!("{COLUMNS} WHERE number < ?1 ORDER BY number DESC LIMIT ?2");
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(params![before, limit], entry)?;
            rows.collect::<Result<_, _>>()?
        }
        Some(id) => {
            let sql = format!("{COLUMNS} WHERE seq = ?1 AND tag = ?2 AND number < ?3 ORDER BY number DESC LIMIT ?4");
            let mut statement = connection.prepare_cached(&sql)?;
            let of = params![id.seq.cast_signed(), id.tag.cast_signed(), before, limit];
            let rows = statement.query_map(of, entry)?;
            rows.collect::<Result<_, _>>()?
        }
    };
    Ok(found)
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Audited> {
    let (seq, tag): (Option<i64>, Option<i64>) = (row.get(5)?, row.get(6)?);
    let id = |(seq, tag): (i64, i64)| OperationId { seq: seq.cast_unsigned(), tag: tag.cast_unsigned() };
    Ok(Audited {
        number: row.get::<_, i64>(0)?.cast_unsigned(),
        entry: AuditEntry {
            at: row.get::<_, i64>(1)?.cast_unsigned(),
            actor: row.get(2)?,
            action: row.get(3)?,
            target: row.get(4)?,
            operation: seq.zip(tag).map(id),
            reason: row.get(7)?,
            before: row.get(8)?,
            after: row.get(9)?,
            result: row.get(10)?,
        },
    })
}
