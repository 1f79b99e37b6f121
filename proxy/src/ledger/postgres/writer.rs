//! The writer: takes everything that waits, and writes it in one transaction and one round trip. While it waits for the answer
//! the next batch gathers, so nobody waits for company.
//!
//! If no answer comes, the same batch is asked again over another connection, without those who have given up meanwhile. That
//! is safe: an operation has its number before the first try, so what an earlier try has committed is found under its key as
//! itself; and a change that was taken is found one revision further, as it was written. A change is tried for as long as the
//! process lives, for it is evidence.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use mainstay_policies::{
    faults::{Safeguard, is_off},
    operation::{
        KeptRequest, Operation,
        ledger::{Begun, LedgerError},
    },
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{
    faults::{self, Point},
    ledger::shared::again::{is_same_begin, is_same_change},
};

use super::{
    columns::{Inserts, Requests, Updates},
    command::{BeginCommand, Command, Handed, UpdateCommand},
    connect::{Commit, Session},
    error::StoreError,
    inner::{Inner, same_head},
    row::key_column,
    sql::Statement,
};

/// Commands that one batch takes at most, and bytes.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 4 << 20;
/// How often a key that changes hands meanwhile is tried for.
const ROUNDS: usize = 8;
/// Before the same is asked again of a store that has answered.
const PAUSE: Duration = Duration::from_millis(10);
/// The same, after an answer that says that nothing can be written for now.
const LONG_PAUSE: Duration = Duration::from_millis(250);

/// Writes what it is asked to.
pub(super) struct Writer {
    inner: Arc<Inner>,
    queue: mpsc::Receiver<Command>,
    own_queue: mpsc::WeakSender<Command>,
    /// Taken already, and not written yet.
    held_back: VecDeque<Command>,
}

/// What is written together.
#[derive(Default)]
struct Batch {
    begins: Vec<BeginCommand>,
    updates: Vec<UpdateCommand>,
    /// It has been asked before, and may have been done.
    was_asked: bool,
}

impl Writer {
    pub(super) fn new(inner: Arc<Inner>, queue: mpsc::Receiver<Command>, own_queue: mpsc::WeakSender<Command>) -> Self {
        Self { inner, queue, own_queue, held_back: VecDeque::new() }
    }

    /// Works until everybody who could ask has gone.
    pub(super) async fn run(mut self) {
        while let Some(batch) = self.gather().await {
            self.write(batch).await;
        }
    }

    async fn gather(&mut self) -> Option<Batch> {
        let mut batch = Batch::default();
        let mut changed = HashSet::new();
        let (mut taken, mut bytes) = (0, 0);
        let mut next = match self.held_back.pop_front() {
            Some(command) => Some(command),
            None => Some(self.receive().await?),
        };
        while let Some(command) = next {
            let is_first = taken == 0;
            // Two changes of one operation follow each other, and one with an entry is a transaction of its own.
            let fits = match &command {
                Command::Begin(_) => true,
                Command::Update(update) => changed.insert(update.next.id.seq) && (is_first || update.entry.is_none()),
            };
            if !fits {
                self.held_back.push_front(command);
                break;
            }
            taken += 1;
            bytes += command.bytes();
            let is_alone = matches!(&command, Command::Update(update) if update.entry.is_some());
            match command {
                Command::Begin(begin) => batch.begins.push(begin),
                Command::Update(update) => batch.updates.push(update),
            }
            if is_alone || taken == BATCH || bytes >= BATCH_BYTES {
                break;
            }
            next = self.held_back.pop_front().or_else(|| self.try_receive());
        }
        batch.updates.sort_unstable_by_key(|update| update.next.id.seq);
        Some(batch)
    }

    async fn receive(&mut self) -> Option<Command> {
        let command = self.queue.recv().await?;
        self.inner.queued_bytes.fetch_sub(command.bytes(), Relaxed);
        Some(command)
    }

    fn try_receive(&mut self) -> Option<Command> {
        let command = self.queue.try_recv().ok()?;
        self.inner.queued_bytes.fetch_sub(command.bytes(), Relaxed);
        Some(command)
    }

