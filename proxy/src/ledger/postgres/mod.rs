//! The ledger in PostgreSQL: one for all replicas of a service.
//!
//! ```text
//!  begin, update ──► bounded queue ──► writer ──► one transaction and one round trip per batch ──► answers
//!  read, find, list of what may change ──► a connection of their own, to the primary
//!  beats, the watch, takeovers ──► a third one (`keeper`)
//! ```
//!
//! Exactly one replica may send for a key, whichever a repeat reaches: a key is begun durably in the store before a byte goes
//! upstream, and uniqueness is an index. A replica that dies leaves what it had in flight to the others, who ask what became of
//! it and never send by themselves (`shared`). No replica's clock enters a record: time is the store's.

mod command;
mod connect;
mod error;
mod inner;
mod keeper;
mod link;
mod open;
mod options;
mod row;
mod sql;
mod trail;
mod writer;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use mainstay_policies::{
    clock::WallClock,
    operation::{
        InstanceId, KeptRequest, KeyHash, Operation, OperationId, QUESTION_LOOKS, Question, State, StoredRequest,
        UnixMillis,
        audit::{AUDIT_KEPT, AuditEntry, Audited},
        ledger::{Begun, Due, Filter, Health, Ledger, LedgerError, LedgerFuture},
    },
};
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, oneshot},
    task::AbortHandle,
    time::{Instant, timeout},
};
use uuid::Uuid;

use self::{
    command::{BeginCommand, Command, Handed, UpdateCommand},
    connect::Session,
    inner::{Inner, Refused, is_final, is_forgotten},
    keeper::Keeper,
    link::Link,
    row::Rows,
    sql::Statement,
    writer::Writer,
};
use super::{
    record::decode_request,
    shared::{lease::Lease, numbers::Numbers, owned::Owned, waiters::Waiters},
    vault::Kind,
};

pub use error::OpenError;
pub use open::schema_sql;
pub use options::{Options, Settings};

/// Commands that wait for the writer, and their bytes; beyond that a begin is refused.
const QUEUE: usize = 4096;
const QUEUE_BYTES: usize = 32 << 20;
/// Records that a listing looks at in one go.
const SCAN: i64 = 512;
/// How long a start tries to reach the store.
const START_WITHIN: Duration = Duration::from_secs(10);
/// Between two looks for what has expired, once nothing more was found.
const SWEEP_EVERY_MS: u64 = 10_000;
/// An operation whose time to be forgotten has not come is looked at again this much later.
const POSTPONED_MS: u64 = 3_600_000;

/// A ledger in PostgreSQL.
pub struct PostgresLedger {
    inner: Arc<Inner>,
    queue: mpsc::Sender<Command>,
    tasks: Vec<AbortHandle>,
}

