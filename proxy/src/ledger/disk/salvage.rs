//! What can still be read of a damaged ledger, and sealing one anew.

use std::path::Path;

use mainstay_policies::operation::{Operation, UnixMillis};
use rusqlite::params;

use super::{
    error::OpenError,
    file,
    inspect::Inspection,
    sql::{self, SqlError},
    unlock,
};
use crate::ledger::vault::{Kind, key_id};

/// Operations that are read at once, and looked for one by one where that fails.
const PAGE: u64 = 256;
/// Numbers that are looked at beyond the last one that was read, where the ledger does not say how many it gave.
const BEYOND: u64 = 1 << 16;
/// Rows that are sealed anew in one transaction.
const ROWS: u32 = 256;

/// What a salvage found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Salvaged {
    /// Operations that were read.
    pub read: u64,
    /// Numbers whose row is damaged; where nothing can be read around it, each number counts.
    pub lost: u64,
}

impl Inspection {
    /// Hands over every operation that can be read, in id order, until `each` wants no more; what is damaged is left out.
    ///
    /// # Errors
    /// Nothing can be read at all, or its records are sealed and no key was given.
    pub fn salvage(&self, mut each: impl FnMut(&Operation) -> bool) -> Result<Salvaged, OpenError> {
        self.needs_key()?;
        let db = self.db();
        let mut found = Salvaged { read: 0, lost: 0 };
        let given = sql::counter(db, "last_seq").ok();
        let (mut at, mut last) = (0, given.unwrap_or(BEYOND));
        while at < last {
            match sql::after(db, at, None, u32::try_from(PAGE).unwrap_or(u32::MAX)) {
                Ok(page) if page.is_empty() => break,
                Ok(page) => {
                    for operation in &page {
                        at = operation.id.seq;
                        found.read += 1;
                        if !each(operation) {
                            return Ok(found);
                        }
                    }
                    last = last.max(given.unwrap_or_else(|| at.saturating_add(BEYOND)));
                }
                // Somewhere in these: each by its number.
                Err(_) => {
                    for seq in at + 1..=at + PAGE {
                        match sql::by_seq(db, seq) {
                            Ok(Some(operation)) => {
                                found.read += 1;
                                if !each(&operation) {
                                    return Ok(found);
                                }
                            }
                            Ok(None) => {}
                            Err(_) => found.lost += 1,
                        }
                    }
                    at += PAGE;
                }
            }
        }
        Ok(found)
    }
}

/// Seals everything in the ledger in `directory` with the newest key of the key file, so that no other is needed any more.
/// How many rows were sealed anew.
///
/// # Errors
/// A process has the ledger open, it cannot be read or written, or a key that it needs is missing.
pub fn rekey(directory: &Path, key_file: &Path, now: UnixMillis) -> Result<u64, OpenError> {
    let opened = file::open_there(directory, Some(key_file), now)?;
    let damaged = |error: SqlError| OpenError::of(&opened.path, &error);
    let db = &opened.writer;
    let Some(newest) = db.vault.newest() else { return Ok(0) };
    let done = || -> Result<u64, SqlError> {
        // What the old key sealed is overwritten, too.
        db.pragma_update(None, "secure_delete", true)?;
        let mut done = 0;
        for (table, column, kind) in unlock::SEALED_COLUMNS {
            let mut last = 0_i64;
            loop {
                let sql = format!("SELECT seq, {column} FROM {table} WHERE seq > ?1 ORDER BY seq LIMIT ?2");
                let rows: Vec<(i64, Vec<u8>)> = db
                    .prepare_cached(&sql)?
                    .query_map(params![last, ROWS], |row| Ok((row.get(0)?, row.get(1)?)))?
                    .collect::<Result<_, _>>()?;
                let Some((end, _)) = rows.last() else { break };
                last = *end;
                done += seal_anew(db, (table, column, kind), newest, rows)?;
            }
        }
        unlock::forget_all_but(db, newest)?;
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(done)
    };
    done().map_err(damaged)
}

fn seal_anew(
    db: &sql::Db,
    (table, column, kind): (&str, &str, Kind),
    newest: crate::ledger::vault::KeyId,
    rows: Vec<(i64, Vec<u8>)>,
) -> Result<u64, SqlError> {
    let transaction = db.unchecked_transaction()?;
    let mut done = 0;
    for (seq, written) in rows {
        if key_id(kind, &written)? == Some(newest) {
            continue;
        }
        let number = seq.cast_unsigned();
        let plain = db.vault.open(kind, number, &written)?.unwrap_or(written);
        let sql = format!("UPDATE {table} SET {column} = ?2 WHERE seq = ?1");
        transaction.prepare_cached(&sql)?.execute(params![seq, db.vault.seal(kind, number, plain)])?;
        done += 1;
    }
    transaction.commit()?;
    Ok(done)
}
