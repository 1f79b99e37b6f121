//! The ledger on disk beside a bare append log: durable begins and settlements per second, CPU, bytes, and a restart.
//!
//! `bench-ledger DIRECTORY [ROUNDS] [RECORDS]`: at 1, 64 and 512 clients a second of the one and a second of the other in
//! turns, so many rounds, and the median of their ratios; then a restart with so many settled records. Run it again on the
//! same directory to see the restart in a fresh process.

use std::{
    fs,
    io::Write,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use mainstay::ledger::{DiskLedger, Options};
use mainstay_policies::{
    clock::WallClock,
    evidence::Evidence,
    operation::{
        FingerprintVersion, InstanceId, KeptRequest, KeyHash, Operation, OperationId, Retained, Source, State,
        StoredResponse,
        ledger::{Begun, Ledger, Settle},
    },
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::Instant,
};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().expect("a directory");
    let rounds = arguments.next().map_or(5, |text| text.parse().expect("a number of rounds"));
    let records = arguments.next().map_or(0, |text| text.parse().expect("a number of records"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let directory = Path::new(&directory);
        for clients in [1, 64, 512].into_iter().filter(|_| rounds > 0) {
            side_by_side(directory, clients, rounds).await;
        }
        if records > 0 {
            restart(&directory.join("many"), records).await;
        }
    });
}

/// What a round takes: long against a commit, short against the moods of a disk.
const ROUND: Duration = Duration::from_secs(1);

async fn side_by_side(directory: &Path, clients: usize, rounds: usize) {
    let log = Arc::new(Log::create(&directory.join(format!("log-{clients}"))));
    let ledger = Arc::new(open_ledger(&directory.join(format!("ledger-{clients}"))));
    let (mut bare, mut kept) = (Measured::default(), Measured::default());
    for _ in 0..rounds {
        let log = Arc::clone(&log);
        bare.round(clients, move || Arc::clone(&log).write()).await;
        let ledger = Arc::clone(&ledger);
        kept.round(clients, move || write(Arc::clone(&ledger))).await;
    }
    let ratios = kept.rates.iter().zip(&bare.rates).map(|(kept, bare)| kept / bare).collect();
    bare.report("log", clients);
    kept.report("ledger", clients);
    println!("ledger / log, median of {rounds} rounds: {:.2}", median(ratios));
}

/// What one of the two did, over its rounds.
#[derive(Default)]
struct Measured {
    rates: Vec<f64>,
    done: u64,
    cpu_us: u64,
    bytes: u64,
    begin_us: Vec<u64>,
}

impl Measured {
    /// One round of `clients` that each do `operation` again and again; it returns how long its begin took.
    async fn round<F: Future<Output = Duration> + Send>(
        &mut self,
        clients: usize,
        operation: impl Fn() -> F + Clone + Send + 'static,
    ) {
        let (cpu, bytes, start) = (cpu_us(), written_bytes(), Instant::now());
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            let operation = operation.clone();
            tasks.spawn(async move {
                let mut begins = Vec::new();
                while start.elapsed() < ROUND {
                    begins.push(operation().await.as_micros() as u64);
                }
                begins
            });
        }
        let begins: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
        self.rates.push(begins.len() as f64 / start.elapsed().as_secs_f64());
        self.done += begins.len() as u64;
        self.cpu_us += cpu_us() - cpu;
        self.bytes += written_bytes() - bytes;
        self.begin_us.extend(begins);
    }

    fn report(mut self, what: &str, clients: usize) {
        self.begin_us.sort_unstable();
        let at = |share: f64| self.begin_us.get((self.begin_us.len() as f64 * share) as usize).copied().unwrap_or(0);
        let done = self.done.max(1);
        println!(
            "{what:6} {clients:4} clients: {:7.0} op/s, CPU {:4} us/op, {:6} B/op, begin p50 {:6} us p99 {:6} us, RSS {} MB",
            median(self.rates.clone()),
            self.cpu_us / done,
            self.bytes / done,
            at(0.5),
            at(0.99),
            rss_mb()
        );
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn open_ledger(directory: &Path) -> DiskLedger {
    let options = Options { max_open: 100_000, max_bytes: 1 << 34, settle: Settle::Durable, key_file: None };
    DiskLedger::open(directory, WallClock::system(), &options).expect("it opens")
}

/// A durable begin and a durable settlement; how long the begin took.
async fn write(ledger: Arc<DiskLedger>) -> Duration {
    let start = Instant::now();
    let Ok(Begun::New(operation)) = ledger.begin(draft(), 0).await else { panic!("a new operation") };
    let begin = start.elapsed();
    let operation = ledger.sent(Operation { attempts: 1, ..operation }).expect("it is remembered");
    ledger.update(settled(operation)).await.expect("it is settled");
    begin
}

type Wait = (Vec<u8>, oneshot::Sender<()>);

/// The floor: two records per operation in one file, each fsynced together with what waits.
struct Log {
    queue: mpsc::Sender<Wait>,
}

impl Log {
    fn create(path: &Path) -> Self {
        fs::create_dir_all(path.parent().expect("a directory")).expect("it is made");
        let mut file = fs::File::create(path).expect("a file");
        let (queue, mut waiting) = mpsc::channel::<Wait>(4096);
        // It ends with the last sender.
        std::thread::spawn(move || {
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
        Self { queue }
    }

    async fn write(self: Arc<Self>) -> Duration {
        let start = Instant::now();
        self.append(300).await;
        let begin = start.elapsed();
        self.append(800).await;
        begin
    }

    async fn append(&self, size: usize) {
        let (reply, answer) = oneshot::channel();
        self.queue.send((vec![7; size], reply)).await.expect("the writer runs");
        answer.await.expect("the writer runs");
    }
}

/// How long a start takes, and how much memory, with `records` settled ones in the file.
async fn restart(directory: &Path, records: u64) {
    let open = || open_ledger(directory);
    let ledger = Arc::new(open());
    let left = Arc::new(AtomicU64::new(records.saturating_sub(ledger.counts().iter().sum())));
    let mut tasks = JoinSet::new();
    for _ in 0..512 {
        let (ledger, left) = (ledger.clone(), left.clone());
        tasks.spawn(async move {
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                write(Arc::clone(&ledger)).await;
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

fn draft() -> Operation {
    let mut key = [0; 32];
    key[..16].copy_from_slice(&fastrand::u128(..).to_be_bytes());
    Operation {
        id: OperationId { seq: 0, tag: fastrand::u64(..) },
        key_hash: KeyHash(key),
        principal: [1; 32],
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
