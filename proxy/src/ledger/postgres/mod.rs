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

mod census;
mod columns;
mod command;
mod connect;
mod contract;
mod error;
mod inner;
mod keeper;
mod link;
mod loss;
mod migrate;
mod open;
mod options;
mod people;
mod row;
mod sql;
mod trail;
mod writer;

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use mainstay_policies::{
    clock::WallClock,
    operation::{
        Operation, State, UnixMillis,
        audit::{AUDIT_KEPT, AuditEntry},
        ledger::{Begun, Filter, LedgerError, Order},
    },
};
use tokio::{
    sync::{mpsc, oneshot},
    task::AbortHandle,
    time::{Instant, timeout},
};
use tokio_postgres::Row;

use self::{
    command::{BeginCommand, Command, Handed, UpdateCommand},
    connect::Session,
    inner::{Inner, is_forgotten},
    keeper::Keeper,
    link::Link,
    sql::Statement,
    writer::Writer,
};
pub use error::OpenError;
pub use migrate::{VERSION as SCHEMA_VERSION, schema_sql};
pub use options::{OnCommit, Options, Settings};
pub use people::{Replica, fence, replicas};

/// Connections that a process keeps to the store: the writer's, the reader's, and the beats'. A store needs so many for each
/// replica, the one more of a rolling upgrade included.
pub const CONNECTIONS_PER_REPLICA: usize = 3;

