//! The file: made, locked, recognised, and opened.
//!
//! A directory holds `ledger.db`, SQLite's own `ledger.db-wal` and `ledger.db-shm`, and `ledger.lock`, which a running
//! proxy keeps locked; the system lets go of the lock however the process ends. A new ledger is made under another name
//! and renamed, so that a crash leaves none or a whole one. What is not a ledger is never written to.

use std::{
    cmp::Ordering,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::{Connection, OpenFlags, config::DbConfig};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    error::OpenError,
    sql::{Db, MIGRATIONS, SqlError},
    unlock,
};
use crate::ledger::vault::Vault;

/// "MAIN": how `file` and `sqlite3` tell a ledger from other databases.
const APPLICATION_ID: i32 = 0x4d41_494e;
/// Pages that the writer keeps in memory, in KiB: the upper levels of both indexes of some million records.
const WRITER_CACHE_KIB: i64 = 8 * 1024;
const READER_CACHE_KIB: i64 = 1024;

/// The database, in the ledger's directory.
pub(super) const NAME: &str = "ledger.db";

/// An open ledger file.
pub(super) struct Opened {
    pub(super) writer: Db,
    pub(super) reader: Db,
    pub(super) secret: [u8; 32],
    pub(super) path: PathBuf,
    /// Unlocks when it is closed.
    pub(super) lock: File,
}

/// Opens the ledger in `directory`; makes both if they are absent.
pub(super) fn open(directory: &Path, key_file: Option<&Path>, now: u64) -> Result<Opened, OpenError> {
    let unusable = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Directory { path, source }
    };
    let vault = Arc::new(key_file.map(Vault::from_file).transpose()?.unwrap_or_default());
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(unusable(directory))?;
    let path = directory.join(NAME);
    let lock = lock(directory)?;
    // Read before SQLite has the file open: closing it later would drop SQLite's own locks on it.
    match OpenOptions::new().read(true).write(true).open(&path) {
        Ok(file) => recognise(&path, file)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create(&path, &directory.join("ledger.new"), &vault, now).map_err(|source| unusable(directory)(source))?;
        }
        Err(source) => return Err(unusable(&path)(source)),
    }
    let damaged = |error: SqlError| OpenError::of(&path, &error);
    let writer = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE, WRITER_CACHE_KIB).map_err(|e| damaged(e.into()))?;
    let version: i64 = writer.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(|e| damaged(e.into()))?;
    if usize::try_from(version).is_ok_and(|version| version > MIGRATIONS.len()) {
        return Err(OpenError::Newer { path, found: version });
    }
    migrate(&writer, version, now).map_err(|error| damaged(error.into()))?;
    let secret = unlock::unlock(&writer, &vault, &path)?;
    let reader = connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY, READER_CACHE_KIB).map_err(|e| damaged(e.into()))?;
    let with_keys = |connection| Db { connection, vault: Arc::clone(&vault) };
    Ok(Opened { writer: with_keys(writer), reader: with_keys(reader), secret, path, lock })
}

/// Opens the ledger in `directory` to change it; makes none.
pub(super) fn open_there(directory: &Path, key_file: Option<&Path>, now: u64) -> Result<Opened, OpenError> {
    let path = directory.join(NAME);
    if path.exists() { open(directory, key_file, now) } else { Err(OpenError::Absent(path)) }
}

/// Takes the ledger of a directory for this process, until it is closed.
pub(super) fn lock(directory: &Path) -> Result<File, OpenError> {
    let path = directory.join("ledger.lock");
    let unusable = |source| OpenError::Directory { path: path.clone(), source };
    let lock = private().open(&path).map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked(directory.join(NAME))),
        Err(TryLockError::Error(source)) => Err(unusable(source)),
    }
}

/// Opens a ledger that may belong to a running proxy, and writes nothing to it.
pub(super) fn open_to_read(path: &Path, key_file: Option<&Path>) -> Result<Db, OpenError> {
    let vault = Arc::new(key_file.map(Vault::from_file).transpose()?.unwrap_or_default());
    match File::open(path) {
        Ok(file) => recognise(path, file)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(OpenError::Absent(path.to_owned())),
        Err(source) => return Err(OpenError::Directory { path: path.to_owned(), source }),
    }
    let damaged = |error: rusqlite::Error| OpenError::of(path, &error.into());
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY, READER_CACHE_KIB).map_err(damaged)?;
    let found = connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0)).map_err(damaged)?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    match found.cmp(&known) {
        Ordering::Less => Err(OpenError::Older { path: path.to_owned(), found }),
        Ordering::Greater => Err(OpenError::Newer { path: path.to_owned(), found }),
        Ordering::Equal => Ok(Db { connection, vault }),
    }
}

pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options
}

/// Refuses what is not a ledger, by the header that SQLite documents (magic, `application_id` at 68).
fn recognise(path: &Path, mut file: File) -> Result<(), OpenError> {
    let mut header = [0; 100];
    file.read_exact(&mut header).map_err(|_| OpenError::Foreign(path.to_owned()))?;
    let is_ledger = header.starts_with(b"SQLite format 3\0") && header[68..72] == APPLICATION_ID.to_be_bytes();
    if is_ledger { Ok(()) } else { Err(OpenError::Foreign(path.to_owned())) }
}

/// Makes a whole ledger under another name, and gives it its own when it is safely on the disk.
fn create(path: &Path, draft: &Path, vault: &Vault, now: u64) -> io::Result<()> {
    match fs::remove_file(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    private().open(draft)?;
    let fill = || -> rusqlite::Result<()> {
        let connection = Connection::open_with_flags(draft, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        migrate(&connection, 0, now)?;
        unlock::keep_secret(&connection, vault, random_secret())?;
        connection.close().map_err(|(_, error)| error)
    };
    fill().map_err(io::Error::other)?;
    File::open(draft)?.sync_all()?;
    fs::rename(draft, path)?;
    // The name, too, has to survive a power loss.
    let directory = path.parent().unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

fn connect(path: &Path, access: OpenFlags, cache_kib: i64) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    if access.contains(OpenFlags::SQLITE_OPEN_READ_WRITE) {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // A commit returns when it is on the disk; NORMAL lost acknowledged records in a simulated power loss.
        connection.pragma_update(None, "synchronous", "FULL")?;
        // The writer does its own checkpoints: SQLite's automatic ones ignore their errors.
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        // After an error nothing may be written in passing; a clean end does a checkpoint of its own.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    }
    // Else SQLite plans a statement anew for each value that is bound to it: a quarter of the writer's time.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    connection.set_prepared_statement_cache_capacity(32);
    // An operator's `sqlite3` may hold the file for a moment.
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(connection)
}

/// Brings the tables from `version` to this one, each step in a transaction of its own.
fn migrate(connection: &Connection, version: i64, now: u64) -> rusqlite::Result<()> {
    for (step, sql) in (1_i64..).zip(MIGRATIONS).filter(|(step, _)| *step > version) {
        let transaction = connection.unchecked_transaction()?;
        transaction.execute_batch(sql)?;
        transaction.execute("INSERT INTO migration VALUES (?1, ?2)", rusqlite::params![step, now.cast_signed()])?;
        transaction.pragma_update(None, "user_version", step)?;
        transaction.commit()?;
    }
    Ok(())
}

fn random_secret() -> [u8; 32] {
    // Each carries 122 bits of the system's randomness.
    let mut hash = Sha256::new();
    (0..3).for_each(|_| hash.update(Uuid::new_v4().as_bytes()));
    hash.finalize().into()
}
