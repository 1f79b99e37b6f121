//! The ledger on disk: SQLite behind one writer.
//!
//! ```text
//!  begin, update, expire ──► bounded queue ──► writer thread ──► one transaction per batch ──► fsync ──► answers
//!  sent, defer, counts, read and find of what is open or recent ──► memory
//!  read and find of the rest, listings ──► a second connection, on a blocking thread
//! ```
//!
//! The file belongs to one process at a time (`file`). Everything that is open is in memory (`memory`), so a start
//! reads only that; it takes over what the process before left behind, and what was in flight then is `unknown` now.

mod change;
mod command;
mod copies;
mod error;
mod file;
mod held;
mod inner;
mod inspect;
mod keys;
mod recovery;
mod salvage;
mod sql;
mod trail;
mod unlock;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

use mainstay_policies::{
    clock::WallClock,
    operation::{
        InstanceId, KeptRequest, KeyHash, Operation, OperationId, Question, State, StoredRequest, UnixMillis,
        audit::{AuditEntry, Audited},
        ledger::{Begun, Due, Filter, Health, Ledger, LedgerError, LedgerFuture, Load, Settle},
    },
};
use parking_lot::Mutex;
use tokio::sync::{Notify, futures::OwnedNotified, mpsc, oneshot};

use self::{
    command::Command,
    held::{Records, is_forgotten, visible},
    inner::Inner,
    sql::{Db, SqlError},
    writer::{OnCommit, Writer},
};

pub use self::{
    copies::{Copied, CopyError, Quarantine, backup, lift, restore},
    error::OpenError,
    inspect::{Checked, Inspection, Stats},
    salvage::{Salvaged, rekey},
};
pub use super::vault::KeyError;

/// Writes that wait for the writer; one more waits before the queue. Each waits for one fsync or two.
const QUEUE: usize = 4096;
/// Records that a listing looks at in one go.
const SCAN: u32 = 512;

/// How a ledger on disk is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// Operations that are not terminal, at most.
    pub max_open: usize,
    /// Bytes to which the file grows, its write-ahead log (some 16 MiB) apart.
    pub max_bytes: u64,
    /// When the end of a write counts as recorded.
    pub settle: Settle,
    /// Where the keys are with which records, answers and requests are sealed; `None` writes them as they are.
    pub key_file: Option<PathBuf>,
}

/// A ledger on disk.
pub struct DiskLedger {
    inner: Arc<Inner>,
    /// `None` only while it ends.
    queue: Option<mpsc::Sender<Command>>,
    writer: Option<JoinHandle<()>>,
}

/// Held by the writer: if it ends by a panic, nobody takes the ledger for one that still writes.
struct FailsByPanic(Arc<Inner>);

impl Drop for FailsByPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.records.lock().fail("the ledger's writer ended with a panic".into());
        }
    }
}

impl DiskLedger {
    /// Opens the ledger in `directory`, or makes one there. Blocks until what the last process left behind is taken over.
    ///
    /// # Errors
    /// The directory cannot be used, another process has the ledger, or what is there is not one that this version reads.
    pub fn open(directory: &Path, clock: WallClock, options: &Options) -> Result<Self, OpenError> {
        Self::open_observed(directory, clock, options, |_| ())
    }

