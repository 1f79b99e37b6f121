//! Keys, certificates and values of fields that are replaced while the process runs.
//!
//! Directories are watched, for the kubelet swaps a symlink and others rename; a slow poll stands behind, for file systems that
//! send no events. What counts is whether the content differs. A change is read whole and swapped; what cannot be used is
//! refused, and what is in force stays. A renewal every day is the normal case, so a good one is one line at INFO.

use std::{path::PathBuf, sync::Arc, time::Duration};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{
    runtime::{Runtime, readiness::Readiness},
    wire::tls::{Renewable as _, directories, settled},
};

/// Events come in bursts (a swap is a dozen); one look after the burst is enough.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// Hashing some files of a few KiB costs microseconds, so a lost event costs seconds at most.
const POLL: Duration = Duration::from_secs(5);

/// Takes what the files of listeners and upstreams hold whenever that changes.
pub(crate) async fn watch(runtime: Arc<Runtime>, readiness: Arc<Readiness>) {
    let (events, mut changed) = mpsc::channel(1);
    let mut watch = Watch { directories: Vec::new(), _watcher: None };
    let mut poll = interval(POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reloaded = runtime.reloaded.subscribe();
    loop {
        tokio::select! {
            Some(()) = changed.recv() => {
                sleep(DEBOUNCE).await;
                let _ = changed.try_recv();
            }
            // The files may be others now.
            Ok(()) = reloaded.changed() => {}
            _ = poll.tick() => {}
        }
        let snapshot = runtime.snapshot.load_full();
        let (all, fields) = (snapshot.secured.all(), &snapshot.secured.fields);
        let of_tls = all.iter().flat_map(|(_, kept)| kept.files());
        let files = of_tls.chain(fields.values().flat_map(|kept| kept.files()));
        watch.follow(directories(files.map(PathBuf::as_path)), &events);
        for (upstream, kept) in fields.iter().filter(|(_, kept)| kept.has_changed()) {
            match settled(|| kept.take()).await {
                Ok(()) => tracing::info!(%upstream, "the values of `headers.set` were replaced"),
                Err(error) => tracing::error!(
                    %upstream, %error, "values of `headers.set` that cannot be used were not taken; those in force stay"
                ),
            }
        }
        for (place, kept) in all {
            if !kept.has_changed() {
                continue;
            }
            let taken = settled(|| kept.take()).await;
            runtime.resources.metrics.tls_reload(taken.is_ok());
            match taken {
                Ok(()) => tracing::info!(%place, "certificates were replaced"),
                Err(error) => tracing::error!(
                    %place, %error, "certificates that cannot be used were not taken; those in force stay"
                ),
            }
        }
        readiness.set_obstacles(snapshot.secured.invalid());
    }
}

/// What is watched.
struct Watch {
    directories: Vec<PathBuf>,
    _watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Watches these directories from now on, if they are others than before.
    fn follow(&mut self, directories: Vec<PathBuf>, events: &mpsc::Sender<()>) {
        if directories == self.directories {
            return;
        }
        let events = events.clone();
        let notify = move |event: notify::Result<notify::Event>| {
            let read_only = event.is_ok_and(|event| event.kind.is_access());
            if !read_only {
                // One token says "look"; a second one would say nothing more.
                let _ = events.try_send(());
            }
        };
        let started = notify::recommended_watcher(notify).and_then(|mut watcher| {
            for directory in &directories {
                watcher.watch(directory, RecursiveMode::NonRecursive)?;
            }
            Ok(watcher)
        });
        let told =
            |error: &notify::Error| tracing::warn!(%error, "no file events; new certificates are found by polling");
        *self = Self { directories, _watcher: started.inspect_err(told).ok() };
    }
}
