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

use super::{ConfigErrors, Loaded, load, load::digest};

/// Events come in bursts (a swap is a dozen); one look after the burst is enough.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// Hashing a file of a few KiB costs microseconds, so a lost event costs seconds at most.
const POLL: Duration = Duration::from_secs(5);
/// Results that nobody took yet; the watcher waits rather than pile up.
const RESULTS: usize = 4;

/// Watches a configuration file or directory; stops when dropped.
#[derive(Debug)]
pub struct Watcher {
    reloads: mpsc::Sender<()>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// What the watcher found, in order; ends when the watcher is stopped.
pub type Reloads = mpsc::Receiver<Result<Loaded, ConfigErrors>>;

impl Watcher {
    /// Starts to watch `path`, whose content had this digest when it was last read ([`Origin::digest`]).
    ///
    /// Must be called inside a tokio runtime with its timer enabled.
    ///
    /// [`Origin::digest`]: super::Origin::digest
    pub fn start(path: impl Into<PathBuf>, digest: [u8; 32]) -> (Self, Reloads) {
        Self::start_with(path.into(), digest, POLL)
    }

    pub(crate) fn start_with(path: PathBuf, digest: [u8; 32], poll: Duration) -> (Self, Reloads) {
        let (results, receiver) = mpsc::channel(RESULTS);
        let (reloads, asked) = mpsc::channel(1);
        let (stop, stopped) = oneshot::channel();
        // The watch is set before this returns, so that no change after it goes unseen.
        let (events, changed) = mpsc::channel(1);
        let watch = watch(&path, events);
        let reader = Reader::new(path, digest);
        let task = Task { reader, results, asked, changed, poll, _watch: watch };
        let task = tokio::spawn(async move {
            tokio::select! {
                () = task.run() => {}
                _ = stopped => {}
            }
        });
        (Self { reloads, stop: Some(stop), task }, receiver)
    }

    /// Reads again and reports, changed or not: for SIGHUP. Several calls before the next reading are one.
    pub fn reload(&self) {
        // A full channel means that a reload is already asked for; a closed one, that the watcher was stopped.
        let _ = self.reloads.try_send(());
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
    results: mpsc::Sender<Result<Loaded, ConfigErrors>>,
    asked: mpsc::Receiver<()>,
    changed: mpsc::Receiver<()>,
    poll: Duration,
    _watch: Option<RecommendedWatcher>,
}

impl Task {
    async fn run(mut self) {
        let mut poll = interval(self.poll);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let asked = tokio::select! {
                Some(()) = self.asked.recv() => true,
                Some(()) = self.changed.recv() => {
                    sleep(DEBOUNCE).await;
                    let _ = self.changed.try_recv();
                    false
                }
                _ = poll.tick() => false,
            };
            if let Some(result) = self.reader.look(asked).await
                && self.results.send(result).await.is_err()
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