impl PostgresLedger {
    /// Opens the ledger, or makes it, and registers this process. Its tasks run on the runtime on which it is opened.
    ///
    /// # Errors
    /// The store cannot be reached, is another service's, of another version, sealed otherwise, or may lose what it says it has.
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        let settings = options.settings.clone();
        let texts = Arc::new(sql::texts(&settings.schema));
        let first = connect_within(&settings, &texts, START_WITHIN).await?;
        let opened = open::prepare(&first, &options).await?;
        let at = Instant::now();
        let registered = open::register(&first, &options, Uuid::new_v4()).await?;
        let clock = options.clock.clone().unwrap_or_else(WallClock::told);
        clock.tell(registered.now, at + at.elapsed() / 2);
        let pooled = first.is_pooled();
        let connect = async || Session::open(&settings, Arc::clone(&texts)).await;
        let keep = |name, session| Link::keep(name, session, settings.clone(), Arc::clone(&texts));
        let inner = Arc::new(Inner {
            clock,
            secret: opened.secret,
            rows: Rows { vault: opened.vault, width_ms: opened.width_ms },
            owned: Mutex::new(Owned::default()),
            waiters: Waiters::default(),
            lease: Lease::new(settings.ttl, settings.heartbeat),
            numbers: Numbers::default(),
            refused: Mutex::new(Refused::default()),
            no: AtomicI64::new(registered.no),
            node: AtomicI64::new(i64::from(registered.node)),
            replicas: AtomicUsize::new(1),
            queued_bytes: AtomicUsize::new(0),
            writer: keep("writer", connect().await?),
            reader: keep("reader", connect().await?),
            beats: keep("beats", first),
            next_sweep: Mutex::new(0),
            options,
        });
        keeper::beat(&inner).await;
        if !inner.lease.is_held() {
            return Err(OpenError::Unreachable("it did not take the first sign of life".into()));
        }
        let (queue, commands) = mpsc::channel(QUEUE);
        let writer = Writer::new(Arc::clone(&inner), commands, queue.downgrade());
        let tasks = vec![
            tokio::spawn(writer.run()).abort_handle(),
            tokio::spawn(Keeper::new(Arc::clone(&inner)).run()).abort_handle(),
            tokio::spawn(keeper::poll(Arc::clone(&inner))).abort_handle(),
            tokio::spawn(keeper::tidy(Arc::clone(&inner), queue.downgrade())).abort_handle(),
        ];
        tracing::info!(
            schema = settings.schema,
            service = settings.service,
            replica = registered.no,
            node = registered.node,
            pooled,
            "the ledger is open"
        );
        Ok(Self { inner, queue, tasks })
    }

    /// Ends what keeps this replica alive, as a stall does: for tests of what others do then.
    pub fn stop_beating(&self) {
        self.tasks.iter().skip(1).for_each(AbortHandle::abort);
    }

    fn enqueue(&self, command: Command) -> Result<(), LedgerError> {
        let bytes = command.bytes();
        self.queue
            .try_send(command)
            .map_err(|_| LedgerError::Unavailable("too many writes wait for the store".into()))?;
        self.inner.queued_bytes.fetch_add(bytes, Relaxed);
        Ok(())
    }

    async fn begin_new(&self, mut draft: Operation, now: UnixMillis) -> Result<Begun, LedgerError> {
        let inner = &self.inner;
        if !inner.writer.is_up() {
            return Err(LedgerError::Unavailable("the store cannot be reached".into()));
        }
        if !inner.lease.is_held() {
            return Err(LedgerError::Unavailable("the store has not heard from this replica for too long".into()));
        }
        if inner.queued_bytes.load(Relaxed) > QUEUE_BYTES {
            return Err(LedgerError::Unavailable("too many writes wait for the store".into()));
        }
        let principal = draft.principal;
        if !inner.owned.lock().enter(principal, inner.options.max_open) {
            return Err(LedgerError::Full);
        }
        let mut is_numbered = self.number(&mut draft);
        if !is_numbered {
            // A clock that jumped, or a beat that was missed.
            keeper::reserve(inner).await;
            is_numbered = self.number(&mut draft);
        }
        if !is_numbered {
            inner.owned.lock().leave(principal);
            return Err(LedgerError::Unavailable("no numbers for operations are reserved".into()));
        }
        let seq = draft.id.seq;
        let (reply, answer) = oneshot::channel();
        if let Err(error) = self.enqueue(Command::Begin(BeginCommand { draft, now, reply })) {
            let mut owned = inner.owned.lock();
            owned.arrived(seq);
            owned.leave(principal);
            return Err(error);
        }
        let handed: Handed = match timeout(inner.options.settings.timeouts.begin, answer).await {
            Ok(Ok(handed)) => handed?,
            Ok(Err(_)) => return Err(gone()),
            Err(_) => return Err(LedgerError::Unavailable("the store did not take it in time".into())),
        };
        handed.take().ok_or_else(gone)
    }

    /// Gives a draft its number, and its owner. In one step with telling that it is under way: else its number could be below
    /// what this replica says is the lowest of all.
    fn number(&self, draft: &mut Operation) -> bool {
        let inner = &self.inner;
        let mut owned = inner.owned.lock();
        let Some(seq) = inner.numbers.next(inner.clock.now()) else { return false };
        owned.under_way(seq);
        (draft.id.seq, draft.owner, draft.epoch, draft.revision) = (seq, inner.instance(), 1, 1);
        true
    }

    async fn change(&self, mut next: Operation, entry: Option<AuditEntry>) -> Result<Operation, LedgerError> {
        if let Some(known) = self.inner.owned.lock().get(next.id).filter(|known| known.revision == next.revision) {
            next.keep_sent(known);
        }
        let (reply, answer) = oneshot::channel();
        let entry = entry.map(Box::new);
        let command = Command::Update(UpdateCommand { next, entry, reply: Some(reply) });
        let bytes = command.bytes();
        let asked = async {
            self.queue.send(command).await.map_err(|_| gone())?;
            self.inner.queued_bytes.fetch_add(bytes, Relaxed);
            answer.await.map_err(|_| gone())?
        };
        // The writer goes on trying: it is evidence.
        let within = self.inner.options.settings.timeouts.settle;
        timeout(within, asked)
            .await
            .unwrap_or_else(|_| Err(LedgerError::Unavailable("the store has not taken it yet; it is tried on".into())))
    }

    /// One stretch of a listing: what matched, and where to go on (`None`: the end was reached).
    async fn scan(
        &self,
        filter: &Filter,
        after: i64,
        limit: usize,
    ) -> Result<(Vec<Operation>, Option<i64>), LedgerError> {
        let inner = &self.inner;
        let statement = match filter.state {
            Some(State::Unknown) => Statement::ListUnknown,
            _ => Statement::List,
        };
        let rows = inner.ask(statement, vec![&after, &SCAN]).await?;
        let now = inner.steady_now();
        let mut next = (i64::try_from(rows.len()) == Ok(SCAN)).then(|| rows.last().map(|row| row.get(0))).flatten();
        let mut found = Vec::new();
        for row in &rows {
            let operation = match inner.rows.read(row, now) {
                Ok(operation) => inner.seen(operation),
                Err(error) => {
                    tracing::error!(%error, "an operation is left out of a listing");
                    continue;
                }
            };
            if filter.matches(&operation) && !is_forgotten(&operation, now) {
                found.push(operation);
                if found.len() == limit {
                    next = Some(row.get(0));
                    break;
                }
            }
        }
        Ok((found, next))
    }

    async fn sweep(&self, now: UnixMillis, limit: usize) -> Result<usize, LedgerError> {
        let inner = &self.inner;
        let no = inner.no.load(Relaxed);
        if now < *inner.next_sweep.lock() || inner.ask(Statement::Duty, vec![&"sweep", &no]).await?.is_empty() {
            return Ok(0);
        }
        let (at, most) = (now.cast_signed(), i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = inner.ask(Statement::Sweep, vec![&at, &most]).await?;
        let seqs: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        if seqs.is_empty() {
            *inner.next_sweep.lock() = now.saturating_add(SWEEP_EVERY_MS);
            self.empty_slots(now).await?;
            let kept = AUDIT_KEPT.cast_signed();
            inner.ask(Statement::TrimAudit, vec![&kept]).await?;
            return Ok(0);
        }
        let forgotten: Vec<i64> =
            inner.ask(Statement::Forget, vec![&seqs, &at]).await?.iter().map(|row| row.get(0)).collect();
        inner.ask(Statement::ForgetResponses, vec![&forgotten]).await?;
        inner.ask(Statement::ForgetRequests, vec![&forgotten]).await?;
        let later = now.saturating_add(POSTPONED_MS).cast_signed();
        inner.ask(Statement::Postpone, vec![&seqs, &later, &at]).await?;
        let mut owned = inner.owned.lock();
        for seq in &forgotten {
            owned.forget(seq.cast_unsigned());
            inner.waiters.wake(seq.cast_unsigned());
        }
        Ok(forgotten.len())
    }

    /// Empties the slots of the ring in which everything has expired. Next time, if somebody reads one just now.
    async fn empty_slots(&self, now: UnixMillis) -> Result<(), LedgerError> {
        let inner = &self.inner;
        for slot in row::empty_slots(now, inner.rows.width_ms) {
            let rows = inner.ask(Statement::Empty, vec![&slot]).await?;
            if !rows.first().is_some_and(|row| row.get(0)) {
                continue;
            }
            let session = inner.reader.session()?;
            let schema = &inner.options.settings.schema;
            let script = format!("BEGIN; SET LOCAL lock_timeout = 200; TRUNCATE {schema}.response_{slot}; COMMIT");
            if let Err(error) = session.run_script(&script, inner.options.settings.timeouts.read).await {
                tracing::debug!(%error, slot, "expired responses are dropped later");
                session.close();
            }
        }
        Ok(())
    }
}

