//! How an operation lies in its row.
//!
//! Owner, epoch, revision, state and the times beside them stand in columns of their own, and those are what counts: a takeover
//! changes them and no sealed byte.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    time::Duration,
};

use http::{HeaderMap, StatusCode};
use mainstay_policies::{
    evidence::Evidence,
    operation::{
        InstanceId, KeptRequest, KeyHash, Operation, OperationId, Retained, State, StoredResponse, UnixMillis,
        history::{Entry, EventKind, History},
    },
};
use tokio_postgres::Row;
use uuid::Uuid;

use super::error::StoreError;
use crate::faults;
use crate::ledger::{
    record::{self, decode, encode_as, encode_request, encode_response, state_number, state_of},
    vault::{Kind, Vault},
};

/// Why an operation is in doubt whose replica died or was cut off.
pub(super) const OWNER_LOST: &str = "owner_lost";
/// Slots of the ring in which responses lie, of which the longest retention spans so many.
const SLOTS: u64 = 64;
const SPAN: u64 = 56;
/// Where those lie that are kept for longer.
const REST: i16 = -1;

/// How operations are written and read.
pub(super) struct Rows {
    pub(super) vault: Vault,
    /// How long what lies in one slot of the ring expires, in ms.
    pub(super) width_ms: u64,
    /// In which version records are written.
    version: AtomicU8,
}

/// What is written of a change.
pub(super) struct Written {
    pub(super) sent: Option<i64>,
    pub(super) due: Option<i64>,
    pub(super) forget_at: Option<i64>,
    pub(super) slot: Option<i16>,
    pub(super) record: Vec<u8>,
    pub(super) response: Option<Vec<u8>>,
}

/// The beginning of a key's hash, for its index.
pub(super) fn key_column(key: KeyHash) -> Uuid {
    let mut head = [0; 16];
    let bytes = faults::key_bytes(head.len());
    head[..bytes].copy_from_slice(&key.0[..bytes]);
    Uuid::from_bytes(head)
}

/// The number of an owner; no replica's, if it is none.
pub(super) fn owner_column(owner: InstanceId) -> i64 {
    i64::try_from(owner.0).unwrap_or(-1)
}

pub(super) fn owner_of(number: i64) -> InstanceId {
    InstanceId(u128::from(number.unsigned_abs()))
}

pub(super) const fn state_column(state: State) -> i16 {
    state_number(state) as i16
}

/// When the sweeper looks at a new operation: not before it can be forgotten, if it is settled in time.
pub(super) fn sweep_column(draft: &Operation) -> i64 {
    let patience = draft.next_check_at.unwrap_or(draft.created_at);
    patience.saturating_add(draft.tombstone_ms.max(draft.retention_ms)).cast_signed()
}

/// How wide a slot is where answers are kept for at most `retention`.
pub(super) fn width_ms(retention: Duration) -> u64 {
    const HOUR: u64 = 3_600_000;
    (u64::try_from(retention.as_millis()).unwrap_or(u64::MAX) / SPAN).max(HOUR)
}

/// The slots of which everything has expired at `now` for some time, so that nobody writes to them.
pub(super) fn empty_slots(now: UnixMillis, width_ms: u64) -> impl Iterator<Item = i16> {
    let turn = now / width_ms;
    (1..SLOTS - SPAN - 1).map(move |back| ((turn + SLOTS - 1 - back) % SLOTS) as i16)
}

impl Rows {
    /// `speaks` is the newest version of records that all live replicas read.
    pub(super) fn new(vault: Vault, width_ms: u64, speaks: i16) -> Self {
        let rows = Self { vault, width_ms, version: AtomicU8::new(record::newest()) };
        rows.speak(speaks);
        rows
    }

    /// From now on records are written so that all live replicas can read them.
    pub(super) fn speak(&self, speaks: i16) {
        let version = u8::try_from(speaks).unwrap_or(0).clamp(record::FIRST_SHARED, record::newest());
        self.version.store(version, Relaxed);
    }

    /// The record of a new operation.
    pub(super) fn record(&self, operation: &Operation) -> Vec<u8> {
        self.vault.seal(Kind::Record, operation.id.seq, encode_as(operation, self.version.load(Relaxed)))
    }

    /// The request of a draft, if it is to be kept.
    pub(super) fn request(&self, draft: &Operation) -> Option<Vec<u8>> {
        match &draft.request {
            KeptRequest::Given(request) => Some(self.vault.seal(Kind::Request, draft.id.seq, encode_request(request))),
            KeptRequest::None | KeptRequest::Kept => None,
        }
    }

    /// What is written of a change, at `now`.
    pub(super) fn written(&self, next: &Operation, now: UnixMillis) -> Written {
        let signed = |time: Option<UnixMillis>| time.map(u64::cast_signed);
        let response = match &next.retained {
            Retained::Stored(response) => Some(self.vault.seal(Kind::Response, next.id.seq, encode_response(response))),
            Retained::None | Retained::StatusOnly => None,
        };
        let expires = next.expires_at().unwrap_or_else(|| now.saturating_add(next.retention_ms));
        Written {
            sent: signed(next.dispatched_at),
            due: signed(next.due_at().filter(|_| next.state == State::Unknown)),
            forget_at: signed(next.forgotten_at()),
            slot: response.as_ref().map(|_| self.slot(expires, now)),
            record: self.record(next),
            response,
        }
    }

