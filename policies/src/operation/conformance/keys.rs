//! Which key is whose, and what frees it; the numbers and the secret that are handed out once.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{Checks, START, draft};
use crate::operation::{
    Attention, AttentionReason, Operation, OperationId, State,
    ledger::{Begun, LedgerError},
};

impl Checks {
    pub(super) async fn a_new_key_is_recorded_and_a_known_one_is_found(self) {
        assert_eq!(self.find(1).await, None);
        let new = self.begin(1).await;
        assert_eq!((new.state, new.owner), (State::Pending, self.ledger.instance()));
        assert!(new.id.seq >= 1);
        assert_eq!(self.begin_known(1).await, new);
        assert_eq!(self.find(1).await.as_ref(), Some(&new));
        assert_eq!(self.read(new.id).await, Some(new));
    }

    pub(super) async fn ids_are_in_arrival_order(self) {
        let (first, second) = (self.begin(1).await, self.begin(2).await);
        assert!(first.id.seq < second.id.seq);
        assert_eq!(first.id.tag, draft(1, 0).id.tag, "the tag is the caller's");
    }

    pub(super) async fn one_of_many_concurrent_begins_is_new(self) {
        let mut begins = JoinSet::new();
        for tag in 0..100 {
            let ledger = Arc::clone(&self.ledger);
            let mut draft = draft(1, START);
            draft.id.tag = tag;
            begins.spawn(async move { ledger.begin(draft, START).await.expect("the ledger has room") });
        }
        let begun = begins.join_all().await;
        let new: Vec<_> = begun.iter().filter(|begun| matches!(begun, Begun::New(_))).collect();
        assert_eq!(new.len(), 1, "one owner");
        for begun in &begun {
            let (Begun::New(operation) | Begun::Known(operation)) = begun;
            assert_eq!(Some(operation), self.find(1).await.as_ref(), "all see the same operation");
        }
    }

    pub(super) async fn an_unknown_id_is_absent(self) {
        let known = self.begin(1).await;
        for id in [
            OperationId { tag: known.id.tag ^ 1, ..known.id },
            OperationId { seq: known.id.seq + 1, ..known.id },
            OperationId { seq: u64::MAX, tag: 0 },
        ] {
            assert_eq!(self.read(id).await, None);
            let stranger = Operation { id, ..known.clone() };
            assert!(matches!(self.ledger.update(stranger).await, Err(LedgerError::Absent)));
            assert!(matches!(self.ledger.changed(id, 0).await, Err(LedgerError::Absent)));
        }
    }

    pub(super) async fn not_executed_frees_the_key_and_keeps_the_record(self) {
        let first = self.begin(1).await;
        let first = self.settle(first, State::NotExecuted).await;
        assert_eq!(self.find(1).await.as_ref(), Some(&first), "its client may ask by the key what became of it");
        let second = self.begin(1).await;
        assert_ne!(second.id, first.id);
        assert_eq!(self.read(first.id).await, Some(first), "an id that was returned stays readable");
        assert_eq!(self.find(1).await, Some(second.clone()), "the key names the latest");
        assert_eq!(self.begin_known(1).await, second);
    }

    pub(super) async fn a_contradicted_not_executed_keeps_the_key(self) {
        let operation = self.begin(1).await;
        let operation = self.settle(operation, State::NotExecuted).await;
        let attention = Some(Attention::new(START, AttentionReason::Conflict));
        let flagged = self.update(Operation { attention, ..operation }).await;
        assert_eq!(self.begin_known(1).await, flagged);
    }

    pub(super) async fn no_other_state_frees_the_key(self) {
        for (key, state) in (1..).zip([State::Pending, State::Succeeded, State::Failed, State::Unknown]) {
            let mut operation = self.begin(key).await;
            if state != State::Pending {
                let settled_at = state.is_terminal().then_some(START);
                operation = self.update(Operation { state, settled_at, ..operation }).await;
            }
            assert_eq!(self.begin_known(key).await, operation, "{state:?}");
        }
    }

    pub(super) async fn a_key_with_a_window_is_held_until_its_end(self) {
        let first = self.begin(1).await;
        let first = self.update(Operation { window_ms: Some(10_000), ..first }).await;
        self.advance(60_000);
        assert_eq!(self.begin_known(1).await, first, "its end is counted from settling");
        let first = self.update(Operation { state: State::Unknown, ..first }).await;
        self.advance(60_000);
        assert_eq!(self.begin_known(1).await, first, "what nobody knows is never repeated");
        let first = self.settle(first, State::Succeeded).await;
        self.advance(9_999);
        assert_eq!(self.begin_known(1).await, first);
        self.advance(1);
        let second = self.begin(1).await;
        assert_ne!(second.id, first.id);
        assert_eq!(self.read(first.id).await, Some(first), "an id that was returned stays readable");
        assert_eq!(self.find(1).await, Some(second));
    }

    pub(super) async fn reserved_times_never_overlap(self) {
        let reserve = async |from, span| self.ledger.reserve(from, span).await.expect("the ledger has room");
        assert_eq!(reserve(START, 10).await, START);
        assert_eq!(reserve(START, 10).await, START + 10);
        assert_eq!(reserve(START - 1_000, 5).await, START + 20, "a clock that was set back goes on");
        assert_eq!(reserve(START + 1_000, 5).await, START + 1_000);
        let mut reservations = JoinSet::new();
        for _ in 0..100 {
            let ledger = Arc::clone(&self.ledger);
            reservations.spawn(async move { ledger.reserve(START, 7).await.expect("the ledger has room") });
        }
        let mut starts = reservations.join_all().await;
        starts.sort_unstable();
        assert!(starts.windows(2).all(|pair| pair[1] - pair[0] >= 7), "{starts:?}");
    }

    pub(super) async fn a_note_is_kept_by_whoever_has_seen_the_last_one(self) {
        let note = async |name| self.ledger.note(name).await.expect("the ledger reads");
        let keep = async |seen: Option<&[u8]>, value: &[u8]| {
            let kept = self.ledger.keep_note("one", seen.map(<[u8]>::to_vec), value.to_vec()).await;
            kept.expect("the ledger has room")
        };
        assert_eq!(note("one").await, None);
        assert!(keep(None, b"a\0").await);
        assert_eq!((note("one").await.as_deref(), note("other").await), (Some(&b"a\0"[..]), None));
        assert!(!keep(None, b"b").await && !keep(Some(b"x"), b"b").await, "another was faster");
        assert_eq!(note("one").await.as_deref(), Some(&b"a\0"[..]));
        assert!(keep(Some(b"a\0"), b"").await);
        assert_eq!(note("one").await.as_deref(), Some(&b""[..]));
        let me = self.ledger.instance();
        assert!(self.ledger.processes().await.expect("the ledger reads").contains(&me));
    }

    pub(super) async fn the_secret_does_not_change(self) {
        let secret = *self.ledger.fingerprint_secret().expect("it is reached");
        assert_ne!(secret, [0; 32]);
        self.begin(1).await;
        assert_eq!(*self.ledger.fingerprint_secret().expect("it is reached"), secret);
    }
}
