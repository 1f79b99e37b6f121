//! A ledger in memory: for trials and tests, lost on exit.

mod expiry;
mod size;
mod trail;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    sync::Arc,
};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use uuid::Uuid;

use self::{
    expiry::{is_forgotten, next_expiry},
    size::{size_of_record, size_of_request},
    trail::Trail,
};
use super::{
    InstanceId, KeptRequest, KeyHash, Operation, OperationId, QUESTION_LOOKS, Question, Retained, State, StoredRequest,
    UnixMillis,
    audit::{AuditEntry, Audited},
    ledger::{Begun, Due, Filter, Ledger, LedgerError, LedgerFuture, Load, Order},
    share,
};
use crate::clock::WallClock;

/// Records looked at in one go before others are let at the ledger.
const SCAN: usize = 512;

/// A ledger in memory. One lock, held for single lookups only.
#[derive(Debug)]
pub struct MemoryLedger {
    clock: WallClock,
    instance: InstanceId,
    secret: [u8; 32],
    max_open: usize,
    max_bytes: u64,
    records: Mutex<Records>,
}

#[derive(Debug, Default)]
struct Records {
    by_seq: BTreeMap<u64, Operation>,
    by_key: HashMap<KeyHash, u64>,
    by_question: BTreeSet<(Question, u64)>,
    /// When something of a record is to be dropped: its response, or all of it.
    expiries: BTreeSet<(UnixMillis, u64)>,
    /// When something is to be done about an open one.
    due: BTreeSet<(UnixMillis, u64)>,
    requests: HashMap<u64, Arc<StoredRequest>>,
    waiters: HashMap<u64, Arc<Notify>>,
    counts: [u64; 5],
    /// Operations that are not terminal, by principal.
    open_by: HashMap<[u8; 32], usize>,
    /// Operations that are flagged for a person: open and settled ones.
    flagged: [u64; 2],
    bytes: u64,
    last_seq: u64,
    trail: Trail,
    /// Up to when time has been reserved for fresh keys.
    reserved: UnixMillis,
    notes: HashMap<&'static str, Vec<u8>>,
}

impl MemoryLedger {
    /// An empty ledger for at most `max_open` operations that are not terminal, and `max_bytes` of all.
    pub fn new(clock: WallClock, max_open: usize, max_bytes: u64) -> Self {
        Self {
            clock,
            instance: InstanceId(Uuid::new_v4().as_u128()),
            secret: random_secret(),
            max_open,
            max_bytes,
            records: Mutex::default(),
        }
    }

    fn begin_now(&self, mut draft: Operation, now: UnixMillis) -> Result<Begun, LedgerError> {
        let mut records = self.records.lock();
        let known = records.by_key.get(&draft.key_hash).and_then(|seq| records.by_seq.get(seq));
        if let Some(known) = known.filter(|known| known.holds_key(now, self.clock.steady(now))) {
            return Ok(Begun::Known(known.clone()));
        }
        // A little is dropped with each begin, so that a ledger which nobody sweeps still does not fill with the past.
        records.expire(self.clock.steady(now), 2);
        let request = match std::mem::take(&mut draft.request) {
            KeptRequest::Given(request) => Some(request),
            KeptRequest::None | KeptRequest::Kept => None,
        };
        let size = size_of_record(&draft) + request.as_deref().map_or(0, size_of_request);
        if records.bytes + size > self.max_bytes {
            // Want of room trusts the clock as it is: else one that was put far forward would let nothing be dropped.
            records.expire(now, SCAN);
        }
        let own = records.open_by.get(&draft.principal).copied().unwrap_or(0);
        let is_admitted = share::admits(own, records.open_by.len(), records.open(), self.max_open);
        if !is_admitted || records.bytes + size > self.max_bytes {
            return Err(LedgerError::Full);
        }
        records.last_seq += 1;
        draft.id.seq = records.last_seq;
        draft.owner = self.instance;
        draft.epoch = 1;
        draft.revision = 1;
        records.by_key.insert(draft.key_hash, draft.id.seq);
        records.by_question.extend(draft.question().map(|question| (question, draft.id.seq)));
        if let Some(request) = request {
            draft.request = KeptRequest::Kept;
            records.keep_request(draft.id.seq, request);
        }
        records.insert(draft.clone());
        Ok(Begun::New(draft))
    }

