//! What a configuration is while it is served.

mod aftermath;
pub(crate) mod breakers;
mod calls_out;
mod forget;
pub(crate) mod gauges;
pub(crate) mod named;
mod notices;
pub mod readiness;
pub(crate) mod resources;
pub(crate) mod route;
pub mod secured;
mod shared_ledger;
pub(crate) mod snapshot;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{sync::watch, time::Instant};

use self::{
    calls_out::CallsOut,
    notices::Notices,
    readiness::{Condition, Readiness},
    resources::Resources,
    snapshot::Snapshot,
};
use crate::{
    config::model::Direction,
    listener::{Ending, Places},
    telemetry::{logs::AccessLog, trace::Tracing},
};

/// What every worker and every request shares.
pub(crate) struct Runtime {
    pub(crate) snapshot: ArcSwap<Snapshot>,
    pub(crate) resources: Resources,
    pub(crate) tracing: Tracing,
    pub(crate) access: Arc<AccessLog>,
    /// How far the end of the process has come, for callers of the service.
    ending: watch::Sender<Ending>,
    /// The same for the service's own calls, which go on until it has ended.
    ending_outbound: watch::Sender<Ending>,
    /// The service's own calls.
    pub(crate) calls_out: CallsOut,
    pub(crate) places: Arc<Places>,
    /// Log lines for what happens to operations, breakers and upstreams.
    pub(crate) notices: Notices,
    /// The drain's time is over.
    pub(crate) cutting_off: watch::Sender<bool>,
    /// Another configuration is in force.
    pub(crate) reloaded: watch::Sender<()>,
    /// When readiness began to fail, by SIGTERM or by an operator.
    pub(crate) drain_began: OnceLock<Instant>,
}

impl Runtime {
    /// Serving `snapshot` from now on, and witness of every change of an operation.
    pub(crate) fn new(snapshot: Snapshot, resources: Resources, tracing: Tracing, access: Arc<AccessLog>) -> Arc<Self> {
        let runtime = Arc::new(Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            resources,
            tracing,
            access,
            ending: watch::Sender::new(Ending::No),
            ending_outbound: watch::Sender::new(Ending::No),
            calls_out: CallsOut::default(),
            places: Places::new(),
            notices: Notices::default(),
            cutting_off: watch::Sender::new(false),
            reloaded: watch::Sender::new(()),
            drain_began: OnceLock::new(),
        });
        let witness = Arc::downgrade(&runtime);
        runtime.resources.recorder.tell(witness);
        runtime
    }

    /// How far the end of the process has come, as it is told in that direction.
    pub(crate) const fn ending(&self, direction: Direction) -> &watch::Sender<Ending> {
        match direction {
            Direction::Inbound => &self.ending,
            Direction::Outbound => &self.ending_outbound,
        }
    }

    pub(crate) fn is_draining(&self, direction: Direction) -> bool {
        *self.ending(direction).borrow() != Ending::No
    }

    /// Whether the drain's time is over.
    pub(crate) fn is_cutting_off(&self) -> bool {
        *self.cutting_off.borrow()
    }

    /// How long an HTTP/1 connection may be idle now, where that is less than without a drain.
    pub(crate) fn idle_patience(&self, direction: Direction, delay: Duration) -> Option<Duration> {
        let ending = *self.ending(direction).borrow();
        ending.idle_patience(self.drain_began.get().map(Instant::elapsed).unwrap_or_default(), delay)
    }

    /// Resolves when the drain's time is over.
    pub(crate) async fn cut_off(&self) {
        // The sender is part of what is borrowed here, so it is not gone.
        let _ = self.cutting_off.subscribe().wait_for(|over| *over).await;
    }

    /// Lets readiness fail and tells clients of these directions to go elsewhere from now on; whether it did so already. What
    /// comes is served.
    pub(crate) fn begin_drain(&self, readiness: &Readiness, directions: &[Direction]) -> bool {
        let already = self.drain_began.set(Instant::now()).is_err();
        readiness.set(Condition::Draining, true);
        for direction in directions {
            self.ending(*direction).send_if_modified(|ending| {
                let begins = *ending == Ending::No;
                if begins {
                    *ending = Ending::Draining;
                }
                begins
            });
        }
        already
    }
}