    /// The same; `on_commit` is told how long each commit took, on the writer's thread.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_observed(
        directory: &Path,
        clock: WallClock,
        options: &Options,
        on_commit: impl Fn(Duration) + Send + 'static,
    ) -> Result<Self, OpenError> {
        let now = clock.now();
        let file::Opened { writer, reader, secret, path, lock } =
            file::open(directory, options.key_file.as_deref(), now)?;
        let instance = InstanceId(uuid::Uuid::new_v4().as_u128());
        let damaged = |error| OpenError::of(&path, &error);
        let open = recovery::take_over(&writer, instance, now).map_err(damaged)?;
        let keys = keys::load(&writer).map_err(damaged)?;
        let (counts, _) = writer::read_counters(&writer).map_err(damaged)?;
        let in_doubt = open.iter().filter(|operation| &*operation.reason == recovery::RESTART).count();
        tracing::info!(
            ledger = %path.display(), open = open.len(), in_doubt, operations = counts.iter().sum::<u64>(),
            "the ledger is open"
        );
        let inner = Arc::new(Inner {
            clock,
            instance,
            secret,
            max_open: options.max_open,
            max_bytes: options.max_bytes,
            used_bytes: AtomicU64::default(),
            settle: options.settle,
            path: path.clone(),
            records: Mutex::new(Records::new(counts, open)),
            keys: Mutex::new(keys),
            reader: Mutex::new(reader),
            _lock: lock,
        });
        let (queue, commands) = mpsc::channel(QUEUE);
        let writer =
            Writer::new(writer, Arc::clone(&inner), commands, queue.downgrade(), OnCommit(Box::new(on_commit)))
                .map_err(damaged)?;
        let thread = std::thread::Builder::new().name("ledger".into());
        let watch = FailsByPanic(Arc::clone(&inner));
        let run = move || {
            // Dropped last, after the queue: whoever still gets in meanwhile is told that the writer has ended.
            let _watch = watch;
            writer.run();
        };
        let thread = thread.spawn(run).map_err(OpenError::Thread)?;
        Ok(Self { inner, queue: Some(queue), writer: Some(thread) })
    }

    /// Has the writer do something; resolves when that is durable.
    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, LedgerError>>) -> Command,
    ) -> Result<T, LedgerError> {
        self.inner.records.lock().check()?;
        let (reply, answer) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or_else(gone)?;
        queue.send(command(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Settles an operation that is in flight in memory, and asks the writer to write that down. `None`: it is not in flight.
    async fn settle_ahead(&self, next: &Operation) -> Result<Option<Operation>, LedgerError> {
        if next.state == State::Pending {
            return Ok(None);
        }
        self.inner.records.lock().check()?;
        let queue = self.queue.as_ref().ok_or_else(gone)?;
        // A place first: what is acknowledged is then sure to be asked for.
        let place = queue.reserve().await.map_err(|_| gone())?;
        let mut records = self.inner.records.lock();
        let settled = records.settle_ahead(next.clone()).transpose()?;
        if settled.is_some() {
            // Before anybody else can change it: what is asked of the writer later follows from this.
            place.send(Command::Store { seq: next.id.seq });
        }
        drop(records);
        Ok(settled)
    }

    /// Reads from the file, on a thread that may block.
    async fn look_up<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Db) -> Result<T, SqlError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let inner = Arc::clone(&self.inner);
        let found = tokio::task::spawn_blocking(move || read(&inner.reader.lock())).await;
        found
            .map_err(|error| LedgerError::Unavailable(error.to_string()))?
            .map_err(|error| LedgerError::Unavailable(error.to_string()))
    }

    /// The published version of `id`, forgotten or not.
    async fn read_any(&self, id: OperationId) -> Result<Option<Operation>, LedgerError> {
        if let Some(held) = self.inner.records.lock().published(id.seq) {
            return Ok(Some(held.clone()).filter(|held| held.id == id));
        }
        let stored = self.look_up(move |reader| sql::by_seq(reader, id.seq)).await?;
        Ok(stored.map(|stored| self.newest(stored)).filter(|found| found.id == id))
    }

    /// Notes are not in the file, so memory knows better.
    fn newest(&self, stored: Operation) -> Operation {
        let held = self.inner.records.lock().published(stored.id.seq).cloned();
        held.unwrap_or(stored)
    }
}

