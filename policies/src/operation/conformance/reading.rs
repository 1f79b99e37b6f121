//! What is due, listed, counted and told of the past.

use super::{Checks, START, TOMBSTONE_MS, entry};
use crate::operation::{
    Attention, AttentionReason, Operation, OperationId, Question, State, UnixMillis,
    ledger::{Due, Filter, Order},
};

impl Checks {
    async fn due(&self, now: UnixMillis, after: Option<(UnixMillis, u64)>, limit: usize) -> Vec<(UnixMillis, u64)> {
        let due = self.ledger.due(now, after, limit).await.expect("the ledger knows what is due");
        assert!(due.iter().all(|due| &*due.upstream == "app"));
        due.iter().map(Due::place).collect()
    }

    pub(super) async fn what_is_due_is_found_soonest_first(self) {
        assert_eq!((self.ledger.next_due(), self.due(u64::MAX, None, 9).await), (None, vec![]));
        let mut operations = Vec::new();
        for key in 0..4 {
            operations.push(self.begin(key).await);
        }
        for (operation, wait) in operations.iter().zip([30, 10, 20, 10]) {
            let unknown = Operation { state: State::Unknown, next_check_at: Some(START + wait), ..operation.clone() };
            self.update(unknown).await;
        }
        let place = |wait, at: usize| (START + wait, operations[at].id.seq);
        assert_eq!(self.ledger.next_due(), Some(START + 10));
        assert_eq!(self.due(START + 9, None, 9).await, []);
        assert_eq!(self.due(START + 20, None, 9).await, [place(10, 1), place(10, 3), place(20, 2)]);
        assert_eq!(self.due(START + 99, None, 2).await, [place(10, 1), place(10, 3)]);
        assert_eq!(self.due(START + 99, Some(place(10, 3)), 9).await, [place(20, 2), place(30, 0)]);
        let first = self.read(operations[1].id).await.expect("it is there");
        self.ledger.defer(Operation { next_check_at: Some(START + 50), ..first }).await.expect("it is taken");
        assert_eq!(self.due(START + 99, None, 9).await, [place(10, 3), place(20, 2), place(30, 0), place(50, 1)]);
    }

    pub(super) async fn nothing_settled_is_due_and_what_is_flagged_is_if_it_has_a_time(self) {
        let (settled, flagged) = (self.begin(1).await, self.begin(2).await);
        assert_eq!(self.due(u64::MAX, None, 9).await.len(), 2, "what is pending has its time, too");
        self.settle(settled, State::Succeeded).await;
        let attention = Some(Attention::new(START, AttentionReason::ResolveExhausted));
        let flagged = self.update(Operation { state: State::Unknown, attention, ..flagged }).await;
        assert_eq!(self.due(u64::MAX, None, 9).await.len(), 1, "it is asked about on");
        self.update(Operation { next_check_at: None, ..flagged }).await;
        assert_eq!((self.ledger.next_due(), self.due(u64::MAX, None, 9).await), (None, vec![]));
    }

