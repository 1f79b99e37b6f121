//! The ledger in PostgreSQL beside its floor, two bare durable INSERTs per operation on one connection of the same server, and
//! beside a pool of 16 connections that commits each of them alone.
//!
//! `bench-shared-ledger [ROUNDS]`: a server of its own in a temporary directory; at 1, 64 and 512 clients a second of each in
//! turns, so many rounds (0: none of it), with the disk as it is and with commits that take 2 ms; then how soon a repeat at another replica
//! learns of an outcome, and how long four replicas take to have what a fifth has left.

mod kit;

use std::{sync::Arc, time::Duration};

use mainstay::{
    config::{self, model::Store},
    ledger::{open::postgres_options, postgres::PostgresLedger},
};
use mainstay_policies::operation::{
    Operation,
    ledger::{Begun, Ledger, LedgerError},
};
use mainstay_tests::postgres::Postgres;
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    task::JoinSet,
    time::Instant,
};
use tokio_postgres::{Client, NoTls, Statement};

use self::kit::{Measured, draft, median, settled};

/// Operations that a replica leaves behind: what the others take over before any of them has to ask about what it has.
const ORPHANS: usize = 1_000;
/// Outcomes that are learned of elsewhere.
const LEARNED: usize = 200;
/// How many replicas take them over, and how long they have for it.
const HEIRS: usize = 4;
const TAKEN_BY: Duration = Duration::from_mins(1);
const POOL: usize = 16;
/// What begin and settlement write, without the keys.
const BEGIN_BYTES: usize = 300;
const SETTLE_BYTES: usize = 800;