    fn change(&self, mut next: Operation, entry: Option<AuditEntry>) -> Result<Operation, LedgerError> {
        let mut records = self.records.lock();
        let known = records.by_seq.get(&next.id.seq).filter(|known| known.id == next.id).ok_or(LedgerError::Absent)?;
        if (known.owner, known.epoch, known.revision) != (next.owner, next.epoch, next.revision) {
            return Err(LedgerError::Stale(Box::new(known.clone())));
        }
        // A settlement is never refused for want of room: the answer is dropped instead, its status stays.
        let others = records.bytes - size_of_record(known);
        if others + size_of_record(&next) > self.max_bytes && matches!(next.retained, Retained::Stored(_)) {
            next.retained = Retained::StatusOnly;
        }
        next.revision += 1;
        if let Some(known) = records.by_seq.get(&next.id.seq) {
            next.keep_sent(known);
        }
        if next.request == KeptRequest::None {
            records.drop_request(next.id.seq);
        }
        let before = records.insert(next.clone());
        let waiters = records.waiters.remove(&next.id.seq);
        if let Some(entry) = entry {
            records.trail.append(entry);
        }
        drop(records);
        drop(before);
        if let Some(waiters) = waiters {
            waiters.notify_waiters();
        }
        Ok(next)
    }

    /// Gives an operation to another process, as a shared store does with what a dead one left.
    #[cfg(test)]
    pub(crate) fn take_over(&self, mut next: Operation) -> Operation {
        (next.owner, next.epoch, next.revision) = (InstanceId(!next.owner.0), next.epoch + 1, next.revision + 1);
        self.records.lock().insert(next.clone());
        next
    }

    fn visible<'a>(&self, operation: Option<&'a Operation>) -> Option<&'a Operation> {
        let now = self.clock.steady(self.clock.now());
        operation.filter(|operation| !is_forgotten(operation, now))
    }

    /// One stretch of a listing: what matched, and where to go on (`None`: the end was reached).
    fn scan(&self, filter: &Filter, (first, last): (u64, u64), limit: usize) -> (Vec<Operation>, Option<u64>) {
        let records = self.records.lock();
        let mut found = Vec::new();
        let mut seen = None;
        let mut range = records.by_seq.range(first..=last);
        for looked_at in 0.. {
            let next = match filter.order {
                Order::Oldest => range.next(),
                Order::Newest => range.next_back(),
            };
            let Some((seq, operation)) = next else { break };
            if looked_at == SCAN || found.len() == limit {
                return (found, seen);
            }
            seen = Some(*seq);
            if filter.matches(operation) && self.visible(Some(operation)).is_some() {
                found.push(operation.clone());
            }
        }
        (found, None)
    }
}