    pub(super) async fn a_listing_is_filtered_and_paged(self) {
        for key in 0..9 {
            let mut operation = self.begin(key).await;
            if key % 3 == 0 {
                operation = self.update(Operation { state: State::Unknown, ..operation }).await;
            }
            assert_eq!(operation.principal, [key % 2; 32]);
            self.advance(1_000);
        }
        let list = async |filter: Filter, after, limit| {
            let found = self.ledger.list(filter, after, limit).await.expect("the ledger lists");
            found.iter().map(|operation| (operation.id, operation.key_hash.0[0])).collect::<Vec<_>>()
        };
        let keys = |found: &[(OperationId, u8)]| found.iter().map(|(_, key)| *key).collect::<Vec<_>>();
        let all = list(Filter::default(), None, 100).await;
        assert_eq!(keys(&all), (0..9).collect::<Vec<_>>());
        let page = list(Filter::default(), Some(all[3].0), 2).await;
        assert_eq!(keys(&page), [4, 5]);
        let unknown = Filter { state: Some(State::Unknown), ..Filter::default() };
        assert_eq!(keys(&list(unknown.clone(), None, 100).await), [0, 3, 6]);
        assert_eq!(keys(&list(Filter { principal: Some([0; 32]), ..unknown.clone() }, None, 100).await), [0, 6]);
        assert_eq!(keys(&list(Filter { created_before: Some(START + 3_000), ..unknown }, None, 100).await), [0]);
        assert!(list(Filter { route: Some("other".into()), ..Filter::default() }, None, 100).await.is_empty());
        assert!(list(Filter { upstream: Some("other".into()), ..Filter::default() }, None, 100).await.is_empty());
        let flagged = self.read(all[3].0).await.expect("it is there");
        let attention = Some(Attention::new(START, AttentionReason::ResolveExhausted));
        self.update(Operation { attention, ..flagged }).await;
        let by_flag = |flag| Filter { attention: Some(flag), upstream: Some("app".into()), ..Filter::default() };
        assert_eq!(keys(&list(by_flag(true), None, 100).await), [3]);
        let owed = Filter { open: true, ..Filter::default() };
        assert_eq!(list(owed, None, 100).await.len(), 9);
        let newest = |filter: Filter| Filter { order: Order::Newest, ..filter };
        assert_eq!(keys(&list(newest(Filter::default()), None, 100).await), (0..9).rev().collect::<Vec<_>>());
        assert_eq!(keys(&list(newest(Filter::default()), Some(all[3].0), 2).await), [2, 1]);
        let unknown = Filter { state: Some(State::Unknown), ..Filter::default() };
        assert_eq!(keys(&list(newest(unknown), Some(all[6].0), 9).await), [3, 0]);
        let numbers = Some((all[2].0.seq, all[5].0.seq));
        assert_eq!(keys(&list(Filter { numbers, ..Filter::default() }, Some(all[3].0), 9).await), [4, 5]);
        assert_eq!(keys(&list(newest(Filter { numbers, ..Filter::default() }), None, 3).await), [5, 4, 3]);
        let since = Filter { created_since: Some(START + 7_000), ..Filter::default() };
        assert_eq!(keys(&list(since, None, 9).await), [7, 8]);
        assert_eq!(list(Filter { reason: Some("in_flight".into()), ..Filter::default() }, None, 100).await.len(), 9);
        let flagged = Filter { reason: Some("resolve_exhausted".into()), ..Filter::default() };
        assert_eq!(keys(&list(flagged, None, 100).await), [3]);
        for other in [
            Filter { policy: Some("other".into()), ..Filter::default() },
            Filter { trace_id: Some([9; 16]), ..Filter::default() },
        ] {
            assert!(list(other, None, 100).await.is_empty());
        }
        assert_eq!(list(by_flag(false), None, 100).await.len(), 8);
    }

    pub(super) async fn what_is_asked_about_anothers_write_is_known(self) {
        let asks = async |question: Question, principal: [u8; 32]| {
            self.ledger.is_anothers(question, principal).await.expect("the ledger looks")
        };
        let question = Question::new("app", "/by-ref/x");
        let (even, odd) = ([0; 32], [1; 32]);
        assert!(!asks(question, even).await);
        let first = self.begin(1).await;
        let asked = self.ledger.asked_by(question).await.expect("the ledger looks");
        assert_eq!(asked.iter().map(|found| found.id).collect::<Vec<_>>(), [first.id]);
        assert_eq!((first.principal, first.question()), (odd, Some(question)));
        assert!(asks(question, even).await);
        assert!(!asks(question, odd).await, "it is its own");
        for other in [Question::new("app", "/by-ref/y"), Question::new("api", "/by-ref/x")] {
            assert!(!asks(other, even).await);
        }
        let second = self.begin(2).await;
        assert!(asks(question, odd).await && asks(question, even).await);
        for operation in [first, second] {
            self.settle(operation, State::Succeeded).await;
        }
        self.advance(TOMBSTONE_MS);
        assert!(!asks(question, even).await, "what is forgotten is nobody's");
        self.expire_all().await;
        assert!(!asks(question, even).await);
    }

    pub(super) async fn counts_follow_the_states(self) {
        for (key, state) in (0..).zip([State::Succeeded, State::Failed, State::NotExecuted, State::NotExecuted]) {
            let operation = self.begin(key).await;
            self.settle(operation, state).await;
        }
        let unknown = self.begin(10).await;
        self.update(Operation { state: State::Unknown, ..unknown }).await;
        self.begin(11).await;
        assert_eq!(self.ledger.owned(), [1, 1]);
    }

    pub(super) async fn the_audit_trail_is_paged_from_its_end(self) {
        let (one, other) = (self.begin(1).await.id, self.begin(2).await.id);
        let mut numbers = Vec::new();
        for (at, about) in (START..).zip([Some(one), None, Some(other), Some(one)]) {
            numbers.push(self.ledger.append(entry(at, "query", about)).await.expect("it is appended"));
        }
        assert!(numbers.is_sorted() && numbers[0] >= 1);
        let trail = async |of, before, limit| {
            let found = self.ledger.audit(of, before, limit).await.expect("the trail is read");
            found.iter().map(|audited| audited.number).collect::<Vec<_>>()
        };
        assert_eq!(trail(None, None, 2).await, [numbers[3], numbers[2]]);
        assert_eq!(trail(None, Some(numbers[2]), 10).await, [numbers[1], numbers[0]]);
        assert_eq!(trail(Some(one), None, 10).await, [numbers[3], numbers[0]]);
        let forged = OperationId { tag: one.tag + 1, ..one };
        assert!(trail(Some(forged), None, 10).await.is_empty());
    }
}
