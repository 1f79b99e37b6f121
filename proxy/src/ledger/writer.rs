//! The writer: one thread that takes everything that waits, writes it in one transaction, and answers when that is on
//! the disk. While it waits for the disk the next batch gathers, so nobody waits for company.
//!
//! Any error ends it for good. After a failed fsync the system may have dropped what it could not write and report
//! success from then on, so the handle is closed and nothing is written until a restart has read what is really there.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use mainstay_policies::{
    faults::{Protection, is_off},
    operation::{
        KeptRequest, Operation, Retained, UnixMillis,
        audit::AuditEntry,
        ledger::{Begun, LedgerError},
    },
};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{
    Handed, Inner,
    memory::{InFile, is_forgotten, is_successor},
    record::state_number,
    sql::{self, STATES, SqlError},
    trail,
};
use crate::faults;

/// Commands that one transaction takes at most, and bytes.
const BATCH: usize = 1024;
const BATCH_BYTES: u64 = 8 << 20;
/// Pages of the write-ahead log after which it is copied to the database: 16 MiB. Each copy costs an fsync of the
/// database, and pages that were written often until then are copied once.
const CHECKPOINT_PAGES: usize = 4096;
/// Commits between two looks at how full the file is.
const MEASURE_EVERY: u32 = 64;
/// Records that are dropped with each begin, so that a ledger which nobody sweeps still does not fill with the past.
const EXPIRED_PER_BEGIN: usize = 2;
/// Records that are dropped at once when there is no room.
const EXPIRED_FOR_ROOM: usize = 256;
/// Bytes that a record costs in the table and its indexes, rounded up.
const RECORD_BYTES: u64 = 640;

/// What the writer is asked to do.
pub(super) enum Command {
    Begin {
        draft: Operation,
        now: UnixMillis,
        reply: oneshot::Sender<Result<Handed, LedgerError>>,
    },
    Update {
        next: Operation,
        /// What the audit trail says of it.
        entry: Option<Box<AuditEntry>>,
        reply: oneshot::Sender<Result<Operation, LedgerError>>,
    },
    Append {
        entry: Box<AuditEntry>,
        reply: oneshot::Sender<Result<u64, LedgerError>>,
    },
    /// A begun operation that its caller never took: nothing was sent for it.
    Release {
        operation: Operation,
    },
    Expire {
        now: UnixMillis,
        limit: usize,
        reply: oneshot::Sender<Result<usize, LedgerError>>,
    },
}

/// An answer that is given when the batch is durable.
enum Answer {
    Begin(oneshot::Sender<Result<Handed, LedgerError>>, Result<Begun, LedgerError>),
    Update(oneshot::Sender<Result<Operation, LedgerError>>, Result<Operation, LedgerError>),
    Append(oneshot::Sender<Result<u64, LedgerError>>, u64),
    Expire(oneshot::Sender<Result<usize, LedgerError>>, usize),
}

/// One transaction's changes to what is in memory.
#[derive(Default)]
struct Batch {
    answers: Vec<Answer>,
    staged: Vec<u64>,
    removed: Vec<(u64, mainstay_policies::operation::State)>,
    begun: usize,
    bytes: u64,
    has_begun_transaction: bool,
}

pub(super) struct Writer {
    connection: Connection,
    inner: Arc<Inner>,
    queue: mpsc::Receiver<Command>,
    /// Where callers that leave without their operation say so.
    own_queue: mpsc::WeakSender<Command>,
    /// Pages in the write-ahead log, as SQLite reports them with each commit.
    log_pages: Arc<AtomicUsize>,
    /// Operations in the file by state, and the last id, as they will be when the batch is committed.
    counts: [u64; 5],
    last_seq: u64,
    /// The same, as they were at the last commit.
    committed: ([u64; 5], u64),
    used_bytes: u64,
    commits: u32,
}

