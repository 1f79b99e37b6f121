//! What is held in memory: every open operation, and the latest settled ones.
//!
//! An operation has up to two versions here: the one that is *published*, which is durable but for notes, and the one
//! that is *staged*, which the writer has not committed yet. Readers see only what is published; a change is judged
//! against the latest.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    ops::Bound,
    sync::Arc,
};

use mainstay_policies::{
    faults::{Safeguard, is_off},
    operation::{
        KeptRequest, KeyHash, Operation, OperationId, Retained, State, UnixMillis,
        ledger::{Due, Filter, Health, LedgerError, Order},
        share,
    },
};
use tokio::sync::Notify;

use crate::ledger::record::state_number;

/// Settled operations that stay in memory. Most repeats come within seconds of the first request.
const RECENT: usize = 4096;
/// Bytes of responses that stay in memory with them.
const RECENT_BYTES: usize = 8 << 20;

#[derive(Debug, Default)]
pub(super) struct Records {
    entries: BTreeMap<u64, Entry>,
    by_key: HashMap<KeyHash, u64>,
    /// When something is to be done about an open one, as published.
    due: BTreeSet<(UnixMillis, u64)>,
    recent: VecDeque<u64>,
    recent_bytes: usize,
    waiters: HashMap<u64, Arc<Notify>>,
    counts: [u64; 5],
    /// Operations that are not terminal, by principal: begun and committed or not.
    open_by: HashMap<[u8; 32], usize>,
    /// The highest revision that a rollback took back. Somebody may have seen it, so no later version gets it again.
    spent_revision: u64,
    /// The disk has no room for now.
    is_full: bool,
    /// Why the ledger takes no more writes.
    failed: Option<Arc<str>>,
    /// Keys without a record are refused until then, if they are.
    quarantined_until: Option<UnixMillis>,
}

#[derive(Debug, Default)]
struct Entry {
    published: Option<Operation>,
    staged: Option<Operation>,
    /// The state under which the operation is counted.
    counted: Option<State>,
    /// What of it the file holds, or will when the writer commits; notes are not in the file.
    in_file: Option<InFile>,
    /// What is published was acknowledged before it was written; the writer has been asked to.
    is_unwritten: bool,
    /// Bytes under which it is counted among the recent ones, if it is one.
    recent: Option<usize>,
}

/// How an entry stood before the writer's transaction touched it.
#[derive(Debug)]
pub(super) struct Before {
    seq: u64,
    in_file: Option<InFile>,
    is_unwritten: bool,
}

/// What the file holds of an operation.
#[derive(Clone, Debug)]
pub(super) struct InFile {
    pub(super) state: State,
    pub(super) retained: Retained,
    pub(super) has_request: bool,
}

impl InFile {
    pub(super) fn of(operation: &Operation) -> Self {
        Self {
            state: operation.state,
            retained: operation.retained.clone(),
            has_request: operation.request != KeptRequest::None,
        }
    }
}

impl Entry {
    fn latest(&self) -> Option<&Operation> {
        self.staged.as_ref().or(self.published.as_ref())
    }
}

impl Records {
    /// What a start finds.
    pub(super) fn new(counts: [u64; 5], open: Vec<Operation>) -> Self {
        let mut records = Self { counts, ..Self::default() };
        for operation in open {
            records.by_key.insert(operation.key_hash, operation.id.seq);
            *records.open_by.entry(operation.principal).or_default() += 1;
            records.due.extend(operation.due_at().map(|at| (at, operation.id.seq)));
            let (seq, counted, in_file) = (operation.id.seq, Some(operation.state), Some(InFile::of(&operation)));
            records.entries.insert(seq, Entry { counted, in_file, published: Some(operation), ..Entry::default() });
        }
        records
    }

    pub(super) const fn counts(&self) -> [u64; 5] {
        self.counts
    }

    /// Operations that are not terminal.
    pub(super) fn open(&self) -> usize {
        let [pending, .., unknown] = self.counts;
        usize::try_from(pending + unknown).unwrap_or(usize::MAX)
    }

    /// Open operations that are flagged for a person.
    pub(super) fn flagged_open(&self) -> u64 {
        let published = self.entries.values().filter_map(|entry| entry.published.as_ref());
        published.filter(|known| known.attention.is_some() && !known.state.is_terminal()).count() as u64
    }

    /// Whether one more operation of `principal` may be begun while `open` are.
    pub(super) fn admits(&self, principal: &[u8; 32], open: usize, max_open: usize) -> bool {
        let own = self.open_by.get(principal).copied().unwrap_or(0);
        share::admits(own, self.open_by.len(), open, max_open)
    }