impl Ledger for PostgresLedger {
    fn begin(&self, draft: Operation, now: UnixMillis) -> LedgerFuture<'_, Begun> {
        Box::pin(async move {
            let steady = self.inner.clock.steady(now);
            let known = self.inner.owned.lock().settled_under(draft.key_hash).cloned();
            if let Some(known) = known.filter(|known| is_final(known, now, steady)) {
                return Ok(Begun::Known(known));
            }
            self.begin_new(draft, now).await
        })
    }

    fn update(&self, next: Operation) -> LedgerFuture<'_, Operation> {
        Box::pin(self.change(next, None))
    }

    fn update_with(&self, next: Operation, entry: AuditEntry) -> LedgerFuture<'_, Operation> {
        Box::pin(self.change(next, Some(entry)))
    }

    fn append(&self, entry: AuditEntry) -> LedgerFuture<'_, u64> {
        Box::pin(async move {
            let entry = trail::Entry::of(entry);
            let rows = self.inner.ask(Statement::Append, entry.params()).await?;
            Ok(rows.first().map_or(0, |row| row.get::<_, i64>(0).cast_unsigned()))
        })
    }

    fn audit(&self, of: Option<OperationId>, before: Option<u64>, limit: usize) -> LedgerFuture<'_, Vec<Audited>> {
        Box::pin(async move {
            let before = before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows = match of {
                Some(id) => {
                    let (seq, tag) = (id.seq.cast_signed(), id.tag.cast_signed());
                    self.inner.ask(Statement::AuditOf, vec![&before, &limit, &seq, &tag]).await?
                }
                None => self.inner.ask(Statement::Audit, vec![&before, &limit]).await?,
            };
            Ok(rows.iter().map(trail::read).collect())
        })
    }

    fn sent(&self, next: Operation) -> Result<Operation, LedgerError> {
        self.inner.owned.lock().sent(&next)
    }

    fn defer(&self, next: Operation) -> LedgerFuture<'_, Operation> {
        self.update(next)
    }

    fn release(&self, next: Operation) -> Result<Operation, LedgerError> {
        let inner = &self.inner;
        let mut next = next;
        {
            let owned = inner.owned.lock();
            let known = owned.get(next.id).ok_or(LedgerError::Absent)?;
            if (known.owner, known.epoch, known.revision) != (next.owner, next.epoch, next.revision) {
                return Err(LedgerError::Stale(Box::new(known.clone())));
            }
            next.keep_sent(known);
        }
        // Memory follows when it is on record: if it never is, what memory holds is right.
        let released = Operation { revision: next.revision + 1, ..next.clone() };
        self.enqueue(Command::Update(UpdateCommand { next, entry: None, reply: None }))?;
        Ok(released)
    }

    fn may_dispatch(&self, of: &Operation) -> Result<(), LedgerError> {
        let inner = &self.inner;
        let is_ours = of.owner == inner.instance() && inner.lease.is_held();
        let is_known = inner.owned.lock().get(of.id).is_some_and(|known| known.epoch == of.epoch);
        if is_ours && is_known { Ok(()) } else { Err(LedgerError::Fenced) }
    }

    fn read(&self, id: OperationId) -> LedgerFuture<'_, Option<Operation>> {
        Box::pin(async move {
            let (now, steady) = (self.inner.clock.now(), self.inner.steady_now());
            let known = self.inner.owned.lock().settled(id).cloned();
            if let Some(known) = known.filter(|known| is_final(known, now, steady)) {
                return Ok(Some(Rows::at(known, steady)));
            }
            let found = self.inner.read_stored(id).await?;
            Ok(found.filter(|found| !is_forgotten(found, steady)))
        })
    }

    fn find(&self, key: KeyHash) -> LedgerFuture<'_, Option<Operation>> {
        Box::pin(async move {
            let (now, steady) = (self.inner.clock.now(), self.inner.steady_now());
            let known = self.inner.owned.lock().settled_under(key).cloned();
            if let Some(known) = known.filter(|known| is_final(known, now, steady)) {
                return Ok(Some(Rows::at(known, steady)));
            }
            let found = self.inner.find_stored(key).await?;
            Ok(found.filter(|found| !is_forgotten(found, steady)))
        })
    }

    fn is_anothers(&self, question: Question, principal: [u8; 32]) -> LedgerFuture<'_, bool> {
        Box::pin(async move {
            let (question, looks) = (question.0.cast_signed(), i64::try_from(QUESTION_LOOKS).unwrap_or(i64::MAX));
            let rows = self.inner.ask(Statement::Question, vec![&question, &looks]).await?;
            let now = self.inner.steady_now();
            for row in &rows {
                let found = self.inner.rows.read(row, now)?;
                if !is_forgotten(&found, now) && found.principal != principal {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    fn list(&self, filter: Filter, after: Option<OperationId>, limit: usize) -> LedgerFuture<'_, Vec<Operation>> {
        Box::pin(async move {
            let mut found = Vec::new();
            let mut from = Some(after.map_or(0, |id| id.seq.cast_signed()));
            while let Some(seq) = from
                && found.len() < limit
            {
                let (mut more, next) = self.scan(&filter, seq, limit - found.len()).await?;
                found.append(&mut more);
                from = next;
            }
            Ok(found)
        })
    }

    fn due(&self, now: UnixMillis, after: Option<(UnixMillis, u64)>, limit: usize) -> LedgerFuture<'_, Vec<Due>> {
        Box::pin(async move { Ok(self.inner.owned.lock().due(now, after, limit)) })
    }

    fn next_due(&self) -> Option<UnixMillis> {
        self.inner.owned.lock().next_due()
    }

    fn request(&self, id: OperationId) -> LedgerFuture<'_, Option<Arc<StoredRequest>>> {
        Box::pin(async move {
            let found = self.inner.read_stored(id).await?;
            if found.is_none_or(|found| found.request != KeptRequest::Kept) {
                return Ok(None);
            }
            let seq = id.seq.cast_signed();
            let rows = self.inner.ask(Statement::Request, vec![&seq]).await?;
            let Some(row) = rows.first() else { return Err(LedgerError::Unreadable) };
            let sealed: &[u8] = row.get(0);
            let plain =
                self.inner.rows.vault.open(Kind::Request, id.seq, sealed).map_err(|_| LedgerError::Unreadable)?;
            let request = decode_request(plain.as_deref().unwrap_or(sealed)).map_err(|_| LedgerError::Unreadable)?;
            Ok(Some(Arc::new(request)))
        })
    }

    fn changed(&self, id: OperationId, seen: u64) -> LedgerFuture<'_, Operation> {
        Box::pin(async move {
            loop {
                // Before the look: a change after it ends the wait.
                let (_waiting, woken) = self.inner.waiters.enlist(id, seen);
                let known = self.inner.read_stored(id).await?.ok_or(LedgerError::Absent)?;
                if known.revision != seen {
                    return Ok(known);
                }
                woken.await;
            }
        })
    }

    fn expire(&self, now: UnixMillis, limit: usize) -> LedgerFuture<'_, usize> {
        Box::pin(async move {
            if !self.inner.reader.is_up() {
                return Ok(0);
            }
            self.sweep(now, limit).await
        })
    }

    fn reserve(&self, from: UnixMillis, span: u64) -> LedgerFuture<'_, UnixMillis> {
        Box::pin(async move {
            let node = i16::try_from(self.inner.node.load(Relaxed)).unwrap_or(0);
            let (from, span, no) = (from.cast_signed(), span.cast_signed(), self.inner.no.load(Relaxed));
            let rows = self.inner.ask(Statement::Reserve, vec![&from, &span, &node, &no]).await?;
            let row = rows.first().ok_or(LedgerError::Fenced)?;
            Ok(row.get::<_, i64>(0).cast_unsigned())
        })
    }

    fn counts(&self) -> [u64; 5] {
        self.inner.owned.lock().counts()
    }

    fn flagged(&self) -> LedgerFuture<'_, u64> {
        Box::pin(async move {
            let rows = self.inner.ask(Statement::Flagged, vec![]).await?;
            Ok(rows.first().map_or(0, |row| row.get::<_, i64>(0).cast_unsigned()))
        })
    }

    fn health(&self) -> Health {
        let inner = &self.inner;
        if inner.writer.is_up() && inner.lease.is_held() { Health::Writable } else { Health::Unreachable }
    }

    fn instance(&self) -> InstanceId {
        self.inner.instance()
    }

    fn clock(&self) -> &WallClock {
        &self.inner.clock
    }

    fn replicas(&self) -> usize {
        self.inner.replicas.load(Relaxed)
    }

    fn node(&self) -> Option<u16> {
        u16::try_from(self.inner.node.load(Relaxed)).ok()
    }

    fn leave(&self) -> LedgerFuture<'_, ()> {
        Box::pin(async move {
            self.inner.lease.end();
            let no = self.inner.no.load(Relaxed);
            self.inner.ask(Statement::Leave, vec![&no]).await?;
            Ok(())
        })
    }

    fn fingerprint_secret(&self) -> &[u8; 32] {
        &self.inner.secret
    }
}

impl Drop for PostgresLedger {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl std::fmt::Debug for PostgresLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresLedger").field("schema", &self.inner.options.settings.schema).finish_non_exhaustive()
    }
}

fn gone() -> LedgerError {
    LedgerError::Unavailable("the ledger's writer has ended".into())
}

/// The first connection: a store that is only just starting is waited for.
async fn connect_within(settings: &Settings, texts: &Arc<Vec<String>>, within: Duration) -> Result<Session, OpenError> {
    let until = Instant::now() + within;
    loop {
        match Session::open(settings, Arc::clone(texts)).await {
            Ok(session) => return Ok(session),
            Err(error @ OpenError::Unreachable(_)) if Instant::now() < until => {
                tracing::warn!(%error, "trying again");
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            Err(error) => return Err(error),
        }
    }
}
