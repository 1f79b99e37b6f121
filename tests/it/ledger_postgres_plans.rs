//! What the ledger in PostgreSQL costs the store: each statement finds what it wants by an index, settling touches none, and the
//! tables stay as large as what is kept.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use mainstay::ledger::postgres::{Options, PostgresLedger};
use mainstay_policies::{
    clock::WallClock,
    operation::{
        KeyHash, Operation, State, conformance,
        ledger::{Begun, Filter, Ledger},
    },
};
use mainstay_tests::postgres::Postgres;

use super::ledger_postgres::{draft, options};

const AT_ONCE: usize = 64;
const HOUR: Duration = Duration::from_hours(1);

/// Begins and settles as many writes, some at a time.
async fn live(ledger: &PostgresLedger, from: u64, writes: u64) {
    stream::iter(from..from + writes)
        .for_each_concurrent(AT_ONCE, |number| async move {
            let now = ledger.clock().now();
            let mut key = [0; 32];
            // The order of keys is not that of time, as with hashes.
            key[..8].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
            let draft = Operation { key_hash: KeyHash(key), ..draft(0, now) };
            let Ok(Begun::New(operation)) = ledger.begin(draft, now).await else { panic!("{number} is new") };
            let settled =
                Operation { state: State::Succeeded, settled_at: Some(now), next_check_at: None, ..operation };
            ledger.update(settled).await.expect("it is taken");
        })
        .await;
}

fn patient(url: &str, more: &str) -> Options {
    let more = format!(", timeouts: {{ answer: 5s, begin: 10s, settle: 10s, read: 10s }}{more}");
    options(url, &more)
}

/// What the server says of the plans that it ran: tables that it read whole, and joins that read one of two whole.
fn whole_reads(server: &Postgres) -> Vec<String> {
    let log = server.log();
    // These hold a row for each replica that lives, and one for each duty.
    let small = ["instance", "node", "duty", "migration", "meta"];
    let reads = log.lines().filter(|line| {
        let of = |kind: &str| {
            line.split_once(kind).map(|(_, table)| table.split_whitespace().next().unwrap_or("").to_owned())
        };
        let table = of("Seq Scan on ").or_else(|| of("Bitmap Heap Scan on "));
        let is_whole = table.is_some_and(|table| !small.contains(&table.as_str()) && !table.starts_with("pg_"));
        is_whole || line.contains("Hash Join") || line.contains("Merge Join")
    });
    reads.map(|line| line.trim().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_statement_is_served_by_an_index_while_a_table_is_empty_and_when_it_is_full() {
    let Some(server) = Postgres::start() else { return };
    server.set("session_preload_libraries", Some("auto_explain"));
    // Known to a session that has loaded it only.
    mainstay_tests::eventually("plans are logged", || async {
        let text = "ALTER SYSTEM SET auto_explain.log_min_duration = 0";
        server.try_sql(text).and_then(|_| server.try_sql("SELECT pg_reload_conf()")).ok()
    })
    .await;
    // All of the contract, each part of it on tables that are empty.
    let stores = std::sync::atomic::AtomicU32::new(0);
    conformance::run_shared(|clock: WallClock| {
        let schema = format!(", schema: s{}", stores.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let options = Options { clock: Some(clock), max_open: 1_000, ..patient(&server.url(), &schema) };
        async move {
            let one = PostgresLedger::open(options.clone()).await.unwrap_or_else(|error| panic!("{error}"));
            let other = PostgresLedger::open(options).await.unwrap_or_else(|error| panic!("{error}"));
            (Arc::new(one) as Arc<dyn Ledger>, Arc::new(other) as Arc<dyn Ledger>)
        }
    })
    .await;
    assert_eq!(whole_reads(&server), [""; 0], "on empty tables");
    assert!(server.log().contains("Index Scan using op_pkey"), "no plan was logged at all");

    // And on a full one, whose plans are made after it has filled.
    let ledger = PostgresLedger::open(patient(&server.url(), "")).await.expect("it opens");
    live(&ledger, 0, 3_000).await;
    drop(ledger);
    server.sql("ANALYZE mainstay.op");
    let ledger = PostgresLedger::open(patient(&server.url(), "")).await.expect("it opens");
    live(&ledger, 3_000, 200).await;
    let filter = Filter { state: Some(State::Unknown), ..Filter::default() };
    ledger.list(filter, None, 100).await.expect("it lists");
    ledger.list(Filter::default(), None, 100).await.expect("it lists");
    ledger.flagged().await.expect("it counts");
    ledger.find(KeyHash([9; 32])).await.expect("it looks");
    ledger.expire(ledger.clock().now(), 100).await.expect("it looks");
    assert_eq!(whole_reads(&server), [""; 0], "on a full table");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_stay_as_large_as_what_is_kept_and_settling_touches_no_index() {
    /// Writes in each retention. What is kept is two of them: a tombstone is twice as long.
    const WRITES: u64 = 1_500;
    let Some(server) = Postgres::start() else { return };
    let clock = WallClock::manual(1_790_000_000_000);
    let options = Options { clock: Some(clock.clone()), ..patient(&server.url(), "") };
    let ledger = PostgresLedger::open(options).await.expect("it opens");
    let mut sizes = Vec::new();
    for retention in 0..10 {
        live(&ledger, retention * WRITES, WRITES).await;
        clock.advance(HOUR);
        while ledger.expire(clock.now(), 500).await.expect("it expires") > 0 {}
        // What the server does by itself in its own time.
        server.sql("VACUUM mainstay.op");
        let size = server.sql("SELECT pg_total_relation_size('mainstay.op')");
        sizes.push(size.parse::<u64>().expect("a number"));
    }
    let kept: u64 = server.sql("SELECT count(*) FROM mainstay.op").parse().expect("a number");
    assert!(kept <= 4 * WRITES, "{kept} are kept");
    // The largest of some rounds: vacuum gives an empty end of the table back, or finds that it is in use.
    let steady = sizes[2..5].iter().max().expect("there are three");
    assert!(sizes[9] <= steady * 5 / 4, "it grows: {sizes:?}");
    let updates = "SELECT n_tup_upd || ' ' || n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'op'";
    let hot = mainstay_tests::eventually("the statistics are in", || async {
        let counted = server.sql(updates);
        let (all, hot) = counted.split_once(' ')?;
        let (all, hot): (u32, u32) = (all.parse().ok()?, hot.parse().ok()?);
        (u64::from(all) >= 10 * WRITES).then_some(f64::from(hot) / f64::from(all))
    })
    .await;
    assert!(hot >= 0.95, "{hot}: {sizes:?}");
}
