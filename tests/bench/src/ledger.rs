//! The ledger on disk beside a bare append log: durable begins and settlements per second, CPU, bytes, and a restart.
//!
//! `bench-ledger DIRECTORY [SECONDS] [RECORDS]`: each kind for so many seconds at 1, 64 and 512 clients, then a restart with
//! so many settled records. Run it again on the same directory to see the restart in a fresh process.

use std::{
    fs,
    io::Write,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use mainstay::ledger::{DiskLedger, Options, Settle};
use mainstay_policies::{
    clock::WallClock,
    evidence::Evidence,
    operation::{
        InstanceId, KeptRequest, KeyHash, Operation, OperationId, Retained, Source, State, StoredResponse,
        ledger::{Begun, Ledger},
    },
};
use tokio::{sync::oneshot, task::JoinSet, time::Instant};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().expect("a directory");
    let seconds = arguments.next().map_or(5, |text| text.parse().expect("seconds"));
    let records = arguments.next().map_or(0, |text| text.parse().expect("records"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let directory = Path::new(&directory);
        for clients in [1, 64, 512].into_iter().filter(|_| seconds > 0) {
            log(&directory.join(format!("log-{clients}")), clients, Duration::from_secs(seconds)).await;
            ledger(&directory.join(format!("ledger-{clients}")), clients, Duration::from_secs(seconds)).await;
        }
        if records > 0 {
            restart(&directory.join("many"), records).await;
        }
    });
}

fn open_ledger(directory: &Path) -> DiskLedger {
    let options = Options { max_open: 100_000, max_bytes: 1 << 34, settle: Settle::Durable, key_file: None };
    DiskLedger::open(directory, WallClock::system(), &options).expect("it opens")
}

async fn ledger(directory: &Path, clients: usize, time: Duration) {
    let ledger = Arc::new(open_ledger(directory));
    let before = (cpu_us(), written_bytes());
    let (done, waits) = (Arc::new(AtomicU64::new(0)), Arc::new(parking_lot::Mutex::new(Vec::new())));
    let stop = Arc::new(AtomicBool::new(false));
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let (ledger, done, waits, stop) = (ledger.clone(), done.clone(), waits.clone(), stop.clone());
        tasks.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let at = Instant::now();
                write(&ledger, &waits, at).await;
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    tasks.join_all().await;
    report("ledger", clients, start, done.load(Ordering::Relaxed), before, &mut waits.lock());
}

async fn write(ledger: &DiskLedger, waits: &parking_lot::Mutex<Vec<u64>>, at: Instant) {
    let Ok(Begun::New(operation)) = ledger.begin(draft(), 0).await else { panic!("a new operation") };
    waits.lock().push(at.elapsed().as_micros() as u64);
    let operation = ledger.note(Operation { attempts: 1, ..operation }).expect("it is noted");
    ledger.update(settled(operation)).await.expect("it is settled");
}

/// The floor: two records per operation in one file, each fsynced together with what waits.
async fn log(path: &Path, clients: usize, time: Duration) {
    type Wait = (Vec<u8>, oneshot::Sender<()>);
    fs::create_dir_all(path.parent().expect("a directory")).expect("it is made");
    let mut file = fs::File::create(path).expect("a file");
    let (queue, mut waiting) = tokio::sync::mpsc::channel::<Wait>(4096);
    let writer = std::thread::spawn(move || {
        while let Some((mut bytes, reply)) = waiting.blocking_recv() {
            let mut replies = vec![reply];
            while let Ok((more, reply)) = waiting.try_recv() {
                bytes.extend(more);
                replies.push(reply);
            }
            file.write_all(&bytes).and_then(|()| file.sync_data()).expect("it is written");
            for reply in replies {
                let _ = reply.send(());
            }
        }
    });
    let before = (cpu_us(), written_bytes());
    let (done, waits) = (Arc::new(AtomicU64::new(0)), Arc::new(parking_lot::Mutex::new(Vec::new())));
    let stop = Arc::new(AtomicBool::new(false));
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let (queue, done, waits, stop) = (queue.clone(), done.clone(), waits.clone(), stop.clone());
        tasks.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let at = Instant::now();
                for size in [300, 800] {
                    let (reply, answer) = oneshot::channel();
                    queue.send((vec![7; size], reply)).await.expect("the writer runs");
                    answer.await.expect("the writer runs");
                    if size == 300 {
                        waits.lock().push(at.elapsed().as_micros() as u64);
                    }
                }
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    tasks.join_all().await;
    drop(queue);
    writer.join().expect("it ended well");
    report("log", clients, start, done.load(Ordering::Relaxed), before, &mut waits.lock());
}

