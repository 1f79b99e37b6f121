//! Copies of a ledger: made beside a running proxy, and put in the place of a lost one.
//!
//! SQLite's online backup reads one state of the file, whatever its owner writes meanwhile, and delays nobody. A copy is made
//! under another name and checked before it gets its own, so that what has the name of a copy is one.
//!
//! A copy forgets: what was written after it was made. A repeat of such a write finds nothing and executes again, so whoever
//! restores one is told since when, and may have keys without a record refused until that is sorted out ([`Quarantine`]).

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use mainstay_policies::operation::UnixMillis;
use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup, StepResult},
};

use super::{
    error::OpenError,
    file,
    inspect::{Checked, Inspection},
    sql,
};

/// When the copy was made, in the copy.
const MADE_AT: &str = "copied-at";
/// Until when keys without a record are refused, and since when nothing is known.
const QUARANTINE: &str = "quarantine";
/// How often a copy that others keep from being made is tried again.
const PATIENCE: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// A copy that was made, or put in place.
#[derive(Clone, Debug)]
pub struct Copied {
    /// Where it is.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: u64,
    /// What was checked in it.
    pub checked: Checked,
    /// The last moment that it knows of.
    pub knows_until: UnixMillis,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The ledger that is copied, or the copy, cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Something is there already.
    #[error("{} is there already, and was not touched: move it away, or name another place", .0.display())]
    Exists(PathBuf),
    /// What another ledger left is where the copy should go. Its log alone has writes, too, that were acknowledged.
    #[error(
        "{} is there already: the directory has a ledger, or what is left of one, and was not touched: move all of its files away together ({})",
        .0.display(), keep_all(.0)
    )]
    Remains(PathBuf),
    /// The copy cannot be written.
    #[error("{}: {source}", path.display())]
    Target {
        /// Where.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// It was made, and is not right.
    #[error("the copy is not right, and was thrown away: {0}; check the ledger itself: mainstay ledger check")]
    Faulty(String),
}

/// What keeps keys without a record from being taken for new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quarantine {
    /// The last moment that the ledger knows of.
    pub since: UnixMillis,
    /// Until when they are refused.
    pub until: UnixMillis,
}

/// The command that keeps everything of the ledger that `part` belongs to.
fn keep_all(part: &Path) -> String {
    let directory = part.parent().unwrap_or(part).display();
    format!("mv {directory} {directory}.lost; where it is a volume, its files")
}

/// Copies the ledger at `place` to `target`, which must not be there.
///
/// # Errors
/// The ledger cannot be read, the copy cannot be written, or is not right; then there is none.
pub fn backup(place: &Path, key_file: Option<&Path>, target: &Path, now: UnixMillis) -> Result<Copied, CopyError> {
    copy(&file_of(place), key_file, target, |copy| keep_time(copy, MADE_AT, now))
}

/// Puts a copy where a ledger was, if none is there. `refuse_for` is how long keys without a record are refused.
///
/// # Errors
/// A ledger is there, another process has it, or the copy is not right; then nothing is changed.
pub fn restore(
    source: &Path,
    key_file: Option<&Path>,
    directory: &Path,
    refuse_for: Option<Duration>,
    now: UnixMillis,
) -> Result<Copied, CopyError> {
    let unusable = |path: &Path| {
        let path = path.to_owned();
        move |source| CopyError::Target { path, source }
    };
    fs::create_dir_all(directory).map_err(unusable(directory))?;
    // Nobody makes one there meanwhile.
    let _lock = file::lock(directory)?;
    // What another ledger left behind would be taken for this one's.
    let log = directory.join(format!("{}-wal", file::NAME));
    if let Some(rest) = [directory.join(file::NAME), log].into_iter().find(|rest| rest.exists()) {
        return Err(CopyError::Remains(rest));
    }
    let since = Inspection::open(&file_of(source), key_file)?.knows_until()?;
    let copied = copy(&file_of(source), key_file, &directory.join(file::NAME), |copy| {
        // From now on it knows more than the copy did.
        copy.execute("DELETE FROM note WHERE name = ?1", [MADE_AT])?;
        if let Some(time) = refuse_for {
            let until = now.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
            set_quarantine(copy, Some(Quarantine { since, until }))?;
        }
        Ok(())
    })?;
    Ok(Copied { knows_until: since, ..copied })
}

/// Lets keys without a record be new again; what was lifted.
///
/// # Errors
/// A process has the ledger open, or it cannot be written.
pub fn lift(directory: &Path, key_file: Option<&Path>, now: UnixMillis) -> Result<Option<Quarantine>, OpenError> {
    let opened = file::open_there(directory, key_file, now)?;
    let damaged = |error: sql::SqlError| OpenError::of(&opened.path, &error);
    let found = quarantine(&opened.writer).map_err(damaged)?;
    set_quarantine(&opened.writer, None).map_err(|error| damaged(error.into()))?;
    Ok(found)
}

