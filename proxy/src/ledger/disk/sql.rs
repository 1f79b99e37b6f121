//! The tables, and every statement on them.
//!
//! `operation` is written in the order of its number. One index: by when the next part of a record is to be dropped, which
//! is NULL while it is open or flagged, so that the same index finds the open ones at start. `key` is the first eight bytes
//! of the key hash; the whole hash is in the record. Which operations are under a key, or under what their service is asked,
//! is filed in `keys`.

use std::{ops::Deref, sync::Arc};

use mainstay_policies::operation::{
    KeptRequest, KeyHash, Operation, OperationId, Question, Retained, State, StoredRequest, UnixMillis, ledger::Order,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::ledger::{
    record::{self, Unreadable},
    vault::{Kind, Vault},
};

/// What turns an empty file into a ledger, one step per version of the schema.
pub(super) const MIGRATIONS: [&str; 7] = [
    "
    CREATE TABLE migration (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL) STRICT;
    CREATE TABLE secret (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    INSERT INTO counter VALUES
        ('pending', 0), ('succeeded', 0), ('failed', 0), ('not_executed', 0), ('unknown', 0), ('last_seq', 0);
    CREATE TABLE operation (
        seq INTEGER PRIMARY KEY,
        tag INTEGER NOT NULL,
        key INTEGER NOT NULL,
        state INTEGER NOT NULL,
        due INTEGER,
        record BLOB NOT NULL
    ) STRICT;
    CREATE INDEX operation_key ON operation (key);
    CREATE INDEX operation_due ON operation (due);
    CREATE TABLE response (seq INTEGER PRIMARY KEY, response BLOB NOT NULL) STRICT;
",
    "
    CREATE TABLE audit (
        number INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        actor TEXT NOT NULL,
        action TEXT NOT NULL,
        target TEXT NOT NULL,
        seq INTEGER,
        tag INTEGER,
        reason TEXT NOT NULL,
        before TEXT,
        after TEXT,
        result TEXT NOT NULL
    ) STRICT;
    CREATE INDEX audit_seq ON audit (seq) WHERE seq IS NOT NULL;
",
    "
    CREATE TABLE request (seq INTEGER PRIMARY KEY, request BLOB NOT NULL) STRICT;
",
    // The segments of what is there already are made whenever operations are found that are in none.
    "
    DROP INDEX operation_key;
    CREATE TABLE key_segment (
        id INTEGER PRIMARY KEY,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        entries INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE key_page (
        segment INTEGER NOT NULL,
        head INTEGER NOT NULL,
        number INTEGER NOT NULL,
        keys BLOB NOT NULL,
        PRIMARY KEY (segment, head, number)
    ) STRICT, WITHOUT ROWID;
",
    // The beginning of the hash of what its service is asked; operations from before have none.
    "
    ALTER TABLE operation ADD COLUMN question INTEGER;
",
    // What is to be remembered beside the operations, such as how each listener knows its callers.
    "
    CREATE TABLE IF NOT EXISTS note (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
",
    // Records of version 6 are written, which no earlier program reads: by this number it refuses the file instead of finding
    // them damaged.
    "",
];

/// The states, in the order of their numbers and in the order in which they are counted.
pub(super) const STATES: [State; 5] =
    [State::Pending, State::Succeeded, State::Failed, State::NotExecuted, State::Unknown];

const COLUMNS: &str = "SELECT o.seq, o.tag, o.state, o.record, r.response
    FROM operation o LEFT JOIN response r ON r.seq = o.seq";
const BY_SEQ: &str = "SELECT o.seq, o.tag, o.state, o.record, r.response
    FROM operation o LEFT JOIN response r ON r.seq = o.seq WHERE o.seq = ?1";

/// A connection, and what is needed to read what it finds.
pub(super) struct Db {
    pub(super) connection: Connection,
    pub(super) vault: Arc<Vault>,
}

impl Deref for Db {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl Db {
    fn sealed_record(&self, operation: &Operation) -> Vec<u8> {
        self.vault.seal(Kind::Record, operation.id.seq, record::encode(operation))
    }
}

/// Why a statement failed. All of them are the store's fault, and the end of its handle.
#[derive(Debug, thiserror::Error)]
pub(super) enum SqlError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

/// An operation as it is stored.
pub(super) fn by_seq(db: &Db, seq: u64) -> Result<Option<Operation>, SqlError> {
    let mut statement = db.prepare_cached(BY_SEQ)?;
    let mut rows = statement.query([column(seq)])?;
    rows.next()?.map(|row| read(db, row)).transpose()
}

/// An operation, if it is under that very key.
pub(super) fn of_key(db: &Db, seq: u64, key: KeyHash) -> Result<Option<Operation>, SqlError> {
    let mut statement = db.prepare_cached(BY_SEQ)?;
    let mut rows = statement.query([column(seq)])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let is_it = record::is_of_key(row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?, key);
    is_it.then(|| read(db, row)).transpose()
}

/// A part of all operations.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// The first number and the last one.
    pub(super) numbers: (u64, u64),
    /// In one state, or in all.
    pub(super) state: Option<State>,
    /// Only what is open or flagged.
    pub(super) is_owed: bool,
    pub(super) order: Order,
}

/// A part of all operations, at most `limit`.
pub(super) fn part(db: &Db, part: Part, limit: u32) -> Result<Vec<Operation>, SqlError> {
    let (first, last) = part.numbers;
    let only = if part.state.is_some() { "AND o.state = ?4" } else { "AND ?4 IS NULL" };
    let owed = if part.is_owed { "AND o.due IS NULL" } else { "" };
    let direction = match part.order {
        Order::Oldest => "ASC",
        Order::Newest => "DESC",
    };
    let sql = format!("{COLUMNS} WHERE o.seq BETWEEN ?1 AND ?2 {only} {owed} ORDER BY o.seq {direction} LIMIT ?3");
    let mut statement = db.prepare_cached(&sql)?;
    let state = part.state.map(record::state_number);
    let mut rows = statement.query(params![column(first), column(last), limit, state])?;
    collect(db, &mut rows)
}

/// Operations in id order after `seq`, in one state or all, at most `limit`.
pub(super) fn after(db: &Db, seq: u64, state: Option<State>, limit: u32) -> Result<Vec<Operation>, SqlError> {
    let numbers = (seq.saturating_add(1), u64::MAX);
    part(db, Part { numbers, state, is_owed: false, order: Order::Oldest }, limit)
}

/// Every operation that is not terminal, in id order.
pub(super) fn open(db: &Db) -> Result<Vec<Operation>, SqlError> {
    let sql = format!("{COLUMNS} WHERE o.due IS NULL AND o.state IN (0, 4) ORDER BY o.seq");
    collect(db, &mut db.prepare(&sql)?.query([])?)
}

/// Operations of which something is to be dropped by `now`, the longest overdue first.
pub(super) fn due(connection: &Connection, now: UnixMillis, limit: u32) -> Result<Vec<u64>, SqlError> {
    let mut statement = connection.prepare_cached("SELECT seq FROM operation WHERE due <= ?1 ORDER BY due LIMIT ?2")?;
    let rows = statement.query_map(params![column(now), limit], |row| row.get::<_, i64>(0))?;
    rows.map(|seq| Ok(seq?.cast_unsigned())).collect()
}

/// The earliest time at which something is to be dropped.
pub(super) fn first_due(connection: &Connection) -> Result<Option<UnixMillis>, SqlError> {
    let mut statement = connection.prepare_cached("SELECT min(due) FROM operation")?;
    let first = statement.query_row([], |row| row.get::<_, Option<i64>>(0))?;
    Ok(first.map(i64::cast_unsigned))
}

/// Writes a new operation.
pub(super) fn insert(db: &Db, operation: &Operation, question: Option<Question>) -> Result<(), SqlError> {
    db.prepare_cached("INSERT INTO operation VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?.execute(params![
        column(operation.id.seq),
        operation.id.tag.cast_signed(),
        key_column(operation.key_hash),
        record::state_number(operation.state),
        next_expiry(operation).map(column),
        db.sealed_record(operation),
        question.map(question_column),
    ])?;
    if let KeptRequest::Given(request) = &operation.request {
        db.prepare_cached("INSERT INTO request VALUES (?1, ?2)")?.execute(params![
            column(operation.id.seq),
            db.vault.seal(Kind::Request, operation.id.seq, record::encode_request(request)),
        ])?;
    }
    write_response(db, operation, &Retained::None)
}

/// The request that is kept of an operation.
pub(super) fn request(db: &Db, seq: u64) -> Result<Option<StoredRequest>, SqlError> {
    let mut statement = db.prepare_cached("SELECT request FROM request WHERE seq = ?1")?;
    let mut rows = statement.query([column(seq)])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let written = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
    let opened = db.vault.open(Kind::Request, seq, written)?;
    Ok(Some(record::decode_request(opened.as_deref().unwrap_or(written))?))
}

/// Forgets the request that is kept of an operation.
pub(super) fn drop_request(connection: &Connection, seq: u64) -> Result<(), SqlError> {
    connection.prepare_cached("DELETE FROM request WHERE seq = ?1")?.execute([column(seq)])?;
    Ok(())
}

/// Replaces an operation of which `before` was kept.
pub(super) fn replace(db: &Db, operation: &Operation, before: &Retained) -> Result<(), SqlError> {
    db.prepare_cached("UPDATE operation SET state = ?2, due = ?3, record = ?4 WHERE seq = ?1")?.execute(params![
        column(operation.id.seq),
        record::state_number(operation.state),
        next_expiry(operation).map(column),
        db.sealed_record(operation),
    ])?;
    write_response(db, operation, before)
}

fn write_response(db: &Db, operation: &Operation, before: &Retained) -> Result<(), SqlError> {
    let seq = column(operation.id.seq);
    match (&operation.retained, before) {
        (Retained::Stored(now), Retained::Stored(before)) if Arc::ptr_eq(now, before) => {}
        (Retained::Stored(response), _) => {
            db.prepare_cached("INSERT OR REPLACE INTO response VALUES (?1, ?2)")?.execute(params![
                seq,
                db.vault.seal(Kind::Response, operation.id.seq, record::encode_response(response))
            ])?;
        }
        (_, Retained::Stored(_)) => {
            db.prepare_cached("DELETE FROM response WHERE seq = ?1")?.execute([seq])?;
        }
        (_, _) => {}
    }
    Ok(())
}

/// Removes an operation, which was settled, and its response. Its request went when it was.
pub(super) fn remove(connection: &Connection, seq: u64) -> Result<(), SqlError> {
    for sql in ["DELETE FROM operation WHERE seq = ?1", "DELETE FROM response WHERE seq = ?1"] {
        connection.prepare_cached(sql)?.execute([column(seq)])?;
    }
    Ok(())
}

/// A number that is kept under a name.
pub(super) fn counter(connection: &Connection, name: &str) -> Result<u64, SqlError> {
    let mut statement = connection.prepare_cached("SELECT value FROM counter WHERE name = ?1")?;
    Ok(statement.query_row([name], |row| row.get::<_, i64>(0))?.cast_unsigned())
}

/// Up to when time has been reserved for fresh keys.
pub(super) fn reserved(connection: &Connection) -> Result<UnixMillis, SqlError> {
    let mut statement = connection.prepare_cached("SELECT value FROM counter WHERE name = 'reserved'")?;
    let value = statement.query_row([], |row| row.get::<_, i64>(0)).optional()?;
    Ok(value.unwrap_or_default().cast_unsigned())
}

/// Keeps a number under a name.
pub(super) fn set_counter(connection: &Connection, name: &str, value: u64) -> Result<(), SqlError> {
    connection
        .prepare_cached("INSERT INTO counter VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2")?
        .execute(params![name, column(value)])?;
    Ok(())
}

/// What is kept under a name.
pub(super) fn note(connection: &Connection, name: &str) -> Result<Option<Vec<u8>>, SqlError> {
    let sql = "SELECT value FROM note WHERE name = ?1";
    Ok(connection.query_row(sql, [name], |row| row.get(0)).optional()?)
}

/// Keeps a value under a name if what is kept there is `seen`, or nothing is; whether it did.
pub(super) fn set_note(
    connection: &Connection,
    name: &str,
    seen: Option<&[u8]>,
    value: &[u8],
) -> Result<bool, SqlError> {
    let sql = "INSERT INTO note VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2 WHERE value = ?3";
    Ok(connection.execute(sql, params![name, value, seen])? == 1)
}

/// The secret under a name.
pub(super) fn secret(connection: &Connection, name: &str) -> Result<Option<Vec<u8>>, SqlError> {
    let sql = "SELECT value FROM secret WHERE name = ?1";
    Ok(connection.query_row(sql, [name], |row| row.get(0)).optional()?)
}

/// How many settled operations are flagged for a person: of those that are settled nothing else keeps all.
pub(super) fn flagged(connection: &Connection) -> Result<u64, SqlError> {
    let sql = "SELECT count(*) FROM operation WHERE due IS NULL AND state IN (1, 2, 3)";
    Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0))?.cast_unsigned())
}

