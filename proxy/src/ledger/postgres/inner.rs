//! What the ledger's users, its writer and its keeper share.

use std::{
    collections::HashSet,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use mainstay_policies::{
    clock::WallClock,
    faults::{Safeguard, is_off},
    operation::{
        InstanceId, KeyHash, Operation, OperationId, State, UnixMillis,
        ledger::{Census, LedgerError},
    },
    rate_limit::Peers,
};
use parking_lot::Mutex;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    command::Command,
    connect::{Params, Session},
    error::StoreError,
    link::Link,
    loss::Memory,
    open::Opened,
    options::Options,
    row::{Rows, key_column, owner_column, owner_of},
    sql::Statement,
};
use crate::ledger::shared::{
    acknowledged::Acknowledged, lease::Lease, meters::Meters, numbers::Numbers, owned::Owned, told::Told,
    waiters::Waiters,
};

/// What the ledger's users, its writer and its keeper share.
pub(super) struct Inner {
    pub(super) options: Options,
    /// The store's time.
    pub(super) clock: WallClock,
    /// What all replicas share; it is there once the store has been reached for the first time.
    pub(super) opened: OnceLock<Opened>,
    pub(super) owned: Mutex<Owned>,
    pub(super) waiters: Waiters,
    pub(super) told: Told,
    pub(super) lease: Lease,
    pub(super) numbers: Numbers,
    pub(super) refused: Mutex<Refused>,
    /// Whether it is settled that this replica may begin anything.
    pub(super) may_begin: AtomicBool,
    /// This replica's number, the run that was given it, and its node.
    pub(super) no: AtomicI64,
    pub(super) run: Mutex<Uuid>,
    pub(super) node: AtomicI64,
    pub(super) replicas: AtomicUsize,
    /// By whom limits are shared.
    pub(super) peers: Arc<Peers>,
    /// Replicas that have ended, as far as was seen last.
    pub(super) ended: Mutex<HashSet<i64>>,
    /// Bytes that wait for the writer.
    pub(super) queued_bytes: AtomicUsize,
    pub(super) writer: Link,
    pub(super) reader: Link,
    pub(super) beats: Link,
    /// When it is next looked for what has expired, by the ledger's clock.
    pub(super) next_sweep: Mutex<UnixMillis>,
    /// The same for what need not be looked at so often.
    pub(super) next_tidy: Mutex<UnixMillis>,
    /// Operations of all replicas, as they were counted last.
    pub(super) census: Mutex<Option<Census>>,
    pub(super) meters: Meters,
    /// What the store must know, and whether it does.
    pub(super) acknowledged: Mutex<Acknowledged>,
    pub(super) memory: Memory,
}

/// Begins that were refused although they may have been committed: what is found of them later was never sent.
#[derive(Default)]
pub(super) struct Refused(Vec<(OperationId, usize, Instant)>);

/// When it is looked for what a refused begin left, after it was refused.
const LOOKS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30)];
/// Refused begins that are remembered; for the rest there is the audit of what nobody knows.
const REFUSED: usize = 4096;

impl Refused {
    pub(super) fn add(&mut self, id: OperationId) {
        if self.0.len() < REFUSED && !is_off(Safeguard::RefusedList) {
            self.0.push((id, 0, Instant::now()));
        }
    }

    /// Those for which it is time to look.
    pub(super) fn look_for(&mut self, now: Instant) -> Vec<OperationId> {
        let mut due = Vec::new();
        self.0.retain_mut(|(id, looks, since)| {
            if now.duration_since(*since) >= LOOKS[*looks] {
                due.push(*id);
                *looks += 1;
            }
            *looks < LOOKS.len()
        });
        due
    }
}

impl Inner {
    pub(super) fn new(options: Options, writer: Link, reader: Link, beats: Link) -> Self {
        let settings = &options.settings;
        Self {
            clock: options.clock.clone().unwrap_or_else(WallClock::told),
            opened: OnceLock::new(),
            owned: Mutex::new(Owned::default()),
            waiters: Waiters::default(),
            told: Told::default(),
            lease: Lease::new(settings.ttl, settings.heartbeat),
            numbers: Numbers::default(),
            refused: Mutex::new(Refused::default()),
            may_begin: AtomicBool::new(true),
            no: AtomicI64::new(0),
            run: Mutex::new(Uuid::nil()),
            // None, until one was handed out.
            node: AtomicI64::new(-1),
            replicas: AtomicUsize::new(1),
            ended: Mutex::default(),
            peers: Arc::default(),
            queued_bytes: AtomicUsize::new(0),
            writer,
            reader,
            beats,
            next_sweep: Mutex::new(0),
            next_tidy: Mutex::new(0),
            census: Mutex::new(None),
            meters: Meters::default(),
            acknowledged: Mutex::default(),
            memory: Memory::default(),
            options,
        }
    }

    /// How operations are written and read.
    pub(super) fn rows(&self) -> &Rows {
        &self.opened.get().expect("nothing is asked before the store was reached").rows
    }

    pub(super) fn is_open(&self) -> bool {
        self.opened.get().is_some()
    }

    pub(super) fn instance(&self) -> InstanceId {
        owner_of(self.no.load(Relaxed))
    }

    /// Now, for what is forgotten.
    pub(super) fn steady_now(&self) -> UnixMillis {
        self.clock.steady(self.clock.now())
    }