    /// The revision of what follows a version of revision `seen`.
    pub(super) fn revision_after(&self, seen: u64) -> u64 {
        seen.max(self.spent_revision) + 1
    }

    fn close(&mut self, principal: &[u8; 32]) {
        if let Some(open) = self.open_by.get_mut(principal) {
            *open -= 1;
            if *open == 0 {
                self.open_by.remove(principal);
            }
        }
    }

    pub(super) fn fail(&mut self, why: Arc<str>) {
        self.failed.get_or_insert(why);
    }

    pub(super) const fn set_full(&mut self, is_full: bool) {
        self.is_full = is_full;
    }

    /// Keys without a record are refused until then.
    pub(super) const fn set_quarantine(&mut self, until: UnixMillis) {
        self.quarantined_until = Some(until);
    }

    pub(super) const fn quarantined_until(&self) -> Option<UnixMillis> {
        self.quarantined_until
    }

    pub(super) const fn health(&self) -> Health {
        match (&self.failed, self.is_full) {
            (Some(_), _) => Health::Failed,
            (None, true) => Health::Full,
            (None, false) => Health::Writable,
        }
    }

    /// # Errors
    /// The ledger takes no more writes.
    pub(super) fn check(&self) -> Result<(), LedgerError> {
        self.failed.as_ref().map_or(Ok(()), |why| Err(LedgerError::Unavailable(why.to_string())))
    }

    pub(super) fn published(&self, seq: u64) -> Option<&Operation> {
        self.entries.get(&seq)?.published.as_ref()
    }

    pub(super) fn published_under(&self, key: KeyHash) -> Option<&Operation> {
        self.published(*self.by_key.get(&key)?)
    }

    /// The latest version, committed or not.
    pub(super) fn latest_under(&self, key: KeyHash) -> Option<&Operation> {
        self.entries.get(self.by_key.get(&key)?)?.latest()
    }

    /// Open operations after `seq` that match, at most `limit`; and where to go on, if the end was not reached within
    /// `scan` of them.
    pub(super) fn list(
        &self,
        filter: &Filter,
        (first, last): (u64, u64),
        limit: usize,
        scan: usize,
    ) -> (Vec<Operation>, Option<u64>) {
        let mut found = Vec::new();
        let mut seen = None;
        let mut range = self.entries.range(first..=last);
        for looked_at in 0.. {
            let next = match filter.order {
                Order::Oldest => range.next(),
                Order::Newest => range.next_back(),
            };
            let Some((seq, entry)) = next else { break };
            if looked_at == scan || found.len() == limit {
                return (found, seen);
            }
            seen = Some(*seq);
            found.extend(entry.published.iter().filter(|operation| filter.matches(operation)).cloned());
        }
        (found, None)
    }

