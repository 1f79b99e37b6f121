//! Where operations are kept.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Weak},
    time::Duration,
};

pub use super::filter::{Filter, Order};
use super::{
    InstanceId, KeyHash, Operation, OperationId, Question, State, StoredRequest, UnixMillis,
    audit::{AuditEntry, Audited},
    witness::Witness,
};
use crate::{clock::WallClock, rate_limit::Peers};

/// Nobody knows when it goes on, so it is the least that can be said in `Retry-After`.
const SOON: Duration = Duration::from_secs(1);

/// A boxed future: a ledger is chosen at start-up, and a box is nothing beside a durable write.
pub type LedgerFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, LedgerError>> + Send + 'a>>;

/// What `begin` found.
#[derive(Clone, Debug, PartialEq)]
pub enum Begun {
    /// The key was new, free again, or past its tombstone: the operation is recorded and the caller owns it.
    New(Operation),
    /// The key is known.
    Known(Operation),
}

/// An open operation about which something is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Since when.
    pub at: UnixMillis,
    /// Which.
    pub id: OperationId,
    /// Its upstream, by name.
    pub upstream: Arc<str>,
}

impl Due {
    /// Its place among all that are due: the longest due first, then in arrival order.
    pub const fn place(&self) -> (UnixMillis, u64) {
        (self.at, self.id.seq)
    }
}

