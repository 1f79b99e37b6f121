//! A ledger as somebody else sees it, who only reads: also beside the proxy that it belongs to.
//!
//! SQLite lets another process read a database in write-ahead mode while its owner writes: each look sees one state of
//! it and delays nobody. As long as a look lasts the owner cannot start its log anew, so the log grows meanwhile; only
//! [`Inspection::check`] of a large ledger takes long enough for that to matter.

use std::{
    fs,
    path::{Path, PathBuf},
};

use mainstay_policies::operation::{KeptRequest, Operation, OperationId, Retained, State};
use rusqlite::OptionalExtension;

use super::{
    error::OpenError,
    file, keys,
    sql::{self, Db, STATES, SqlError},
    unlock,
};
use crate::ledger::record::state_of;

/// Operations that are read at once, so that an export of any size needs little memory and keeps no look open.
const PAGE: u32 = 256;

/// A ledger, open for reading.
pub struct Inspection {
    db: Db,
    path: PathBuf,
    /// Its records cannot be read: they are sealed, and no key was given.
    is_closed: bool,
}

/// What can be said of a ledger at a glance.
#[derive(Clone, Debug)]
pub struct Stats {
    /// The file.
    pub path: PathBuf,
    /// The version of its tables.
    pub format: i64,
    /// Whether records are sealed from now on.
    pub is_sealed: bool,
    /// Operations by state: pending, succeeded, failed, `not_executed`, unknown.
    pub counts: [u64; 5],
    /// The oldest one that is not terminal; without its record if that is sealed and no key was given.
    pub oldest_open: Option<(OperationId, Option<Operation>)>,
    /// Entries of the audit trail.
    pub audit_entries: u64,
    /// Bytes of the database.
    pub file_bytes: u64,
    /// Bytes of its write-ahead log.
    pub wal_bytes: u64,
    /// Bytes of a page.
    pub page_bytes: u64,
    /// Pages of the database.
    pub pages: u64,
    /// Pages that hold nothing.
    pub free_pages: u64,
}

/// What a check looked at.
#[derive(Clone, Copy, Debug)]
pub struct Checked {
    /// Operations in the file.
    pub operations: u64,
    /// Whether their records were read: sealed ones are not without a key.
    pub has_read_records: bool,
}

impl Inspection {
    /// Opens the ledger in a directory, or the file itself.
    ///
    /// # Errors
    /// There is none, it is not one that this version reads, or the key is not that of the ledger.
    pub fn open(place: &Path, key_file: Option<&Path>) -> Result<Self, OpenError> {
        let path = if place.is_dir() { place.join(file::NAME) } else { place.to_owned() };
        let db = file::open_to_read(&path, key_file)?;
        let is_sealed = unlock::is_sealed(&db).map_err(|error| OpenError::of(&path, &error))?;
        let is_closed = is_sealed && key_file.is_none();
        if !is_closed {
            unlock::secret(&db, &db.vault, &path)?;
        }
        Ok(Self { db, path, is_closed })
    }

    /// Opens a damaged one: what cannot be read shows when it is looked at.
    ///
    /// # Errors
    /// There is none, it is not one that this version reads, or the keys cannot be had.
    pub fn open_damaged(place: &Path, key_file: Option<&Path>) -> Result<Self, OpenError> {
        let path = if place.is_dir() { place.join(file::NAME) } else { place.to_owned() };
        let db = file::open_to_read(&path, key_file)?;
        let is_closed = key_file.is_none() && unlock::is_sealed(&db).unwrap_or(false);
        Ok(Self { db, path, is_closed })
    }

    pub(super) const fn db(&self) -> &Db {
        &self.db
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Records that are sealed are read with a key only.
    pub(super) fn needs_key(&self) -> Result<(), OpenError> {
        if self.is_closed { Err(OpenError::NoKey(self.path.clone())) } else { Ok(()) }
    }

    /// When the newest operation was begun, or settled, if its record can be read: the file's own time else.
    pub(super) fn last_begun(&self) -> Result<u64, SqlError> {
        let written = fs::metadata(&self.path).and_then(|file| file.modified()).ok();
        let written = written.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        let written = written.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        if self.is_closed {
            return Ok(written);
        }
        let last: Option<i64> = self.db.query_row("SELECT max(seq) FROM operation", [], |row| row.get(0))?;
        let Some(last) = last else { return Ok(written) };
        let newest = sql::by_seq(&self.db, last.cast_unsigned())?;
        Ok(newest.map_or(written, |newest| newest.settled_at.unwrap_or(newest.created_at).max(newest.created_at)))
    }

    /// Counts and sizes.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn stats(&self) -> Result<Stats, OpenError> {
        self.read_stats().map_err(|error| OpenError::of(&self.path, &error))
    }