impl Ledger for MemoryLedger {
    fn begin(&self, draft: Operation, now: UnixMillis) -> LedgerFuture<'_, Begun> {
        Box::pin(async move { self.begin_now(draft, now) })
    }

    fn update(&self, next: Operation) -> LedgerFuture<'_, Operation> {
        Box::pin(async move { self.change(next, None) })
    }

    fn update_with(&self, next: Operation, entry: AuditEntry) -> LedgerFuture<'_, Operation> {
        Box::pin(async move { self.change(next, Some(entry)) })
    }

    fn append(&self, entry: AuditEntry) -> LedgerFuture<'_, u64> {
        Box::pin(async move { Ok(self.records.lock().trail.append(entry)) })
    }

    fn audit(&self, of: Option<OperationId>, before: Option<u64>, limit: usize) -> LedgerFuture<'_, Vec<Audited>> {
        Box::pin(async move {
            let records = self.records.lock();
            let newest_first = records.trail.entries.iter().rev();
            let wanted = newest_first
                .filter(|audited| before.is_none_or(|before| audited.number < before))
                .filter(|audited| of.is_none() || audited.entry.operation == of);
            Ok(wanted.take(limit).cloned().collect())
        })
    }

    fn sent(&self, next: Operation) -> Result<Operation, LedgerError> {
        let mut records = self.records.lock();
        let known = records.by_seq.get_mut(&next.id.seq).filter(|known| known.id == next.id);
        let known = known.ok_or(LedgerError::Absent)?;
        if (known.owner, known.epoch, known.revision) != (next.owner, next.epoch, next.revision) {
            return Err(LedgerError::Stale(Box::new(known.clone())));
        }
        known.keep_sent(&next);
        Ok(known.clone())
    }

    fn defer(&self, next: Operation) -> LedgerFuture<'_, Operation> {
        self.update(next)
    }

    fn release(&self, next: Operation) -> Result<Operation, LedgerError> {
        self.change(next, None)
    }

    fn read(&self, id: OperationId) -> LedgerFuture<'_, Option<Operation>> {
        Box::pin(async move {
            let records = self.records.lock();
            let operation = records.by_seq.get(&id.seq).filter(|operation| operation.id == id);
            Ok(self.visible(operation).cloned())
        })
    }

    fn find(&self, key: KeyHash) -> LedgerFuture<'_, Option<Operation>> {
        Box::pin(async move {
            let records = self.records.lock();
            let operation = records.by_key.get(&key).and_then(|seq| records.by_seq.get(seq));
            Ok(self.visible(operation).cloned())
        })
    }

    fn is_anothers(&self, question: Question, principal: [u8; 32]) -> LedgerFuture<'_, bool> {
        Box::pin(async move {
            let records = self.records.lock();
            let under = records.by_question.range((question, 0)..=(question, u64::MAX)).rev().take(QUESTION_LOOKS);
            let mut known = under.filter_map(|(_, seq)| self.visible(records.by_seq.get(seq)));
            Ok(known.any(|operation| operation.principal != principal))
        })
    }

    fn asked_by(&self, question: Question) -> LedgerFuture<'_, Vec<Operation>> {
        Box::pin(async move {
            let records = self.records.lock();
            let under = records.by_question.range((question, 0)..=(question, u64::MAX)).rev().take(QUESTION_LOOKS);
            Ok(under.filter_map(|(_, seq)| self.visible(records.by_seq.get(seq)).cloned()).collect())
        })
    }

    fn list(&self, filter: Filter, after: Option<OperationId>, limit: usize) -> LedgerFuture<'_, Vec<Operation>> {
        Box::pin(async move {
            let mut found = Vec::new();
            let mut left = filter.left(after.map(|id| id.seq));
            while let Some(numbers) = left
                && found.len() < limit
            {
                let (mut more, seen) = self.scan(&filter, numbers, limit - found.len());
                found.append(&mut more);
                left = seen.and_then(|seen| filter.left(Some(seen)));
                tokio::task::yield_now().await;
            }
            Ok(found)
        })
    }

    fn due(&self, now: UnixMillis, after: Option<(UnixMillis, u64)>, limit: usize) -> LedgerFuture<'_, Vec<Due>> {
        Box::pin(async move {
            let records = self.records.lock();
            let start = after.map_or(Bound::Unbounded, Bound::Excluded);
            let due = records.due.range((start, Bound::Included((now, u64::MAX)))).take(limit);
            let of = |(at, seq): &(UnixMillis, u64)| {
                let operation = records.by_seq.get(seq)?;
                Some(Due { at: *at, id: operation.id, upstream: Arc::clone(&operation.upstream) })
            };
            Ok(due.filter_map(of).collect())
        })
    }

    fn next_due(&self) -> Option<UnixMillis> {
        self.records.lock().due.first().map(|(at, _)| *at)
    }

    fn request(&self, id: OperationId) -> LedgerFuture<'_, Option<Arc<StoredRequest>>> {
        Box::pin(async move {
            let records = self.records.lock();
            let is_known = records.by_seq.get(&id.seq).is_some_and(|known| known.id == id);
            Ok(records.requests.get(&id.seq).filter(|_| is_known).cloned())
        })
    }

    fn changed(&self, id: OperationId, seen: u64) -> LedgerFuture<'_, Operation> {
        Box::pin(async move {
            loop {
                let waiters = {
                    let mut records = self.records.lock();
                    let known = records.by_seq.get(&id.seq).filter(|known| known.id == id);
                    let known = known.ok_or(LedgerError::Absent)?;
                    if known.revision != seen {
                        return Ok(known.clone());
                    }
                    // Made under the lock that every change takes: a change after this look finds the waiter.
                    Arc::clone(records.waiters.entry(id.seq).or_default()).notified_owned()
                };
                waiters.await;
            }
        })
    }

    fn expire(&self, now: UnixMillis, limit: usize) -> LedgerFuture<'_, usize> {
        Box::pin(async move { Ok(self.records.lock().expire(now, limit)) })
    }

    fn reserve(&self, from: UnixMillis, span: u64) -> LedgerFuture<'_, UnixMillis> {
        Box::pin(async move {
            let mut records = self.records.lock();
            let start = from.max(records.reserved);
            records.reserved = start.saturating_add(span);
            Ok(start)
        })
    }

    fn note(&self, name: &'static str) -> LedgerFuture<'_, Option<Vec<u8>>> {
        Box::pin(async move { Ok(self.records.lock().notes.get(name).cloned()) })
    }

    fn keep_note(&self, name: &'static str, seen: Option<Vec<u8>>, value: Vec<u8>) -> LedgerFuture<'_, bool> {
        Box::pin(async move {
            let mut records = self.records.lock();
            let is_seen = records.notes.get(name).is_none_or(|kept| Some(kept) == seen.as_ref());
            if is_seen {
                records.notes.insert(name, value);
            }
            Ok(is_seen)
        })
    }

    fn load(&self) -> Option<Load> {
        let records = self.records.lock();
        let operations = Some(records.counts.iter().sum());
        Some(Load { bytes: records.bytes, max_bytes: self.max_bytes, queued: 0, operations })
    }

    fn owned(&self) -> [u64; 2] {
        let [pending, .., unknown] = self.records.lock().counts;
        [pending, unknown]
    }

    fn flagged(&self) -> LedgerFuture<'_, [u64; 2]> {
        Box::pin(async move { Ok(self.records.lock().flagged) })
    }

    fn instance(&self) -> InstanceId {
        self.instance
    }

    fn clock(&self) -> &WallClock {
        &self.clock
    }

    fn fingerprint_secret(&self) -> Option<&[u8; 32]> {
        Some(&self.secret)
    }
}