impl Ledger for DiskLedger {
    fn begin(&self, draft: Operation, now: UnixMillis) -> LedgerFuture<'_, Begun> {
        Box::pin(async move {
            let known = self.inner.records.lock().published_under(draft.key_hash).cloned();
            let steady = self.inner.clock.steady(now);
            if let Some(known) = known.filter(|known| known.holds_key(now, steady)) {
                return Ok(Begun::Known(known));
            }
            let handed = self.ask(|reply| Command::Begin { draft, now, reply }).await?;
            handed.take().ok_or_else(gone)
        })
    }

    fn update(&self, next: Operation) -> LedgerFuture<'_, Operation> {
        Box::pin(async move {
            if self.inner.settle == Settle::Eventual
                && let Some(settled) = self.settle_ahead(&next).await?
            {
                return Ok(settled);
            }
            self.ask(|reply| Command::Update { next, entry: None, reply }).await
        })
    }

    fn update_with(&self, next: Operation, entry: AuditEntry) -> LedgerFuture<'_, Operation> {
        Box::pin(self.ask(|reply| Command::Update { next, entry: Some(Box::new(entry)), reply }))
    }

    fn append(&self, entry: AuditEntry) -> LedgerFuture<'_, u64> {
        Box::pin(self.ask(|reply| Command::Append { entry: Box::new(entry), reply }))
    }

    fn audit(&self, of: Option<OperationId>, before: Option<u64>, limit: usize) -> LedgerFuture<'_, Vec<Audited>> {
        Box::pin(self.look_up(move |reader| trail::read(reader, of, before, limit)))
    }

    fn sent(&self, next: Operation) -> Result<Operation, LedgerError> {
        self.inner.records.lock().sent(&next)
    }

    fn defer(&self, next: Operation) -> LedgerFuture<'_, Operation> {
        Box::pin(async move { self.release(next) })
    }

    fn release(&self, next: Operation) -> Result<Operation, LedgerError> {
        self.inner.records.lock().note(next)
    }

    fn read(&self, id: OperationId) -> LedgerFuture<'_, Option<Operation>> {
        Box::pin(async move { Ok(visible(self.read_any(id).await?, id, self.inner.steady_now())) })
    }

    fn find(&self, key: KeyHash) -> LedgerFuture<'_, Option<Operation>> {
        Box::pin(async move {
            let held = self.inner.records.lock().published_under(key).cloned();
            let found = if held.is_some() {
                held
            } else {
                let inner = Arc::clone(&self.inner);
                let stored = self.look_up(move |reader| keys::latest_under(reader, &inner.keys, key)).await?;
                stored.map(|stored| self.newest(stored))
            };
            Ok(found.filter(|found| !is_forgotten(found, self.inner.steady_now())))
        })
    }

    fn is_anothers(&self, question: Question, principal: [u8; 32]) -> LedgerFuture<'_, bool> {
        let (inner, now) = (Arc::clone(&self.inner), self.inner.steady_now());
        Box::pin(self.look_up(move |reader| keys::is_anothers(reader, &inner.keys, question, principal, now)))
    }

    fn asked_by(&self, question: Question) -> LedgerFuture<'_, Vec<Operation>> {
        let (inner, now) = (Arc::clone(&self.inner), self.inner.steady_now());
        Box::pin(async move {
            let stored = self.look_up(move |reader| keys::asked_by(reader, &inner.keys, question, now)).await?;
            Ok(stored.into_iter().map(|stored| self.newest(stored)).collect())
        })
    }

    fn list(&self, filter: Filter, after: Option<OperationId>, limit: usize) -> LedgerFuture<'_, Vec<Operation>> {
        Box::pin(async move {
            let mut found = Vec::new();
            let mut left = filter.left(after.map(|id| id.seq));
            let is_held = filter.state.is_some_and(|state| !state.is_terminal());
            while let Some(numbers) = left
                && found.len() < limit
            {
                let (mut more, seen) = if is_held {
                    self.inner.records.lock().list(&filter, numbers, limit - found.len(), SCAN as usize)
                } else {
                    self.list_stored(&filter, numbers, limit - found.len()).await?
                };
                found.append(&mut more);
                left = seen.and_then(|seen| filter.left(Some(seen)));
                tokio::task::yield_now().await;
            }
            Ok(found)
        })
    }

    fn due(&self, now: UnixMillis, after: Option<(UnixMillis, u64)>, limit: usize) -> LedgerFuture<'_, Vec<Due>> {
        Box::pin(async move { Ok(self.inner.records.lock().due(now, after, limit)) })
    }

    fn next_due(&self) -> Option<UnixMillis> {
        self.inner.records.lock().next_due()
    }

    fn request(&self, id: OperationId) -> LedgerFuture<'_, Option<Arc<StoredRequest>>> {
        Box::pin(async move {
            // Only open operations keep one, and they are all in memory.
            let held = self.inner.records.lock().published(id.seq).map(|held| (held.id, held.request.clone()));
            if held != Some((id, KeptRequest::Kept)) {
                return Ok(None);
            }
            let read = move |reader: &Db| match sql::request(reader, id.seq) {
                Err(SqlError::Unreadable(_)) => Ok(Err(LedgerError::Unreadable)),
                read => read.map(Ok),
            };
            Ok(self.look_up(read).await??.map(Arc::new))
        })
    }

    fn changed(&self, id: OperationId, seen: u64) -> LedgerFuture<'_, Operation> {
        Box::pin(async move {
            let mut waiting = Waiting { inner: &self.inner, seq: id.seq, waiters: None };
            loop {
                // Before the look: a change after it ends the wait.
                let changed = waiting.enlist();
                let known = self.read_any(id).await?.ok_or(LedgerError::Absent)?;
                if known.revision != seen {
                    return Ok(known);
                }
                changed.await;
            }
        })
    }

    fn expire(&self, now: UnixMillis, limit: usize) -> LedgerFuture<'_, usize> {
        Box::pin(self.ask(move |reply| Command::Expire { now, limit, reply }))
    }

    fn reserve(&self, from: UnixMillis, span: u64) -> LedgerFuture<'_, UnixMillis> {
        Box::pin(self.ask(move |reply| Command::Reserve { from, span, reply }))
    }

    fn note(&self, name: &'static str) -> LedgerFuture<'_, Option<Vec<u8>>> {
        Box::pin(self.look_up(move |reader| sql::note(reader, name)))
    }

    fn keep_note(&self, name: &'static str, seen: Option<Vec<u8>>, value: Vec<u8>) -> LedgerFuture<'_, bool> {
        Box::pin(async move { Ok(self.ask(|reply| Command::Note { name, seen, value, reply }).await? == 1) })
    }

    fn load(&self) -> Option<Load> {
        let queued = self.queue.as_ref().map_or(0, |queue| queue.max_capacity() - queue.capacity());
        Some(Load {
            bytes: self.inner.used_bytes.load(Relaxed),
            max_bytes: self.inner.max_bytes,
            queued,
            operations: Some(self.counts().iter().sum()),
        })
    }

    fn owned(&self) -> [u64; 2] {
        let [pending, .., unknown] = self.counts();
        [pending, unknown]
    }

    fn flagged(&self) -> LedgerFuture<'_, [u64; 2]> {
        Box::pin(async move {
            let open = self.inner.records.lock().flagged_open();
            Ok([open, self.look_up(|reader| sql::flagged(reader)).await?])
        })
    }

    fn health(&self) -> Health {
        self.inner.records.lock().health()
    }

    fn quarantined_until(&self) -> Option<UnixMillis> {
        self.inner.records.lock().quarantined_until().filter(|until| *until > self.inner.clock.now())
    }

    fn instance(&self) -> InstanceId {
        self.inner.instance
    }

    fn clock(&self) -> &WallClock {
        &self.inner.clock
    }

    fn fingerprint_secret(&self) -> Option<&[u8; 32]> {
        Some(&self.inner.secret)
    }
}