    /// Hands a command to the writer, if it has room. What waits is counted before the writer can count it off.
    pub(super) fn enqueue(&self, queue: &mpsc::Sender<Command>, command: Command) -> bool {
        let bytes = command.bytes();
        self.queued_bytes.fetch_add(bytes, Relaxed);
        let is_queued = queue.try_send(command).is_ok();
        if !is_queued {
            self.queued_bytes.fetch_sub(bytes, Relaxed);
        }
        is_queued
    }

    /// Asks over the connection for reads.
    pub(super) async fn ask(&self, statement: Statement, params: Params<'_>) -> Result<Vec<Row>, StoreError> {
        let session = self.reading()?;
        self.ask_over(&session, statement, params).await
    }

    /// The connection for reads.
    fn reading(&self) -> Result<Arc<Session>, StoreError> {
        if self.is_open() { self.reader.session() } else { Err(StoreError::Unreachable) }
    }

    async fn ask_over(
        &self,
        session: &Arc<Session>,
        statement: Statement,
        params: Params<'_>,
    ) -> Result<Vec<Row>, StoreError> {
        let within = self.options.settings.timeouts.read;
        timeout(within, session.query(statement, params)).await.unwrap_or(Err(StoreError::NoAnswer(within)))
    }

    /// An operation as it stands in the store, whatever memory says. What was sent of it is known here only.
    pub(super) async fn read_stored(&self, id: OperationId) -> Result<Option<Operation>, LedgerError> {
        let seq = id.seq.cast_signed();
        let session = self.reading()?;
        let rows = self.ask_over(&session, Statement::Read, vec![&seq]).await?;
        let Some(row) = rows.first() else {
            self.says_it_is_absent(&session).await?;
            self.owned.lock().forget(id.seq);
            return Ok(None);
        };
        let found = self.rows().read(row, self.steady_now())?;
        Ok(Some(self.seen(found)).filter(|found| found.id == id))
    }

    /// An operation was read: memory follows, and adds what it alone knows.
    pub(super) fn seen(&self, mut found: Operation) -> Operation {
        let mut owned = self.owned.lock();
        owned.put(&found, self.instance());
        if let Some(known) = owned.get(found.id).filter(|known| known.revision == found.revision) {
            found.keep_sent(known);
        }
        found
    }

    /// Operations that were another replica's and `before` are this one's now.
    pub(super) fn taken_over(&self, rows: &[Row], before: State) -> Result<(), StoreError> {
        for row in rows {
            let operation = self.rows().read(row, self.steady_now())?;
            self.owned.lock().put(&operation, self.instance());
            self.waiters.wake(operation.id.seq);
            let (epoch, revision) = (operation.epoch - 1, operation.revision - 1);
            self.meters.count(
                "taken_over",
                match row.get::<_, Option<i16>>(10) {
                    Some(1) => "left",
                    Some(_) => "fenced",
                    None => "ordered",
                },
            );
            self.owned.lock().taken(operation.id.seq, self.clock.now());
            self.told.changed(Operation { state: before, epoch, revision, ..operation.clone() }, operation);
        }
        Ok(())
    }

    /// A repeat has met an operation. If it is in flight at a replica that has ended, it is this one's now, and in doubt: nobody
    /// needs to wait for the next look.
    pub(super) async fn adopted(&self, known: Operation) -> Operation {
        let owner = owner_column(known.owner);
        if known.state != State::Pending || !self.ended.lock().contains(&owner) {
            return known;
        }
        let (me, now) = (self.no.load(Relaxed), self.clock.now().cast_signed());
        let (seq, epoch) = (known.id.seq.cast_signed(), known.epoch.cast_signed());
        let taken = self.ask(Statement::TakeEnded, vec![&me, &seq, &owner, &epoch, &now]).await;
        let is_taken = taken.and_then(|rows| self.taken_over(&rows, State::Pending));
        if let Err(error) = is_taken {
            tracing::debug!(%error, operation = %known.id, "it is taken over later");
            return known;
        }
        // Whoever was quicker.
        self.read_stored(known.id).await.ok().flatten().unwrap_or(known)
    }

    /// The operation that holds a key, else the latest that has held it.
    pub(super) async fn find_stored(&self, key: KeyHash) -> Result<Option<Operation>, LedgerError> {
        let keys = vec![key_column(key)];
        let session = self.reading()?;
        let mut rows = self.ask_over(&session, Statement::UnderKeys, vec![&keys]).await?;
        if rows.is_empty() {
            rows = self.ask_over(&session, Statement::Freed, vec![&keys[0]]).await?;
        }
        let Some(row) = rows.first() else {
            self.says_it_is_absent(&session).await?;
            return Ok(None);
        };
        let found = self.rows().read(row, self.steady_now())?;
        if found.key_hash != key && !is_off(Safeguard::WholeHash) {
            return Err(same_head());
        }
        Ok(Some(self.seen(found)))
    }
}

/// Two keys whose hashes begin alike: as good as impossible, and then neither is served.
pub(super) fn same_head() -> LedgerError {
    LedgerError::Unavailable("another key's hash begins like this one's".into())
}

/// Whether an operation's tombstone has passed.
pub(super) fn is_forgotten(operation: &Operation, now: UnixMillis) -> bool {
    operation.state.is_terminal() && operation.forgotten_at().is_some_and(|at| at <= now)
}

/// Whether memory may answer for it: nobody can change any more what is settled and holds its key.
pub(super) fn is_final(operation: &Operation, now: UnixMillis, steady: UnixMillis) -> bool {
    matches!(operation.state, State::Succeeded | State::Failed) && operation.holds_key(now, steady)
}