impl Writer {
    pub(super) fn new(
        mut connection: Connection,
        inner: Arc<Inner>,
        queue: mpsc::Receiver<Command>,
        own_queue: mpsc::WeakSender<Command>,
    ) -> Result<Self, SqlError> {
        let log_pages = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&log_pages);
        connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages: i32| {
            seen.store(usize::try_from(pages).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        let (counts, last_seq) = read_counters(&connection)?;
        let used_bytes = sql::used_bytes(&connection)?;
        let committed = (counts, last_seq);
        Ok(Self { connection, inner, queue, own_queue, log_pages, counts, last_seq, committed, used_bytes, commits: 0 })
    }

    /// Works until everybody who could ask has gone.
    pub(super) fn run(mut self) {
        while let Some(first) = self.queue.blocking_recv() {
            let mut batch = Batch::default();
            if let Err(error) = self.work(first, &mut batch) {
                return self.fail(&error, batch);
            }
            {
                let mut records = self.inner.records.lock();
                records.publish(&batch.staged);
                records.remove(&batch.removed);
            }
            self.answer(batch);
            if let Err(error) = self.tidy() {
                return self.fail(&error, Batch::default());
            }
        }
        if let Err(error) = self.checkpoint("TRUNCATE") {
            tracing::warn!(%error, "the ledger's log could not be copied at the end; the next start reads it");
        }
    }

    /// Carries out `first` and what waits behind it, in one transaction.
    fn work(&mut self, first: Command, batch: &mut Batch) -> Result<(), SqlError> {
        let mut next = Some(first);
        let mut taken = 0;
        while let Some(command) = next {
            self.carry_out(command, batch)?;
            taken += 1;
            next = if taken < BATCH && batch.bytes < BATCH_BYTES { self.queue.try_recv().ok() } else { None };
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
        faults::before_commit();
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        self.committed = (self.counts, self.last_seq);
        self.used_bytes += batch.bytes;
        self.commits = self.commits.wrapping_add(1);
        Ok(())
    }

    fn carry_out(&mut self, command: Command, batch: &mut Batch) -> Result<(), SqlError> {
        match command {
            Command::Begin { draft, now, reply } => {
                let begun = self.begin(draft, now, batch)?;
                if is_off(Protection::DurableBegin) {
                    drop(reply.send(begun.map(|begun| self.hand(begun))));
                } else {
                    batch.answers.push(Answer::Begin(reply, begun));
                }
            }
            Command::Update { next, entry, reply } => {
                let updated = self.update(next, batch)?;
                if let (Ok(_), Some(entry)) = (&updated, entry) {
                    trail::append(&self.connection, &entry)?;
                }
                if is_off(Protection::DurableSettle) {
                    drop(reply.send(updated));
                } else {
                    batch.answers.push(Answer::Update(reply, updated));
                }
            }
            Command::Append { entry, reply } => {
                self.begin_transaction(batch)?;
                let number = trail::append(&self.connection, &entry)?;
                batch.answers.push(Answer::Append(reply, number));
            }
            Command::Release { operation } => {
                // If something else has changed it, it is no longer unclaimed.
                let _ = self.update(operation, batch)?;
            }
            Command::Expire { now, limit, reply } => {
                let done = self.expire(now, limit, batch)?;
                batch.answers.push(Answer::Expire(reply, done));
            }
        }
        Ok(())
    }

    fn begin(
        &mut self,
        mut draft: Operation,
        now: UnixMillis,
        batch: &mut Batch,
    ) -> Result<Result<Begun, LedgerError>, SqlError> {
        let known = self.inner.records.lock().latest_under(draft.key_hash).cloned();
        let known = match known {
            Some(known) => Some(known),
            None => sql::by_key(&self.connection, draft.key_hash)?,
        };
        if let Some(known) = known.filter(|known| !known.frees_key() && !is_forgotten(known, now)) {
            return Ok(Ok(Begun::Known(known)));
        }
        let size = size_of(&draft);
        self.begin_transaction(batch)?;
        self.expire(now, EXPIRED_PER_BEGIN, batch)?;
        if !self.has_room(size, batch)? {
            self.expire(now, EXPIRED_FOR_ROOM, batch)?;
        }
        let is_full = self.inner.records.lock().open() + batch.begun >= self.inner.max_open;
        if is_full || !self.has_room(size, batch)? {
            return Ok(Err(LedgerError::Full));
        }
        self.last_seq += 1;
        draft.id.seq = self.last_seq;
        draft.owner = self.inner.instance;
        draft.epoch = 1;
        draft.revision = 1;
        sql::insert(&self.connection, &draft)?;
        if draft.request != KeptRequest::None {
            draft.request = KeptRequest::Kept;
        }
        self.counts[usize::from(state_number(draft.state))] += 1;
        batch.begun += 1;
        batch.bytes += size;
        self.stage(draft.clone(), None, batch);
        Ok(Ok(Begun::New(draft)))
    }

    fn update(&mut self, mut next: Operation, batch: &mut Batch) -> Result<Result<Operation, LedgerError>, SqlError> {
        let Some((known, in_file)) = self.latest(next.id.seq)?.filter(|(known, _)| known.id == next.id) else {
            return Ok(Err(LedgerError::Absent));
        };
        if !is_successor(&known, &next) {
            return Ok(Err(LedgerError::Stale(Box::new(known))));
        }
        self.begin_transaction(batch)?;
        let size = size_of(&next).saturating_sub(RECORD_BYTES);
        // A settlement is never refused for want of room: the answer is dropped instead, its status stays.
        if matches!(next.retained, Retained::Stored(_)) && !self.has_room(size, batch)? {
            next.retained = Retained::StatusOnly;
        }
        next.revision += 1;
        batch.bytes += size;
        self.replace(next.clone(), &in_file, batch)?;
        Ok(Ok(next))
    }

    fn expire(&mut self, now: UnixMillis, limit: usize, batch: &mut Batch) -> Result<usize, SqlError> {
        let due = sql::due(&self.connection, now, u32::try_from(limit).unwrap_or(u32::MAX))?;
        for seq in &due {
            self.begin_transaction(batch)?;
            let Some((mut operation, in_file)) = self.latest(*seq)? else { continue };
            if is_forgotten(&operation, now) {
                sql::remove(&self.connection, *seq)?;
                self.counts[usize::from(state_number(in_file.state))] -= 1;
                batch.staged.retain(|staged| staged != seq);
                batch.removed.push((*seq, in_file.state));
            } else {
                operation.retained = Retained::StatusOnly;
                self.replace(operation, &in_file, batch)?;
            }
        }
        Ok(due.len())
    }

    /// The latest version of an operation, and what the file holds of it.
    fn latest(&self, seq: u64) -> Result<Option<(Operation, InFile)>, SqlError> {
        let held = self.inner.records.lock().latest_and_file(seq).map(|(known, file)| (known.clone(), file.clone()));
        if held.is_some() {
            return Ok(held);
        }
        let stored = sql::by_seq(&self.connection, seq)?;
        Ok(stored.map(|operation| {
            let in_file = InFile::of(&operation);
            (operation, in_file)
        }))
    }

    fn replace(&mut self, next: Operation, before: &InFile, batch: &mut Batch) -> Result<(), SqlError> {
        sql::replace(&self.connection, &next, &before.retained)?;
        if before.has_request && next.request == KeptRequest::None {
            sql::drop_request(&self.connection, next.id.seq)?;
        }
        self.counts[usize::from(state_number(before.state))] -= 1;
        self.counts[usize::from(state_number(next.state))] += 1;
        self.stage(next, Some(before), batch);
        Ok(())
    }

    fn stage(&self, next: Operation, before: Option<&InFile>, batch: &mut Batch) {
        batch.staged.push(next.id.seq);
        self.inner.records.lock().stage(next, before);
    }

    fn begin_transaction(&self, batch: &mut Batch) -> Result<(), SqlError> {
        if !batch.has_begun_transaction {
            self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            batch.has_begun_transaction = true;
        }
        Ok(())
    }

    fn answer(&self, batch: Batch) {
        for answer in batch.answers {
            // Nobody may be there any more; what was written stays.
            match answer {
                Answer::Begin(reply, begun) => drop(reply.send(begun.map(|begun| self.hand(begun)))),
                Answer::Update(reply, updated) => drop(reply.send(updated)),
                Answer::Append(reply, number) => drop(reply.send(Ok(number))),
                Answer::Expire(reply, done) => drop(reply.send(Ok(done))),
            }
        }
    }

    fn hand(&self, begun: Begun) -> Handed {
        Handed { begun: Some(begun), queue: self.own_queue.clone(), clock: self.inner.clock.clone() }
    }

    /// Whether the file may grow by `size`. The estimate between two measurements is on the high side.
    fn has_room(&mut self, size: u64, batch: &Batch) -> Result<bool, SqlError> {
        if self.used_bytes + batch.bytes + size <= self.inner.max_bytes {
            return Ok(true);
        }
        self.used_bytes = sql::used_bytes(&self.connection)?;
        Ok(self.used_bytes + size <= self.inner.max_bytes)
    }

    /// What can wait until the batch has been answered.
    fn tidy(&mut self) -> Result<(), SqlError> {
        if self.log_pages.load(Ordering::Relaxed) >= faults::log_pages_before_copy(CHECKPOINT_PAGES) {
            self.checkpoint("PASSIVE")?;
        }
        if self.commits >= MEASURE_EVERY {
            self.commits = 0;
            self.used_bytes = sql::used_bytes(&self.connection)?;
        }
        Ok(())
    }

    /// Copies the write-ahead log to the database, PASSIVE as far as readers allow.
    fn checkpoint(&self, how: &str) -> Result<(), SqlError> {
        self.connection.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |_| Ok(()))?;
        self.log_pages.store(0, Ordering::Relaxed);
        Ok(())
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
        let unavailable = || LedgerError::Unavailable(why.to_string());
        for answer in batch.answers {
            match answer {
                Answer::Begin(reply, _) => drop(reply.send(Err(unavailable()))),
                Answer::Update(reply, _) => drop(reply.send(Err(unavailable()))),
                Answer::Append(reply, _) => drop(reply.send(Err(unavailable()))),
                Answer::Expire(reply, _) => drop(reply.send(Err(unavailable()))),
            }
        }
        while let Some(command) = self.queue.blocking_recv() {
            match command {
                Command::Begin { reply, .. } => drop(reply.send(Err(unavailable()))),
                Command::Update { reply, .. } => drop(reply.send(Err(unavailable()))),
                Command::Append { reply, .. } => drop(reply.send(Err(unavailable()))),
                Command::Expire { reply, .. } => drop(reply.send(Err(unavailable()))),
                Command::Release { .. } => {}
            }
        }
    }
}

/// Operations by state, and the last id that was given.
pub(super) fn read_counters(connection: &Connection) -> Result<([u64; 5], u64), SqlError> {
    let mut counts = [0; 5];
    for (count, state) in counts.iter_mut().zip(STATES) {
        *count = sql::counter(connection, state.label())?;
    }
    Ok((counts, sql::counter(connection, "last_seq")?))
}

fn size_of(operation: &Operation) -> u64 {
    let response = match &operation.retained {
        Retained::Stored(response) => {
            let headers = response.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 8);
            headers.sum::<usize>() + response.body.len() + 64
        }
        Retained::None | Retained::StatusOnly => 0,
    };
    let request = match &operation.request {
        KeptRequest::Given(request) => {
            let headers = request.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 8);
            headers.sum::<usize>() + request.target.len() + request.body.len() + 64
        }
        KeptRequest::None | KeptRequest::Kept => 0,
    };
    RECORD_BYTES + (response + request) as u64
}
