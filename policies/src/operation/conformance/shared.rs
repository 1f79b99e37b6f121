//! What a ledger that several processes share must pass besides: two of them on one store.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::task::JoinSet;

use super::{Checks, START, TOMBSTONE_MS, all, draft};
use crate::{
    clock::WallClock,
    operation::{
        Operation, State,
        ledger::{Begun, Ledger, LedgerError},
    },
};

/// Runs every check of [`run`](super::run), and those for two ledgers that share a store, each on a store of its own. `make`
/// makes two on the given clock.
///
/// # Panics
/// When the ledger breaks its contract.
pub async fn run_shared<F, Made>(make: F)
where
    F: Fn(WallClock) -> Made,
    Made: Future<Output = (Arc<dyn Ledger>, Arc<dyn Ledger>)>,
{
    let both = async || {
        let clock = WallClock::manual(START);
        let (one, other) = make(clock.clone()).await;
        let checks = |ledger| Checks { ledger, clock: clock.clone() };
        Pair { one: checks(one), other: checks(other) }
    };
    all(async || both().await.one).await;
    both().await.what_is_begun_at_one_is_known_at_the_other().await;
    both().await.one_of_many_begins_at_both_is_new().await;
    both().await.a_window_that_passes_frees_the_key_once().await;
    both().await.a_tombstone_that_passes_frees_the_key_once().await;
    both().await.evidence_is_anybodys().await;
    both().await.only_the_owner_sends().await;
    both().await.what_was_sent_is_the_owners_to_know_and_what_was_deferred_everybodys().await;
    both().await.a_change_at_one_ends_a_wait_at_the_other().await;
    both().await.both_make_fingerprints_alike_and_are_told_apart();
    both().await.a_note_is_for_both_and_each_knows_of_the_other().await;
}

struct Pair {
    one: Checks,
    other: Checks,
}

impl Pair {
    async fn what_is_begun_at_one_is_known_at_the_other(self) {
        let new = self.one.begin(1).await;
        assert_eq!(self.other.begin_known(1).await, new);
        assert_eq!(self.other.find(1).await.as_ref(), Some(&new));
        assert_eq!(self.other.read(new.id).await.as_ref(), Some(&new));
        assert_ne!(new.owner, self.other.ledger.instance());
        let settled = self.one.settle(new, State::NotExecuted).await;
        let next = self.other.begin(1).await;
        assert!(next.id != settled.id && next.owner == self.other.ledger.instance());
        assert_eq!(self.one.begin_known(1).await, next);
    }

    async fn a_note_is_for_both_and_each_knows_of_the_other(self) {
        let (one, other) = (&self.one.ledger, &self.other.ledger);
        assert_eq!(one.keep_note("one", None, b"a".to_vec()).await.ok(), Some(true));
        assert_eq!(other.note("one").await.expect("the ledger reads").as_deref(), Some(&b"a"[..]));
        assert_eq!(other.keep_note("one", None, b"b".to_vec()).await.ok(), Some(false));
        for ledger in [one, other] {
            let known = ledger.processes().await.expect("the ledger reads");
            assert!(known.contains(&one.instance()) && known.contains(&other.instance()), "{known:?}");
        }
        one.leave().await.expect("the store hears it");
        let left = other.processes().await.expect("the ledger reads");
        assert!(!left.contains(&one.instance()) && left.contains(&other.instance()), "{left:?}");
    }

    /// Which of `begins` were new.
    async fn begin_at_both(&self, begins: u64) -> Vec<Operation> {
        let mut all = JoinSet::new();
        for tag in 0..begins {
            let ledger = Arc::clone(if tag % 2 == 0 { &self.one.ledger } else { &self.other.ledger });
            let now = self.one.clock.now();
            let mut draft = draft(1, now);
            draft.id.tag = 1_000 + tag;
            all.spawn(async move { ledger.begin(draft, now).await.expect("the ledger has room") });
        }
        let begun = all.join_all().await.into_iter();
        begun.filter_map(|begun| if let Begun::New(operation) = begun { Some(operation) } else { None }).collect()
    }

    async fn one_of_many_begins_at_both_is_new(self) {
        let new = self.begin_at_both(100).await;
        assert_eq!(new.len(), 1, "one owner among all");
        assert_eq!(self.one.find(1).await, self.other.find(1).await);
        assert_eq!(self.one.find(1).await.map(|found| found.id), Some(new[0].id));
    }