    fn read_stats(&self) -> Result<Stats, SqlError> {
        let db = &self.db;
        let number = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0));
        let mut counts = [0; 5];
        for (count, state) in counts.iter_mut().zip(STATES) {
            *count = sql::counter(db, state.label())?;
        }
        let oldest = "SELECT seq, tag FROM operation WHERE due IS NULL AND state IN (0, 4) ORDER BY seq LIMIT 1";
        let oldest = db.query_row(oldest, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))).optional()?;
        let oldest = oldest.map(|(seq, tag)| OperationId { seq: seq.cast_unsigned(), tag: tag.cast_unsigned() });
        let record = match oldest {
            Some(id) if !self.is_closed => sql::by_seq(db, id.seq)?,
            _ => None,
        };
        let wal = self.path.with_file_name(format!("{}-wal", file::NAME));
        let size = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
        Ok(Stats {
            path: self.path.clone(),
            format: number("PRAGMA user_version")?,
            is_sealed: unlock::is_sealed(db)?,
            counts,
            oldest_open: oldest.map(|id| (id, record)),
            audit_entries: number("SELECT count(*) FROM audit")?.cast_unsigned(),
            file_bytes: size(&self.path),
            wal_bytes: size(&wal),
            page_bytes: number("PRAGMA page_size")?.cast_unsigned(),
            pages: number("PRAGMA page_count")?.cast_unsigned(),
            free_pages: number("PRAGMA freelist_count")?.cast_unsigned(),
        })
    }

    /// Hands every operation over, in id order, until `each` wants no more.
    ///
    /// # Errors
    /// The file cannot be read, or its records are sealed and no key was given.
    pub fn each(&self, mut each: impl FnMut(&Operation) -> bool) -> Result<(), OpenError> {
        self.needs_key()?;
        let mut last = 0;
        loop {
            let page = sql::after(&self.db, last, None, PAGE).map_err(|error| OpenError::of(&self.path, &error))?;
            let Some(end) = page.last() else { return Ok(()) };
            last = end.id.seq;
            if !page.iter().all(&mut each) {
                return Ok(());
            }
        }
    }

    /// Checks SQLite's structures and what must hold in a ledger; says each fault in a line.
    ///
    /// # Errors
    /// The file cannot be read at all.
    pub fn check(&self, mut fault: impl FnMut(String)) -> Result<Checked, OpenError> {
        let result = self.check_all(&mut fault);
        match result {
            Ok(checked) => Ok(checked),
            // Damage is what a check is there to find; the rest of it cannot be looked at.
            Err(error) => match OpenError::of(&self.path, &error) {
                OpenError::Damaged { reason, .. } => {
                    fault(format!("the file cannot be read: {reason}"));
                    Ok(Checked { operations: 0, has_read_records: false })
                }
                other => Err(other),
            },
        }
    }

    fn check_all(&self, fault: &mut impl FnMut(String)) -> Result<Checked, SqlError> {
        // One state for all of it, whatever the owner writes meanwhile.
        let look = self.db.unchecked_transaction()?;
        let mut statement = look.prepare("PRAGMA integrity_check")?;
        for line in statement.query_map([], |row| row.get::<_, String>(0))? {
            let line = line?;
            if line != "ok" {
                fault(format!("SQLite: {line}"));
            }
        }
        let mut found = [0; 5];
        self.check_operations(&mut found, fault)?;
        for ((state, found), counter) in STATES.iter().zip(found).zip(self.read_stats()?.counts) {
            if found != counter {
                fault(format!("{found} operations are {}, and the counter says {counter}", state.label()));
            }
        }
        let number = |sql: &str| look.query_row(sql, [], |row| row.get::<_, i64>(0));
        let (last, given) = (number("SELECT coalesce(max(seq), 0) FROM operation")?, sql::counter(&look, "last_seq")?);
        if last.cast_unsigned() > given {
            fault(format!("operation {last} is there, and the last number that was given is {given}"));
        }
        for table in ["response", "request"] {
            let orphans =
                number(&format!("SELECT count(*) FROM {table} WHERE seq NOT IN (SELECT seq FROM operation)"))?;
            if orphans > 0 {
                fault(format!("{orphans} rows of `{table}` belong to no operation"));
            }
        }
        self.check_keys(fault)?;
        Ok(Checked { operations: found.iter().sum(), has_read_records: !self.is_closed })
    }

    fn check_operations(&self, found: &mut [u64; 5], fault: &mut impl FnMut(String)) -> Result<(), SqlError> {
        let mut statement = self.db.prepare(
            "SELECT o.seq, o.tag, o.state, o.record, r.response, o.key, o.due,
                EXISTS (SELECT 1 FROM request q WHERE q.seq = o.seq)
             FROM operation o LEFT JOIN response r ON r.seq = o.seq ORDER BY o.seq",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let seq: i64 = row.get(0)?;
            match state_of(row.get(2)?) {
                Ok(state) => {
                    let place = STATES.iter().position(|known| *known == state);
                    found[place.expect("every state is listed")] += 1;
                }
                Err(error) => fault(format!("operation {seq}: {error}")),
            }
            if self.is_closed {
                continue;
            }
            match sql::read(&self.db, row) {
                Ok(operation) => {
                    let columns = (row.get(5)?, row.get(6)?, row.get(7)?);
                    faults_of(&operation, columns, |what| fault(format!("operation {}: {what}", operation.id)));
                }
                Err(error) => fault(format!("operation {seq}: {error}")),
            }
        }
        Ok(())
    }

    /// Whether every operation that is filed under its key can be found there.
    fn check_keys(&self, fault: &mut impl FnMut(String)) -> Result<(), SqlError> {
        let mut between = self.db.prepare("SELECT key, question, seq FROM operation WHERE seq BETWEEN ?1 AND ?2")?;
        let mut filed = 0;
        for segment in keys::all(&self.db)? {
            let entries = match keys::read(&self.db, segment) {
                Ok(entries) => entries,
                Err(SqlError::Unreadable(error)) => {
                    fault(format!("segment {} of the keys: {error}", segment.id));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let mut rows = between.query([sql::column(filed + 1), sql::column(segment.last)])?;
            while let Some(row) = rows.next()? {
                let (question, seq) = (row.get::<_, Option<i64>>(1)?, row.get::<_, i64>(2)?.cast_unsigned());
                let is_filed = |prefix| seq >= segment.first && entries.binary_search(&(prefix, seq)).is_ok();
                if !is_filed(row.get(0)?) {
                    fault(format!("operation {seq} is not filed under its key"));
                } else if !question.is_none_or(is_filed) {
                    fault(format!("operation {seq} is not filed under what its service is asked"));
                }
            }
            filed = segment.last;
        }
        Ok(())
    }
}

/// What is wrong with an operation, beside the columns for its key, its due time, and whether a request is kept.
fn faults_of(
    operation: &Operation,
    (key, due, has_request): (i64, Option<i64>, bool),
    mut fault: impl FnMut(&'static str),
) {
    if key != sql::key_column(operation.key_hash) {
        fault("it is filed under another key");
    }
    if due != sql::next_expiry(operation).map(sql::column) {
        fault("it expires at another time than it is filed under");
    }
    if has_request != (operation.request != KeptRequest::None) {
        fault("its request is kept, or not, against its record");
    }
    let is_open = !operation.state.is_terminal();
    if is_open && operation.due_at().is_none() && operation.attention.is_none() {
        fault("it is open, nothing is due and nobody is called: it would stay open for ever");
    }
    if !is_open && operation.settled_at.is_none() {
        fault("it is settled at no time");
    }
    if operation.state == State::Pending && operation.retained != Retained::None {
        fault("it is pending, and has an answer");
    }
}

impl std::fmt::Debug for Inspection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inspection").field("path", &self.path).finish_non_exhaustive()
    }
}