impl Records {
    /// Operations that are not terminal.
    fn open(&self) -> usize {
        usize::try_from(self.counts[place(State::Pending)] + self.counts[place(State::Unknown)]).unwrap_or(usize::MAX)
    }

    fn count(&mut self, operation: &Operation) {
        self.counts[place(operation.state)] += 1;
        self.flagged[usize::from(operation.state.is_terminal())] += u64::from(operation.attention.is_some());
        if !operation.state.is_terminal() {
            *self.open_by.entry(operation.principal).or_default() += 1;
        }
    }

    fn uncount(&mut self, operation: &Operation) {
        self.counts[place(operation.state)] -= 1;
        self.flagged[usize::from(operation.state.is_terminal())] -= u64::from(operation.attention.is_some());
        if operation.state.is_terminal() {
            return;
        }
        if let Some(open) = self.open_by.get_mut(&operation.principal) {
            *open -= 1;
            if *open == 0 {
                self.open_by.remove(&operation.principal);
            }
        }
    }

    /// Adds or replaces a record; returns what it replaced.
    fn insert(&mut self, operation: Operation) -> Option<Operation> {
        let seq = operation.id.seq;
        if let Some(at) = next_expiry(&operation) {
            self.expiries.insert((at, seq));
        }
        let (expiry, due_at) = (next_expiry(&operation), operation.due_at());
        self.due.extend(due_at.map(|at| (at, seq)));
        self.bytes += size_of_record(&operation);
        self.count(&operation);
        let before = self.by_seq.insert(seq, operation);
        if let Some(before) = &before {
            self.uncount(before);
            self.bytes -= size_of_record(before);
            if let Some(at) = next_expiry(before).filter(|at| Some(*at) != expiry) {
                self.expiries.remove(&(at, seq));
            }
            if let Some(at) = before.due_at().filter(|at| Some(*at) != due_at) {
                self.due.remove(&(at, seq));
            }
        }
        before
    }

    fn expire(&mut self, now: UnixMillis, limit: usize) -> usize {
        for done in 0..limit {
            let Some(&(at, seq)) = self.expiries.first().filter(|(at, _)| *at <= now) else { return done };
            self.expiries.remove(&(at, seq));
            let Some(operation) = self.by_seq.get(&seq) else { continue };
            if is_forgotten(operation, now) {
                self.remove(seq);
            } else {
                let mut trimmed = operation.clone();
                trimmed.retained = Retained::StatusOnly;
                self.insert(trimmed);
            }
        }
        limit
    }

    fn keep_request(&mut self, seq: u64, request: Arc<StoredRequest>) {
        self.bytes += size_of_request(&request);
        self.requests.insert(seq, request);
    }

    fn drop_request(&mut self, seq: u64) {
        if let Some(request) = self.requests.remove(&seq) {
            self.bytes -= size_of_request(&request);
        }
    }

    fn remove(&mut self, seq: u64) {
        let Some(operation) = self.by_seq.remove(&seq) else { return };
        self.drop_request(seq);
        self.bytes -= size_of_record(&operation);
        self.uncount(&operation);
        if self.by_key.get(&operation.key_hash) == Some(&seq) {
            self.by_key.remove(&operation.key_hash);
        }
        if let Some(question) = operation.question() {
            self.by_question.remove(&(question, seq));
        }
        if let Some(waiters) = self.waiters.remove(&seq) {
            waiters.notify_waiters();
        }
    }
}

/// The order in which they are counted.
const fn place(state: State) -> usize {
    match state {
        State::Pending => 0,
        State::Succeeded => 1,
        State::Failed => 2,
        State::NotExecuted => 3,
        State::Unknown => 4,
    }
}

fn random_secret() -> [u8; 32] {
    // Each carries 122 bits of the system's randomness.
    let mut hash = Sha256::new();
    (0..3).for_each(|_| hash.update(Uuid::new_v4().as_bytes()));
    hash.finalize().into()
}

#[cfg(test)]
mod tests;
