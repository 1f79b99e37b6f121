//! Keys and certificates, and handshakes.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::{Kind, Metrics};

/// What became of the certificates that were read.
#[derive(Debug, Default)]
pub(super) struct Tls {
    taken: AtomicU64,
    refused: AtomicU64,
}

impl Tls {
    /// Registers every metric of TLS that is no listener's.
    pub(super) fn register(self: &Arc<Self>, metrics: &Metrics) {
        let it = Arc::clone(self);
        let help = "Keys and certificates that were replaced in their files: taken, or refused";
        metrics.on_scrape("mainstay_tls_reloads", help, Kind::Counter, move |samples| {
            samples.push(&[("result", "success")], it.taken.load(Relaxed) as f64);
            samples.push(&[("result", "failure")], it.refused.load(Relaxed) as f64);
        });
    }
}

impl Metrics {
    /// Keys and certificates were replaced in their files.
    pub fn tls_reload(&self, taken: bool) {
        let counter = if taken { &self.tls.taken } else { &self.tls.refused };
        counter.fetch_add(1, Relaxed);
    }
}