    async fn write(&self, batch: Batch) {
        let mut waiting = vec![batch];
        while let Some(mut batch) = waiting.pop() {
            self.let_go(&mut batch);
            if batch.is_empty() {
                continue;
            }
            let session = self.inner.writer.up().await;
            if let Err(error) = self.inner.remembers(&session).await {
                tracing::warn!(%error, "nothing is written over this connection to the ledger's store");
                self.refuse(&mut batch, &error);
                session.close();
                waiting.push(batch);
                sleep(LONG_PAUSE).await;
                continue;
            }
            self.inner.restored().await;
            let Err(error) = self.attempt(&session, &mut batch).await else { continue };
            batch.was_asked = true;
            self.inner.meters.count("retries", error.word());
            if is_off(Safeguard::AskAgain) {
                self.refuse(&mut batch, &error);
                continue;
            }
            tracing::debug!(%error, begins = batch.begins.len(), updates = batch.updates.len(), "a batch is asked again");
            if error.is_held_up() {
                // One stalled client costs one key, not a batch.
                match batch.halves() {
                    Ok((first, second)) => waiting.extend([first, second]),
                    Err(mut single) => {
                        self.refuse(&mut single, &error);
                        waiting.push(single);
                    }
                }
                continue;
            }
            if error.is_ambiguous() {
                sleep(PAUSE).await;
            } else {
                self.refuse(&mut batch, &error);
                sleep(LONG_PAUSE).await;
            }
            waiting.push(batch);
        }
    }

    /// Leaves out the begins whose callers have been refused by now.
    fn let_go(&self, batch: &mut Batch) {
        let was_asked = batch.was_asked;
        batch.begins.retain(|begin| {
            let is_there = !begin.reply.is_closed();
            if !is_there {
                self.is_over(&begin.draft);
                if was_asked {
                    self.inner.refused.lock().add(begin.draft.id);
                }
            }
            is_there
        });
    }

    /// Nothing new can be written: begins are refused, changes go on being tried.
    fn refuse(&self, batch: &mut Batch, error: &StoreError) {
        for begin in batch.begins.drain(..) {
            self.is_over(&begin.draft);
            self.inner.meters.count("refused", error.word());
            self.inner.refused.lock().add(begin.draft.id);
            let _ = begin.reply.send(Err(LedgerError::Unavailable(error.to_string())));
        }
    }

    /// A begin came to nothing.
    fn is_over(&self, draft: &Operation) {
        let mut owned = self.inner.owned.lock();
        owned.arrived(draft.id.seq);
        owned.leave(draft.principal);
    }

    /// Asks once; whatever is decided leaves the batch.
    async fn attempt(&self, session: &Session, batch: &mut Batch) -> Result<(), StoreError> {
        faults::reach(Point::BeforeBatch);
        let (inserted, updated) = self.ask(session, batch).await?;
        faults::reach(Point::InBatch);
        for update in std::mem::take(&mut batch.updates) {
            if updated.contains(&update.next.id.seq) {
                self.updated(update);
            } else {
                batch.updates.push(update);
            }
        }
        self.inserted(batch, &inserted);
        if !batch.updates.is_empty() {
            self.judge_updates(session, batch).await?;
        }
        for _ in 0..ROUNDS {
            if batch.begins.is_empty() {
                return Ok(());
            }
            self.judge_begins(session, batch).await?;
            if batch.begins.is_empty() {
                return Ok(());
            }
            let (inserted, _) = self.ask(session, batch).await?;
            self.inserted(batch, &inserted);
        }
        self.refuse(batch, &StoreError::Unreadable("the key changes hands too fast".into()));
        Ok(())
    }

