//! What the writer does for each command, within its transaction.

use mainstay_policies::{
    faults::{Safeguard, is_off},
    operation::{
        KeptRequest, KeyHash, Operation, Retained, UnixMillis,
        audit::AuditEntry,
        ledger::{Begun, LedgerError},
    },
};
use tokio::time::Instant;

use super::{
    command::{Answer, Command, unavailable},
    held::{InFile, is_forgotten, is_successor},
    keys,
    sql::{self, SqlError},
    trail,
    writer::{Batch, NO_SPACE, Writer},
};
use crate::ledger::record::state_number;

/// Records that are dropped with each begin, so that a ledger which nobody sweeps still does not fill with the past.
const EXPIRED_PER_BEGIN: usize = 2;
/// Records that are dropped at once when there is no room.
const EXPIRED_FOR_ROOM: usize = 256;
/// Bytes that a record costs in the table and its indexes, rounded up.
const RECORD_BYTES: u64 = 640;

/// Why a key without a record is refused after a copy was restored.
const QUARANTINED: &str =
    "this ledger was restored from a copy, and a key without a record may be one that was lost with the rest";

impl Writer {
    pub(super) fn carry_out(&mut self, command: Command, batch: &mut Batch) -> Result<(), SqlError> {
        match command {
            Command::Begin { draft, now, reply } => {
                let (begun, done) = apart(self.begin(draft, now, batch));
                self.answer(Answer::Begin(reply, begun), Safeguard::DurableBegin, batch);
                done?;
            }
            Command::Update { next, entry, reply } => {
                let (updated, done) = apart(self.update(next, entry.as_deref(), batch));
                self.answer(Answer::Update(reply, updated), Safeguard::DurableSettle, batch);
                done?;
            }
            Command::Store { seq } => self.store(seq, batch)?,
            Command::Append { entry, reply } => {
                self.begin_transaction(batch)?;
                let number = trail::append(&self.connection, &entry)?;
                batch.answers.push(Answer::Append(reply, number));
            }
            Command::Reserve { from, span, reply } if !self.is_full(Instant::now()) => {
                self.begin_transaction(batch)?;
                let start = from.max(sql::reserved(&self.connection)?);
                sql::set_counter(&self.connection, "reserved", start.saturating_add(span))?;
                batch.answers.push(Answer::Append(reply, start));
            }
            refused @ Command::Reserve { .. } => refused.refuse(NO_SPACE),
            Command::Note { name, seen, value, reply } => {
                self.begin_transaction(batch)?;
                let is_kept = sql::set_note(&self.connection, name, seen.as_deref(), &value)?;
                batch.answers.push(Answer::Append(reply, u64::from(is_kept)));
            }
            Command::Release { operation } => {
                // If something else has changed it, it is no longer unclaimed.
                let _ = self.update(operation, None, batch)?;
            }
            #[cfg(test)]
            Command::Panic => panic!("on purpose"),
            Command::Expire { now, limit, reply } => {
                self.look_for_room(Instant::now());
                self.filing.look_for_empty();
                let done = self.expire(now, limit, batch)?;
                batch.answers.push(Answer::Expire(reply, done));
            }
        }
        Ok(())
    }

    /// Answers when the batch is durable; at once only where a test of the tests has switched that off.
    fn answer(&self, answer: Answer, protection: Safeguard, batch: &mut Batch) {
        if is_off(protection) { self.give(answer) } else { batch.answers.push(answer) }
    }

