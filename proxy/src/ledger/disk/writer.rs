//! The writer: one thread that takes everything that waits, writes it in one transaction, and answers when that is on
//! the disk. While it waits for the disk the next batch gathers, so nobody waits for company.
//!
//! Two kinds of error. When the disk has no room, SQLite refuses the page before anything of the transaction counts: it is
//! rolled back, new operations are refused, and once there is room again the writer goes on. Any other error ends it for
//! good: after a failed fsync the system may have dropped what it could not write and report success from then on, so the
//! handle is closed and nothing is written until a restart has read what is really there.

use std::{
    fs,
    io::Write,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use mainstay_policies::operation::{State, UnixMillis};
use rusqlite::Connection;
use tokio::{sync::mpsc, time::Instant};

use super::{
    command::{Answer, Command, Handed},
    copies::{self, Quarantine},
    held::Before,
    inner::Inner,
    keys::{Entry, Filing},
    sql::{self, Db, STATES, SqlError},
};
use crate::faults::{self, Pitfall};

/// Commands that one transaction takes at most, and bytes.
const BATCH: usize = 1024;
const BATCH_BYTES: u64 = 8 << 20;
/// Pages of the write-ahead log after which it is copied to the database: 16 MiB. Each copy costs an fsync of the
/// database, and pages that were written often until then are copied once.
const CHECKPOINT_PAGES: usize = 4096;
/// Commits between two looks at how full the file is.
const MEASURE_EVERY: u32 = 64;
/// How long new operations are refused after the disk was found full, before somebody looks again.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// Bytes that must fit on the disk before the writer goes on: a few batches, so that it does not stop at the next one.
const ROOM_TO_GO_ON: usize = 256 << 10;

/// Why a write is refused meanwhile.
pub(super) const NO_SPACE: &str = "there is no space on the ledger's disk";

/// Who is told how long each commit took, from its begin to the disk's word that it is kept.
pub(super) struct OnCommit(pub(super) Box<dyn Fn(Duration) + Send>);

/// One transaction's changes to what is in memory.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) answers: Vec<Answer>,
    pub(super) staged: Vec<u64>,
    /// How everything that is staged stood before.
    pub(super) touched: Vec<Before>,
    /// What had been acknowledged before.
    pub(super) stored: Vec<u64>,
    pub(super) removed: Vec<(u64, State)>,
    /// New operations.
    pub(super) begun: usize,
    /// The same, by their keys and by what their services are asked.
    pub(super) filed: Vec<Entry>,
    pub(super) bytes: u64,
    pub(super) has_begun_transaction: bool,
}

pub(super) struct Writer {
    pub(super) connection: Db,
    pub(super) inner: Arc<Inner>,
    queue: mpsc::Receiver<Command>,
    /// Where callers that leave without their operation say so.
    own_queue: mpsc::WeakSender<Command>,
    /// Pages in the write-ahead log, as SQLite reports them with each commit.
    log_pages: Arc<AtomicUsize>,
    /// Operations in the file by state, and the last id, as they will be when the batch is committed.
    pub(super) counts: [u64; 5],
    pub(super) last_seq: u64,
    /// Whether the ledger was restored from a copy, and keys without a record are refused.
    pub(super) quarantine: Option<Quarantine>,
    /// The same, as they were at the last commit.
    committed: ([u64; 5], u64),
    pub(super) used_bytes: u64,
    commits: u32,
    /// Told how long each commit took.
    on_commit: OnCommit,
    /// When the disk was last found full, if it is.
    full_since: Option<Instant>,
    /// What was acknowledged before it was written, and then the disk was full: as many as were in flight.
    unwritten: Vec<u64>,
    /// Nothing is to be dropped before; something may be from then on.
    pub(super) nothing_due_before: UnixMillis,
    pub(super) filing: Filing,
}

