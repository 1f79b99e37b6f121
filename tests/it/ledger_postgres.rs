//! The ledger in PostgreSQL, from the inside: the contract of every ledger, alone and with two on one store, directly and
//! through a pooler; takeover, durability, plans.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
};

use mainstay::{
    config::{self, model::Store},
    ledger::{
        open::postgres_options,
        postgres::{CONNECTIONS_PER_REPLICA, OpenError, Options, PostgresLedger},
    },
};
use mainstay_policies::{
    clock::WallClock,
    evidence::Evidence,
    operation::{
        FingerprintVersion, InstanceId, KeptRequest, KeyHash, Operation, OperationId, Provenance, Retained, State,
        conformance,
        history::History,
        ledger::{Begun, Health, Ledger, LedgerError},
    },
};
use mainstay_tests::postgres::Postgres;

/// How a ledger is used that a configuration describes.
pub(super) fn options(url: &str, more: &str) -> Options {
    let text = format!(
        "listeners: {{ inbound: {{ address: \"127.0.0.1:1\" }} }}\n\
         upstreams: {{ app: {{ endpoints: [\"http://127.0.0.1:2\"] }} }}\n\
         routes: [{{ match: {{ path: /** }}, upstream: app, policy: p }}]\n\
         policies: {{ p: {{ idempotency: {{ required: true }} }} }}\n\
         ledger: {{ store: postgres, url: \"{url}\", service: payments{more} }}\n"
    );
    let loaded = config::parse("mainstay.yaml", &text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    let Store::Postgres(settings) = &loaded.config.ledger.store else { panic!("{text}") };
    postgres_options(settings, &loaded.config)
}

async fn conforms(url: String) {
    let stores = AtomicU32::new(0);
    conformance::run_shared(|clock: WallClock| {
        let more = format!(
            ", schema: s{}, timeouts: {{ answer: 5s, begin: 10s, settle: 10s, read: 10s }}",
            stores.fetch_add(1, Relaxed)
        );
        let options = Options { clock: Some(clock), max_open: 1_000, ..options(&url, &more) };
        async move {
            let one = PostgresLedger::open(options.clone()).await.unwrap_or_else(|error| panic!("{error}"));
            let other = PostgresLedger::open(options).await.unwrap_or_else(|error| panic!("{error}"));
            (Arc::new(one) as Arc<dyn Ledger>, Arc::new(other) as Arc<dyn Ledger>)
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms_alone_and_with_another_on_one_store() {
    let Some(server) = Postgres::start() else { return };
    conforms(server.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_keeps_as_many_connections_as_check_says() {
    let Some(server) = Postgres::start() else { return };
    let open = || PostgresLedger::open(options(&server.url(), ""));
    let ledgers = [open().await.unwrap(), open().await.unwrap()];
    let kept = server.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'mainstay'");
    assert_eq!(kept.trim(), (ledgers.len() * CONNECTIONS_PER_REPLICA).to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms_through_a_pooler_that_gives_each_transaction_another_connection() {
    let Some(server) = Postgres::start() else { return };
    let Some(bouncer) = server.bouncer() else { return };
    conforms(bouncer.url()).await;
}

#[tokio::test]
async fn what_cannot_be_opened_says_why_and_what_to_do() {
    let Some(server) = Postgres::start() else { return };
    let open = async |more: &str| PostgresLedger::open(options(&server.url(), more)).await;
    assert!(matches!(open(", schema: absent, migrate: check").await, Err(OpenError::Older { .. })));
    drop(open("").await.expect("it opens"));
    let other = Options { ..options(&server.url(), "") };
    let mut settings = other.settings.clone();
    settings.service = "invoices".into();
    let refused = PostgresLedger::open(Options { settings, ..other }).await;
    assert!(matches!(&refused, Err(OpenError::Service { found, .. }) if found == "payments"), "{refused:?}");
    server.sql("INSERT INTO mainstay.migration (version) VALUES (9)");
    assert!(matches!(open("").await, Err(OpenError::Newer { found: 9, .. })));
    for text in
        ["DELETE FROM mainstay.migration WHERE version = 9", "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"]
    {
        server.sql(text);
    }
    mainstay_tests::eventually("fsync is off", || async { (server.sql("SHOW fsync") == "off").then_some(()) }).await;
    assert!(matches!(open("").await, Err(OpenError::NotDurable(_))));
    drop(open(", durability: declared").await.expect("somebody vouches for it"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_that_register_at_once_get_a_node_each() {
    // Each has three connections.
    let Some(server) = Postgres::start_with(5432, vec!["-c".into(), "max_connections=250".into()], |_| {}) else {
        return;
    };
    drop(PostgresLedger::open(options(&server.url(), "")).await.expect("it opens"));
    let patient = ", timeouts: { connect: 10s, answer: 10s }";
    let opened =
        futures_util::future::join_all((0..64).map(|_| PostgresLedger::open(options(&server.url(), patient)))).await;
    let mut nodes: Vec<_> = opened.iter().map(|ledger| ledger.as_ref().expect("it opens").node()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    assert_eq!(nodes.len(), 64, "{nodes:?}");
}

/// Else two keys in a row could be the same, minted by two holders of one node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_holder_of_a_node_has_reserved_no_later_one_gets() {
    let Some(server) = Postgres::start() else { return };
    let from = 1_700_000_000_000;
    let mut reserved = Vec::new();
    for _ in 0..3 {
        let ledger = PostgresLedger::open(options(&server.url(), "")).await.expect("it opens");
        let node = ledger.node().expect("it has one");
        reserved.push(ledger.reserve(from, 1_000).await.expect("it is taken"));
        reserved.push(ledger.reserve(from, 1_000).await.expect("it is taken"));
        ledger.leave().await.expect("it is told");
        // All others are somebody's who lives.
        server.sql("INSERT INTO mainstay.instance (run, name, speaks, low) VALUES (gen_random_uuid(), 'x', 1, 0)");
        let other = "(SELECT max(no) FROM mainstay.instance)";
        server.sql(&format!("UPDATE mainstay.node SET holder = {other} WHERE node <> {node}"));
    }
    assert!(reserved.windows(2).all(|pair| pair[1] >= pair[0] + 1_000), "{reserved:?}");
}

/// Each of several heirs takes a part, and no operation is taken twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_several_take_over_at_once_is_taken_once() {
    let Some(server) = Postgres::start() else { return };
    let quick = ", timeouts: { begin: 10s }, lease: { heartbeat: 200ms, ttl: 1s }";
    let open = async || PostgresLedger::open(options(&server.url(), quick)).await.expect("it opens");
    let (dead, heirs) = (open().await, [open().await, open().await, open().await]);
    let many = (0..200).map(|key| begin(&dead, key));
    assert_eq!(futures_util::future::join_all(many).await.len(), 200);
    dead.stop_beating();
    mainstay_tests::eventually("all are taken over", || async {
        (heirs.iter().map(|heir| heir.owned()[1]).sum::<u64>() == 200).then_some(())
    })
    .await;
    assert_eq!(server.sql("SELECT count(*) FROM mainstay.op WHERE epoch <> 2 OR revision <> 2 OR state <> 4"), "0");
}

/// A short lease, so that a death is noticed soon: what counts is the order of things.
const SOON: &str = ", lease: { heartbeat: 200ms, ttl: 1s }";
/// The same where nobody is to be taken for dead because the machine is busy.
const CALMER: &str = ", timeouts: { connect: 10s, answer: 10s }, lease: { heartbeat: 500ms, ttl: 5s }";

/// A write under a key of its own.
pub(super) fn draft(key: u8, now: u64) -> Operation {
    Operation {
        id: OperationId { seq: 0, tag: 7 },
        key_hash: KeyHash([key; 32]),
        principal: [0; 32],
        fingerprint: [7; 32],
        fingerprint_version: FingerprintVersion::CURRENT,
        credentials: None,
        route: "payments".into(),
        upstream: "app".into(),
        state: State::Pending,
        reason: "in_flight".into(),
        source: None,
        http_status: None,
        attempts: 0,
        created_at: now,
        dispatched_at: None,
        settled_at: None,
        next_check_at: Some(now + 60_000),
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
        retention_ms: 3_600_000,
        tombstone_ms: 7_200_000,
        window_ms: None,
        owner: InstanceId(0),
        epoch: 0,
        revision: 0,
    }
}

pub(super) async fn begin(ledger: &PostgresLedger, key: u8) -> Operation {
    let now = ledger.clock().now();
    match ledger.begin(draft(key, now), now).await.expect("the store is there") {
        Begun::New(operation) => operation,
        Begun::Known(known) => panic!("a new one was expected: {known:?}"),
    }
}

/// The one that dies has begun one write and left another in doubt. Both are the other's within the lease, and what was in
/// flight counts as sent when it was taken over, so that no `not_found` is believed too early.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_replica_left_is_taken_over_and_its_owners_late_word_is_stale() {
    let Some(server) = Postgres::start() else { return };
    let dead = PostgresLedger::open(options(&server.url(), SOON)).await.expect("it opens");
    let heir = PostgresLedger::open(options(&server.url(), SOON)).await.expect("it opens");
    let pending = begin(&dead, 1).await;
    let unknown = begin(&dead, 2).await;
    let later = heir.clock().now() + 600_000;
    let unknown = Operation { state: State::Unknown, next_check_at: Some(later), attempts: 1, ..unknown };
    let unknown = dead.update(unknown).await.expect("it is taken");
    let began = heir.clock().now();
    dead.stop_beating();
    let taken = mainstay_tests::eventually("both are taken over", || async {
        let due = heir.due(u64::MAX, None, 9).await.expect("it knows what is due");
        (due.len() == 2).then_some(due)
    })
    .await;
    assert!(heir.clock().now() - began >= 800, "not before the lease was over");
    assert!(taken.iter().all(|due| due.at <= heir.clock().now()), "they are due at once");
    for (id, attempts) in [(pending.id, 1), (unknown.id, 1)] {
        let found = heir.read(id).await.expect("it reads").expect("it is there");
        assert_eq!((found.state, found.owner, found.epoch), (State::Unknown, heir.instance(), 2));
        assert_eq!((found.attempts, found.next_check_at.is_some_and(|at| at < later)), (attempts, true));
    }
    let lost = heir.read(pending.id).await.expect("it reads").expect("it is there");
    assert_eq!((&*lost.reason, lost.last_evidence), ("owner_lost", Some(Evidence::Ambiguous)));
    assert!(lost.dispatched_at.is_some_and(|at| at >= began));
    assert!(matches!(dead.may_dispatch(&pending), Err(LedgerError::Fenced)), "its lease is over");
    let late = dead.update(Operation { state: State::NotExecuted, ..pending }).await;
    assert!(matches!(late, Err(LedgerError::Stale(current)) if current.owner == heir.instance()));
    assert_eq!(server.sql("SELECT count(*) FROM mainstay.instance WHERE ended = 2"), "1");
}

/// A look takes over so many at once; a repeat need not wait for its turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_that_meets_a_dead_replicas_write_takes_it_over_at_once() {
    let Some(server) = Postgres::start() else { return };
    let quick = ", timeouts: { begin: 10s }, lease: { heartbeat: 200ms, ttl: 1s }";
    let dead = PostgresLedger::open(options(&server.url(), quick)).await.expect("it opens");
    let now = dead.clock().now();
    let many = (0..600_u16).map(|key| {
        let mut draft = draft(0, now);
        draft.key_hash.0[..2].copy_from_slice(&key.to_be_bytes());
        dead.begin(draft, now)
    });
    for begun in futures_util::future::join_all(many).await {
        assert!(matches!(begun, Ok(Begun::New(_))), "{begun:?}");
    }
    let heir = PostgresLedger::open(options(&server.url(), quick)).await.expect("it opens");
    dead.stop_beating();
    mainstay_tests::eventually("some are taken over", || async { (heir.owned()[1] >= 256).then_some(()) }).await;
    let left = server.sql("SELECT seq FROM mainstay.op WHERE owner = 1 ORDER BY seq DESC LIMIT 1");
    assert!(!left.is_empty(), "nobody settles them, so no more are taken");
    let key = server.sql(&format!("SELECT left(replace(key::text, '-', ''), 4) FROM mainstay.op WHERE seq = {left}"));
    let mut repeat = draft(0, now);
    let key = u16::from_str_radix(&key, 16).expect("two bytes in hex");
    repeat.key_hash.0[..2].copy_from_slice(&key.to_be_bytes());
    let Ok(Begun::Known(known)) = heir.begin(repeat, heir.clock().now()).await else { panic!("it is known") };
    assert_eq!((known.state, known.owner, known.epoch), (State::Unknown, heir.instance(), 2));
    assert!(heir.taken_over_at(known.id).is_some());
}

/// A store that stands still is nobody's death.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_away_longer_than_a_lease_fences_nobody() {
    let Some(mut server) = Postgres::start() else { return };
    let one = PostgresLedger::open(options(&server.url(), CALMER)).await.expect("it opens");
    let other = PostgresLedger::open(options(&server.url(), CALMER)).await.expect("it opens");
    let (mine, before) = (begin(&one, 1).await, (one.instance(), other.instance()));
    server.kill();
    mainstay_tests::eventually("the lease is over", || async { one.may_dispatch(&mine).is_err().then_some(()) }).await;
    let now = one.clock().now();
    let refused = one.begin(draft(2, now), now).await;
    assert!(matches!(refused, Err(LedgerError::Unavailable(_))), "{refused:?}");
    let Health::Unreachable { since } = one.health() else { panic!("{:?}", one.health()) };
    assert!(since <= one.clock().now(), "it says since when");
    server.restart();
    mainstay_tests::in_the_end("both go on", || async {
        (one.health() == Health::Writable && other.health() == Health::Writable).then_some(())
    })
    .await;
    assert_eq!((one.instance(), other.instance()), before, "under their numbers");
    assert!(one.may_dispatch(&mine).is_ok(), "what it owns is its own still");
    assert_eq!(server.sql("SELECT count(*) FROM mainstay.instance WHERE ended <> 0"), "0");
    let settled = one.update(Operation { state: State::Succeeded, settled_at: Some(now), ..mine }).await;
    assert_eq!(settled.expect("it is taken").revision, 2);
}

/// Evidence that the store cannot take now is kept, and taken when it can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settlement_that_the_store_cannot_take_is_tried_until_it_can() {
    let Some(mut server) = Postgres::start() else { return };
    let ledger = PostgresLedger::open(options(&server.url(), "")).await.expect("it opens");
    let operation = begin(&ledger, 1).await;
    server.kill();
    let settled = Operation { state: State::Succeeded, settled_at: Some(operation.created_at), ..operation.clone() };
    let (taken, ()) = tokio::join!(ledger.update(settled), async {
        mainstay_tests::eventually("it is noticed", || async {
            matches!(ledger.health(), Health::Unreachable { .. }).then_some(())
        })
        .await;
        server.restart();
    });
    assert_eq!(taken.expect("it is taken in the end").revision, 2);
    let state = server.sql(&format!("SELECT state FROM mainstay.op WHERE seq = {}", operation.id.seq));
    assert_eq!(state, "1");
}

/// Settling touches no index: else each write costs a third more, and the table grows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settling_touches_no_index_and_no_statement_reads_a_whole_table() {
    let Some(server) = Postgres::start() else { return };
    let ledger = PostgresLedger::open(options(&server.url(), "")).await.expect("it opens");
    // What making the indexes reads is counted, too.
    let scans = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'op'";
    let mut scanned = Vec::new();
    let mut hot = 0.0;
    for round in 1..=2_u8 {
        for key in 0..100 {
            let operation = begin(&ledger, key + 100 * (round - 1)).await;
            let settled = Operation { state: State::Succeeded, settled_at: Some(operation.created_at), ..operation };
            ledger.update(settled).await.expect("it is taken");
        }
        let count = "SELECT n_tup_upd || ' ' || n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'op'";
        hot = mainstay_tests::eventually("the statistics are in", || async {
            let counted = server.sql(count);
            let (all, hot) = counted.split_once(' ')?;
            let (all, hot): (u32, u32) = (all.parse().ok()?, hot.parse().ok()?);
            (all >= 100 * u32::from(round)).then_some(f64::from(hot) / f64::from(all))
        })
        .await;
        scanned.push(server.sql(scans));
    }
    assert!(hot >= 0.95, "{hot}");
    assert_eq!(scanned[0], scanned[1], "an index serves each statement");
}