    fn slot(&self, expires: UnixMillis, now: UnixMillis) -> i16 {
        let turn = expires / self.width_ms;
        if turn.saturating_sub(now / self.width_ms) > SPAN { REST } else { (turn % SLOTS) as i16 }
    }

    /// An operation from memory as it is read at `now`.
    pub(super) fn at(mut operation: Operation, now: UnixMillis) -> Operation {
        let is_past = operation.expires_at().is_some_and(|at| at <= now);
        if is_past && matches!(operation.retained, Retained::Stored(_)) {
            operation.retained = Retained::StatusOnly;
        }
        operation
    }

    /// The operation of a row. `now`: what is past its retention is read without its answer.
    pub(super) fn read(&self, row: &Row, now: UnixMillis) -> Result<Operation, StoreError> {
        let (seq, tag): (i64, i64) = (row.get(0), row.get(1));
        let unreadable = |_: record::Unreadable| StoreError::Unreadable(format!("the record of operation {seq}"));
        let id = OperationId { seq: seq.cast_unsigned(), tag: tag.cast_unsigned() };
        let state = state_of(u8::try_from(row.get::<_, i16>(2)).unwrap_or(u8::MAX)).map_err(unreadable)?;
        let record: &[u8] = row.get(8);
        let response: Option<&[u8]> = row.get(9);
        let opened = self.vault.open(Kind::Record, id.seq, record).map_err(unreadable)?;
        let plain =
            response.map(|sealed| Ok(self.vault.open(Kind::Response, id.seq, sealed)?.unwrap_or(sealed.to_vec())));
        // A response whose slot was emptied: its status stays.
        let gone = || {
            encode_response(&StoredResponse {
                status: StatusCode::OK,
                headers: HeaderMap::new(),
                body: bytes::Bytes::new(),
            })
        };
        let body = plain.transpose().map_err(unreadable)?.unwrap_or_else(gone);
        let mut operation = decode(id, state, opened.as_deref().unwrap_or(record), Some(&body)).map_err(unreadable)?;
        let (epoch, written_in) = (row.get::<_, i64>(4).cast_unsigned(), operation.epoch);
        operation.owner = owner_of(row.get(3));
        operation.epoch = epoch;
        operation.revision = row.get::<_, i64>(5).cast_unsigned();
        let is_past = operation.expires_at().is_some_and(|at| at <= now);
        if matches!(operation.retained, Retained::Stored(_)) && (response.is_none() || is_past) {
            operation.retained = Retained::StatusOnly;
        }
        if epoch != written_in && state == State::Unknown {
            let time = |at: usize| row.get::<_, Option<i64>>(at).map(i64::cast_unsigned);
            taken_over(&mut operation, time(6), time(7));
        }
        Ok(operation)
    }
}

/// Since its record was written another replica has taken it over, which the record does not know. What was in flight then
/// counts as sent at that time, the latest at which its owner could have sent.
fn taken_over(operation: &mut Operation, sent: Option<UnixMillis>, due: Option<UnixMillis>) {
    if operation.attention.is_none() {
        operation.next_check_at = due;
    }
    if operation.last_evidence.is_none() {
        operation.reason = Arc::from(OWNER_LOST);
        operation.last_evidence = Some(Evidence::Ambiguous);
        operation.attempts = operation.attempts.max(1);
        operation.dispatched_at = operation.dispatched_at.max(sent);
        // When it was taken over is not on record: not before it was sent.
        let at = operation.dispatched_at.unwrap_or(operation.created_at);
        let lost = Entry { cause: Some(OWNER_LOST), ..Entry::new(at, EventKind::Lost) };
        let entries: Vec<Entry> = operation.events().into_iter().skip(1).chain([lost]).collect();
        operation.history = History::of(&entries, operation.history.folded(), operation.attempts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_emptied_only_when_nothing_in_it_can_still_be_read() {
        let rows = Rows::new(Vault::default(), width_ms(Duration::from_hours(24)), 0);
        assert_eq!(rows.width_ms, 3_600_000, "an hour at least");
        let now = 1_700_000_000_000;
        let empty: Vec<_> = empty_slots(now, rows.width_ms).collect();
        assert_eq!(empty.len(), 6);
        for hours in 0..=55 {
            let expires = now + hours * 3_600_000;
            assert!(!empty.contains(&rows.slot(expires, now)), "{hours}");
            // It is emptied some hours after it has expired, whenever that is looked at.
            let slot = rows.slot(expires, now);
            assert!(!empty_slots(expires, rows.width_ms).any(|empty| empty == slot));
            assert!(empty_slots(expires + 3 * 3_600_000, rows.width_ms).any(|empty| empty == slot));
        }
        assert_eq!(rows.slot(now + 100 * 3_600_000, now), REST);
    }
}
