//! What the model's replicas share, and each one's way to it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use mainstay_policies::{
    clock::WallClock,
    operation::{
        InstanceId, KeptRequest, KeyHash, Operation, OperationId, Question, State, StoredRequest, UnixMillis,
        audit::{AuditEntry, Audited},
        ledger::{Begun, Due, Filter, Ledger, LedgerError, LedgerFuture},
    },
};
use parking_lot::Mutex;

use super::{HEARTBEAT_MS, Protections, START};
use crate::ledger::shared::{
    again::{abandoned, is_same_begin, is_same_change},
    lease::{Lease, Moment},
    owned::Owned,
};

/// The store: rows by number, and who shares it.
pub(super) struct Store {
    pub(super) with: Protections,
    pub(super) rows: Vec<Row>,
    pub(super) instances: Vec<Instance>,
    /// Nobody reaches it.
    pub(super) is_away: bool,
}

pub(super) struct Row {
    pub(super) operation: Operation,
    is_held: bool,
}

/// One run of one process.
#[derive(Clone, Copy, Default)]
pub(super) struct Instance {
    pub(super) beat: i64,
    pub(super) has_ended: bool,
}

impl Store {
    fn register(&mut self) -> u64 {
        self.instances.push(Instance::default());
        self.instances.len() as u64 - 1
    }

    fn row(&mut self, id: OperationId) -> Option<&mut Row> {
        self.rows.iter_mut().find(|row| row.operation.id == id)
    }

    fn has_ended(&self, owner: InstanceId) -> bool {
        self.instances[usize::try_from(owner.0).expect("few")].has_ended
    }

    /// The update's one condition, and what it writes.
    fn compare_and_swap(&mut self, next: &Operation) -> bool {
        let is_checked = self.with.compare_and_swap;
        let is_free = !self.rows.iter().any(|row| row.is_held && row.operation.id != next.id);
        let Some(row) = self.row(next.id) else { return false };
        let current = &row.operation;
        let is_as_seen = (current.owner, current.epoch, current.revision) == (next.owner, next.epoch, next.revision);
        if is_checked && !is_as_seen {
            return false;
        }
        row.is_held = !next.frees_key() && (row.is_held || is_free);
        row.operation = Operation { revision: next.revision + 1, ..next.clone() };
        true
    }

    /// What belongs to replicas that have ended is `me`'s; what was in flight counts as sent now.
    fn take(&mut self, me: InstanceId, now: UnixMillis, which: impl Fn(&Operation) -> bool) -> Vec<Operation> {
        let (instances, counts_as_sent) = (self.instances.clone(), self.with.sent_at_takeover);
        let mut taken = Vec::new();
        for Row { operation, .. } in &mut self.rows {
            let is_left = instances[usize::try_from(operation.owner.0).expect("few")].has_ended;
            if !is_left || operation.state.is_terminal() || !which(operation) {
                continue;
            }
            if operation.state == State::Pending {
                operation.state = State::Unknown;
                operation.attempts = operation.attempts.max(1);
                if counts_as_sent {
                    operation.dispatched_at = Some(now);
                }
            }
            (operation.owner, operation.next_check_at) = (me, Some(now));
            operation.epoch += 1;
            operation.revision += 1;
            taken.push(operation.clone());
        }
        taken
    }
}

/// Whether what the store says is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hearing {
    /// At once.
    Good,
    /// The answer is lost, and the same is asked again.
    Again,
    /// The answer is lost, and nobody asks again: a begin is refused.
    Never,
}

/// One process's ledger.
pub(super) struct Replica {
    pub(super) store: Arc<Mutex<Store>>,
    pub(super) lease: Lease,
    pub(super) owned: Mutex<Owned>,
    pub(super) hearing: Mutex<Hearing>,
    /// Its process has ended: nothing of it reaches anybody.
    pub(super) is_dead: AtomicBool,
    refused: Mutex<Vec<OperationId>>,
    clock: WallClock,
    /// How far its own wall clock is off.
    skew_ms: u64,
    me: AtomicU64,
}

impl Replica {
    pub(super) fn start(store: &Arc<Mutex<Store>>, clock: &WallClock, ttl_ms: u64, skew_ms: u64) -> Arc<Self> {
        let ms = std::time::Duration::from_millis;
        let me = store.lock().register();
        let replica = Self {
            store: Arc::clone(store),
            lease: Lease::new(ms(ttl_ms), ms(HEARTBEAT_MS)),
            owned: Mutex::default(),
            hearing: Mutex::new(Hearing::Good),
            is_dead: AtomicBool::new(false),
            refused: Mutex::default(),
            clock: clock.clone(),
            skew_ms,
            me: AtomicU64::new(me),
        };
        replica.lease.renew(replica.moment());
        Arc::new(replica)
    }

    pub(super) fn moment(&self) -> Moment {
        Moment::of(self.clock.now() - START + 1, self.skew_ms)
    }

