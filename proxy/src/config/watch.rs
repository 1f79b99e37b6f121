//! Reload when the files change.
//!
//! The directory is watched, not the file: Kubernetes swaps the symlink `..data`, and editors replace a file by renaming,
//! after both of which a watch on the file itself is deaf. Events only say when to look; what counts is whether the content
//! differs, so a digest is compared. A slow poll stands behind, for file systems that send no events.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep},
};

use super::{ConfigErrors, Finding, Loaded, load, load::digest};

/// Events come in bursts (a swap is a dozen); one look after the burst is enough.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// Hashing a file of a few KiB costs microseconds, so a lost event costs seconds at most.
const POLL: Duration = Duration::from_secs(5);
/// Results that nobody took yet; the watcher waits rather than pile up.
const RESULTS: usize = 4;
/// Orders to read again that wait for their turn.
const ORDERS: usize = 8;

/// Watches a configuration file or directory; stops when dropped.
#[derive(Debug)]
pub struct Watcher {
    reloads: Orders,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// What the watcher found, in order; ends when the watcher is stopped.
pub type Reloads = mpsc::Receiver<Reading>;

/// What was read, and who waits for what becomes of it.
#[derive(Debug)]
pub struct Reading {
    /// The configuration, or why it is none.
    pub read: Result<Loaded, ConfigErrors>,
    /// Whoever ordered the reading, if somebody did and waits.
    pub waiter: Option<oneshot::Sender<Outcome>>,
}

/// What became of a configuration that was read again.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The settings that changed, as [`changes`](super::changes) has them.
    pub changed: Vec<String>,
    /// What was found in it.
    pub findings: Vec<Finding>,
    /// Why it was refused, if it was.
    pub error: Option<String>,
}

/// Orders to read again.
#[derive(Clone, Debug)]
pub struct Orders(mpsc::Sender<Order>);

/// Where the orders come in.
#[derive(Debug)]
pub struct Ordered(mpsc::Receiver<Order>);

/// Who waits for it, if anybody does.
type Order = Option<oneshot::Sender<Outcome>>;

/// A way to order readings before there is a watcher, which takes its other end.
pub fn orders() -> (Orders, Ordered) {
    let (orders, ordered) = mpsc::channel(ORDERS);
    (Orders(orders), Ordered(ordered))
}

impl Orders {
    /// Reads again, changed or not, and waits for what becomes of it; `None` if the process ends before.
    pub async fn reload(&self) -> Option<Outcome> {
        let (waiter, outcome) = oneshot::channel();
        self.0.send(Some(waiter)).await.ok()?;
        outcome.await.ok()
    }
}

impl Watcher {
    /// Starts to watch `path`, whose content had this digest when it was last read ([`Origin::digest`]).
    ///
    /// Must be called inside a tokio runtime with its timer enabled.
    ///
    /// [`Origin::digest`]: super::Origin::digest
    pub fn start(path: impl Into<PathBuf>, digest: [u8; 32], orders: (Orders, Ordered)) -> (Self, Reloads) {
        Self::start_with(path.into(), digest, orders, POLL)
    }

    pub(crate) fn start_with(
        path: PathBuf,
        digest: [u8; 32],
        (reloads, asked): (Orders, Ordered),
        poll: Duration,
    ) -> (Self, Reloads) {
        let (results, receiver) = mpsc::channel(RESULTS);
        let (stop, stopped) = oneshot::channel();
        // The watch is set before this returns, so that no change after it goes unseen.
        let (events, changed) = mpsc::channel(1);
        let watch = watch(&path, events);
        let reader = Reader::new(path, digest);
        let task = Task { reader, results, asked: asked.0, changed, poll, _watch: watch };
        let task = tokio::spawn(async move {
            tokio::select! {
                () = task.run() => {}
                _ = stopped => {}
            }
        });
        (Self { reloads, stop: Some(stop), task }, receiver)
    }

    /// Reads again and reports, changed or not: for SIGHUP.
    pub fn reload(&self) {
        // A full channel means that readings are already asked for; a closed one, that the watcher was stopped.
        let _ = self.reloads.0.try_send(None);
    }

    /// Stops watching and waits until the task has ended.
    pub async fn stop(mut self) {
        self.stop.take();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Sends a token on every change in the directory that holds the configuration. `None` where the system has no watch left
/// or the directory is not there: then the poll alone finds changes.
fn watch(path: &Path, events: mpsc::Sender<()>) -> Option<RecommendedWatcher> {
    let directory = if path.is_dir() {
        path
    } else {
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
    };
    let notify = move |event: notify::Result<notify::Event>| {
        let read_only = event.is_ok_and(|event| event.kind.is_access());
        if !read_only {
            // One token says "look"; a second one would say nothing more.
            let _ = events.try_send(());
        }
    };
    let started = notify::recommended_watcher(notify).and_then(|mut watcher| {
        watcher.watch(directory, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    started.inspect_err(|error| tracing::warn!(%error, "no file events; changes are found by polling")).ok()
}

/// What was last reported, so that one change is one report.
#[derive(PartialEq, Eq)]
enum Known {
    Content([u8; 32]),
    Unreadable(ConfigErrors),
}

struct Task {
    reader: Reader,
    results: mpsc::Sender<Reading>,
    asked: mpsc::Receiver<Order>,
    changed: mpsc::Receiver<()>,
    poll: Duration,
    _watch: Option<RecommendedWatcher>,
}

impl Task {
    async fn run(mut self) {
        let mut poll = interval(self.poll);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let order = tokio::select! {
                Some(waiter) = self.asked.recv() => Some(waiter),
                Some(()) = self.changed.recv() => {
                    sleep(DEBOUNCE).await;
                    let _ = self.changed.try_recv();
                    None
                }
                _ = poll.tick() => None,
            };
            if let Some(read) = self.reader.look(order.is_some()).await
                && self.results.send(Reading { read, waiter: order.flatten() }).await.is_err()
            {
                return;
            }
        }
    }
}

/// Reads when there is something new to say.
pub(crate) struct Reader {
    path: PathBuf,
    known: Known,
}

impl Reader {
    pub(crate) fn new(path: PathBuf, digest: [u8; 32]) -> Self {
        Self { path, known: Known::Content(digest) }
    }

    /// Reads, if that was asked for or if the content differs from what was last reported.
    pub(crate) async fn look(&mut self, asked: bool) -> Option<Result<Loaded, ConfigErrors>> {
        let path = self.path.clone();
        let now = blocking(move || digest(&path)).await?.map_or_else(Known::Unreadable, Known::Content);
        if !asked && now == self.known {
            return None;
        }
        let path = self.path.clone();
        let result = blocking(move || load(&path)).await?;
        // The content may have changed again between the two readings: what was read is what is known.
        self.known = match &result {
            Ok(loaded) => Known::Content(loaded.origin.digest),
            Err(_) => now,
        };
        Some(result)
    }
}

/// File access off the runtime's threads; `None` when the runtime is going down.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}
