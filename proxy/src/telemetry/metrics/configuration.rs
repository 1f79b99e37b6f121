//! What became of the configuration.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use mainstay_policies::clock::WallClock;
use parking_lot::Mutex;

use super::{Kind, Metrics};

/// What became of the configurations that were read, and which one is served.
#[derive(Debug, Default)]
pub(super) struct Configuration {
    succeeded: AtomicU64,
    failed: AtomicU64,
    last_failed: AtomicU64,
    served: Mutex<Served>,
}

/// The one that is served.
#[derive(Debug, Default)]
struct Served {
    hash: String,
    since_ms: u64,
    findings: Vec<(&'static str, usize)>,
}

impl Configuration {
    /// One was taken, told apart by this hash.
    pub(super) fn taken(&self, hash: &str, now_ms: u64) {
        self.succeeded.fetch_add(1, Relaxed);
        self.last_failed.store(0, Relaxed);
        let mut served = self.served.lock();
        (served.hash, served.since_ms) = (hash.to_owned(), now_ms);
    }

    /// One was refused.
    pub(super) fn refused(&self) {
        self.failed.fetch_add(1, Relaxed);
        self.last_failed.store(1, Relaxed);
    }

    /// So much was found in what was read last.
    pub(super) fn found(&self, severity: &'static str, count: usize) {
        let mut served = self.served.lock();
        match served.findings.iter_mut().find(|(known, _)| *known == severity) {
            Some((_, known)) => *known = count,
            None => served.findings.push((severity, count)),
        }
    }

    /// Registers every metric of the configuration.
    pub(super) fn register(self: &Arc<Self>, metrics: &Metrics) {
        let it = Arc::clone(self);
        let help = "Whether the last configuration read was taken (1) or refused (0)";
        metrics.on_scrape("mainstay_config_last_reload_successful", help, Kind::Gauge, move |samples| {
            samples.push(&[], (1 - it.last_failed.load(Relaxed)) as f64);
        });
        let it = Arc::clone(self);
        let name = "mainstay_config_last_reload_success_timestamp_seconds";
        let help = "When the configuration that is served was taken, since the Unix epoch";
        metrics.on_scrape(name, help, Kind::Gauge, move |samples| {
            samples.push(&[], it.served.lock().since_ms as f64 / 1e3);
        });
        let it = Arc::clone(self);
        metrics.on_scrape("mainstay_config_reloads", "Configurations read", Kind::Counter, move |samples| {
            samples.push(&[("result", "success")], it.succeeded.load(Relaxed) as f64);
            samples.push(&[("result", "failure")], it.failed.load(Relaxed) as f64);
        });
        let it = Arc::clone(self);
        let help = "The configuration that is served; replicas that run the same have the same hash";
        metrics.on_scrape("mainstay_config_info", help, Kind::Gauge, move |samples| {
            samples.push(&[("hash", &it.served.lock().hash)], 1.0);
        });
        let it = Arc::clone(self);
        let help = "What `mainstay check` would say of the configuration that was read last, by severity";
        metrics.on_scrape("mainstay_config_findings", help, Kind::Gauge, move |samples| {
            for (severity, count) in &it.served.lock().findings {
                samples.push(&[("severity", severity)], *count as f64);
            }
        });
    }
}

impl Metrics {
    /// Since when the configuration is served that is.
    pub(crate) fn config_served_since(&self) -> u64 {
        self.configuration.served.lock().since_ms
    }

    /// Whether the configuration that was read last is served.
    pub(crate) fn config_last_reload_succeeded(&self) -> bool {
        self.configuration.last_failed.load(Relaxed) == 0
    }

    /// What was found in what was read last: how much of each severity.
    pub(crate) fn config_found(&self) -> Vec<(String, serde_json::Value)> {
        let served = self.configuration.served.lock();
        served.findings.iter().map(|(severity, count)| ((*severity).to_owned(), (*count).into())).collect()
    }

    /// A configuration is served from now on, told apart from others by its hash.
    pub fn config_taken(&self, hash: &str, clock: &WallClock) {
        self.configuration.taken(hash, clock.now());
    }

    /// A configuration was refused.
    pub fn config_refused(&self) {
        self.configuration.refused();
    }

    /// So much was found in the configuration that was read last.
    pub fn config_findings(&self, severity: &'static str, count: usize) {
        self.configuration.found(severity, count);
    }
}