    pub(super) fn is_lease_held(&self) -> bool {
        !self.lease.left_at(self.moment()).is_zero()
    }

    /// A beat reaches the store. `None`: this run has ended there, and the process goes on as another.
    pub(super) fn beat(&self) -> Option<Moment> {
        let sent = self.moment();
        let mut store = self.store.lock();
        let mine = &mut store.instances[usize::try_from(self.me.load(Relaxed)).expect("few")];
        if !mine.has_ended {
            mine.beat += 1;
            return Some(sent);
        }
        self.lease.end();
        self.owned.lock().forget_all();
        self.me.store(store.register(), Relaxed);
        self.lease.renew(sent);
        None
    }

    pub(super) fn take_over(&self) {
        let me = self.instance();
        let taken = self.store.lock().take(me, self.clock.now(), |_| true);
        self.has_taken(&taken);
    }

    fn has_taken(&self, taken: &[Operation]) {
        let mut owned = self.owned.lock();
        for operation in taken {
            owned.put(operation, self.instance());
            owned.taken(operation.id.seq, self.clock.now());
        }
    }

    /// What refused begins have left is given up.
    pub(super) fn tidy(&self) {
        for id in std::mem::take(&mut *self.refused.lock()) {
            let found = self.store.lock().row(id).map(|row| row.operation.clone());
            if let Some(found) = found.filter(|of| of.state == State::Pending && of.owner == self.instance()) {
                let _ = self.write(abandoned(found, self.clock.now()));
            }
        }
    }

    fn reach(&self) -> Result<(), LedgerError> {
        let is_reached = !self.is_dead.load(Relaxed) && !self.store.lock().is_away;
        if is_reached { Ok(()) } else { Err(LedgerError::Unavailable("nobody reaches it".into())) }
    }

    fn write(&self, mut next: Operation) -> Result<Operation, LedgerError> {
        self.reach()?;
        if let Some(known) = self.owned.lock().get(next.id).filter(|known| known.revision == next.revision) {
            next.keep_sent(known);
        }
        let hearing = std::mem::replace(&mut *self.hearing.lock(), Hearing::Good);
        let mut store = self.store.lock();
        let mut is_taken = store.compare_and_swap(&next);
        let was_asked = hearing != Hearing::Good;
        if was_asked {
            // A change is asked again whatever happens: it is evidence.
            is_taken = store.compare_and_swap(&next);
        }
        let current = store.row(next.id).ok_or(LedgerError::Absent)?.operation.clone();
        if is_taken || (was_asked && is_same_change(&current, &next)) {
            self.owned.lock().put(&current, self.instance());
            return Ok(current);
        }
        self.owned.lock().put(&current, self.instance());
        Err(LedgerError::Stale(Box::new(current)))
    }

    fn read_row(&self, found: Option<Operation>) -> Option<Operation> {
        let mut found = found?;
        let mut owned = self.owned.lock();
        owned.put(&found, self.instance());
        if let Some(known) = owned.get(found.id).filter(|known| known.revision == found.revision) {
            found.keep_sent(known);
        }
        Some(found)
    }

    fn begun(&self, draft: &Operation, now: UnixMillis) -> Begun {
        let mut store = self.store.lock();
        loop {
            match store.rows.iter_mut().find(|row| row.is_held) {
                None => {
                    store.rows.push(Row { operation: draft.clone(), is_held: true });
                    return Begun::New(draft.clone());
                }
                Some(row) if is_same_begin(&row.operation, draft) => return Begun::New(draft.clone()),
                Some(row) if row.operation.holds_key(now, now) => return Begun::Known(row.operation.clone()),
                Some(row) => row.is_held = false,
            }
        }
    }
}

type Answer<'a, T> = LedgerFuture<'a, T>;

fn ready<'a, T: Send + 'a>(answer: Result<T, LedgerError>) -> Answer<'a, T> {
    Box::pin(std::future::ready(answer))
}

