//! The ledger's contract, kept by the database.

use super::{
    PostgresLedger,
    command::{Command, UpdateCommand},
    inner::{is_final, is_forgotten},
    row::{Rows, owner_column, owner_of},
    sql::Statement,
};
use crate::ledger::{record::decode_request, vault::Kind};
use mainstay_policies::{
    clock::WallClock,
    operation::{
        InstanceId, KeptRequest, KeyHash, Operation, OperationId, QUESTION_LOOKS, Question, State, StoredRequest,
        UnixMillis, Witness,
        audit::{AuditEntry, Audited},
        ledger::{Begun, Census, Due, Filter, Health, Ledger, LedgerError, LedgerFuture, Load, Reading},
    },
    rate_limit::Peers,
};
use std::{
    sync::{Arc, Weak, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::time::Instant;

impl Ledger for PostgresLedger {
    fn begin(&self, draft: Operation, now: UnixMillis) -> LedgerFuture<'_, Begun> {
        Box::pin(async move {
            let steady = self.inner.clock.steady(now);
            let known = self.inner.owned.lock().settled_under(draft.key_hash).cloned();
            if let Some(known) = known.filter(|known| is_final(known, now, steady)) {
                return Ok(Begun::Known(known));
            }
            match self.begin_new(draft, now).await? {
                Begun::Known(known) => Ok(Begun::Known(self.inner.adopted(known).await)),
                begun @ Begun::New(_) => Ok(begun),
            }
        })
    }

    fn update(&self, next: Operation) -> LedgerFuture<'_, Operation> {
        Box::pin(self.change(next, None, false))
    }

    fn update_with(&self, next: Operation, entry: AuditEntry) -> LedgerFuture<'_, Operation> {
        Box::pin(self.change(next, Some(entry), false))
    }

    fn patience(&self) -> Option<Duration> {
        Some(self.inner.options.settings.timeouts.settle)
    }

    fn tell(&self, witness: Weak<dyn Witness>) {
        self.inner.told.to(witness);
    }

    fn append(&self, entry: AuditEntry) -> LedgerFuture<'_, u64> {
        Box::pin(async move {
            let entry = super::trail::Entry::of(entry);
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
            Ok(rows.iter().map(super::trail::read).collect())
        })
    }

    fn sent(&self, next: Operation) -> Result<Operation, LedgerError> {
        self.inner.owned.lock().sent(&next)
    }

    fn defer(&self, next: Operation) -> LedgerFuture<'_, Operation> {
        let is_of_time = self.inner.owned.lock().get(next.id).is_some_and(|known| known.differs_in_time_only(&next));
        Box::pin(self.change(next, None, is_of_time))
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
        self.enqueue(Command::Update(UpdateCommand {
            next,
            entry: None,
            reply: None,
            is_of_time: false,
            before: None,
        }))?;
        Ok(released)
    }

    fn may_dispatch(&self, of: &Operation) -> Result<(), LedgerError> {
        let inner = &self.inner;
        let may = inner.owned.lock().is_own(of, inner.instance()) && inner.lease.is_held();
        if may { Ok(()) } else { Err(LedgerError::Fenced) }
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
                let found = self.inner.rows().read(row, now)?;
                if !is_forgotten(&found, now) && found.principal != principal {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    fn asked_by(&self, question: Question) -> LedgerFuture<'_, Vec<Operation>> {
        Box::pin(async move {
            let (question, looks) = (question.0.cast_signed(), i64::try_from(QUESTION_LOOKS).unwrap_or(i64::MAX));
            let rows = self.inner.ask(Statement::Question, vec![&question, &looks]).await?;
            let now = self.inner.steady_now();
            let found = rows.iter().map(|row| self.inner.rows().read(row, now)).collect::<Result<Vec<_>, _>>()?;
            Ok(found.into_iter().filter(|found| !is_forgotten(found, now)).collect())
        })
    }

    fn list(&self, filter: Filter, after: Option<OperationId>, limit: usize) -> LedgerFuture<'_, Vec<Operation>> {
        Box::pin(async move {
            let mut found = Vec::new();
            // Zero is a number, too: the first of node 0, by a clock that stands before 2024.
            let mut left = filter.left(after.map(|id| id.seq));
            while let Some(numbers) = left
                && found.len() < limit
            {
                let (mut more, seen) = self.scan(&filter, numbers, limit - found.len()).await?;
                found.append(&mut more);
                left = seen.and_then(|seen| filter.left(Some(seen)));
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
                self.inner.rows().vault.open(Kind::Request, id.seq, sealed).map_err(|_| LedgerError::Unreadable)?;
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
            if !self.inner.is_open() || !self.inner.reader.is_up() {
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

    fn note(&self, name: &'static str) -> LedgerFuture<'_, Option<Vec<u8>>> {
        Box::pin(async move {
            let rows = self.inner.ask(Statement::Note, vec![&name]).await?;
            Ok(rows.first().map(|row| row.get(0)))
        })
    }

    fn keep_note(&self, name: &'static str, seen: Option<Vec<u8>>, value: Vec<u8>) -> LedgerFuture<'_, bool> {
        Box::pin(async move {
            let rows = self.inner.ask(Statement::KeepNote, vec![&name, &value, &seen]).await?;
            Ok(!rows.is_empty())
        })
    }

    fn processes(&self) -> LedgerFuture<'_, Vec<InstanceId>> {
        Box::pin(async move {
            let rows = self.inner.ask(Statement::Living, vec![]).await?;
            Ok(rows.iter().map(|row| owner_of(row.get(0))).collect())
        })
    }

    fn census(&self) -> Option<Census> {
        *self.inner.census.lock()
    }

    fn oldest_unknown(&self) -> LedgerFuture<'_, Option<UnixMillis>> {
        Box::pin(async move { Ok(self.census().and_then(|census| census.oldest_unknown)) })
    }

    fn take_over(&self, operation: Operation) -> LedgerFuture<'_, Operation> {
        Box::pin(async move {
            let (me, seq) = (self.inner.no.load(Relaxed), operation.id.seq.cast_signed());
            let (owner, epoch) = (owner_column(operation.owner), operation.epoch.cast_signed());
            let revision = operation.revision.cast_signed();
            let rows = self.inner.ask(Statement::TakeUnknown, vec![&me, &seq, &owner, &epoch, &revision]).await?;
            self.inner.taken_over(&rows, State::Unknown)?;
            let now = self.inner.read_stored(operation.id).await?.ok_or(LedgerError::Absent)?;
            if rows.is_empty() { Err(LedgerError::Stale(Box::new(now))) } else { Ok(now) }
        })
    }

    fn taken_over_at(&self, id: OperationId) -> Option<UnixMillis> {
        self.inner.owned.lock().taken_over_at(id.seq)
    }

    fn owned(&self) -> [u64; 2] {
        self.inner.owned.lock().counts()
    }

    fn flagged(&self) -> LedgerFuture<'_, [u64; 2]> {
        Box::pin(async move {
            // The census has only their sum, and few are ever flagged: an index of theirs alone is read.
            let rows = self.inner.ask(Statement::Flagged, vec![]).await?;
            let count = |at| rows.first().map_or(0, |row| row.get::<_, i64>(at).cast_unsigned());
            Ok([count(0), count(1)])
        })
    }

    fn load(&self) -> Option<Load> {
        let queued = self.queue.max_capacity() - self.queue.capacity();
        Some(Load { bytes: 0, max_bytes: 0, queued, operations: None })
    }

    fn readings(&self) -> Vec<Reading> {
        let inner = &self.inner;
        let mut all = inner.meters.readings();
        let offset = inner.clock.now().cast_signed() - WallClock::system().now().cast_signed();
        let level = inner.memory.level.lock().unwrap_or("unknown");
        all.extend([
            Reading { name: "lease_seconds", word: "", value: inner.lease.left().as_secs_f64() },
            Reading { name: "replicas", word: "", value: self.replicas() as f64 },
            Reading { name: "clock_offset", word: "", value: offset as f64 / 1_000.0 },
            Reading { name: "durability", word: level, value: 1.0 },
            Reading { name: "waiters", word: "", value: inner.waiters.waited_for().0.len() as f64 },
        ]);
        all
    }

    fn health(&self) -> Health {
        let inner = &self.inner;
        if inner.is_lossy() {
            return Health::Lossy;
        }
        let since = match (inner.writer.down_since(), inner.lease.lapsed_for()) {
            (None, None) => return Health::Writable,
            (Some(down), lapsed) => down.elapsed().max(lapsed.unwrap_or_default()),
            (None, Some(lapsed)) => lapsed,
        };
        Health::Unreachable {
            since: inner.clock.now().saturating_sub(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
        }
    }

    fn retry_after(&self) -> Duration {
        let inner = &self.inner;
        let next = inner.writer.next_try().into_iter().chain(inner.beats.next_try()).chain(inner.lossy_until()).max();
        let wait = next.map(|next| next.saturating_duration_since(Instant::now()));
        // Else it is a matter of an answer, or of a beat.
        wait.unwrap_or_default().max(Duration::from_secs(1))
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

    fn peers(&self) -> Option<&Arc<Peers>> {
        Some(&self.inner.peers)
    }

    fn allow_begins(&self, allowed: bool) {
        self.inner.may_begin.store(allowed, Relaxed);
    }

    fn fingerprint_secret(&self) -> Option<&[u8; 32]> {
        self.inner.opened.get().map(|opened| &opened.secret)
    }
}