impl DiskLedger {
    /// Operations by state: pending, succeeded, failed, `not_executed`, unknown.
    pub fn counts(&self) -> [u64; 5] {
        self.inner.records.lock().counts()
    }

    /// One stretch of a listing of the file: what matched, and where to go on (`None`: the end was reached).
    async fn list_stored(
        &self,
        filter: &Filter,
        numbers: (u64, u64),
        limit: usize,
    ) -> Result<(Vec<Operation>, Option<u64>), LedgerError> {
        let part =
            sql::Part { numbers, state: filter.state, is_owed: filter.is_of_what_is_owed(), order: filter.order };
        let rows = self.look_up(move |reader| sql::part(reader, part, SCAN)).await?;
        let now = self.inner.steady_now();
        let mut next = (rows.len() == SCAN as usize).then(|| rows.last().map(|last| last.id.seq)).flatten();
        let mut found = Vec::new();
        for row in rows {
            let seq = row.id.seq;
            let operation = self.newest(row);
            if filter.matches(&operation) && !is_forgotten(&operation, now) {
                found.push(operation);
                if found.len() == limit {
                    next = Some(seq);
                    break;
                }
            }
        }
        Ok((found, next))
    }
}

fn gone() -> LedgerError {
    LedgerError::Unavailable("the ledger's writer has ended".into())
}

impl Drop for DiskLedger {
    /// Waits until everything is written and the file is let go of.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the ledger's writer ended with a panic");
        }
    }
}

impl std::fmt::Debug for DiskLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskLedger").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

/// Somebody who waits for a change; leaves nothing behind.
struct Waiting<'a> {
    inner: &'a Inner,
    seq: u64,
    waiters: Option<Arc<Notify>>,
}

impl Waiting<'_> {
    /// Every change from now on ends the wait.
    fn enlist(&mut self) -> OwnedNotified {
        let waiters = self.inner.records.lock().waiters(self.seq);
        self.waiters = Some(Arc::clone(&waiters));
        waiters.notified_owned()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(waiters) = self.waiters.take() {
            self.inner.records.lock().leave(self.seq, waiters);
        }
    }
}

#[cfg(test)]
mod tests;