    /// The numbers that were inserted, and those that were updated.
    async fn ask(&self, session: &Session, batch: &Batch) -> Result<(HashSet<u64>, HashSet<u64>), StoreError> {
        let inner = &self.inner;
        let (inserts, requests) = (Inserts::of(&batch.begins, inner), Requests::of(&batch.begins, inner));
        let updates = Updates::of(&batch.updates, inner);
        let settled = self.settled(&batch.updates);
        let entry = batch.updates.first().and_then(|update| Some((update, update.entry.as_deref()?)));
        let about = entry.map(|(update, entry)| super::trail::about(&update.next, entry));
        let mut parts = Vec::new();
        if !batch.begins.is_empty() {
            parts.push((Statement::Insert, inserts.params()));
        }
        if !requests.seqs.is_empty() {
            parts.push((Statement::InsertRequests, vec![&requests.seqs as _, &requests.bodies as _]));
        }
        if !batch.updates.is_empty() {
            parts.push((Statement::Update, updates.params()));
        }
        if !settled.is_empty() {
            parts.push((Statement::DropRequests, vec![&settled as _]));
        }
        if let Some(about) = &about {
            parts.push((Statement::Audited, about.params()));
        }
        // What an earlier try has done may be on record and not be safe yet, and a transaction that changes nothing waits for
        // nothing: this one changes something after it, so its commit speaks for both.
        let me = inner.no.load(Relaxed);
        if batch.was_asked {
            parts.push((Statement::Touch, vec![&me]));
        }
        let began = Instant::now();
        let kinds: Vec<_> = parts.iter().map(|(statement, _)| *statement).collect();
        let is_of_time = batch.begins.is_empty() && batch.updates.iter().all(|update| update.is_of_time);
        let answers = if is_of_time {
            session.transaction(parts, Commit::Unawaited).await?
        } else if parts.len() == 1 {
            let (statement, params) = parts.pop().expect("there is one");
            vec![session.query(statement, params).await?]
        } else {
            session.transaction(parts, Commit::Durable).await?
        };
        (inner.options.on_commit.0)(began.elapsed(), batch.begins.len() + batch.updates.len());
        let of = |wanted| {
            let at = kinds.iter().position(|kind| *kind == wanted);
            let rows: &[Row] = at.map_or(&[], |at| &answers[at]);
            rows.iter().map(|row| row.get::<_, i64>(0).cast_unsigned()).collect::<HashSet<_>>()
        };
        Ok((of(Statement::Insert), of(Statement::Update)))
    }

    /// Those that settle and may have kept a request.
    fn settled(&self, updates: &[UpdateCommand]) -> Vec<i64> {
        let owned = self.inner.owned.lock();
        let settled = updates.iter().map(|update| &update.next).filter(|next| next.state.is_terminal());
        let kept = settled.filter(|next| owned.get(next.id).is_none_or(|known| known.request == KeptRequest::Kept));
        kept.map(|next| next.id.seq.cast_signed()).collect()
    }

    fn inserted(&self, batch: &mut Batch, inserted: &HashSet<u64>) {
        let was_asked = batch.was_asked;
        for begin in std::mem::take(&mut batch.begins) {
            if inserted.contains(&begin.draft.id.seq) {
                if was_asked {
                    self.inner.meters.count("ambiguous", "nothing");
                }
                self.begun(begin);
            } else {
                batch.begins.push(begin);
            }
        }
    }

    fn begun(&self, begin: BeginCommand) {
        let mut operation = begin.draft;
        if matches!(operation.request, KeptRequest::Given(_)) {
            operation.request = KeptRequest::Kept;
        }
        {
            let mut owned = self.inner.owned.lock();
            owned.arrived(operation.id.seq);
            owned.begun(operation.clone());
        }
        self.inner.acknowledged.lock().add(&operation);
        // If nobody is there any more, it is freed where it is dropped.
        let _ = begin.reply.send(Ok(self.handed(Begun::New(operation))));
    }

    fn handed(&self, begun: Begun) -> Handed {
        Handed::new(begun, Arc::clone(&self.inner), self.own_queue.clone())
    }

    fn updated(&self, update: UpdateCommand) {
        let next = Operation { revision: update.next.revision + 1, ..update.next.clone() };
        self.inner.owned.lock().put(&next, self.inner.instance());
        if !update.is_of_time {
            self.inner.acknowledged.lock().add(&next);
        }
        self.inner.waiters.wake(next.id.seq);
        if let Some(before) = &update.before {
            self.inner.told.changed(before.as_ref().clone(), next.clone());
        }
        update.answer(Ok(next));
    }