    /// What is due at `now`, the longest due first, after the place `after`; at most `limit`.
    pub(super) fn due(&self, now: UnixMillis, after: Option<(UnixMillis, u64)>, limit: usize) -> Vec<Due> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let due = self.due.range((start, Bound::Included((now, u64::MAX)))).take(limit);
        let of = |(at, seq): &(UnixMillis, u64)| {
            let operation = self.published(*seq)?;
            Some(Due { at: *at, id: operation.id, upstream: Arc::clone(&operation.upstream) })
        };
        due.filter_map(of).collect()
    }

    /// When the next one is due, or was.
    pub(super) fn next_due(&self) -> Option<UnixMillis> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The latest version, and what the file holds of it.
    pub(super) fn latest_and_file(&self, seq: u64) -> Option<(&Operation, &InFile)> {
        let entry = self.entries.get(&seq)?;
        Some((entry.latest()?, entry.in_file.as_ref()?))
    }

    /// Keeps a new version apart until it is committed. `in_file` is what the file held; `None` is a new operation. `seen` is
    /// the revision from which `next` was made.
    ///
    /// # Errors
    /// A note came between; the version that it made.
    pub(super) fn stage(
        &mut self,
        mut next: Operation,
        in_file: Option<&InFile>,
        seen: u64,
    ) -> Result<Before, Box<Operation>> {
        let seq = next.id.seq;
        let latest = self.entries.get(&seq).and_then(Entry::latest);
        if let Some(latest) = latest.filter(|latest| latest.revision != seen) {
            return Err(Box::new(latest.clone()));
        }
        if let Some(latest) = latest {
            next.keep_sent(latest);
        }
        if in_file.is_none() {
            self.by_key.insert(next.key_hash, seq);
            *self.open_by.entry(next.principal).or_default() += 1;
        }
        let counted = in_file.map(|in_file| in_file.state);
        let entry = self.entries.entry(seq).or_insert_with(|| Entry { counted, ..Entry::default() });
        let is_unwritten = std::mem::take(&mut entry.is_unwritten);
        let before = Before { seq, in_file: entry.in_file.replace(InFile::of(&next)), is_unwritten };
        entry.staged = Some(next);
        Ok(before)
    }

    /// Settles an operation in memory, to be written afterwards. `None`: it is not one that is simply in flight, so the change
    /// has to wait for the writer.
    pub(super) fn settle_ahead(&mut self, mut next: Operation) -> Option<Result<Operation, LedgerError>> {
        let revision = self.revision_after(next.revision);
        let entry = self.entries.get_mut(&next.id.seq).filter(|entry| entry.staged.is_none())?;
        let known = entry.published.as_ref().filter(|known| known.id == next.id && known.state == State::Pending)?;
        if !is_successor(known, &next) {
            return Some(Err(LedgerError::Stale(Box::new(known.clone()))));
        }
        next.keep_sent(known);
        entry.is_unwritten = true;
        next.revision = revision;
        self.publish_version(next.clone());
        Some(Ok(next))
    }

    /// A version that was acknowledged and is not in the file yet, and what is there; from now on it counts as written.
    pub(super) fn take_unwritten(&mut self, seq: u64) -> Option<(Operation, InFile, Before)> {
        let entry = self.entries.get_mut(&seq).filter(|entry| entry.is_unwritten)?;
        let next = entry.latest()?.clone();
        let in_file = entry.in_file.replace(InFile::of(&next));
        entry.is_unwritten = false;
        let before = Before { seq, in_file: in_file.clone(), is_unwritten: true };
        Some((next, in_file?, before))
    }

    /// The transaction that staged all this was rolled back.
    pub(super) fn roll_back(&mut self, touched: Vec<Before>) {
        for before in touched.into_iter().rev() {
            let seq = before.seq;
            let Some(entry) = self.entries.get_mut(&seq) else { continue };
            entry.in_file = before.in_file;
            entry.is_unwritten = before.is_unwritten;
            let staged = entry.staged.take();
            if let Some(staged) = &staged {
                self.spent_revision = self.spent_revision.max(staged.revision);
            }
            if entry.published.is_some() {
                continue;
            }
            let was_begun = entry.counted.is_none();
            self.entries.remove(&seq);
            if let Some(staged) = staged {
                if self.by_key.get(&staged.key_hash) == Some(&seq) {
                    self.by_key.remove(&staged.key_hash);
                }
                if was_begun {
                    self.close(&staged.principal);
                }
            }
        }
    }

    /// An attempt of an operation is about to be sent. Not in the file until the next change is.
    pub(super) fn sent(&mut self, next: &Operation) -> Result<Operation, LedgerError> {
        self.check()?;
        let entry = self.entries.get_mut(&next.id.seq).ok_or(LedgerError::Absent)?;
        let known = entry.staged.as_mut().or(entry.published.as_mut()).filter(|known| known.id == next.id);
        let known = known.ok_or(LedgerError::Absent)?;
        if !is_successor(known, next) {
            return Err(LedgerError::Stale(Box::new(known.clone())));
        }
        known.keep_sent(next);
        Ok(known.clone())
    }

    /// Changes an operation at once, without the file.
    pub(super) fn note(&mut self, mut next: Operation) -> Result<Operation, LedgerError> {
        self.check()?;
        let id = next.id;
        let revision = self.revision_after(next.revision);
        let entry = self.entries.get_mut(&id.seq).filter(|entry| entry.latest().is_some_and(|known| known.id == id));
        let entry = entry.ok_or(LedgerError::Absent)?;
        let known = entry.latest().ok_or(LedgerError::Absent)?;
        if !is_successor(known, &next) {
            return Err(LedgerError::Stale(Box::new(known.clone())));
        }
        next.keep_sent(known);
        next.revision = revision;
        if entry.staged.is_some() {
            // It becomes visible together with the change that it follows.
            entry.staged = Some(next.clone());
            return Ok(next);
        }
        self.publish_version(next.clone());
        Ok(next)
    }

    /// Makes staged versions visible: they are committed.
    pub(super) fn publish(&mut self, staged: &[u64]) {
        for seq in staged {
            if let Some(next) = self.entries.get_mut(seq).and_then(|entry| entry.staged.take()) {
                self.publish_version(next);
            }
        }
        self.forget_some();
    }

    fn publish_version(&mut self, next: Operation) {
        let (seq, state) = (next.id.seq, next.state);
        let bytes = kept_bytes(&next);
        let Some(entry) = self.entries.get_mut(&seq) else { return };
        let counted = entry.counted.replace(state);
        if let Some(before) = counted {
            self.counts[usize::from(state_number(before))] -= 1;
        }
        self.counts[usize::from(state_number(state))] += 1;
        let due_at = next.due_at();
        let closed =
            (state.is_terminal() && counted.is_none_or(|before| !before.is_terminal())).then_some(next.principal);
        let before = entry.published.replace(next).and_then(|before| before.due_at());
        if before != due_at {
            before.map(|at| self.due.remove(&(at, seq)));
            self.due.extend(due_at.map(|at| (at, seq)));
        }
        if let Some(before) = entry.recent {
            self.recent_bytes = self.recent_bytes - before + bytes;
            entry.recent = Some(bytes);
        } else if state.is_terminal() {
            entry.recent = Some(bytes);
            self.recent_bytes += bytes;
            self.recent.push_back(seq);
        }
        if let Some(principal) = closed {
            self.close(&principal);
        }
        if let Some(waiters) = self.waiters.remove(&seq) {
            waiters.notify_waiters();
        }
    }

    /// Lets go of the oldest of the recent ones; the file has them.
    fn forget_some(&mut self) {
        while self.recent.len() > RECENT || self.recent_bytes > RECENT_BYTES {
            let Some(seq) = self.recent.pop_front() else { return };
            let Some(entry) = self.entries.get_mut(&seq) else { continue };
            if entry.is_unwritten {
                // Only memory has it. The writer will be there soon; until then a few more are held.
                return self.recent.push_front(seq);
            }
            self.recent_bytes -= entry.recent.take().unwrap_or(0);
            let is_open = entry.published.as_ref().is_some_and(|operation| !operation.state.is_terminal());
            if entry.staged.is_none() && !is_open {
                self.drop_entry(seq);
            }
        }
    }

    fn drop_entry(&mut self, seq: u64) -> Option<Entry> {
        let entry = self.entries.remove(&seq)?;
        if let Some(at) = entry.published.as_ref().and_then(Operation::due_at) {
            self.due.remove(&(at, seq));
        }
        let key = entry.latest().map(|operation| operation.key_hash);
        if let Some(key) = key
            && self.by_key.get(&key) == Some(&seq)
        {
            self.by_key.remove(&key);
        }
        Some(entry)
    }

    /// Removes operations that are no longer in the file; each with its state there.
    pub(super) fn remove(&mut self, removed: &[(u64, State)]) {
        for &(seq, stored) in removed {
            let entry = self.drop_entry(seq);
            if let Some(bytes) = entry.as_ref().and_then(|entry| entry.recent) {
                // Its place in the queue is passed over when it comes up.
                self.recent_bytes -= bytes;
            }
            let counted = entry.and_then(|entry| entry.counted).unwrap_or(stored);
            self.counts[usize::from(state_number(counted))] -= 1;
            if let Some(waiters) = self.waiters.remove(&seq) {
                waiters.notify_waiters();
            }
        }
    }

    /// Those who wait for a change of `seq`.
    pub(super) fn waiters(&mut self, seq: u64) -> Arc<Notify> {
        Arc::clone(self.waiters.entry(seq).or_default())
    }

    /// Gives `waiters` back; forgets them if nobody else waits.
    pub(super) fn leave(&mut self, seq: u64, waiters: Arc<Notify>) {
        let is_current = self.waiters.get(&seq).is_some_and(|known| Arc::ptr_eq(known, &waiters));
        drop(waiters);
        if is_current && self.waiters.get(&seq).is_some_and(|known| Arc::strong_count(known) == 1) {
            self.waiters.remove(&seq);
        }
    }
}

/// Whether `next` was made from the record as it stands.
pub(super) fn is_successor(known: &Operation, next: &Operation) -> bool {
    (known.owner, known.epoch, known.revision) == (next.owner, next.epoch, next.revision)
        || is_off(Safeguard::Ownership)
}

/// Whether an operation's tombstone has passed.
pub(super) fn is_forgotten(operation: &Operation, now: UnixMillis) -> bool {
    operation.state.is_terminal() && operation.forgotten_at().is_some_and(|at| at <= now)
}

/// An operation that is there, under that very name, and not past its tombstone.
pub(super) fn visible(operation: Option<Operation>, id: OperationId, now: UnixMillis) -> Option<Operation> {
    operation.filter(|operation| operation.id == id && !is_forgotten(operation, now))
}

fn kept_bytes(operation: &Operation) -> usize {
    match &operation.retained {
        Retained::Stored(response) => response.body.len() + 64 * response.headers.len(),
        Retained::None | Retained::StatusOnly => 0,
    }
}
