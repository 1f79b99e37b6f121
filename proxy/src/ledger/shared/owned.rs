//! What this replica owns, and what it has seen settled lately: in memory.
//!
//! Only what nobody can change any more is answered from here: what is settled and holds its key. Everything else is asked of
//! the store; here stands when something is to be done about it, and what was sent of it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    ops::Bound,
    sync::Arc,
};

use mainstay_policies::operation::{
    InstanceId, KeyHash, Operation, OperationId, Retained, State, UnixMillis,
    ledger::{Due, LedgerError},
    share,
};

/// Settled operations that stay in memory, and bytes of their responses. Most repeats come within seconds.
const RECENT: usize = 4096;
const RECENT_BYTES: usize = 8 << 20;

/// What this replica owns, and what it has seen settled lately.
#[derive(Debug, Default)]
pub(in crate::ledger) struct Owned {
    open: BTreeMap<u64, Operation>,
    due: BTreeSet<(UnixMillis, u64)>,
    /// Operations that are open or being begun, by principal.
    places: HashMap<[u8; 32], usize>,
    taken: usize,
    /// When those of them were taken over that were another replica's before.
    taken_at: HashMap<u64, UnixMillis>,
    /// Numbers that were given to begins which have not come back yet.
    under_way: BTreeSet<u64>,
    recent: HashMap<u64, Operation>,
    by_key: HashMap<KeyHash, u64>,
    order: VecDeque<(u64, usize)>,
    bytes: usize,
}

impl Owned {
    /// Takes a place for a new operation of `principal`; `false` if there is none.
    pub(in crate::ledger) fn enter(&mut self, principal: [u8; 32], max_open: usize) -> bool {
        let own = self.places.get(&principal).copied().unwrap_or(0);
        let is_admitted = share::admits(own, self.places.len(), self.taken, max_open);
        if is_admitted {
            self.take_place(principal);
        }
        is_admitted
    }

    /// A number was given to what is being begun.
    pub(in crate::ledger) fn under_way(&mut self, seq: u64) {
        self.under_way.insert(seq);
    }

    /// Nothing is known any more of what was being begun, or it has arrived.
    pub(in crate::ledger) fn arrived(&mut self, seq: u64) {
        self.under_way.remove(&seq);
    }

    /// Whether a pending operation on record is known here.
    pub(in crate::ledger) fn knows(&self, seq: u64) -> bool {
        self.open.contains_key(&seq) || self.under_way.contains(&seq)
    }

    fn take_place(&mut self, principal: [u8; 32]) {
        *self.places.entry(principal).or_default() += 1;
        self.taken += 1;
    }

    /// Gives a place back: its operation was not begun, or is open no more.
    pub(in crate::ledger) fn leave(&mut self, principal: [u8; 32]) {
        let Some(places) = self.places.get_mut(&principal) else { return };
        *places -= 1;
        self.taken -= 1;
        if *places == 0 {
            self.places.remove(&principal);
        }
    }

    /// A new operation, in the place that was taken for it.
    pub(in crate::ledger) fn begun(&mut self, operation: Operation) {
        self.due.extend(operation.due_at().map(|at| (at, operation.id.seq)));
        self.open.insert(operation.id.seq, operation);
    }

    /// An operation as it is on record now.
    pub(in crate::ledger) fn put(&mut self, operation: &Operation, me: InstanceId) {
        let seq = operation.id.seq;
        let known = self.open.get(&seq);
        if known.is_some_and(|known| (known.epoch, known.revision) > (operation.epoch, operation.revision)) {
            return;
        }
        let is_ours = operation.owner == me && !operation.state.is_terminal();
        if is_ours {
            let mut operation = operation.clone();
            if let Some(known) = known {
                operation.keep_sent(known);
            } else {
                self.take_place(operation.principal);
            }
            self.undue(seq);
            self.begun(operation);
        } else {
            self.take(seq);
        }
        if operation.state.is_terminal() {
            self.remember(operation);
        } else {
            self.drop_recent(seq);
        }
    }

    fn undue(&mut self, seq: u64) {
        if let Some(at) = self.open.get(&seq).and_then(Operation::due_at) {
            self.due.remove(&(at, seq));
        }
    }

    fn take(&mut self, seq: u64) -> Option<Operation> {
        self.undue(seq);
        let before = self.open.remove(&seq)?;
        self.taken_at.remove(&seq);
        self.leave(before.principal);
        Some(before)
    }

    /// There is no such operation, or it is another replica's.
    pub(in crate::ledger) fn forget(&mut self, seq: u64) {
        self.take(seq);
        self.drop_recent(seq);
    }

    /// All that is known: what is owned, and what was settled lately.
    pub(in crate::ledger) fn known(&self) -> impl Iterator<Item = &Operation> {
        self.open.values().chain(self.recent.values())
    }

    /// This replica goes on under another number, and what it owns with it.
    pub(in crate::ledger) fn renumber(&mut self, me: InstanceId) {
        for operation in self.open.values_mut() {
            operation.owner = me;
            operation.epoch += 1;
        }
    }

