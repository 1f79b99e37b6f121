//! What the writer of the ledger in PostgreSQL makes of a store that is slow, that stands still, or that answers half.

use std::time::Duration;

use mainstay::ledger::postgres::PostgresLedger;
use mainstay_policies::operation::{
    Operation, State,
    ledger::{Begun, Ledger, LedgerError},
};
use mainstay_tests::{in_the_end, interposer::Interposer, postgres::Postgres, within};

use super::ledger_postgres::{begin, draft, options};

/// Nobody is taken for dead within a test, and answers are waited for.
const CALM: &str =
    ", timeouts: { connect: 10s, answer: 10s, begin: 10s, read: 10s }, lease: { heartbeat: 2s, ttl: 60s }";

async fn open(url: &str, more: &str) -> PostgresLedger {
    PostgresLedger::open(options(url, more)).await.expect("it opens")
}

/// The number is drawn before the first try: what is asked again finds itself, and is new once more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_begin_that_is_asked_twice_is_new_both_times_and_one_row() {
    let Some(server) = Postgres::start() else { return };
    let way = Interposer::before(&server);
    let ledger = open(&way.url(), &CALM.replace("answer: 10s", "answer: 500ms")).await;
    begin(&ledger, 1).await;
    for key in 2..5 {
        way.swallow(1);
        let begun = begin(&ledger, key).await;
        assert_eq!((begun.epoch, begun.revision), (1, 1));
        let repeat = ledger.begin(draft(key, begun.created_at), ledger.clock().now()).await;
        assert!(matches!(repeat, Ok(Begun::Known(known)) if known.id == begun.id));
    }
    assert_eq!(way.met(), 3, "each was asked twice");
    assert_eq!(server.sql("SELECT count(*) FROM mainstay.op"), "4");
}

/// Whoever wants to begin can come again; what became of a write is told once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_full_queue_refuses_begins_and_lets_settlements_wait() {
    let Some(server) = Postgres::start() else { return };
    let patient = ", timeouts: { connect: 10s, answer: 60s, begin: 60s, settle: 60s, read: 60s }, \
                   lease: { heartbeat: 10s, ttl: 300s }, max_open: 20000";
    let ledger = std::sync::Arc::new(open(&server.url(), patient).await);
    let first = begin(&ledger, 1).await;
    server.signal("STOP");
    let now = ledger.clock().now();
    let mut begins = tokio::task::JoinSet::new();
    for number in 0..6_000_u16 {
        let (ledger, mut draft) = (std::sync::Arc::clone(&ledger), draft(2, now));
        draft.key_hash.0[..2].copy_from_slice(&number.to_be_bytes());
        begins.spawn(async move { ledger.begin(draft, now).await });
    }
    let refused =
        within("one is refused at once", begins.join_next()).await.expect("there are some").expect("no panic");
    assert!(matches!(refused, Err(LedgerError::Unavailable(_))), "{refused:?}");
    let settled = Operation { state: State::Succeeded, settled_at: Some(now), ..first };
    let mut settling = ledger.update(settled);
    assert!(futures_util::poll!(&mut settling).is_pending(), "it waits for a place");
    server.signal("CONT");
    let settled = in_time(settling).await.expect("it is taken");
    assert_eq!(settled.state, State::Succeeded);
    let (mut new, mut refused) = (0, 1);
    while let Some(begun) = begins.join_next().await {
        match begun.expect("no panic") {
            Ok(Begun::New(_)) => new += 1,
            Err(LedgerError::Unavailable(_)) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(new + refused, 6_000);
    assert!((4_096..=4_096 + 1_024).contains(&new), "{new} had a place");
    in_the_end("each is one row", || async {
        (server.sql("SELECT count(*) FROM mainstay.op") == (new + 1).to_string()).then_some(())
    })
    .await;
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_mins(1), future).await.expect("it ends")
}
