//! What the writer of the ledger in PostgreSQL makes of a store that is slow, that stands still, or that answers half.

use std::time::Duration;

use mainstay::ledger::postgres::PostgresLedger;
use mainstay_policies::operation::{
    Operation, State,
    ledger::{Begun, Ledger, LedgerError},
};
use mainstay_tests::{eventually, in_the_end, interposer::Interposer, postgres::Postgres, within};

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

/// When it is looked at next need not outlive a crash of the store, so nobody waits for a disk for that, nor for a standby.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_time_alone_waits_for_no_standby_and_any_other_does() {
    let Some(server) = Postgres::start() else { return };
    let ledger = open(&server.url(), CALM).await;
    let pending = begin(&ledger, 1).await;
    let due = |after: u64| Some(pending.created_at + after);
    let unknown = Operation { state: State::Unknown, next_check_at: due(1_000), ..pending.clone() };
    let unknown = ledger.update(unknown).await.expect("it is taken");
    server.set("synchronous_standby_names", Some("nobody"));
    eventually("it waits for nobody", || async {
        (server.sql("SHOW synchronous_standby_names") == "nobody").then_some(())
    })
    .await;
    let mut latest = unknown;
    for checks in 1..4 {
        let next = Operation { checks, next_check_at: due(1_000 * u64::from(checks)), ..latest };
        latest = within("it is not waited for", ledger.defer(next)).await.expect("it is taken");
    }
    let seen = server.sql("SELECT revision || ' ' || due FROM mainstay.op");
    assert_eq!(seen, format!("{} {}", latest.revision, latest.next_check_at.expect("it is due")), "everybody sees it");
    // What it means is another matter.
    let settled = Operation { state: State::Succeeded, settled_at: due(0), next_check_at: None, ..latest.clone() };
    let mut deferred = ledger.defer(settled);
    assert!(futures_util::poll!(&mut deferred).is_pending());
    eventually("it waits for the standby", || async {
        (server.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query ILIKE '%.op%'")
            != "0")
            .then_some(())
    })
    .await;
    assert!(futures_util::poll!(&mut deferred).is_pending());
    server.set("synchronous_standby_names", None);
    assert_eq!(within("it is taken", deferred).await.expect("it is taken").revision, latest.revision + 1);
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

/// Through a pooler nothing is set for good: a role that does not wait for its commits must not decide for the ledger.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_transaction_through_a_pooler_says_how_safely_it_is_kept() {
    let Some(server) = Postgres::start() else { return };
    let Some(bouncer) = server.bouncer() else { return };
    drop(open(&server.url(), CALM).await);
    server.sql("ALTER ROLE mainstay SET synchronous_commit = off");
    server.sql(
        "CREATE TABLE public.kept (kind text, setting text); \
         CREATE FUNCTION public.note_how() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN INSERT INTO public.kept VALUES (TG_TABLE_NAME, current_setting(''synchronous_commit'')); RETURN NEW; END'; \
         CREATE TRIGGER how BEFORE INSERT OR UPDATE ON mainstay.op FOR EACH STATEMENT EXECUTE FUNCTION public.note_how(); \
         CREATE TRIGGER how BEFORE INSERT OR UPDATE ON mainstay.instance FOR EACH STATEMENT EXECUTE FUNCTION public.note_how(); \
         CREATE TRIGGER how BEFORE INSERT OR UPDATE ON mainstay.node FOR EACH STATEMENT EXECUTE FUNCTION public.note_how(); \
         CREATE TRIGGER how BEFORE INSERT OR UPDATE ON mainstay.meta FOR EACH STATEMENT EXECUTE FUNCTION public.note_how()",
    );
    let ledger = open(&bouncer.url(), CALM).await;
    let operation = begin(&ledger, 1).await;
    let now = operation.created_at;
    ledger
        .update(Operation { state: State::Succeeded, settled_at: Some(now), ..operation })
        .await
        .expect("it is taken");
    assert_eq!(ledger.keep_note("one", None, b"a".to_vec()).await.ok(), Some(true));
    ledger.reserve(now, 1_000).await.expect("it is taken");
    ledger.leave().await.expect("it is told");
    assert_eq!(server.sql("SELECT count(DISTINCT kind) FROM public.kept"), "4", "all were seen");
    assert_eq!(server.sql("SELECT DISTINCT kind FROM public.kept WHERE setting <> 'on'"), "");
}
