//! Segments on disk: the keys of operations that followed each other, in the order of the keys, written once.
//!
//! A segment is written a few pages with each transaction, so that it costs no commit of its own, and counts from the
//! transaction on that adds it to `key_segment`. Until then the map in memory has its keys, and after a crash they are read
//! from the operations, as are all that came after the last segment. An entry is never changed; it may outlive its
//! operation, and goes with its segment when that has no operation left.

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
};

use mainstay_policies::operation::{KeyHash, Operation, QUESTION_LOOKS, Question, UnixMillis};
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    index::{Entry, KeyIndex, Segment},
    segment_size,
};
use crate::ledger::{
    disk::{
        held::is_forgotten,
        sql::{self, Db, SqlError},
    },
    record::Unreadable,
};

/// Entries of a page. Four pages fill one of SQLite's; one entry more and each would take an overflow page.
pub(crate) const PAGE: usize = 60;
const ENTRY_BYTES: usize = 16;

/// The latest operation under a key, as the file has it. Which ones may be is known by `index`, which has to know by now
/// whatever was committed.
pub(crate) fn latest_under(db: &Db, index: &Mutex<KeyIndex>, key: KeyHash) -> Result<Option<Operation>, SqlError> {
    newest_under(db, index, sql::key_column(key), |seq| sql::of_key(db, seq, key))
}

/// Whether one of the latest operations under a question is of another principal, and not forgotten at `now`.
pub(crate) fn is_anothers(
    db: &Db,
    index: &Mutex<KeyIndex>,
    question: Question,
    principal: [u8; 32],
    now: UnixMillis,
) -> Result<bool, SqlError> {
    let looks = Cell::new(QUESTION_LOOKS);
    let found = newest_under(db, index, sql::question_column(question), |seq| {
        let Some(left) = looks.get().checked_sub(1) else { return Ok(Some(false)) };
        looks.set(left);
        let operation = sql::by_seq(db, seq)?.filter(|found| found.question() == Some(question));
        let is_it = operation.is_some_and(|found| found.principal != principal && !is_forgotten(&found, now));
        Ok(is_it.then_some(true))
    })?;
    Ok(found == Some(true))
}

/// The latest operations under a question that are not forgotten at `now`, the latest first.
pub(crate) fn asked_by(
    db: &Db,
    index: &Mutex<KeyIndex>,
    question: Question,
    now: UnixMillis,
) -> Result<Vec<Operation>, SqlError> {
    let found = RefCell::new(Vec::new());
    let looks = Cell::new(QUESTION_LOOKS);
    newest_under(db, index, sql::question_column(question), |seq| {
        let Some(left) = looks.get().checked_sub(1) else { return Ok(Some(())) };
        looks.set(left);
        let operation = sql::by_seq(db, seq)?.filter(|found| found.question() == Some(question));
        found.borrow_mut().extend(operation.filter(|found| !is_forgotten(found, now)));
        Ok(None)
    })?;
    Ok(found.into_inner())
}

