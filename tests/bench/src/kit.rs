//! What measurements of ledgers share: rounds, figures of this process, and an operation as a payment makes it.

use std::{fs, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use mainstay_policies::{
    clock::WallClock,
    evidence::Evidence,
    operation::{
        FingerprintVersion, InstanceId, KeptRequest, KeyHash, Operation, OperationId, Provenance, Retained, Source,
        State, StoredResponse, history::History,
    },
};
use tokio::{task::JoinSet, time::Instant};

/// What a round takes: long against a commit, short against the moods of a disk.
pub(crate) const ROUND: Duration = Duration::from_secs(1);

/// What one of the two did, over its rounds.
#[derive(Default)]
pub(crate) struct Measured {
    pub(crate) rates: Vec<f64>,
    pub(crate) done: u64,
    cpu_us: u64,
    bytes: u64,
    pub(crate) begin_us: Vec<u64>,
}

impl Measured {
    /// One round of `clients` that each do `operation` again and again; it returns how long its begin took.
    pub(crate) async fn round<F: Future<Output = Duration> + Send>(
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

    /// How long the begin took that is slower than this share of them, in microseconds.
    pub(crate) fn begin_at(&self, share: f64) -> u64 {
        let mut sorted = self.begin_us.clone();
        sorted.sort_unstable();
        sorted.get((sorted.len() as f64 * share) as usize).copied().unwrap_or(0)
    }

    pub(crate) fn report(self, what: &str, clients: usize) {
        let done = self.done.max(1);
        println!(
            "{what:6} {clients:4} clients: {:7.0} op/s, CPU {:4} us/op, {:6} B/op, begin p50 {:6} us p99 {:6} us, RSS {} MB",
            median(self.rates.clone()),
            self.cpu_us / done,
            self.bytes / done,
            self.begin_at(0.5),
            self.begin_at(0.99),
            rss_mb()
        );
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

pub(crate) fn draft() -> Operation {
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
        provenance: Provenance::default(),
        history: History::default(),
        retention_ms: 24 * 3_600_000,
        tombstone_ms: 30 * 24 * 3_600_000,
        window_ms: None,
        owner: InstanceId(0),
        epoch: 0,
        revision: 0,
    }
}

pub(crate) fn settled(operation: Operation) -> Operation {
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
pub(crate) fn cpu_us() -> u64 {
    let text = fs::read_to_string("/proc/self/stat").expect("the kernel tells");
    let fields: Vec<_> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    (fields[11].parse::<u64>().expect("a number") + fields[12].parse::<u64>().expect("a number")) * 10_000
}

pub(crate) fn written_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/io").expect("the kernel tells");
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: ")).expect("the kernel tells");
    line.parse().expect("a number")
}

pub(crate) fn rss_mb() -> u64 {
    let text = fs::read_to_string("/proc/self/status").expect("the kernel tells");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel tells");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
}
