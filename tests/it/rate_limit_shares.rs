//! One rate limit for all replicas: each has its part of it, by what it is asked for.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use mainstay_tests::{postgres::Postgres, prelude::*};
use tokio::time::{Instant, Interval, interval_at, sleep_until};

/// Requests per second of all three together.
const LIMIT: u32 = 60;
/// To each of them.
const CONNECTIONS: u32 = 5;

async fn three(server: &Postgres, upstream: &Upstream) -> Vec<Proxy> {
    let ledger =
        format!("store: postgres, url: \"{}\", service: s, lease: {{ heartbeat: 250ms, ttl: 2s }}", server.url());
    let policy = format!("rate_limit: {{ requests: {LIMIT}, burst: 15, scope: service }}");
    let mut replicas = Vec::new();
    for _ in 0..3 {
        replicas.push(Proxy::start(Config::single(upstream.addr, &policy).ledger(&ledger).admin()).await);
    }
    eventually("each knows of all three", || async {
        shares(&replicas).await.iter().all(|share| (share - 1.0 / 3.0).abs() < 1e-6).then_some(())
    })
    .await;
    replicas
}

async fn shares(replicas: &[Proxy]) -> Vec<f64> {
    let mut found = Vec::new();
    for replica in replicas {
        let limits = replica.operate(Request::get("/limits")).await.json();
        found.push(limits["routes"][0]["rate_limit"]["share"].as_f64().expect("it is shared"));
    }
    found
}

/// Asks each of them so many times a second, whatever it answers, for as long as this lives.
struct Load {
    admitted: Arc<AtomicU32>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(replicas: &[Proxy], rates: [u32; 3]) -> Self {
        let admitted = Arc::new(AtomicU32::new(0));
        let mut tasks = Vec::new();
        for (replica, rate) in replicas.iter().zip(rates).filter(|(_, rate)| *rate > 0) {
            // A few connections each, so that one slow answer holds up no pace, and not all at once: that would need a burst.
            let pace = Duration::from_secs(CONNECTIONS.into()) / rate;
            for number in 0..CONNECTIONS {
                let start = Instant::now() + pace * number / CONNECTIONS;
                tasks.push(tokio::spawn(ask(replica.addr, interval_at(start, pace), Arc::clone(&admitted))));
            }
        }
        Self { admitted, tasks }
    }

    /// How many a second are admitted, in the next `seconds`.
    async fn admits(&self, seconds: u32) -> f64 {
        let (start, before) = (Instant::now(), self.admitted.load(Relaxed));
        sleep_until(start + Duration::from_secs(seconds.into())).await;
        f64::from(self.admitted.load(Relaxed) - before) / start.elapsed().as_secs_f64()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

async fn ask(addr: SocketAddr, mut pace: Interval, admitted: Arc<AtomicU32>) {
    let mut client = Client::connect(addr).await;
    loop {
        pace.tick().await;
        let status = client.call(&Request::get("/")).await.status;
        assert!([200, 429].contains(&status), "{status}");
        admitted.fetch_add(u32::from(status == 200), Relaxed);
    }
}

fn lies_within(what: &str, admitted: f64, least: f64, most: f64) {
    let limit = f64::from(LIMIT);
    assert!((limit * least..=limit * most).contains(&admitted), "{what}: {admitted} a second of {limit}");
}

/// Two seconds of heartbeats are two shares; then what is admitted together is the limit, however the load lies, and after it has
/// moved; without the store each has a third.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn together_they_admit_the_limit_however_the_load_lies_and_a_third_each_without_the_store() {
    let Some(mut server) = Postgres::start() else { return };
    let upstream = Upstream::start(|_| Answer::status(200).steps()).await;
    let replicas = three(&server, &upstream).await;

    let even = Load::start(&replicas, [40, 40, 40]);
    even.admits(1).await;
    lies_within("an even load of twice the limit", even.admits(4).await, 0.88, 1.06);
    drop(even);

    let skewed = Load::start(&replicas, [100, 10, 0]);
    skewed.admits(2).await;
    lies_within("a skewed load", skewed.admits(4).await, 0.85, 1.06);
    let found = shares(&replicas).await;
    assert!(found[0] > 0.6 && found[1] < 0.35 && found[2] < 0.06, "{found:?}");
    drop(skewed);

    let moved = Load::start(&replicas, [0, 0, 120]);
    lies_within("while the load has just moved", moved.admits(1).await, 0.0, 1.1);
    moved.admits(1).await;
    lies_within("after it has moved", moved.admits(4).await, 0.8, 1.06);

    server.kill();
    eventually("everybody has a third", || async {
        let equal = shares(&replicas).await.iter().all(|share| (share - 1.0 / 3.0).abs() < 1e-6);
        equal.then_some(())
    })
    .await;
    lies_within("one alone without the store", moved.admits(3).await, 0.28, 0.38);
    server.restart();
    eventually("it has nearly all again", || async { (shares(&replicas).await[2] > 0.8).then_some(()) }).await;
}
