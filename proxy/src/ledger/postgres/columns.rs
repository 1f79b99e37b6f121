//! What a batch writes, column by column, as the statements take it.

use mainstay_policies::operation::Operation;
use uuid::Uuid;

use super::{
    command::{BeginCommand, UpdateCommand},
    inner::Inner,
    row::{Written, key_column, owner_column, state_column, sweep_column},
};

/// New operations by column.
#[derive(Default)]
pub(super) struct Inserts {
    owner: i64,
    seqs: Vec<i64>,
    tags: Vec<i64>,
    keys: Vec<Uuid>,
    sweeps: Vec<i64>,
    questions: Vec<Option<i64>>,
    records: Vec<Vec<u8>>,
}

impl Inserts {
    pub(super) fn of(begins: &[BeginCommand], inner: &Inner) -> Self {
        let mut all = Self::default();
        for BeginCommand { draft, .. } in begins {
            // All of one batch belong to one run, but for those that were begun just before it was fenced: their record is
            // theirs, and their owner is dead.
            all.owner = owner_column(draft.owner);
            all.seqs.push(draft.id.seq.cast_signed());
            all.tags.push(draft.id.tag.cast_signed());
            all.keys.push(key_column(draft.key_hash));
            all.sweeps.push(sweep_column(draft));
            all.questions.push(draft.question().map(|question| question.0.cast_signed()));
            all.records.push(inner.rows().record(draft));
        }
        all
    }

    pub(super) fn params(&self) -> super::connect::Params<'_> {
        vec![&self.owner, &self.seqs, &self.tags, &self.keys, &self.sweeps, &self.questions, &self.records]
    }
}

/// The requests of new operations that are kept.
#[derive(Default)]
pub(super) struct Requests {
    pub(super) seqs: Vec<i64>,
    pub(super) bodies: Vec<Vec<u8>>,
}

impl Requests {
    pub(super) fn of(begins: &[BeginCommand], inner: &Inner) -> Self {
        let mut all = Self::default();
        for BeginCommand { draft, .. } in begins {
            if let Some(body) = inner.rows().request(draft) {
                all.seqs.push(draft.id.seq.cast_signed());
                all.bodies.push(body);
            }
        }
        all
    }
}

/// Changes by column.
#[derive(Default)]
pub(super) struct Updates {
    seqs: Vec<i64>,
    tags: Vec<i64>,
    owners: Vec<i64>,
    epochs: Vec<i64>,
    revisions: Vec<i64>,
    states: Vec<i16>,
    held: Vec<bool>,
    sent: Vec<Option<i64>>,
    due: Vec<Option<i64>>,
    flagged: Vec<bool>,
    forget_at: Vec<Option<i64>>,
    slots: Vec<Option<i16>>,
    records: Vec<Vec<u8>>,
    responses: Vec<Option<Vec<u8>>>,
}

impl Updates {
    pub(super) fn of(updates: &[UpdateCommand], inner: &Inner) -> Self {
        let mut all = Self::default();
        let now = inner.clock.now();
        for UpdateCommand { next, .. } in updates {
            all.push(next, inner.rows().written(next, now));
        }
        all
    }

    fn push(&mut self, next: &Operation, written: Written) {
        self.seqs.push(next.id.seq.cast_signed());
        self.tags.push(next.id.tag.cast_signed());
        self.owners.push(owner_column(next.owner));
        self.epochs.push(next.epoch.cast_signed());
        self.revisions.push(next.revision.cast_signed());
        self.states.push(state_column(next.state));
        self.held.push(!next.frees_key());
        self.sent.push(written.sent);
        self.due.push(written.due);
        self.flagged.push(next.attention.is_some());
        self.forget_at.push(written.forget_at);
        self.slots.push(written.slot);
        self.records.push(written.record);
        self.responses.push(written.response);
    }

    pub(super) fn params(&self) -> super::connect::Params<'_> {
        vec![
            &self.seqs,
            &self.tags,
            &self.owners,
            &self.epochs,
            &self.revisions,
            &self.states,
            &self.held,
            &self.sent,
            &self.due,
            &self.flagged,
            &self.forget_at,
            &self.slots,
            &self.records,
            &self.responses,
        ]
    }
}

/// Operations as a whole by column, for a store that does not know them any more.
#[derive(Default)]
pub(super) struct Restores {
    changes: Updates,
    keys: Vec<Uuid>,
    sweeps: Vec<i64>,
    questions: Vec<Option<i64>>,
    response_slots: Vec<i16>,
    response_seqs: Vec<i64>,
    response_bodies: Vec<Vec<u8>>,
}

impl Restores {
    pub(super) fn of(operations: &[Operation], inner: &Inner) -> Self {
        let mut all = Self::default();
        let now = inner.clock.now();
        for operation in operations {
            all.changes.push(operation, inner.rows().written(operation, now));
            all.keys.push(key_column(operation.key_hash));
            all.sweeps.push(sweep_column(operation));
            all.questions.push(operation.question().map(|question| question.0.cast_signed()));
        }
        for ((slot, seq), body) in all.changes.slots.iter().zip(&all.changes.seqs).zip(&mut all.changes.responses) {
            if let (Some(slot), Some(body)) = (slot, body.take()) {
                all.response_slots.push(*slot);
                all.response_seqs.push(*seq);
                all.response_bodies.push(body);
            }
        }
        all
    }

    pub(super) fn params(&self) -> super::connect::Params<'_> {
        let mut params = self.changes.params();
        // What `responses` would have been.
        params.pop();
        params.extend([&self.keys as &(dyn tokio_postgres::types::ToSql + Sync), &self.sweeps, &self.questions]);
        params
    }

    pub(super) fn responses(&self) -> super::connect::Params<'_> {
        vec![&self.response_slots, &self.response_seqs, &self.response_bodies]
    }
}