    /// What became of changes that were not taken: by now, or in an earlier try.
    async fn judge_updates(&self, session: &Session, batch: &mut Batch) -> Result<(), StoreError> {
        let seqs: Vec<_> = batch.updates.iter().map(|update| update.next.id.seq.cast_signed()).collect();
        let rows = session.query(Statement::Numbered, vec![&seqs]).await?;
        let mut found = HashMap::new();
        for row in &rows {
            let read = self.inner.rows().read(row, self.inner.steady_now());
            found.insert(row.get::<_, i64>(0).cast_unsigned(), read);
        }
        let was_asked = batch.was_asked;
        for update in std::mem::take(&mut batch.updates) {
            let next = &update.next;
            match found.remove(&next.id.seq) {
                Some(Ok(current)) if current.id == next.id => {
                    let is_ours = was_asked && is_same_change(&current, next);
                    if was_asked {
                        self.inner.meters.count("ambiguous", if is_ours { "written" } else { "changed" });
                    }
                    if is_ours {
                        self.updated(update);
                    } else {
                        let current = self.inner.seen(current);
                        update.answer(Err(LedgerError::Stale(Box::new(current))));
                    }
                }
                Some(Err(error)) => update.answer(Err(error.into())),
                Some(Ok(_)) | None => update.answer(Err(LedgerError::Absent)),
            }
        }
        Ok(())
    }

    /// What is under the keys of begins that were not inserted.
    async fn judge_begins(&self, session: &Session, batch: &mut Batch) -> Result<(), StoreError> {
        let keys: Vec<Uuid> = batch.begins.iter().map(|begin| key_column(begin.draft.key_hash)).collect();
        let rows = session.query(Statement::UnderKeys, vec![&keys]).await?;
        let mut found = HashMap::new();
        for row in &rows {
            match self.inner.rows().read(row, self.inner.steady_now()) {
                Ok(operation) => drop(found.insert(key_column(operation.key_hash), operation)),
                Err(error) => tracing::error!(%error, "an operation that holds a key cannot be read"),
            }
        }
        let (mut seqs, mut revisions) = (Vec::new(), Vec::new());
        for begin in std::mem::take(&mut batch.begins) {
            match found.get(&key_column(begin.draft.key_hash)) {
                None => {
                    let is_gone = self.is_gone(session, &begin.draft).await?;
                    if is_gone { self.was_abandoned(begin) } else { batch.begins.push(begin) }
                }
                Some(known) if known.key_hash != begin.draft.key_hash && !is_off(Safeguard::WholeHash) => {
                    self.is_over(&begin.draft);
                    let _ = begin.reply.send(Err(same_head()));
                }
                Some(known) if is_same_begin(known, &begin.draft) => {
                    self.inner.meters.count("ambiguous", "begun");
                    self.begun(begin);
                }
                Some(known) if known.holds_key(begin.now, self.inner.clock.steady(begin.now)) => {
                    self.is_over(&begin.draft);
                    let known = self.inner.seen(known.clone());
                    let _ = begin.reply.send(Ok(self.handed(Begun::Known(known))));
                }
                Some(known) => {
                    seqs.push(known.id.seq.cast_signed());
                    revisions.push(known.revision.cast_signed());
                    batch.begins.push(begin);
                }
            }
        }
        if !seqs.is_empty() {
            session.query(Statement::Free, vec![&seqs, &revisions]).await?;
            let mut owned = self.inner.owned.lock();
            for seq in &seqs {
                owned.forget(seq.cast_unsigned());
            }
        }
        Ok(())
    }

    /// Whether a begin of an earlier try is on record and no longer pending: somebody has given it up.
    async fn is_gone(&self, session: &Session, draft: &Operation) -> Result<bool, StoreError> {
        let seq = draft.id.seq.cast_signed();
        Ok(!session.query(Statement::Read, vec![&seq]).await?.is_empty())
    }

    fn was_abandoned(&self, begin: BeginCommand) {
        self.is_over(&begin.draft);
        let why = "the operation was begun and given up before it was acknowledged";
        let _ = begin.reply.send(Err(LedgerError::Unavailable(why.into())));
    }
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.begins.is_empty() && self.updates.is_empty()
    }

    /// Two of half the size; or itself, if it has only one command.
    fn halves(mut self) -> Result<(Self, Self), Self> {
        if self.begins.len() + self.updates.len() < 2 {
            return Err(self);
        }
        let begins = self.begins.split_off(self.begins.len() / 2);
        let updates = self.updates.split_off(self.updates.len().div_ceil(2));
        let was_asked = self.was_asked;
        Ok((self, Self { begins, updates, was_asked }))
    }
}