/// A ledger of operations.
///
/// Every backend passes [`conformance`](super::conformance). All methods are safe to call concurrently. A result is
/// durable when its future resolves.
pub trait Ledger: Send + Sync + 'static {
    /// Records `draft` unless an operation [holds its key](Operation::holds_key) at `now`. Sets `id.seq`; `owner`, `epoch` and
    /// `revision` come from the ledger. A request given with the draft is kept until an update says
    /// [`KeptRequest::None`](super::KeptRequest::None).
    fn begin(&self, draft: Operation, now: UnixMillis) -> LedgerFuture<'_, Begun>;

    /// Replaces the operation by `next` if the record's owner, epoch and revision are still those that `next` carries;
    /// returns the record with its revision grown by one.
    ///
    /// # Errors
    /// [`LedgerError::Stale`] with the record as it stands.
    fn update(&self, next: Operation) -> LedgerFuture<'_, Operation>;

    /// How long whoever waits for an [`update`](Self::update) is to wait. A ledger that is kept elsewhere may be out of reach for
    /// longer than a caller stays; the update goes on being tried then, for it is evidence. `None`: as long as it takes.
    fn patience(&self) -> Option<Duration> {
        None
    }

    /// From now on `witness` learns of the changes that this ledger makes by itself: an operation of another process that it
    /// takes over. What was changed before is told now.
    fn tell(&self, witness: Weak<dyn Witness>) {
        let _ = witness;
    }

    /// As [`update`](Self::update), and adds `entry` to the audit trail in the same step: both are there, or neither.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    fn update_with(&self, next: Operation, entry: AuditEntry) -> LedgerFuture<'_, Operation>;

    /// Adds an entry to the audit trail; returns its number. Beyond [`AUDIT_KEPT`](super::audit::AUDIT_KEPT) the oldest is
    /// dropped.
    fn append(&self, entry: AuditEntry) -> LedgerFuture<'_, u64>;

    /// The audit trail, or the part about one operation: the latest entry first, those before number `before`, at most
    /// `limit`.
    fn audit(&self, of: Option<OperationId>, before: Option<u64>, limit: usize) -> LedgerFuture<'_, Vec<Audited>>;

    /// Remembers that an attempt of `next` is about to be sent: its `attempts` and `dispatched_at`, nothing else of it. In this
    /// process's memory only, and its revision stays: each later change of the operation brings it along. A crash loses it, and
    /// whoever takes the operation over assumes that it was sent. Never blocks.
    ///
    /// # Errors
    /// [`LedgerError::Stale`] if the operation has changed, as far as this process knows.
    fn sent(&self, next: Operation) -> Result<Operation, LedgerError>;

    /// As [`update`](Self::update), and what changes when an operation is looked at, and nothing else of it, is not waited for on
    /// a disk: a crash may lose it, and matters to nobody after one.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    fn defer(&self, next: Operation) -> LedgerFuture<'_, Operation>;

    /// As [`defer`](Self::defer), for where nobody can wait: what is returned is as this process sees it from now on. If it is
    /// lost, the operation's due time finds it.
    ///
    /// # Errors
    /// As [`update`](Self::update), as far as this process knows.
    fn release(&self, next: Operation) -> Result<Operation, LedgerError>;

    /// Whether an attempt of an operation may be sent by this process, now: it owns the operation, and can be sure that nobody
    /// has taken it over. To be asked as the last thing before a byte goes out. Never blocks.
    ///
    /// # Errors
    /// [`LedgerError::Fenced`]: it may not.
    fn may_dispatch(&self, of: &Operation) -> Result<(), LedgerError> {
        let _ = of;
        Ok(())
    }

    /// The operation of that id, until its tombstone has passed.
    fn read(&self, id: OperationId) -> LedgerFuture<'_, Option<Operation>>;

    /// The latest operation under that key.
    fn find(&self, key: KeyHash) -> LedgerFuture<'_, Option<Operation>>;

    /// Whether an operation of another principal (by hash) is under that [question](Operation::question), of the latest
    /// [`QUESTION_LOOKS`](super::QUESTION_LOOKS) that are.
    fn is_anothers(&self, question: Question, principal: [u8; 32]) -> LedgerFuture<'_, bool>;

    /// The latest operations under that [question](Operation::question), at most [`QUESTION_LOOKS`](super::QUESTION_LOOKS), the
    /// latest first.
    fn asked_by(&self, question: Question) -> LedgerFuture<'_, Vec<Operation>>;

    /// Operations that match the filter, in its order, after `after`; at most `limit`.
    fn list(&self, filter: Filter, after: Option<OperationId>, limit: usize) -> LedgerFuture<'_, Vec<Operation>>;

    /// Operations that are [due](Operation::due_at) at `now`, the longest due first, after the place `after`; at most
    /// `limit`.
    fn due(&self, now: UnixMillis, after: Option<(UnixMillis, u64)>, limit: usize) -> LedgerFuture<'_, Vec<Due>>;

    /// When the next operation is due, or was: one look, nothing is read.
    fn next_due(&self) -> Option<UnixMillis>;

    /// The request that is kept of an operation, as long as its record says so.
    ///
    /// # Errors
    /// [`LedgerError::Unreadable`] if what is kept is none.
    fn request(&self, id: OperationId) -> LedgerFuture<'_, Option<Arc<StoredRequest>>>;

    /// Resolves when the operation's revision is no longer `seen`, with the record.
    fn changed(&self, id: OperationId, seen: u64) -> LedgerFuture<'_, Operation>;

    /// Removes operations whose tombstone has passed and drops responses past their retention; at most `limit` of both
    /// together. Returns how many: as long as it is `limit`, there may be more.
    fn expire(&self, now: UnixMillis, limit: usize) -> LedgerFuture<'_, usize>;

    /// Reserves `span` milliseconds for fresh keys and returns the first of them: not before `from`, and after every
    /// millisecond that was ever reserved, by this process or one before it. Durable when it resolves.
    fn reserve(&self, from: UnixMillis, span: u64) -> LedgerFuture<'_, UnixMillis>;

    /// What is kept under that name beside the operations, for all processes that share the ledger; `None` before the first
    /// [`keep_note`](Self::keep_note).
    fn note(&self, name: &'static str) -> LedgerFuture<'_, Option<Vec<u8>>>;

    /// Keeps `value` under that name if what is kept there is `seen`, or nothing is. `false`: somebody was faster, and nothing
    /// was changed. Durable when it resolves.
    fn keep_note(&self, name: &'static str, seen: Option<Vec<u8>>, value: Vec<u8>) -> LedgerFuture<'_, bool>;

    /// The processes that share it and have not ended, as far as the ledger knows; itself among them.
    fn processes(&self) -> LedgerFuture<'_, Vec<InstanceId>> {
        Box::pin(async { Ok(vec![self.instance()]) })
    }

    /// Operations that this process owns and that are open: pending, unknown.
    fn owned(&self) -> [u64; 2];

    /// Operations that are open, of all processes that share this ledger, as they were counted last; `None` if nobody shares it,
    /// or nobody has counted yet.
    fn census(&self) -> Option<Census> {
        None
    }

    /// When the oldest operation that is in doubt began, of all processes.
    fn oldest_unknown(&self) -> LedgerFuture<'_, Option<UnixMillis>> {
        Box::pin(async move {
            let unknown = Filter { state: Some(State::Unknown), ..Filter::default() };
            Ok(self.list(unknown, None, 1).await?.first().map(|oldest| oldest.created_at))
        })
    }

    /// Makes an operation in doubt this process's own, for whoever is to send it again; it is, where nobody shares this ledger.
    ///
    /// # Errors
    /// [`LedgerError::Stale`] if it has changed meanwhile, as it stands then.
    fn take_over(&self, operation: Operation) -> LedgerFuture<'_, Operation> {
        Box::pin(async move { Ok(operation) })
    }

    /// When this process took an operation over from another one, which may have been about to send it; `None` if it did not.
    fn taken_over_at(&self, id: OperationId) -> Option<UnixMillis> {
        let _ = id;
        None
    }

    /// How many operations are flagged for a person: those that are open, which nothing could settle, and those that are settled
    /// and were contradicted.
    fn flagged(&self) -> LedgerFuture<'_, [u64; 2]>;

    /// How full it is and how much waits, for metrics; `None` if it cannot tell at once.
    fn load(&self) -> Option<Load> {
        None
    }

    /// What else it can tell of itself, for metrics.
    fn readings(&self) -> Vec<Reading> {
        Vec::new()
    }

    /// Whether it takes writes at the moment.
    fn health(&self) -> Health {
        Health::Writable
    }

    /// Until when keys without a record are refused, because it was restored from a copy that may lack some.
    fn quarantined_until(&self) -> Option<UnixMillis> {
        None
    }

    /// When whoever was refused because it cannot be written to had best come again.
    fn retry_after(&self) -> Duration {
        SOON
    }

    /// This process. It may get another name while it runs, so it is asked each time.
    fn instance(&self) -> InstanceId;

    /// The time by which operations of this ledger are recorded, due and forgotten: one for all processes that share it.
    fn clock(&self) -> &WallClock;

    /// How many processes share it, as far as this one knows; itself among them.
    fn replicas(&self) -> usize {
        1
    }

    /// Which of the nodes that make snowflakes this process is, if the ledger hands them out: then `reserve` is for that node.
    fn node(&self) -> Option<u16> {
        None
    }

    /// This process ends, and has nothing under way any more: others need not wait until they are sure of that.
    ///
    /// # Errors
    /// Nobody could be told.
    fn leave(&self) -> LedgerFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    /// By whom limits are shared whose scope is the service; `None` where there is one replica only.
    fn peers(&self) -> Option<&Arc<Peers>> {
        None
    }

    /// Whether new operations are taken: not while it is open whether this process may begin any. They are from the start.
    fn allow_begins(&self, allowed: bool) {
        let _ = allowed;
    }

    /// The secret under which fingerprints are made; `None` until a ledger that is kept elsewhere has been reached for the first
    /// time.
    fn fingerprint_secret(&self) -> Option<&[u8; 32]>;
}

