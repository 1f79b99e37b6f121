use std::{future::poll_fn, task::Poll, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use proptest::prelude::*;

use super::{size::RECORD_BYTES, *};
use crate::operation::{FingerprintVersion, Provenance, StoredResponse, conformance, history::History};

#[tokio::test]
async fn it_conforms_on_one_thread() {
    conformance::run(|clock| async move { Arc::new(MemoryLedger::new(clock, 1_000, 1 << 20)) as _ }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_conforms_on_several_threads() {
    conformance::run(|clock| async move { Arc::new(MemoryLedger::new(clock, 1_000, 1 << 20)) as _ }).await;
}

fn draft(key: u8) -> Operation {
    Operation {
        id: OperationId { seq: 0, tag: 1 },
        key_hash: KeyHash([key; 32]),
        principal: [0; 32],
        fingerprint: [0; 32],
        fingerprint_version: FingerprintVersion::CURRENT,
        credentials: None,
        route: "r".into(),
        upstream: "u".into(),
        state: State::Pending,
        reason: "in_flight".into(),
        source: None,
        http_status: None,
        attempts: 0,
        created_at: 0,
        dispatched_at: None,
        settled_at: None,
        next_check_at: Some(1),
        checks: 0,
        attention: None,
        last_evidence: None,
        retained: Retained::None,
        status_target: None,
        request: KeptRequest::None,
        redispatches: 0,
        origin: None,
        provenance: Provenance::default(),
        history: History::default(),
        retention_ms: 10,
        tombstone_ms: 20,
        window_ms: None,
        owner: InstanceId(0),
        epoch: 0,
        revision: 0,
    }
}

fn ledger(max_open: usize, max_bytes: u64) -> MemoryLedger {
    MemoryLedger::new(WallClock::manual(0), max_open, max_bytes)
}

fn begin(ledger: &MemoryLedger, key: u8) -> Result<Operation, LedgerError> {
    ledger.begin_now(draft(key), ledger.clock.now()).map(|begun| match begun {
        Begun::New(operation) | Begun::Known(operation) => operation,
    })
}

fn settle(ledger: &MemoryLedger, operation: Operation, body: usize) -> Operation {
    let response =
        StoredResponse { status: StatusCode::OK, headers: HeaderMap::new(), body: Bytes::from(vec![0; body]) };
    let retained = Retained::Stored(Arc::new(response));
    let settled_at = Some(ledger.clock.now());
    ledger
        .release(Operation { state: State::Succeeded, settled_at, next_check_at: None, retained, ..operation })
        .unwrap()
}

#[test]
fn one_more_open_operation_than_allowed_is_refused_and_known_ones_are_still_found() {
    let ledger = ledger(2, u64::MAX);
    let first = begin(&ledger, 1).unwrap();
    begin(&ledger, 2).unwrap();
    assert!(matches!(begin(&ledger, 3), Err(LedgerError::Full)));
    assert_eq!(begin(&ledger, 1).unwrap(), first);
    settle(&ledger, first, 0);
    begin(&ledger, 3).unwrap();
}

#[test]
fn bytes_are_bounded_and_a_settlement_is_kept_without_its_body_rather_than_refused() {
    let ledger = ledger(100, 3 * RECORD_BYTES);
    let operation = begin(&ledger, 1).unwrap();
    let settled = settle(&ledger, operation, 10_000);
    assert_eq!((settled.state, settled.retained), (State::Succeeded, Retained::StatusOnly));
    begin(&ledger, 2).unwrap();
    assert!(matches!(begin(&ledger, 3), Err(LedgerError::Full)), "two records and their texts fill it");
}

#[test]
fn a_ledger_that_nobody_sweeps_does_not_fill_with_the_past() {
    let ledger = ledger(100, 3 * RECORD_BYTES);
    for round in 0..200_u8 {
        let operation = begin(&ledger, round).unwrap();
        settle(&ledger, operation, 100);
        ledger.clock.advance(Duration::from_millis(20));
    }
    assert!(ledger.records.lock().by_seq.len() <= 3);
}

#[test]
fn nothing_remains_once_everything_is_forgotten() {
    let ledger = ledger(100, u64::MAX);
    for key in 0..50 {
        let operation = begin(&ledger, key).unwrap();
        settle(&ledger, operation, 100);
    }
    ledger.clock.advance(Duration::from_millis(20));
    let mut records = ledger.records.lock();
    while records.expire(20, 7) == 7 {}
    assert_eq!((records.bytes, records.counts), (0, [0; 5]));
    assert!(records.by_seq.is_empty() && records.by_key.is_empty() && records.expiries.is_empty());
}

#[tokio::test]
async fn a_waiter_on_an_operation_that_is_forgotten_is_told() {
    let ledger = ledger(100, u64::MAX);
    let operation = begin(&ledger, 1).unwrap();
    let operation = settle(&ledger, operation, 0);
    let mut waiting = ledger.changed(operation.id, operation.revision);
    assert!(poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx).is_pending())).await);
    ledger.clock.advance(Duration::from_millis(20));
    ledger.expire(20, 10).await.unwrap();
    assert!(matches!(waiting.await, Err(LedgerError::Absent)));
}