    fn begin(
        &mut self,
        mut draft: Operation,
        now: UnixMillis,
        batch: &mut Batch,
    ) -> Result<Result<Begun, LedgerError>, SqlError> {
        let known = self.latest_under(draft.key_hash)?;
        let steady = self.inner.clock.steady(now);
        if let Some(known) = known.filter(|known| known.holds_key(now, steady)) {
            return Ok(Ok(Begun::Known(known)));
        }
        if self.quarantine.is_some_and(|quarantine| quarantine.until > now) {
            return Ok(Err(unavailable(QUARANTINED)));
        }
        if self.is_full(Instant::now()) {
            return Ok(Err(unavailable(NO_SPACE)));
        }
        let size = size_of(&draft);
        self.begin_transaction(batch)?;
        self.expire(steady, EXPIRED_PER_BEGIN, batch)?;
        if !self.has_room(size, batch)? {
            // Want of room trusts the clock as it is: else one that was put far forward would let nothing be dropped.
            self.expire(now, EXPIRED_FOR_ROOM, batch)?;
        }
        let has_too_many = {
            let records = self.inner.records.lock();
            !records.admits(&draft.principal, records.open() + batch.begun, self.inner.max_open)
        };
        if has_too_many || !self.has_room(size, batch)? {
            return Ok(Err(LedgerError::Full));
        }
        self.last_seq += 1;
        draft.id.seq = self.last_seq;
        draft.owner = self.inner.instance;
        draft.epoch = 1;
        draft.revision = 1;
        let question = draft.question();
        sql::insert(&self.connection, &draft, question)?;
        self.nothing_due_before = self.nothing_due_before.min(sql::next_expiry(&draft).unwrap_or(UnixMillis::MAX));
        if draft.request != KeptRequest::None {
            draft.request = KeptRequest::Kept;
        }
        self.counts[usize::from(state_number(draft.state))] += 1;
        batch.begun += 1;
        batch.filed.push((sql::key_column(draft.key_hash), draft.id.seq));
        batch.filed.extend(question.map(|question| (sql::question_column(question), draft.id.seq)));
        batch.bytes += size;
        // Its number is new, so nobody can have come between.
        let _ = self.stage(&draft, None, 0, batch);
        Ok(Ok(Begun::New(draft)))
    }

    fn update(
        &mut self,
        mut next: Operation,
        entry: Option<&AuditEntry>,
        batch: &mut Batch,
    ) -> Result<Result<Operation, LedgerError>, SqlError> {
        let Some((known, in_file)) = self.latest(next.id.seq)?.filter(|(known, _)| known.id == next.id) else {
            return Ok(Err(LedgerError::Absent));
        };
        if !is_successor(&known, &next) {
            return Ok(Err(LedgerError::Stale(Box::new(known))));
        }
        self.begin_transaction(batch)?;
        next.keep_sent(&known);
        self.fit(&mut next, batch)?;
        next.revision = self.inner.records.lock().revision_after(next.revision);
        if let Err(current) = self.replace(&next, &in_file, known.revision, batch)? {
            return Ok(Err(LedgerError::Stale(current)));
        }
        if let Some(entry) = entry {
            trail::append(&self.connection, entry)?;
        }
        Ok(Ok(next))
    }

    fn store(&mut self, seq: u64, batch: &mut Batch) -> Result<(), SqlError> {
        let taken = self.inner.records.lock().take_unwritten(seq);
        // Else a later change has brought it to the file already.
        let Some((mut next, in_file, before)) = taken else { return Ok(()) };
        batch.touched.push(before);
        batch.stored.push(seq);
        self.begin_transaction(batch)?;
        let revision = next.revision;
        self.fit(&mut next, batch)?;
        if matches!((&next.retained, &in_file.retained), (Retained::StatusOnly, Retained::None)) {
            // Memory had the answer, and the file has no room for it.
            next.revision = self.inner.records.lock().revision_after(next.revision);
            // If something came between, it is written when its own turn comes.
            let _ = self.stage(&next, Some(&in_file), revision, batch);
        }
        self.write(&next, &in_file)
    }

    /// A settlement is never refused for want of room: the answer is dropped instead, its status stays.
    fn fit(&mut self, next: &mut Operation, batch: &mut Batch) -> Result<(), SqlError> {
        let size = size_of(next).saturating_sub(RECORD_BYTES);
        if matches!(next.retained, Retained::Stored(_)) && !self.has_room(size, batch)? {
            next.retained = Retained::StatusOnly;
        } else {
            batch.bytes += size;
        }
        Ok(())
    }

    fn expire(&mut self, now: UnixMillis, limit: usize, batch: &mut Batch) -> Result<usize, SqlError> {
        if now < self.nothing_due_before {
            return Ok(0);
        }
        let due = sql::due(&self.connection, now, u32::try_from(limit).unwrap_or(u32::MAX))?;
        for seq in &due {
            self.begin_transaction(batch)?;
            let Some((mut operation, in_file)) = self.latest(*seq)? else { continue };
            if is_forgotten(&operation, now) {
                sql::remove(&self.connection, *seq)?;
                self.counts[usize::from(state_number(in_file.state))] -= 1;
                batch.staged.retain(|staged| staged != seq);
                batch.removed.push((*seq, in_file.state));
            } else {
                operation.retained = Retained::StatusOnly;
                let revision = operation.revision;
                // If something came between, its turn comes again.
                let _ = self.replace(&operation, &in_file, revision, batch)?;
            }
        }
        if due.len() < limit {
            self.nothing_due_before = sql::first_due(&self.connection)?.unwrap_or(UnixMillis::MAX);
        }
        Ok(due.len())
    }