    async fn a_window_that_passes_frees_the_key_once(self) {
        let first = self.one.begin(1).await;
        let settled = Operation { state: State::Succeeded, settled_at: Some(START), ..first };
        let first = self.one.update(Operation { window_ms: Some(10_000), next_check_at: None, ..settled }).await;
        assert_eq!(self.other.begin_known(1).await, first);
        self.one.advance(10_000);
        let new = self.begin_at_both(20).await;
        assert_eq!(new.len(), 1);
        assert_eq!(self.other.find(1).await.map(|found| found.id), Some(new[0].id));
        assert_eq!(self.other.read(first.id).await, Some(first), "an id that was returned stays readable");
    }

    async fn a_tombstone_that_passes_frees_the_key_once(self) {
        let first = self.one.begin(1).await;
        let first = self.one.settle(first, State::Succeeded).await;
        assert_eq!(self.other.begin_known(1).await, first);
        self.one.advance(TOMBSTONE_MS);
        let new = self.begin_at_both(20).await;
        assert_eq!(new.len(), 1);
        assert_eq!(self.other.find(1).await.map(|found| found.id), Some(new[0].id));
    }

    async fn evidence_is_anybodys(self) {
        let operation = self.one.begin(1).await;
        let seen = self.other.read(operation.id).await.expect("it is there");
        let settled = self.other.settle(seen, State::Succeeded).await;
        assert_eq!((settled.owner, settled.epoch), (operation.owner, operation.epoch), "it stays its owner's");
        match self.one.ledger.update(Operation { attempts: 9, ..operation.clone() }).await {
            Err(LedgerError::Stale(current)) => assert_eq!(*current, settled),
            other => panic!("a stale update was taken: {other:?}"),
        }
        assert_eq!(self.one.begin_known(1).await, settled);
        assert_eq!(self.one.ledger.owned(), [0, 0], "it is not in flight any more");
    }

    async fn only_the_owner_sends(self) {
        let operation = self.one.begin(1).await;
        assert!(self.one.ledger.may_dispatch(&operation).is_ok());
        assert!(matches!(self.other.ledger.may_dispatch(&operation), Err(LedgerError::Fenced)));
        let seen = self.other.read(operation.id).await.expect("it is there");
        assert!(self.other.ledger.sent(seen).is_err());
        let due = self.other.ledger.due(u64::MAX, None, 9).await.expect("the ledger knows what is due");
        assert_eq!((due, self.other.ledger.next_due()), (vec![], None), "it is the owner's to look after");
    }

    async fn what_was_sent_is_the_owners_to_know_and_what_was_deferred_everybodys(self) {
        let operation = self.one.begin(1).await;
        let sent = Operation { attempts: 1, dispatched_at: Some(START + 1), ..operation.clone() };
        self.one.ledger.sent(sent.clone()).expect("it is the owner's");
        assert_eq!(self.one.read(operation.id).await, Some(sent.clone()));
        assert_eq!(self.other.read(operation.id).await.as_ref(), Some(&operation));
        let next = Operation { state: State::Unknown, next_check_at: Some(START + 5), ..sent };
        let deferred = self.one.ledger.defer(next).await.expect("it is not stale");
        assert_eq!(self.other.read(operation.id).await, Some(deferred));
    }

    async fn a_change_at_one_ends_a_wait_at_the_other(self) {
        let operation = self.one.begin(1).await;
        let (ledger, id, seen) = (Arc::clone(&self.other.ledger), operation.id, operation.revision);
        let wait = tokio::spawn(async move { ledger.changed(id, seen).await.expect("the operation is there") });
        tokio::task::yield_now().await;
        let settled = self.one.settle(operation, State::Succeeded).await;
        let woken = tokio::time::timeout(Duration::from_secs(10), wait).await.expect("the wait ends");
        assert_eq!(woken.expect("no panic"), settled);
    }

    fn both_make_fingerprints_alike_and_are_told_apart(self) {
        let (one, other) = (&self.one.ledger, &self.other.ledger);
        assert_eq!(one.fingerprint_secret(), other.fingerprint_secret());
        assert_ne!(one.instance(), other.instance());
        assert!(one.node().is_some() && one.node() != other.node());
    }
}