/// Has `look` see the operations that may be filed under `prefix`, the newest first, until it finds something.
fn newest_under<T>(
    db: &Db,
    index: &Mutex<KeyIndex>,
    prefix: i64,
    look: impl Fn(u64) -> Result<Option<T>, SqlError>,
) -> Result<Option<T>, SqlError> {
    let mut below = u64::MAX;
    loop {
        // Locked for this look only. What is sealed meanwhile is found below: entries go from here to there.
        let newest = index.lock().newest(prefix, below);
        let Some(seq) = newest else { break };
        let found = look(seq)?;
        if found.is_some() {
            return Ok(found);
        }
        below = seq;
    }
    let segments = index.lock().segments(prefix);
    for segment in segments {
        let found = find_in(db, segment.id, prefix, &look)?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Has `look` see the operations that a segment has under a key, the newest first, until it finds something.
fn find_in<T>(
    db: &Connection,
    segment: i64,
    prefix: i64,
    look: impl Fn(u64) -> Result<Option<T>, SqlError>,
) -> Result<Option<T>, SqlError> {
    let mut statement = db.prepare_cached(
        "SELECT head, keys FROM key_page WHERE segment = ?1 AND head <= ?2 ORDER BY head DESC, number DESC",
    )?;
    let mut pages = statement.query([segment, prefix])?;
    while let Some(page) = pages.next()? {
        let head: i64 = page.get(0)?;
        for (_, seq) in entries(page.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?)?
            .rev()
            .skip_while(|(known, _)| *known > prefix)
            .take_while(|(known, _)| *known == prefix)
        {
            let found = look(seq)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        if head < prefix {
            break;
        }
    }
    Ok(None)
}

/// Everything that a segment has, in order.
///
/// # Errors
/// Also if it is not as it was written: a key that is not found is a write that is repeated.
pub(crate) fn read(db: &Connection, segment: Segment) -> Result<Vec<Entry>, SqlError> {
    let mut statement =
        db.prepare_cached("SELECT head, number, keys FROM key_page WHERE segment = ?1 ORDER BY head, number")?;
    let mut pages = statement.query([segment.id])?;
    // No capacity ahead: the number may be damaged, too.
    let mut all: Vec<Entry> = Vec::new();
    while let Some(page) = pages.next()? {
        let (head, number): (i64, i64) = (page.get(0)?, page.get(1)?);
        let from = all.len();
        all.extend(entries(page.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?)?);
        let is_next = usize::try_from(number) == Ok(from / PAGE) && from.is_multiple_of(PAGE);
        if !is_next || all.get(from).is_none_or(|(first, _)| *first != head) {
            return Err(Unreadable.into());
        }
    }
    if all.len() != segment.entries || !all.is_sorted() {
        return Err(Unreadable.into());
    }
    Ok(all)
}

/// Reads what is filed. What is in no segment yet is brought into some, but for the latest operations: after a start on a
/// file of an earlier version that is all of it.
pub(crate) fn load(db: &Db) -> Result<KeyIndex, SqlError> {
    let mut index = KeyIndex::default();
    let (mut sealed, mut next_id) = (0, 1);
    for segment in all(db)? {
        let entries = read(db, segment)?;
        index.file(segment, entries.iter().map(|(prefix, _)| *prefix));
        (sealed, next_id) = (sealed.max(segment.last), next_id.max(segment.id + 1));
    }
    loop {
        let fresh = entries_after(db, sealed)?;
        let last = fresh.last().map_or(sealed, |(_, seq)| *seq);
        let is_whole = fresh.len() >= segment_size();
        for entry in fresh {
            index.add(entry);
        }
        if !is_whole {
            return Ok(index);
        }
        let mut sealing = Sealing::start(next_id, &mut index, sealed, last);
        let transaction = db.unchecked_transaction()?;
        sealing.write(db, usize::MAX)?;
        transaction.commit()?;
        sealing.committed(&mut index);
        (sealed, next_id) = (last, next_id + 1);
    }
}

/// Every segment, the oldest first.
pub(crate) fn all(db: &Connection) -> Result<Vec<Segment>, SqlError> {
    after(db, 0, usize::MAX)
}

/// At most so many segments that end after `seq`, the oldest first.
pub(crate) fn after(db: &Connection, seq: u64, limit: usize) -> Result<Vec<Segment>, SqlError> {
    let sql = "SELECT id, first, last, entries FROM key_segment WHERE last > ?1 ORDER BY last LIMIT ?2";
    let mut statement = db.prepare_cached(sql)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement.query_map([sql::column(seq), limit], |row| {
        let (id, first, last) = (row.get(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?);
        let entries = usize::try_from(row.get::<_, i64>(3)?).unwrap_or(usize::MAX);
        Ok(Segment { id, first: first.cast_unsigned(), last: last.cast_unsigned(), entries })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Under what the next operations after `seq` are filed: a segment's worth.
fn entries_after(db: &Connection, seq: u64) -> Result<Vec<Entry>, SqlError> {
    let sql = "SELECT key, question, seq FROM operation WHERE seq > ?1 ORDER BY seq LIMIT ?2";
    let mut statement = db.prepare_cached(sql)?;
    let limit = i64::try_from(segment_size()).unwrap_or(i64::MAX);
    let mut rows = statement.query([sql::column(seq), limit])?;
    let mut found = Vec::new();
    while found.len() < segment_size()
        && let Some(row) = rows.next()?
    {
        let (key, question, seq): (_, Option<i64>, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        found.extend([Some(key), question].into_iter().flatten().map(|prefix| (prefix, seq.cast_unsigned())));
    }
    Ok(found)
}

/// Whether a segment has no operation left.
pub(crate) fn is_empty(db: &Connection, segment: Segment) -> Result<bool, SqlError> {
    let mut statement = db.prepare_cached("SELECT 1 FROM operation WHERE seq BETWEEN ?1 AND ?2 LIMIT 1")?;
    let row = statement.query_row([sql::column(segment.first), sql::column(segment.last)], |_| Ok(())).optional()?;
    Ok(row.is_none())
}

/// Removes a segment.
pub(crate) fn remove(db: &Connection, id: i64) -> Result<(), SqlError> {
    remove_pages(db, id)?;
    db.prepare_cached("DELETE FROM key_segment WHERE id = ?1")?.execute([id])?;
    Ok(())
}

fn remove_pages(db: &Connection, id: i64) -> Result<(), SqlError> {
    db.prepare_cached("DELETE FROM key_page WHERE segment = ?1")?.execute([id])?;
    Ok(())
}

/// A segment on its way to the disk.
pub(crate) struct Sealing {
    segment: Segment,
    entries: Arc<[Entry]>,
    /// Pages that are committed, and that will be with the transaction.
    committed: usize,
    written: usize,
}

impl Sealing {
    /// Begins with what is fresh in `index`: all operations after `sealed`, and up to `last`.
    pub(crate) fn start(id: i64, index: &mut KeyIndex, sealed: u64, last: u64) -> Self {
        let entries = index.start_sealing();
        let segment = Segment { id, first: sealed + 1, last, entries: entries.len() };
        Self { segment, entries, committed: 0, written: 0 }
    }

    /// Writes at most so many pages more; after the last one it is a segment.
    pub(crate) fn write(&mut self, db: &Connection, pages: usize) -> Result<(), SqlError> {
        let id = self.segment.id;
        if self.written == 0 {
            // A process that died half-way has left its own pages under this number.
            remove_pages(db, id)?;
        }
        let mut insert = db.prepare_cached("INSERT INTO key_page VALUES (?1, ?2, ?3, ?4)")?;
        let from = self.written;
        for (number, page) in self.entries.chunks(PAGE).enumerate().skip(from).take(pages) {
            let (head, _) = page[0];
            let number = i64::try_from(number).unwrap_or(i64::MAX);
            insert.execute(params![id, head, number, encode(page)])?;
            self.written += 1;
        }
        if self.is_written() {
            let Segment { first, last, entries, .. } = self.segment;
            let entries = i64::try_from(entries).unwrap_or(i64::MAX);
            let mut insert = db.prepare_cached("INSERT INTO key_segment VALUES (?1, ?2, ?3, ?4)")?;
            insert.execute([id, sql::column(first), sql::column(last), entries])?;
        }
        Ok(())
    }

    fn is_written(&self) -> bool {
        self.written == self.entries.len().div_ceil(PAGE)
    }

    /// The transaction is committed. Returns whether all is written: then `index` knows it, and this is over.
    pub(crate) fn committed(&mut self, index: &mut KeyIndex) -> bool {
        self.committed = self.written;
        let is_over = self.is_written();
        if is_over {
            index.seal(self.segment);
        }
        is_over
    }

    /// The transaction was rolled back.
    pub(crate) const fn rolled_back(&mut self) {
        self.written = self.committed;
    }
}

fn encode(page: &[Entry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(page.len() * ENTRY_BYTES);
    for (prefix, seq) in page {
        out.extend_from_slice(&prefix.to_be_bytes());
        out.extend_from_slice(&seq.to_be_bytes());
    }
    out
}

fn entries(keys: &[u8]) -> Result<impl DoubleEndedIterator<Item = Entry>, SqlError> {
    let (entries, rest) = keys.as_chunks::<ENTRY_BYTES>();
    if !rest.is_empty() {
        return Err(Unreadable.into());
    }
    Ok(entries.iter().map(|entry| {
        let both = u128::from_be_bytes(*entry);
        (((both >> 64) as u64).cast_signed(), both as u64)
    }))
}