    /// It was another replica's until `now`.
    pub(in crate::ledger) fn taken(&mut self, seq: u64, now: UnixMillis) {
        if self.open.contains_key(&seq) {
            self.taken_at.insert(seq, now);
        }
    }

    /// When it was taken over from another replica.
    pub(in crate::ledger) fn taken_over_at(&self, seq: u64) -> Option<UnixMillis> {
        self.taken_at.get(&seq).copied()
    }

    /// Nothing is this replica's any more.
    pub(in crate::ledger) fn forget_all(&mut self) {
        self.open.clear();
        self.due.clear();
        self.taken_at.clear();
        self.places.clear();
        self.taken = 0;
        self.under_way.clear();
    }

    /// An attempt is about to be sent.
    pub(in crate::ledger) fn sent(&mut self, next: &Operation) -> Result<Operation, LedgerError> {
        let known = self.open.get_mut(&next.id.seq).filter(|known| known.id == next.id);
        let Some(known) = known else {
            let settled = self.recent.get(&next.id.seq).filter(|known| known.id == next.id);
            return Err(settled.map_or(LedgerError::Fenced, |known| LedgerError::Stale(Box::new(known.clone()))));
        };
        if (known.owner, known.epoch, known.revision) != (next.owner, next.epoch, next.revision) {
            return Err(LedgerError::Stale(Box::new(known.clone())));
        }
        known.keep_sent(next);
        Ok(known.clone())
    }

    /// Whether an operation is this replica's to send of, as far as it knows: as long as its lease is held, nobody else can have
    /// taken it over.
    pub(in crate::ledger) fn is_own(&self, of: &Operation, me: InstanceId) -> bool {
        of.owner == me && self.get(of.id).is_some_and(|known| known.epoch == of.epoch)
    }

    /// What this replica owns of that number.
    pub(in crate::ledger) fn get(&self, id: OperationId) -> Option<&Operation> {
        self.open.get(&id.seq).filter(|known| known.id == id)
    }

    /// What is settled and was seen lately.
    pub(in crate::ledger) fn settled(&self, id: OperationId) -> Option<&Operation> {
        self.recent.get(&id.seq).filter(|known| known.id == id)
    }

    /// The same, by its key.
    pub(in crate::ledger) fn settled_under(&self, key: KeyHash) -> Option<&Operation> {
        self.recent.get(self.by_key.get(&key)?)
    }

    pub(in crate::ledger) fn due(&self, now: UnixMillis, after: Option<(UnixMillis, u64)>, limit: usize) -> Vec<Due> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let due = self.due.range((start, Bound::Included((now, u64::MAX)))).take(limit);
        let of = |(at, seq): &(UnixMillis, u64)| {
            let operation = self.open.get(seq)?;
            Some(Due { at: *at, id: operation.id, upstream: Arc::clone(&operation.upstream) })
        };
        due.filter_map(of).collect()
    }

    pub(in crate::ledger) fn next_due(&self) -> Option<UnixMillis> {
        self.due.first().map(|(at, _)| *at)
    }

    /// How many are due at `now`, up to `limit`.
    pub(in crate::ledger) fn how_many_due(&self, now: UnixMillis, limit: usize) -> usize {
        self.due.iter().take_while(|(at, _)| *at <= now).take(limit).count()
    }

    /// How many operations this replica owns that are pending, and unknown.
    pub(in crate::ledger) fn counts(&self) -> [u64; 2] {
        let pending = self.open.values().filter(|known| known.state == State::Pending).count() as u64;
        [pending, self.open.len() as u64 - pending]
    }

    /// The lowest number of what is open here or under way.
    pub(in crate::ledger) fn lowest(&self) -> Option<u64> {
        let open = self.open.keys().next();
        open.into_iter().chain(self.under_way.first()).min().copied()
    }

    fn remember(&mut self, operation: &Operation) {
        let seq = operation.id.seq;
        self.drop_recent(seq);
        let bytes = kept_bytes(operation);
        self.bytes += bytes;
        self.by_key.insert(operation.key_hash, seq);
        self.recent.insert(seq, operation.clone());
        self.order.push_back((seq, bytes));
        while self.recent.len() > RECENT || self.bytes > RECENT_BYTES || self.order.len() > RECENT * 2 {
            let Some((seq, _)) = self.order.pop_front() else { return };
            // Its place in the queue may be one that it had before.
            if !self.order.iter().take(RECENT).any(|(other, _)| *other == seq) {
                self.drop_recent(seq);
            }
        }
    }

    fn drop_recent(&mut self, seq: u64) {
        let Some(before) = self.recent.remove(&seq) else { return };
        self.bytes -= kept_bytes(&before);
        if self.by_key.get(&before.key_hash) == Some(&seq) {
            self.by_key.remove(&before.key_hash);
        }
    }
}

fn kept_bytes(operation: &Operation) -> usize {
    match &operation.retained {
        Retained::Stored(response) => response.body.len() + 64 * response.headers.len(),
        Retained::None | Retained::StatusOnly => 0,
    }
}