/// Operations that are open, of all processes that share a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Census {
    /// In flight.
    pub pending: u64,
    /// In doubt.
    pub unknown: u64,
    /// Flagged for a person, whatever their state.
    pub flagged: u64,
    /// When the oldest began that is in doubt.
    pub oldest_unknown: Option<UnixMillis>,
    /// When they were counted.
    pub at: UnixMillis,
}

/// How full a ledger is, and how much waits to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Bytes in use, as far as was last measured.
    pub bytes: u64,
    /// Bytes at most; 0: it is not bounded by bytes, and does not measure them.
    pub max_bytes: u64,
    /// Writes that wait to be carried out.
    pub queued: usize,
    /// Operations on record, where they are counted as they go.
    pub operations: Option<u64>,
}

/// One number that a ledger tells of itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Which; the metric's name is `mainstay_ledger_` and this.
    pub name: &'static str,
    /// Of which kind; empty where there is one only.
    pub word: &'static str,
    /// How much.
    pub value: f64,
}

/// Whether a ledger takes writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Writable,
    /// Its disk has no room: new operations are refused until there is some again.
    Full,
    /// It met an error after which nothing may be written until a restart.
    Failed,
    /// It is kept elsewhere, and cannot be reached: new operations are refused until it can.
    Unreachable {
        /// Since when, by the ledger's clock.
        since: UnixMillis,
    },
    /// Its store has forgotten what it had acknowledged: what is still known is written again, and new operations are refused
    /// until all who share it have had the time to do so.
    Lossy,
}

/// When the end of a write counts as recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Settle {
    /// When it is on the disk: a client that saw an answer finds it replayed, whatever happens in between.
    #[default]
    Durable,
    /// When the writer has been asked to write it: the process may die first, and then nobody knows what became of the
    /// operation. A repeat is told so; it is not executed again.
    Eventual,
}

/// Why the ledger did not do it.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The record changed meanwhile; nothing was written.
    #[error("the operation changed meanwhile")]
    Stale(Box<Operation>),
    /// This process may not act on the operation: another one owns it, or may by now.
    #[error("the operation is another process's by now, or may be")]
    Fenced,
    /// No such operation; nothing was written.
    #[error("no such operation")]
    Absent,
    /// What is kept is damaged, or sealed with a key that is not there. The rest of the ledger is not concerned.
    #[error("what is kept cannot be read")]
    Unreadable,
    /// The ledger holds as many open operations as it may (`ledger.max_open`); nothing was written.
    #[error("the ledger is full")]
    Full,
    /// It has not been taken in the time that its caller [has](Ledger::patience). It is tried on, and will be found once it is.
    #[error("the ledger has not taken it yet; it is tried on")]
    Delayed,
    /// The ledger cannot take writes; whether this one is kept is not known.
    #[error("the ledger is unavailable: {0}")]
    Unavailable(String),
}
