//! The end of the program: readiness fails and clients are told to go elsewhere, requests in flight finish, those that cannot
//! are told what is known of them, the ledger is flushed, and what stays in doubt is named.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use mainstay_policies::operation::ledger::Health;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::{App, left};
use crate::{
    config::model::{Direction, OnFailure, Store},
    listener::Ending,
};

/// How often a drain looks whether it is done.
const DRAIN_POLL: Duration = Duration::from_millis(20);
/// How long the service has not called out when it is taken for ended. In a plain container it ends at the same time as this
/// process, and its last calls are those that it ends with.
const CALLS_OUT_QUIET: Duration = Duration::from_secs(1);
/// For telling those who have no answer yet what is known of their requests: each hears within a quarter of a second that the
/// time is over, and a write is put in doubt durably first.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long the last spans may take to leave.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);
/// How often somebody looks whether the ledger is dead.
const LEDGER_POLL: Duration = Duration::from_millis(250);

impl App {
    /// Drains and ends: readiness fails, accepting ends after `drain.delay`, requests in flight have `drain.timeout`. The service's
    /// own calls are taken until no request needs them any more.
    pub async fn shutdown(self) {
        let drain = self.runtime.snapshot.load().config.drain.clone();
        // A preStop hook or an operator may have begun it before, and then clients have had that time already.
        let began = self.runtime.begin_end(&self.probes.readiness);
        // Nobody's load balancer leads to what somebody tries on a terminal.
        let is_tried = drain.is_delay_default && io::stdin().is_terminal();
        let delay = if is_tried { Duration::ZERO } else { drain.delay.saturating_sub(began.elapsed()) };
        tracing::info!(delay_ms = delay.as_millis() as u64, "draining");
        sleep(delay).await;
        self.close(Direction::Inbound);
        let deadline = Instant::now() + drain.timeout;
        self.until(deadline, || self.runtime.places.open_inbound() == 0 && self.are_calls_over()).await;
        self.close(Direction::Outbound);
        self.until(deadline, || !self.is_busy()).await;
        if self.is_busy() {
            tracing::warn!(
                connections = self.runtime.places.open(),
                "the drain's time is over; connections are cut off"
            );
            self.runtime.cutting_off.send_replace(true);
            self.until(Instant::now() + LAST_WORDS, || !self.is_busy()).await;
        }
        self.end().await;
    }

    /// Resolves when the ledger can only be opened again by a restart, and the configuration says to end then.
    pub async fn ledger_dies(&self) {
        loop {
            let is_dead = self.runtime.resources.ledger.health() == Health::Failed;
            let ends = matches!(
                self.runtime.snapshot.load().config.ledger.store,
                Store::Disk { on_failure: OnFailure::Exit, .. }
            );
            if is_dead && ends {
                return;
            }
            sleep(LEDGER_POLL).await;
        }
    }

    /// Accepts no more in that direction; what is in flight ends.
    fn close(&self, direction: Direction) {
        self.listeners.stop(direction);
        self.runtime.ending(direction).send_replace(Ending::Closing);
    }

    async fn until(&self, deadline: Instant, is_so: impl Fn() -> bool) {
        while !is_so() && Instant::now() < deadline {
            sleep(DRAIN_POLL).await;
        }
    }

    /// Whether the service calls out no more, as far as its silence tells.
    fn are_calls_over(&self) -> bool {
        let snapshot = self.runtime.snapshot.load();
        let takes_calls = snapshot.config.listeners.iter().any(|listener| listener.is_outbound());
        !takes_calls || self.runtime.calls_out.are_over(CALLS_OUT_QUIET)
    }

    /// Connections that are open, writes that have not been answered, or what is known of them and not on record yet. Late answers
    /// are not waited for.
    fn is_busy(&self) -> bool {
        let [pending, _] = self.runtime.resources.ledger.owned();
        self.runtime.places.open() > 0 || pending > 0 || self.runtime.resources.recorder.unrecorded() > 0
    }

    async fn end(self) {
        let Self { runtime, workers, logging, tasks, stop_probes, .. } = self;
        // Whoever watches has seen all there is to see; the streams end while the threads do.
        runtime.events.close();
        let threads: Vec<_> = workers.into_iter().map(|worker| worker.thread).collect();
        let joined = tokio::task::spawn_blocking(move || {
            threads.into_iter().map(std::thread::JoinHandle::join).all(|end| end.is_ok())
        });
        if !joined.await.unwrap_or(false) {
            tracing::error!("a worker ended with a panic");
        }
        if let Err(error) = runtime.resources.ledger.leave().await {
            tracing::warn!(%error, "the other replicas could not be told of the end; they notice it by themselves");
        }
        runtime.tracing.shutdown(FLUSH_WITHIN).await;
        let _ = stop_probes.send(true);
        tasks.iter().for_each(JoinHandle::abort);
        left::tell(&runtime).await;
        let _ = tokio::task::spawn_blocking(move || logging.flush(FLUSH_WITHIN)).await;
    }
}