    /// The latest operation under a key, committed or not.
    fn latest_under(&self, key: KeyHash) -> Result<Option<Operation>, SqlError> {
        let held = self.inner.records.lock().latest_under(key).cloned();
        if held.is_some() {
            return Ok(held);
        }
        let Some(stored) = keys::latest_under(&self.connection, &self.inner.keys, key)? else { return Ok(None) };
        Ok(self.latest(stored.id.seq)?.map(|(known, _)| known))
    }

    /// The latest version of an operation, and what the file holds of it.
    fn latest(&self, seq: u64) -> Result<Option<(Operation, InFile)>, SqlError> {
        let held = self.inner.records.lock().latest_and_file(seq).map(|(known, file)| (known.clone(), file.clone()));
        if held.is_some() {
            return Ok(held);
        }
        let stored = sql::by_seq(&self.connection, seq)?;
        Ok(stored.map(|operation| {
            let in_file = InFile::of(&operation);
            (operation, in_file)
        }))
    }

    /// Stages and writes a version that was made from revision `seen`; or returns the one that came between.
    fn replace(
        &mut self,
        next: &Operation,
        in_file: &InFile,
        seen: u64,
        batch: &mut Batch,
    ) -> Result<Result<(), Box<Operation>>, SqlError> {
        if let Err(current) = self.stage(next, Some(in_file), seen, batch) {
            return Ok(Err(current));
        }
        self.write(next, in_file)?;
        Ok(Ok(()))
    }

    fn write(&mut self, next: &Operation, in_file: &InFile) -> Result<(), SqlError> {
        self.nothing_due_before = self.nothing_due_before.min(sql::next_expiry(next).unwrap_or(UnixMillis::MAX));
        sql::replace(&self.connection, next, &in_file.retained)?;
        if in_file.has_request && next.request == KeptRequest::None {
            sql::drop_request(&self.connection, next.id.seq)?;
        }
        self.counts[usize::from(state_number(in_file.state))] -= 1;
        self.counts[usize::from(state_number(next.state))] += 1;
        Ok(())
    }

    fn stage(
        &self,
        next: &Operation,
        in_file: Option<&InFile>,
        seen: u64,
        batch: &mut Batch,
    ) -> Result<(), Box<Operation>> {
        let seq = next.id.seq;
        batch.touched.push(self.inner.records.lock().stage(next.clone(), in_file, seen)?);
        batch.staged.push(seq);
        Ok(())
    }

    fn begin_transaction(&self, batch: &mut Batch) -> Result<(), SqlError> {
        if !batch.has_begun_transaction {
            self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            batch.has_begun_transaction = true;
        }
        Ok(())
    }

    /// Whether the file may grow by `size`. The estimate between two measurements is on the high side.
    fn has_room(&mut self, size: u64, batch: &Batch) -> Result<bool, SqlError> {
        if self.used_bytes + batch.bytes + size <= self.inner.max_bytes {
            return Ok(true);
        }
        self.used_bytes = sql::used_bytes(&self.connection)?;
        Ok(self.used_bytes + size <= self.inner.max_bytes)
    }
}

/// What the caller is told, and whether the writer can go on. If it cannot, the caller is told together with the rest of the
/// batch: earlier, it would still meet the changes that are about to be undone.
fn apart<T>(done: Result<Result<T, LedgerError>, SqlError>) -> (Result<T, LedgerError>, Result<(), SqlError>) {
    match done {
        Ok(result) => (result, Ok(())),
        Err(error) => (Err(unavailable(&error.to_string())), Err(error)),
    }
}

fn size_of(operation: &Operation) -> u64 {
    let response = match &operation.retained {
        Retained::Stored(response) => {
            let headers = response.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 8);
            headers.sum::<usize>() + response.body.len() + 64
        }
        Retained::None | Retained::StatusOnly => 0,
    };
    let request = match &operation.request {
        KeptRequest::Given(request) => {
            let headers = request.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 8);
            headers.sum::<usize>() + request.target.len() + request.body.len() + 64
        }
        KeptRequest::None | KeptRequest::Kept => 0,
    };
    RECORD_BYTES + (response + request) as u64
}