fn main() {
    let rounds: usize = std::env::args().nth(1).map_or(5, |text| text.parse().expect("a number of rounds"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let Some(server) = Postgres::start() else { return };
    server.sql("CREATE TABLE floor (id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body bytea NOT NULL)");
    runtime.block_on(async {
        for delay in [0, 2_000].into_iter().filter(|_| rounds > 0) {
            // A disk whose commits take that long: whoever leads a group waits before it writes the log.
            server.set("commit_siblings", Some("0"));
            server.set("commit_delay", Some(&delay.to_string()));
            tokio::time::sleep(Duration::from_millis(500)).await;
            println!("commits {} ms slower than the disk", delay / 1_000);
            for clients in [1, 64, 512] {
                side_by_side(&server, clients, rounds).await;
            }
        }
        server.set("commit_delay", None);
        learned_elsewhere(&server).await;
        taken_over(&server).await;
    });
}

async fn open(server: &Postgres, schema: &str) -> Arc<PostgresLedger> {
    let text = format!(
        "listeners: {{ inbound: {{ address: \"127.0.0.1:1\" }} }}\n\
         upstreams: {{ app: {{ endpoints: [\"http://127.0.0.1:2\"] }} }}\n\
         routes: [{{ match: {{ path: /** }}, upstream: app, policy: p }}]\n\
         policies: {{ p: {{ idempotency: {{ required: true }} }} }}\n\
         ledger: {{ store: postgres, url: \"{}\", service: payments, schema: {schema} }}\n",
        server.url()
    );
    let loaded = config::parse("mainstay.yaml", &text).unwrap_or_else(|errors| panic!("{errors}"));
    let Store::Postgres(settings) = &loaded.config.ledger.store else { panic!("a store") };
    Arc::new(PostgresLedger::open(postgres_options(settings, &loaded.config)).await.expect("it opens"))
}

async fn side_by_side(server: &Postgres, clients: usize, rounds: usize) {
    let ledger = open(server, "mainstay").await;
    let floor = Arc::new(Floor::over(connect(server).await).await);
    let pool = Arc::new(Pool::of(server).await);
    let mut measured = [Measured::default(), Measured::default(), Measured::default()];
    let mut of_server = [0; 3];
    let mut commits = 0;
    for _ in 0..rounds {
        let (bare, kept, single) = (Arc::clone(&floor), Arc::clone(&ledger), Arc::clone(&pool));
        let before = server.cpu_us();
        measured[0].round(clients, move || Arc::clone(&bare).write()).await;
        let after_floor = server.cpu_us();
        let begun = committed(server).await;
        measured[1].round(clients, move || write(Arc::clone(&kept))).await;
        commits += committed(server).await - begun;
        let after_ledger = server.cpu_us();
        measured[2].round(clients, move || Arc::clone(&single).write()).await;
        for (sum, spent) in
            of_server.iter_mut().zip([after_floor - before, after_ledger - after_floor, server.cpu_us() - after_ledger])
        {
            *sum += spent;
        }
    }
    let [bare, kept, single] = measured;
    let against =
        |other: &Measured| median(kept.rates.iter().zip(&other.rates).map(|(kept, other)| kept / other).collect());
    println!(
        "{clients:4} clients: ledger / floor {:.2}, ledger / pool of {POOL} {:.1} (medians of {rounds} rounds); begin p50 {:.2} x a bare commit; {:.2} commits/op",
        against(&bare),
        against(&single),
        kept.begin_at(0.5) as f64 / bare.begin_at(0.5) as f64,
        commits as f64 / kept.done as f64
    );
    for ((what, measured), server_us) in
        ["floor", "ledger", "pool"].into_iter().zip([bare, kept, single]).zip(of_server)
    {
        println!("server {:4} us/op", server_us / measured.done.max(1));
        measured.report(what, clients);
    }
    ledger.leave().await.expect("it leaves");
}

/// Transactions that the server has committed, once it has counted all.
async fn committed(server: &Postgres) -> u64 {
    // Each of its processes tells its figures at most once a second.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    server.sql("SELECT xact_commit FROM pg_stat_database WHERE datname = 'postgres'").parse().expect("a number")
}

/// A durable begin and a durable settlement; how long the begin took.
async fn write(ledger: Arc<PostgresLedger>) -> Duration {
    let start = Instant::now();
    let operation = begin(&ledger).await;
    let begin = start.elapsed();
    let operation = ledger.sent(Operation { attempts: 1, ..operation }).expect("it is remembered");
    ledger.update(settled(operation)).await.expect("it is settled");
    begin
}

async fn begin(ledger: &PostgresLedger) -> Operation {
    loop {
        let now = ledger.clock().now();
        match ledger.begin(draft(), now).await {
            Ok(Begun::New(operation)) => return operation,
            // A begin that waited for longer than a caller would.
            Err(LedgerError::Unavailable(_)) => {}
            other => panic!("a new operation: {other:?}"),
        }
    }
}

async fn connect(server: &Postgres) -> Client {
    let (client, connection) = tokio_postgres::connect(&server.url(), NoTls).await.expect("it connects");
    // It ends with its client.
    tokio::spawn(connection);
    client
}

type Wait = (Vec<u8>, oneshot::Sender<()>);

/// Two records per operation on one connection, each durable, all that waits in one statement.
struct Floor(mpsc::Sender<Wait>);

impl Floor {
    async fn over(client: Client) -> Self {
        let text = "INSERT INTO floor (body) SELECT * FROM unnest($1::bytea[])";
        let insert = client.prepare(text).await.expect("it is prepared");
        let (queue, mut waiting) = mpsc::channel::<Wait>(4096);
        tokio::spawn(async move {
            let mut batch = Vec::new();
            while waiting.recv_many(&mut batch, 512).await > 0 {
                let bodies: Vec<_> = batch.iter().map(|(body, _)| body.as_slice()).collect();
                client.execute(&insert, &[&bodies]).await.expect("it is written");
                for (_, reply) in batch.drain(..) {
                    let _ = reply.send(());
                }
            }
        });
        Self(queue)
    }

    async fn write(self: Arc<Self>) -> Duration {
        let start = Instant::now();
        self.insert(BEGIN_BYTES).await;
        let begin = start.elapsed();
        self.insert(SETTLE_BYTES).await;
        begin
    }

    async fn insert(&self, size: usize) {
        let (reply, answer) = oneshot::channel();
        self.0.send((vec![7; size], reply)).await.expect("the writer runs");
        answer.await.expect("the writer runs");
    }
}

/// What most would build: connections that are lent, each record a transaction of its own.
struct Pool {
    give: mpsc::Sender<(Client, Statement)>,
    lent: Mutex<mpsc::Receiver<(Client, Statement)>>,
}

impl Pool {
    async fn of(server: &Postgres) -> Self {
        let (give, lent) = mpsc::channel(POOL);
        for _ in 0..POOL {
            let client = connect(server).await;
            let insert = client.prepare("INSERT INTO floor (body) VALUES ($1)").await.expect("it is prepared");
            give.try_send((client, insert)).expect("there is room for all");
        }
        Self { give, lent: Mutex::new(lent) }
    }

    async fn write(self: Arc<Self>) -> Duration {
        let start = Instant::now();
        self.insert(BEGIN_BYTES).await;
        let begin = start.elapsed();
        self.insert(SETTLE_BYTES).await;
        begin
    }

    async fn insert(&self, size: usize) {
        let (client, insert) = self.lent.lock().await.recv().await.expect("the pool is there");
        client.execute(&insert, &[&vec![7_u8; size]]).await.expect("it is written");
        self.give.try_send((client, insert)).expect("there is room for all");
    }
}

/// How long after a settlement at one replica a repeat that waits at another has it.
async fn learned_elsewhere(server: &Postgres) {
    let (one, other) = (open(server, "learned").await, open(server, "learned").await);
    let mut took = Vec::new();
    for _ in 0..LEARNED {
        let operation = begin(&one).await;
        let waiting = tokio::spawn({
            let (other, id, seen) = (Arc::clone(&other), operation.id, operation.revision);
            async move {
                other.changed(id, seen).await.expect("it is there");
                Instant::now()
            }
        });
        // Repeats come at any time between two looks.
        tokio::time::sleep(Duration::from_millis(fastrand::u64(30..90))).await;
        one.update(settled(operation)).await.expect("it is settled");
        let start = Instant::now();
        took.push(waiting.await.expect("it ends").saturating_duration_since(start).as_micros() as u64);
    }
    took.sort_unstable();
    println!("an outcome elsewhere: p50 {} us, p95 {} us", took[LEARNED / 2], took[LEARNED * 95 / 100]);
}

/// Four replicas, and what a fifth leaves behind.
async fn taken_over(server: &Postgres) {
    let dying = open(server, "orphans").await;
    let mut heirs = Vec::new();
    for _ in 0..HEIRS {
        heirs.push(open(server, "orphans").await);
    }
    let mut tasks = JoinSet::new();
    for _ in 0..100 {
        let dying = Arc::clone(&dying);
        tasks.spawn(async move {
            for _ in 0..ORPHANS / 100 {
                begin(&dying).await;
            }
        });
    }
    tasks.join_all().await;
    let watch = connect(server).await;
    let orphans = watch
        .prepare(
            "SELECT count(*) FROM orphans.op JOIN orphans.instance ON no = owner WHERE ended <> 0 AND state IN (0, 4)",
        )
        .await
        .expect("it is prepared");
    let left = Instant::now();
    dying.leave().await.expect("it leaves");
    let mut first = None;
    loop {
        let row = watch.query_one(&orphans, &[]).await.expect("it is counted");
        let remaining = row.get::<_, i64>(0).cast_unsigned();
        if remaining < ORPHANS as u64 {
            first.get_or_insert_with(Instant::now);
        }
        if remaining == 0 {
            break;
        }
        assert!(left.elapsed() < TAKEN_BY, "{remaining} orphans have nobody yet");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let first = first.map_or(0, |first| first.elapsed().as_millis());
    let each = watch.query("SELECT count(*) FROM orphans.op GROUP BY owner", &[]).await.expect("they are counted");
    let each: Vec<i64> = each.iter().map(|row| row.get(0)).collect();
    println!(
        "{ORPHANS} orphans, {HEIRS} replicas: {first} ms from the first that was taken, {} ms from the leaving; by replica {each:?}",
        left.elapsed().as_millis()
    );
    drop(heirs);
}