/// Whether keys without a record are refused, and until when.
pub(super) fn quarantine(connection: &Connection) -> Result<Option<Quarantine>, sql::SqlError> {
    let value = sql::note(connection, QUARANTINE)?;
    let time = |at: usize| {
        let bytes = value.as_deref()?.get(at..at + 8)?.try_into().ok()?;
        Some(u64::from_be_bytes(bytes))
    };
    Ok(time(0).zip(time(8)).map(|(since, until)| Quarantine { since, until }))
}

fn set_quarantine(connection: &Connection, quarantine: Option<Quarantine>) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM note WHERE name = ?1", [QUARANTINE])?;
    if let Some(Quarantine { since, until }) = quarantine {
        let value = [since.to_be_bytes(), until.to_be_bytes()].concat();
        connection.execute("INSERT INTO note VALUES (?1, ?2)", rusqlite::params![QUARANTINE, value])?;
    }
    Ok(())
}

fn keep_time(connection: &Connection, name: &str, at: UnixMillis) -> rusqlite::Result<()> {
    let sql = "INSERT INTO note VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2";
    connection.execute(sql, rusqlite::params![name, at.to_be_bytes()]).map(|_| ())
}

/// A ledger's file, of its directory or itself.
fn file_of(place: &Path) -> PathBuf {
    if place.is_dir() { place.join(file::NAME) } else { place.to_owned() }
}

/// Copies one state of `source`, marks and checks the copy, and gives it its name.
fn copy(
    source: &Path,
    key_file: Option<&Path>,
    target: &Path,
    mark: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> Result<Copied, CopyError> {
    if target.exists() {
        return Err(CopyError::Exists(target.to_owned()));
    }
    let mut draft = target.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    let unusable = |source| CopyError::Target { path: target.to_owned(), source };
    let from = file::open_to_read(source, key_file)?;
    let written = write(&from, &draft, mark).map_err(|error| unusable(io::Error::other(error)));
    let copied = written.and_then(|()| {
        let copy = Inspection::open(&draft, key_file)?;
        let mut faults = Vec::new();
        let checked = copy.check(|fault| faults.push(fault))?;
        if let Some(first) = faults.first() {
            return Err(CopyError::Faulty(format!("{first} ({} faults)", faults.len())));
        }
        let knows_until = copy.knows_until()?;
        drop(copy);
        let file = File::open(&draft).map_err(unusable)?;
        file.sync_all().map_err(unusable)?;
        let bytes = file.metadata().map_err(unusable)?.len();
        // Whatever got the name meanwhile is not written over.
        fs::hard_link(&draft, target).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => CopyError::Exists(target.to_owned()),
            _ => unusable(error),
        })?;
        let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(unusable)?;
        Ok(Copied { path: target.to_owned(), bytes, checked, knows_until })
    });
    // Nothing but the copy is left, whether there is one or not.
    for end in ["", "-wal", "-shm", "-journal"] {
        let mut rest = draft.as_os_str().to_owned();
        rest.push(end);
        let _ = fs::remove_file(rest);
    }
    copied
}

fn write(
    from: &Connection,
    draft: &Path,
    mark: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    match fs::remove_file(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    file::private().open(draft)?;
    let mut to = Connection::open_with_flags(draft, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let backup = Backup::new(from, &mut to)?;
    // In one go: a piece at a time would begin anew with each write of the ledger's owner.
    let mut tries = 0;
    while !matches!(backup.step(-1)?, StepResult::Done) {
        tries += 1;
        if tries == PATIENCE {
            return Err("others keep the ledger from being read".into());
        }
        std::thread::sleep(PAUSE);
    }
    drop(backup);
    // One file, with nothing beside it.
    to.pragma_update(None, "journal_mode", "DELETE")?;
    to.pragma_update(None, "synchronous", "FULL")?;
    mark(&to)?;
    to.close().map_err(|(_, error)| error.into())
}

impl Inspection {
    /// The last moment of which the ledger knows anything: when it was copied, or its newest mark of time.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn knows_until(&self) -> Result<UnixMillis, OpenError> {
        let read = || -> Result<UnixMillis, sql::SqlError> {
            let made = sql::note(self.db(), MADE_AT)?.and_then(|value| value.try_into().ok()).map(u64::from_be_bytes);
            if let Some(made) = made {
                return Ok(made);
            }
            let entry = "SELECT coalesce(max(at), 0) FROM audit";
            let audit: i64 = self.db().query_row(entry, [], |row| row.get(0))?;
            let last = self.last_begun()?;
            Ok(last.max(audit.cast_unsigned()))
        };
        read().map_err(|error| OpenError::of(self.path(), &error))
    }

    /// Until when keys without a record are refused.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn quarantine(&self) -> Result<Option<Quarantine>, OpenError> {
        quarantine(self.db()).map_err(|error| OpenError::of(self.path(), &error))
    }
}
