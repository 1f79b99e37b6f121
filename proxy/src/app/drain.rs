//! The end of the program: readiness fails, requests in flight finish, the ledger is flushed.

use std::time::Duration;

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::App;

/// How often a drain looks whether it is done.
const DRAIN_POLL: Duration = Duration::from_millis(20);
/// For telling those who still waited for their turn that it does not come.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// How long the last spans may take to leave.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);

impl App {
    /// Drains and ends: readiness fails, accepting ends after `drain.delay`, requests in flight have `drain.timeout`.
    pub async fn shutdown(self) {
        let drain = self.runtime.snapshot.load().config.drain.clone();
        self.runtime.begin_drain(&self.probes.readiness);
        // An operator may have begun it before, and then balancers have had that time already.
        let began = self.runtime.drain_began.get().copied().unwrap_or_else(Instant::now);
        let delay = drain.delay.saturating_sub(began.elapsed());
        tracing::info!(delay_ms = delay.as_millis() as u64, "draining");
        sleep(delay).await;
        self.listeners.stop();
        self.runtime.draining.send_replace(true);
        let deadline = Instant::now() + drain.timeout;
        while self.is_busy() && Instant::now() < deadline {
            sleep(DRAIN_POLL).await;
        }
        if self.is_busy() {
            tracing::warn!(
                connections = self.runtime.places.open(),
                "the drain's time is over; connections are cut off"
            );
            self.runtime.cutting_off.send_replace(true);
            sleep(LAST_WORDS).await;
        }
        self.end().await;
    }

    /// Connections that are open, or writes that have not been answered. Late answers are not waited for.
    fn is_busy(&self) -> bool {
        let [pending, ..] = self.runtime.resources.ledger.counts();
        self.runtime.places.open() > 0 || pending > 0
    }

    async fn end(self) {
        let Self { runtime, workers, logging, tasks, stop_probes, .. } = self;
        let threads: Vec<_> = workers.into_iter().map(|worker| worker.thread).collect();
        let joined = tokio::task::spawn_blocking(move || {
            threads.into_iter().map(std::thread::JoinHandle::join).all(|end| end.is_ok())
        });
        if !joined.await.unwrap_or(false) {
            tracing::error!("a worker ended with a panic");
        }
        runtime.tracing.shutdown(FLUSH_WITHIN).await;
        let _ = stop_probes.send(true);
        tasks.iter().for_each(JoinHandle::abort);
        tracing::info!("ended");
        let _ = tokio::task::spawn_blocking(move || logging.flush(FLUSH_WITHIN)).await;
    }
}