impl Writer {
    pub(super) fn new(
        mut connection: Db,
        inner: Arc<Inner>,
        queue: mpsc::Receiver<Command>,
        own_queue: mpsc::WeakSender<Command>,
        on_commit: OnCommit,
    ) -> Result<Self, SqlError> {
        let log_pages = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&log_pages);
        connection.connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages: i32| {
            seen.store(usize::try_from(pages).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        let (counts, last_seq) = read_counters(&connection)?;
        let used_bytes = sql::used_bytes(&connection)?;
        let filing = Filing::new(&connection)?;
        let quarantine = copies::quarantine(&connection)?;
        if let Some(Quarantine { until, .. }) = quarantine.filter(|quarantine| quarantine.until > inner.clock.now()) {
            inner.records.lock().set_quarantine(until);
            let until = i64::try_from(until).ok().and_then(|until| Timestamp::from_millisecond(until).ok());
            tracing::warn!(
                ledger = %inner.path.display(), until = %until.unwrap_or(Timestamp::MAX),
                "this ledger was restored from a copy: keys without a record are refused until then, or until `mainstay ledger lift`"
            );
        }
        inner.used_bytes.store(used_bytes, Ordering::Relaxed);
        Ok(Self {
            on_commit,
            connection,
            inner,
            queue,
            own_queue,
            log_pages,
            counts,
            last_seq,
            quarantine,
            committed: (counts, last_seq),
            used_bytes,
            commits: 0,
            full_since: None,
            unwritten: Vec::new(),
            nothing_due_before: 0,
            filing,
        })
    }

    /// Works until everybody who could ask has gone.
    pub(super) fn run(mut self) {
        while let Some(first) = self.queue.blocking_recv() {
            let mut batch = Batch::default();
            match self.work(first, &mut batch) {
                Ok(()) => self.publish(batch),
                Err(error) if is_full(&error) && self.rolls_back() => self.refuse(batch),
                Err(error) => return self.fail(&error, batch),
            }
            match self.tidy() {
                Ok(()) => {}
                // The write-ahead log still has everything.
                Err(error) if is_full(&error) => self.stop_for_want_of_space(),
                Err(error) => return self.fail(&error, Batch::default()),
            }
        }
        if let Err(error) = self.checkpoint("TRUNCATE") {
            tracing::warn!(%error, "the ledger's log could not be copied at the end; the next start reads it");
        }
    }

    /// Carries out `first` and what waits behind it, in one transaction.
    fn work(&mut self, first: Command, batch: &mut Batch) -> Result<(), SqlError> {
        faults::stumble(Pitfall::Batch);
        let mut next = Some(first);
        let mut taken = 0;
        while let Some(command) = next {
            self.carry_out(command, batch)?;
            taken += 1;
            next = if taken < BATCH && batch.bytes < BATCH_BYTES { self.queue.try_recv().ok() } else { None };
        }
        if self.full_since.is_none() {
            // Kept in the batch at once, so that none is lost if this fails half-way.
            batch.stored.append(&mut self.unwritten);
            for seq in batch.stored.clone() {
                self.carry_out(Command::Store { seq }, batch)?;
            }
        }
        if !batch.has_begun_transaction {
            return Ok(());
        }
        for (state, (now, before)) in STATES.iter().zip(self.counts.iter().zip(self.committed.0)) {
            if *now != before {
                sql::set_counter(&self.connection, state.label(), *now)?;
            }
        }
        if self.last_seq != self.committed.1 {
            sql::set_counter(&self.connection, "last_seq", self.last_seq)?;
        }
        self.filing.write(&self.connection, batch.filed.len())?;
        faults::before_commit();
        let began = Instant::now();
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        (self.on_commit.0)(began.elapsed());
        self.committed = (self.counts, self.last_seq);
        self.used_bytes += batch.bytes;
        self.inner.used_bytes.store(self.used_bytes, Ordering::Relaxed);
        self.commits = self.commits.wrapping_add(1);
        Ok(())
    }

    /// The batch is durable.
    fn publish(&mut self, batch: Batch) {
        // Before they can leave memory.
        self.filing.committed(&self.inner.keys, &batch.filed, self.committed.1);
        {
            let mut records = self.inner.records.lock();
            records.publish(&batch.staged);
            records.remove(&batch.removed);
        }
        for answer in batch.answers {
            self.give(answer);
        }
    }

    pub(super) fn give(&self, answer: Answer) {
        answer.give(|begun| Handed::new(begun, self.own_queue.clone(), self.inner.clock.clone()));
    }

    /// What can wait until the batch has been answered.
    fn tidy(&mut self) -> Result<(), SqlError> {
        let pages_before_copy = faults::log_pages_before_copy(CHECKPOINT_PAGES);
        if self.full_since.is_none() && self.log_pages.load(Ordering::Relaxed) >= pages_before_copy {
            self.checkpoint("PASSIVE")?;
        }
        if self.commits >= MEASURE_EVERY {
            self.commits = 0;
            self.used_bytes = sql::used_bytes(&self.connection)?;
            self.inner.used_bytes.store(self.used_bytes, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Copies the write-ahead log to the database, PASSIVE as far as readers allow.
    fn checkpoint(&self, how: &str) -> Result<(), SqlError> {
        self.connection.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |_| Ok(()))?;
        self.log_pages.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Undoes the transaction; `false` if even that fails.
    fn rolls_back(&self) -> bool {
        // SQLite may have done it by itself.
        self.connection.is_autocommit()
            || (self.connection.execute_batch("ROLLBACK").is_ok() && self.connection.is_autocommit())
    }

    /// The batch was rolled back.
    fn refuse(&mut self, mut batch: Batch) {
        (self.counts, self.last_seq) = self.committed;
        self.nothing_due_before = 0;
        self.filing.rolled_back();
        self.inner.records.lock().roll_back(std::mem::take(&mut batch.touched));
        self.unwritten.append(&mut batch.stored);
        self.stop_for_want_of_space();
        for answer in batch.answers {
            answer.withdraw(NO_SPACE);
        }
    }

    fn stop_for_want_of_space(&mut self) {
        if self.full_since.replace(Instant::now()).is_none() {
            tracing::error!(
                ledger = %self.inner.path.display(),
                "no space on the ledger's disk: keyed writes are refused until there is some, other traffic goes on"
            );
            self.inner.records.lock().set_full(true);
        }
    }

    /// Whether new operations are refused for want of space. Looks again now and then.
    pub(super) fn is_full(&mut self, now: Instant) -> bool {
        self.look_for_room(now);
        self.full_since.is_some()
    }

    /// Goes on if a small file can be written where the ledger lies: so nothing of the ledger is at stake in the trial.
    pub(super) fn look_for_room(&mut self, now: Instant) {
        let Some(since) = self.full_since else { return };
        if now.duration_since(since) < LOOK_AGAIN_AFTER {
            return;
        }
        self.full_since = Some(now);
        let trial = self.trial();
        let fits = fs::File::create(&trial)
            .and_then(|mut file| file.write_all(&vec![0; ROOM_TO_GO_ON]).and_then(|()| file.sync_all()))
            .is_ok();
        let _ = fs::remove_file(&trial);
        if fits {
            tracing::info!(ledger = %self.inner.path.display(), "there is space on the ledger's disk again");
            self.full_since = None;
            self.inner.records.lock().set_full(false);
        }
    }

    fn trial(&self) -> PathBuf {
        self.inner.path.with_file_name("ledger.trial")
    }

    /// The end: nothing is written any more, and everybody is told so.
    fn fail(mut self, error: &SqlError, batch: Batch) {
        let why: Arc<str> = error.to_string().into();
        tracing::error!(
            %error, ledger = %self.inner.path.display(),
            "the ledger takes no more writes: keyed writes are refused, other traffic goes on. Cure the disk, then restart"
        );
        self.inner.records.lock().fail(Arc::clone(&why));
        // Closed, with no checkpoint in passing, before anybody is answered.
        drop(self.connection);
        for answer in batch.answers {
            answer.withdraw(&why);
        }
        while let Some(command) = self.queue.blocking_recv() {
            command.refuse(&why);
        }
    }
}

/// Whether an error is SQLite's word for a disk without space, met before anything of the transaction counted. A disk that
/// says so only at fsync gives an I/O error instead.
fn is_full(error: &SqlError) -> bool {
    matches!(error, SqlError::Sqlite(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull))
}

/// Operations by state, and the last id that was given.
pub(super) fn read_counters(connection: &Connection) -> Result<([u64; 5], u64), SqlError> {
    let mut counts = [0; 5];
    for (count, state) in counts.iter_mut().zip(STATES) {
        *count = sql::counter(connection, state.label())?;
    }
    Ok((counts, sql::counter(connection, "last_seq")?))
}