#[tokio::test]
async fn a_listing_past_one_stretch_finds_all() {
    let ledger = ledger(10_000, u64::MAX);
    for n in 0..1_500_u32 {
        let mut draft = draft(0);
        draft.key_hash.0[..4].copy_from_slice(&n.to_be_bytes());
        ledger.begin_now(draft, 0).unwrap();
    }
    let found = ledger.list(Filter::default(), None, 1_400).await.unwrap();
    assert_eq!(found.len(), 1_400);
    assert!(found.is_sorted_by_key(|operation| operation.id));
    let rest = ledger.list(Filter::default(), Some(found[1_399].id), 1_400).await.unwrap();
    assert_eq!(rest.len(), 100);
}

#[test]
fn two_ledgers_share_neither_secret_nor_name() {
    let (one, other) = (ledger(1, 1), ledger(1, 1));
    assert_ne!(one.fingerprint_secret(), other.fingerprint_secret());
    assert_ne!(one.instance(), other.instance());
}

/// What may happen to the ledger.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Begin(u8),
    Settle { key: u8, state: State, body: usize },
    Flag(u8),
    Pass(u64),
    Expire(usize),
}

fn deeds() -> impl Strategy<Value = Deed> {
    let states = vec![State::Unknown, State::Succeeded, State::Failed, State::NotExecuted];
    let states = proptest::sample::select(states);
    prop_oneof![
        3 => (0..6_u8).prop_map(Deed::Begin),
        3 => (0..6_u8, states, 0..400_usize).prop_map(|(key, state, body)| Deed::Settle { key, state, body }),
        1 => (0..6_u8).prop_map(Deed::Flag),
        1 => (0..15_u64).prop_map(Deed::Pass),
        1 => (0..4_usize).prop_map(Deed::Expire),
    ]
}

fn perform(ledger: &MemoryLedger, deed: Deed) {
    let latest = |key: u8| {
        let records = ledger.records.lock();
        records.by_key.get(&KeyHash([key; 32])).and_then(|seq| records.by_seq.get(seq)).cloned()
    };
    match deed {
        Deed::Begin(key) => drop(begin(ledger, key)),
        Deed::Settle { key, state, body } => {
            if let Some(open) = latest(key).filter(|operation| !operation.state.is_terminal()) {
                let settled = Operation { settled_at: None, ..settle(ledger, open, body) };
                let settled_at = state.is_terminal().then(|| ledger.clock.now());
                ledger.release(Operation { state, settled_at, ..settled }).unwrap();
            }
        }
        Deed::Flag(key) => {
            if let Some(operation) = latest(key) {
                let reason = crate::operation::AttentionReason::Conflict;
                let attention = Some(crate::operation::Attention::new(0, reason));
                ledger.release(Operation { attention, ..operation }).unwrap();
            }
        }
        Deed::Pass(ms) => ledger.clock.advance(Duration::from_millis(ms)),
        Deed::Expire(limit) => drop(ledger.records.lock().expire(ledger.clock.now(), limit)),
    }
}

proptest! {
    #[test]
    fn the_books_always_balance(story in proptest::collection::vec(deeds(), 0..60)) {
        let ledger = ledger(4, 8 * RECORD_BYTES);
        for deed in story {
            perform(&ledger, deed);
            let records = ledger.records.lock();
            let mut counts = [0; 5];
            records.by_seq.values().for_each(|operation| counts[place(operation.state)] += 1);
            prop_assert_eq!(records.counts, counts);
            prop_assert_eq!(records.bytes, records.by_seq.values().map(size_of_record).sum::<u64>());
            prop_assert!(records.open() <= 4);
            let due = |operation: &Operation| next_expiry(operation).map(|at| (at, operation.id.seq));
            let expiries: BTreeSet<_> = records.by_seq.values().filter_map(due).collect();
            prop_assert_eq!(&records.expiries, &expiries);
            prop_assert!(records.by_key.values().all(|seq| records.by_seq.contains_key(seq)));
        }
    }
}