/// Bytes of the file that hold something.
pub(super) fn used_bytes(connection: &Connection) -> Result<u64, SqlError> {
    let pragma = |sql: &str| connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0));
    let (pages, free) = (pragma("PRAGMA page_count")?, pragma("PRAGMA freelist_count")?);
    Ok((pages - free).cast_unsigned() * pragma("PRAGMA page_size")?.cast_unsigned())
}

/// When the next part of an operation is to be dropped: its response, or all of it.
pub(super) fn next_expiry(operation: &Operation) -> Option<UnixMillis> {
    match operation.retained {
        // A person's attention keeps all of it.
        _ if !operation.state.is_terminal() || operation.attention.is_some() => None,
        Retained::Stored(_) => operation.expires_at(),
        Retained::None | Retained::StatusOnly => operation.forgotten_at(),
    }
}

/// The operation of a row of `seq, tag, state, record, response`.
pub(super) fn read(db: &Db, row: &Row<'_>) -> Result<Operation, SqlError> {
    let id = OperationId { seq: row.get::<_, i64>(0)?.cast_unsigned(), tag: row.get::<_, i64>(1)?.cast_unsigned() };
    let state = record::state_of(row.get(2)?)?;
    let blob = row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?;
    let response = row.get_ref(4)?.as_blob_or_null().map_err(rusqlite::Error::from)?;
    let opened = db.vault.open(Kind::Record, id.seq, blob)?;
    let opened_response =
        response.map(|response| db.vault.open(Kind::Response, id.seq, response)).transpose()?.flatten();
    let record = opened.as_deref().unwrap_or(blob);
    Ok(record::decode(id, state, record, opened_response.as_deref().or(response))?)
}

fn collect(db: &Db, rows: &mut rusqlite::Rows<'_>) -> Result<Vec<Operation>, SqlError> {
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(db, row)?);
    }
    Ok(found)
}

/// SQLite's integers are signed; times and ids never come near the end of them.
pub(super) fn column(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A question, as it stands beside keys.
pub(super) const fn question_column(question: Question) -> i64 {
    question.0.cast_signed()
}

/// The beginning of a key hash, under which an operation is filed.
pub(super) fn key_column(key: KeyHash) -> i64 {
    let (head, _) = key.0.split_first_chunk().expect("a hash has 32 bytes");
    i64::from_be_bytes(*head)
}
