//! What a configuration is while it is served.

mod aftermath;
pub(crate) mod breakers;
mod forget;
pub(crate) mod gauges;
pub(crate) mod named;
pub mod readiness;
pub(crate) mod resources;
pub(crate) mod route;
pub(crate) mod snapshot;

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use tokio::{sync::watch, time::Instant};

use self::{
    readiness::{Condition, Readiness},
    resources::Resources,
    snapshot::Snapshot,
};
use crate::{
    listener::Places,
    telemetry::{logs::AccessLog, trace::Tracing},
};

/// What every worker and every request shares.
pub(crate) struct Runtime {
    pub(crate) snapshot: ArcSwap<Snapshot>,
    pub(crate) resources: Resources,
    pub(crate) tracing: Tracing,
    pub(crate) access: Arc<AccessLog>,
    pub(crate) draining: watch::Sender<bool>,
    pub(crate) places: Arc<Places>,
    /// The drain's time is over.
    pub(crate) cutting_off: watch::Sender<bool>,
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
            draining: watch::Sender::new(false),
            places: Places::new(),
            cutting_off: watch::Sender::new(false),
            drain_began: OnceLock::new(),
        });
        let witness = Arc::downgrade(&runtime);
        runtime.resources.recorder.tell(witness);
        runtime
    }

    pub(crate) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Resolves when the drain's time is over.
    pub(crate) async fn cut_off(&self) {
        // The sender is part of what is borrowed here, so it is not gone.
        let _ = self.cutting_off.subscribe().wait_for(|over| *over).await;
    }

    /// Lets readiness fail from now on; whether it did so already.
    pub(crate) fn begin_drain(&self, readiness: &Readiness) -> bool {
        let already = self.drain_began.set(Instant::now()).is_err();
        readiness.set(Condition::Draining, true);
        already
    }
}