/// How long a start takes, and how much memory, with `records` settled ones in the file.
async fn restart(directory: &Path, records: u64) {
    let open = || open_ledger(directory);
    let ledger = Arc::new(open());
    let waits = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let left = Arc::new(AtomicU64::new(records.saturating_sub(ledger.counts().iter().sum())));
    let mut tasks = JoinSet::new();
    for _ in 0..512 {
        let (ledger, waits, left) = (ledger.clone(), waits.clone(), left.clone());
        tasks.spawn(async move {
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                write(&ledger, &waits, Instant::now()).await;
            }
        });
    }
    tasks.join_all().await;
    drop(ledger);
    let start = Instant::now();
    let ledger = open();
    println!(
        "restart: {} records, {} ms, file {} MB, RSS {} MB",
        ledger.counts().iter().sum::<u64>(),
        start.elapsed().as_millis(),
        fs::metadata(directory.join("ledger.db")).map_or(0, |file| file.len()) >> 20,
        rss_mb()
    );
}

fn report(what: &str, clients: usize, start: Instant, done: u64, before: (u64, u64), waits: &mut [u64]) {
    waits.sort_unstable();
    let at = |share: f64| waits.get((waits.len() as f64 * share) as usize).copied().unwrap_or(0);
    let rate = done as f64 / start.elapsed().as_secs_f64();
    let (cpu, bytes) = ((cpu_us() - before.0) / done.max(1), (written_bytes() - before.1) / done.max(1));
    println!(
        "{what:6} {clients:4} clients: {rate:7.0} op/s, CPU {cpu:4} us/op, {bytes:6} B/op, begin p50 {:6} us p99 {:6} us, RSS {} MB",
        at(0.5),
        at(0.99),
        rss_mb()
    );
}

fn draft() -> Operation {
    let mut key = [0; 32];
    key[..16].copy_from_slice(&fastrand::u128(..).to_be_bytes());
    Operation {
        id: OperationId { seq: 0, tag: fastrand::u64(..) },
        key_hash: KeyHash(key),
        principal: [1; 32],
        fingerprint: [7; 32],
        route: "payments".into(),
        upstream: "app".into(),
        state: State::Pending,
        reason: "in_flight".into(),
        source: None,
        http_status: None,
        attempts: 0,
        created_at: WallClock::system().now(),
        dispatched_at: None,
        settled_at: None,
        next_check_at: Some(WallClock::system().now() + 60_000),
        checks: 0,
        attention: None,
        last_evidence: None,
        retained: Retained::None,
        status_target: Some("/payments/by-ref/0123456789".into()),
        request: KeptRequest::None,
        redispatches: 0,
        origin: None,
        retention_ms: 24 * 3_600_000,
        tombstone_ms: 30 * 24 * 3_600_000,
        window_ms: None,
        owner: InstanceId(0),
        epoch: 0,
        revision: 0,
    }
}

fn settled(operation: Operation) -> Operation {
    let stored =
        StoredResponse { status: StatusCode::CREATED, headers: HeaderMap::new(), body: Bytes::from(vec![b'x'; 500]) };
    Operation {
        state: State::Succeeded,
        reason: "http_201".into(),
        source: Some(Source::Response),
        http_status: Some(StatusCode::CREATED),
        settled_at: Some(WallClock::system().now()),
        next_check_at: None,
        last_evidence: Some(Evidence::Succeeded),
        retained: Retained::Stored(Arc::new(stored)),
        ..operation
    }
}

/// User and system time of this process so far, in microseconds; the kernel counts in hundredths of a second.
fn cpu_us() -> u64 {
    let text = fs::read_to_string("/proc/self/stat").expect("the kernel tells");
    let fields: Vec<_> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    (fields[11].parse::<u64>().expect("a number") + fields[12].parse::<u64>().expect("a number")) * 10_000
}

fn written_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/io").expect("the kernel tells");
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: ")).expect("the kernel tells");
    line.parse().expect("a number")
}

fn rss_mb() -> u64 {
    let text = fs::read_to_string("/proc/self/status").expect("the kernel tells");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel tells");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
}
