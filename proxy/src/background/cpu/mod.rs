//! How busy the CPU is, for concurrency limits with `adaptive: bbr`.
//!
//! Read four times a second by one task, off the path of requests, and only while a route asks for it: of the control group
//! at `MAINSTAY_CGROUP_ROOT` if that is set, else of the one at `/sys/fs/cgroup`, else of the machine. In a container that
//! is the container's own, with its own limit as the whole; before a service in another container, the variable has to name
//! a group that holds both, such as the pod's.

mod account;
pub(crate) mod source;

use std::{env, path::PathBuf, sync::Arc, time::Duration};

use mainstay_policies::concurrency_limit::{Adaptive, SmoothedLoad};
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::{
    account::Reading,
    source::{NoCpuAccount, Source},
};
use crate::{config::model::Config, runtime::Runtime};

/// The directory of the control group to watch.
const ROOT_VARIABLE: &str = "MAINSTAY_CGROUP_ROOT";
/// As often as the average is made for; the kernel's counters are finer than that.
const SAMPLE_EVERY: Duration = Duration::from_millis(250);

/// Looks whether it can be found out how busy the CPU is, if a route asks for that.
pub(crate) fn ensure_known(config: &Config) -> Result<(), NoCpuAccount> {
    if is_asked_for(config) { source().map(drop) } else { Ok(()) }
}

/// Where this process finds out.
fn source() -> Result<Source, NoCpuAccount> {
    Source::find(env::var_os(ROOT_VARIABLE).filter(|root| !root.is_empty()).map(PathBuf::from))
}

/// Whether any route sheds by CPU.
fn is_asked_for(config: &Config) -> bool {
    config.routes.iter().any(|route| {
        let limit = route.policy.concurrency_limit.as_ref();
        matches!(limit.and_then(|limit| limit.adaptive.as_ref()), Some(Adaptive::Bbr(_)))
    })
}

/// Keeps the load up to date as long as a route asks for it; else, and while it cannot be read, it is unknown.
pub(crate) async fn watch(runtime: Arc<Runtime>) {
    let mut every = interval(SAMPLE_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watched = None;
    let mut is_readable = true;
    loop {
        every.tick().await;
        if !is_asked_for(&runtime.snapshot.load().config) {
            watched = None;
            runtime.resources.cpu.set(None);
            continue;
        }
        match sample(&mut watched, Instant::now()) {
            Ok(share) => {
                runtime.resources.cpu.set(share);
                is_readable = true;
            }
            Err(error) => {
                // Once, not four times a second.
                if std::mem::replace(&mut is_readable, false) {
                    tracing::warn!(%error, "how busy the CPU is cannot be read; nothing is shed by it");
                }
                watched = None;
                runtime.resources.cpu.set(None);
            }
        }
    }
}

/// What is watched, and how it stood.
struct Watched {
    source: Source,
    read: Instant,
    reading: Reading,
    smoothed: SmoothedLoad,
    share: Option<f64>,
}

/// The smoothed load, with what was used since the last time; `None` the first time.
fn sample(watched: &mut Option<Watched>, now: Instant) -> Result<Option<f64>, CpuError> {
    let Some(watched) = watched else {
        let source = source()?;
        let reading = source.read()?;
        tracing::info!(%source, cpus = reading.cpus(), "limits follow the CPU");
        *watched = Some(Watched { source, read: now, reading, smoothed: SmoothedLoad::default(), share: None });
        return Ok(None);
    };
    let (reading, elapsed) = (watched.source.read()?, now.duration_since(watched.read));
    // Between two ticks of the kernel's clock there is nothing to tell.
    if let Some(share) = reading.share_since(&watched.reading, elapsed) {
        watched.share = Some(watched.smoothed.next(share, elapsed));
    }
    (watched.read, watched.reading) = (now, reading);
    Ok(watched.share)
}

/// Why the load is not known.
#[derive(Debug, thiserror::Error)]
enum CpuError {
    #[error(transparent)]
    NoAccount(#[from] NoCpuAccount),
    #[error(transparent)]
    Unreadable(#[from] std::io::Error),
}

#[cfg(test)]
mod tests;