/// Commands that wait for the writer, and their bytes; beyond that a begin is refused.
const QUEUE: usize = 4096;
const QUEUE_BYTES: usize = 32 << 20;
/// Records that a listing looks at in one go.
const SCAN: i64 = 512;
/// How long a start tries to reach the store.
const START_WITHIN: Duration = Duration::from_secs(10);
/// Between two looks for what has expired, once nothing more was found.
const SWEEP_EVERY_MS: u64 = 10_000;
/// The same of slots of responses, of the audit trail, and of replicas that ended long ago.
const TIDY_EVERY_MS: u64 = 600_000;
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
    /// A store that cannot be reached for some seconds is gone on without: keyed writes are refused until it can be, and then
    /// this process registers.
    ///
    /// # Errors
    /// The store is another service's, of another version, sealed otherwise, or may lose what it says it has. Where that is found
    /// only later it is logged, and keyed writes go on being refused.
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        let settings = options.settings.clone();
        let texts = Arc::new(sql::texts(&settings.schema));
        let first = connect_within(&settings, &texts, START_WITHIN).await?;
        let connect = async || match &first {
            Some(_) => Session::open(&settings, Arc::clone(&texts)).await.ok(),
            None => None,
        };
        let keep = |name, session| Link::keep(name, session, settings.clone(), Arc::clone(&texts));
        let (writer, reader) = (keep("writer", connect().await), keep("reader", connect().await));
        let inner = Arc::new(Inner::new(options, writer, reader, keep("beats", first)));
        let mut keeper = Keeper::new(Arc::clone(&inner));
        let is_enlisted = match inner.beats.session() {
            Ok(session) => match open::enlist(&inner, &session).await {
                Ok(()) => true,
                Err(error @ OpenError::Unreachable(_)) => {
                    tracing::error!(%error, "keyed writes are refused until the ledger can be used");
                    false
                }
                Err(error) => return Err(error),
            },
            Err(_) => false,
        };
        if is_enlisted {
            keeper.turn().await;
        } else {
            // Until the store says what time it is.
            inner.clock.tell(WallClock::system().now(), Instant::now());
        }
        let (queue, commands) = mpsc::channel(QUEUE);
        let writer = Writer::new(Arc::clone(&inner), commands, queue.downgrade());
        let tasks = vec![
            tokio::spawn(writer.run()).abort_handle(),
            tokio::spawn(keeper.run()).abort_handle(),
            tokio::spawn(keeper::poll(Arc::clone(&inner))).abort_handle(),
            tokio::spawn(keeper::tidy(Arc::clone(&inner), queue.downgrade())).abort_handle(),
        ];
        Ok(Self { inner, queue, tasks })
    }

    /// Ends what keeps this replica alive, as a stall does: for tests of what others do then.
    pub fn stop_beating(&self) {
        self.tasks.iter().skip(1).for_each(AbortHandle::abort);
    }

    fn enqueue(&self, command: Command) -> Result<(), LedgerError> {
        let is_queued = self.inner.enqueue(&self.queue, command);
        if is_queued { Ok(()) } else { Err(LedgerError::Unavailable("too many writes wait for the store".into())) }
    }

    async fn begin_new(&self, mut draft: Operation, now: UnixMillis) -> Result<Begun, LedgerError> {
        let inner = &self.inner;
        let refused = |word, why: &str| {
            inner.meters.count("refused", word);
            Err(LedgerError::Unavailable(why.into()))
        };
        if !inner.is_open() {
            return refused("never_reached", "the store has not been reached since the start");
        }
        if !inner.may_begin.load(Relaxed) {
            return refused("not_agreed", "it is not settled yet that this replica knows its callers as the others do");
        }
        if !inner.writer.is_up() {
            return refused("unreachable", "the store cannot be reached");
        }
        if inner.is_lossy() {
            return refused("lossy", "the store has forgotten what it had acknowledged, and is being told again");
        }
        if !inner.lease.is_held() {
            return refused("lease", "the store has not heard from this replica for too long");
        }
        if inner.queued_bytes.load(Relaxed) > QUEUE_BYTES {
            return refused("queue", "too many writes wait for the store");
        }
        let principal = draft.principal;
        if !inner.owned.lock().enter(principal, inner.options.max_open) {
            inner.meters.count("refused", "full");
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
            return refused("numbers", "no numbers for operations are reserved");
        }
        let seq = draft.id.seq;
        let (reply, answer) = oneshot::channel();
        if let Err(error) = self.enqueue(Command::Begin(BeginCommand { draft, now, reply })) {
            let mut owned = inner.owned.lock();
            owned.arrived(seq);
            owned.leave(principal);
            inner.meters.count("refused", "queue");
            return Err(error);
        }
        let handed: Handed = match timeout(inner.options.settings.timeouts.begin, answer).await {
            Ok(Ok(handed)) => handed?,
            Ok(Err(_)) => return Err(gone()),
            Err(_) => return refused("timeout", "the store did not take it in time"),
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

    async fn change(
        &self,
        mut next: Operation,
        entry: Option<AuditEntry>,
        is_of_time: bool,
    ) -> Result<Operation, LedgerError> {
        if let Some(known) = self.inner.owned.lock().get(next.id).filter(|known| known.revision == next.revision) {
            next.keep_sent(known);
        }
        let (reply, answer) = oneshot::channel();
        let entry = entry.map(Box::new);
        let command = Command::Update(UpdateCommand { next, entry, reply: Some(reply), is_of_time, before: None });
        let bytes = command.bytes();
        let place = self.queue.reserve().await.map_err(|_| gone())?;
        // Before the writer can count it off.
        self.inner.queued_bytes.fetch_add(bytes, Relaxed);
        place.send(command);
        // As long as it takes: it is evidence. Whoever waits for it leaves when `patience` says so.
        answer.await.map_err(|_| gone())?
    }

    /// One stretch of a listing: what matched, and where to go on (`None`: the end was reached).
    async fn scan(
        &self,
        filter: &Filter,
        (first, last): (u64, u64),
        limit: usize,
    ) -> Result<(Vec<Operation>, Option<u64>), LedgerError> {
        let inner = &self.inner;
        let is_unknown = filter.state == Some(State::Unknown);
        let statement = match (is_unknown, filter.order) {
            (true, Order::Oldest) => Statement::ListUnknown,
            (true, Order::Newest) => Statement::ListUnknownNewest,
            (false, Order::Oldest) => Statement::List,
            (false, Order::Newest) => Statement::ListNewest,
        };
        let column = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let (first, last) = (column(first), column(last));
        let rows = inner.ask(statement, vec![&first, &SCAN, &last]).await?;
        let now = inner.steady_now();
        let number = |row: &Row| row.get::<_, i64>(0).cast_unsigned();
        let mut seen = (i64::try_from(rows.len()) == Ok(SCAN)).then(|| rows.last().map(number)).flatten();
        let mut found = Vec::new();
        for row in &rows {
            let operation = match inner.rows().read(row, now) {
                Ok(operation) => inner.seen(operation),
                Err(error) => {
                    tracing::error!(%error, "an operation is left out of a listing");
                    continue;
                }
            };
            if filter.matches(&operation) && !is_forgotten(&operation, now) {
                found.push(operation);
                if found.len() == limit {
                    seen = Some(number(row));
                    break;
                }
            }
        }
        Ok((found, seen))
    }

    async fn sweep(&self, now: UnixMillis, limit: usize) -> Result<usize, LedgerError> {
        let inner = &self.inner;
        let no = inner.no.load(Relaxed);
        if now < *inner.next_sweep.lock() {
            return Ok(0);
        }
        let later = now.saturating_add(SWEEP_EVERY_MS);
        if inner.ask(Statement::Duty, vec![&"sweep", &no]).await?.is_empty() {
            *inner.next_sweep.lock() = later;
            return Ok(0);
        }
        let (at, most) = (now.cast_signed(), i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = inner.ask(Statement::Sweep, vec![&at, &most]).await?;
        let seqs: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        if seqs.is_empty() {
            *inner.next_sweep.lock() = later;
            self.tidy_up(now).await?;
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

    /// What grows too slowly to be looked at with each sweep.
    async fn tidy_up(&self, now: UnixMillis) -> Result<(), LedgerError> {
        let inner = &self.inner;
        if now < *inner.next_tidy.lock() {
            return Ok(());
        }
        *inner.next_tidy.lock() = now.saturating_add(TIDY_EVERY_MS);
        self.empty_slots(now).await?;
        let kept = AUDIT_KEPT.cast_signed();
        inner.ask(Statement::TrimAudit, vec![&kept]).await?;
        inner.ask(Statement::ForgetInstances, vec![]).await?;
        Ok(())
    }

    /// Empties the slots of the ring in which everything has expired. Next time, if somebody reads one just now.
    async fn empty_slots(&self, now: UnixMillis) -> Result<(), LedgerError> {
        let inner = &self.inner;
        for slot in row::empty_slots(now, inner.rows().width_ms) {
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

/// The first connection: a store that is only just starting is waited for. `None`: it could not be reached.
async fn connect_within(
    settings: &Settings,
    texts: &Arc<Vec<String>>,
    within: Duration,
) -> Result<Option<Session>, OpenError> {
    let until = Instant::now() + within;
    loop {
        match Session::open(settings, Arc::clone(texts)).await {
            Ok(session) => return Ok(Some(session)),
            Err(error @ OpenError::Unreachable(_)) if Instant::now() < until => {
                tracing::warn!(%error, "trying again");
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            Err(error @ OpenError::Unreachable(_)) => {
                tracing::error!(%error, "going on without it: keyed writes are refused until it can be reached");
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
    }
}