impl Ledger for Replica {
    fn begin(&self, mut draft: Operation, now: UnixMillis) -> Answer<'_, Begun> {
        if let Err(error) = self.reach() {
            return ready(Err(error));
        }
        if !self.is_lease_held() {
            return ready(Err(LedgerError::Fenced));
        }
        self.owned.lock().enter(draft.principal, usize::MAX);
        draft.id.seq = self.store.lock().rows.len() as u64 + 1;
        (draft.owner, draft.epoch, draft.revision) = (self.instance(), 1, 1);
        if matches!(draft.request, KeptRequest::Given(_)) {
            draft.request = KeptRequest::Kept;
        }
        let hearing = std::mem::replace(&mut *self.hearing.lock(), Hearing::Good);
        let mut begun = self.begun(&draft, now);
        match hearing {
            Hearing::Good => {}
            Hearing::Again => begun = self.begun(&draft, now),
            Hearing::Never => {
                self.owned.lock().leave(draft.principal);
                self.refused.lock().push(draft.id);
                return ready(Err(LedgerError::Unavailable("no answer came".into())));
            }
        }
        match &begun {
            Begun::New(operation) => self.owned.lock().begun(operation.clone()),
            Begun::Known(known) => {
                self.owned.lock().leave(draft.principal);
                // A repeat that meets what an ended replica had in flight takes it over.
                let is_left = known.state == State::Pending && self.store.lock().has_ended(known.owner);
                if is_left {
                    let taken = self.store.lock().take(self.instance(), now, |of| of.id == known.id);
                    self.has_taken(&taken);
                }
            }
        }
        ready(Ok(begun))
    }

    fn update(&self, next: Operation) -> Answer<'_, Operation> {
        ready(self.write(next))
    }

    fn update_with(&self, next: Operation, _: AuditEntry) -> Answer<'_, Operation> {
        ready(self.write(next))
    }

    fn append(&self, _: AuditEntry) -> Answer<'_, u64> {
        unreachable!("nobody does anything here")
    }

    fn audit(&self, _: Option<OperationId>, _: Option<u64>, _: usize) -> Answer<'_, Vec<Audited>> {
        unreachable!("nobody looks")
    }

    fn sent(&self, next: Operation) -> Result<Operation, LedgerError> {
        self.owned.lock().sent(&next)
    }

    fn defer(&self, next: Operation) -> Answer<'_, Operation> {
        ready(self.write(next))
    }

    fn release(&self, next: Operation) -> Result<Operation, LedgerError> {
        self.write(next)
    }

    fn may_dispatch(&self, of: &Operation) -> Result<(), LedgerError> {
        let may = self.owned.lock().is_own(of, self.instance()) && self.is_lease_held();
        if may { Ok(()) } else { Err(LedgerError::Fenced) }
    }

    fn read(&self, id: OperationId) -> Answer<'_, Option<Operation>> {
        let found = self.reach().map(|()| self.store.lock().row(id).map(|row| row.operation.clone()));
        ready(found.map(|found| self.read_row(found)))
    }

    fn find(&self, _: KeyHash) -> Answer<'_, Option<Operation>> {
        let found = self.reach().map(|()| {
            let store = self.store.lock();
            let holder = store.rows.iter().find(|row| row.is_held).or(store.rows.last());
            holder.map(|row| row.operation.clone())
        });
        ready(found.map(|found| self.read_row(found)))
    }

    fn is_anothers(&self, _: Question, _: [u8; 32]) -> Answer<'_, bool> {
        ready(Ok(false))
    }

    fn asked_by(&self, _: Question) -> Answer<'_, Vec<Operation>> {
        unreachable!("nobody looks for a key")
    }

    fn list(&self, _: Filter, _: Option<OperationId>, _: usize) -> Answer<'_, Vec<Operation>> {
        unreachable!("nobody lists")
    }

    fn due(&self, now: UnixMillis, after: Option<(UnixMillis, u64)>, limit: usize) -> Answer<'_, Vec<Due>> {
        ready(Ok(self.owned.lock().due(now, after, limit)))
    }

    fn next_due(&self) -> Option<UnixMillis> {
        self.owned.lock().next_due()
    }

    fn request(&self, _: OperationId) -> Answer<'_, Option<Arc<StoredRequest>>> {
        unreachable!("what is sent is not looked at")
    }

    fn changed(&self, _: OperationId, _: u64) -> Answer<'_, Operation> {
        unreachable!("nobody waits")
    }

    fn expire(&self, _: UnixMillis, _: usize) -> Answer<'_, usize> {
        ready(Ok(0))
    }

    fn reserve(&self, from: UnixMillis, _: u64) -> Answer<'_, UnixMillis> {
        ready(Ok(from))
    }

    fn note(&self, _: &'static str) -> Answer<'_, Option<Vec<u8>>> {
        ready(Ok(None))
    }

    fn keep_note(&self, _: &'static str, _: Option<Vec<u8>>, _: Vec<u8>) -> Answer<'_, bool> {
        ready(Ok(false))
    }

    fn taken_over_at(&self, id: OperationId) -> Option<UnixMillis> {
        self.owned.lock().taken_over_at(id.seq)
    }

    fn owned(&self) -> [u64; 2] {
        self.owned.lock().counts()
    }

    fn flagged(&self) -> Answer<'_, [u64; 2]> {
        ready(Ok([0; 2]))
    }

    fn instance(&self) -> InstanceId {
        InstanceId(self.me.load(Relaxed).into())
    }

    fn clock(&self) -> &WallClock {
        &self.clock
    }

    fn replicas(&self) -> usize {
        self.store.lock().instances.iter().filter(|instance| !instance.has_ended).count()
    }

    fn fingerprint_secret(&self) -> Option<&[u8; 32]> {
        Some(&[7; 32])
    }
}
