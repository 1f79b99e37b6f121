//! The ledger on disk beside a bare append log: durable begins and settlements per second, CPU, bytes, and a restart.
//!
//! `bench-ledger DIRECTORY [ROUNDS] [RECORDS]`: at 1, 64 and 512 clients a second of the one and a second of the other in
//! turns, so many rounds, and the median of their ratios; then a restart with so many settled records. Run it again on the
//! same directory to see the restart in a fresh process.

mod kit;

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

use mainstay::ledger::{DiskLedger, Options};
use mainstay_policies::{
    clock::WallClock,
    operation::{
        Operation,
        ledger::{Begun, Ledger, Settle},
    },
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::Instant,
};

use self::kit::{Measured, draft, median, rss_mb, settled};

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
