//! What snapshots are built with.

use std::sync::Arc;

use mainstay_policies::{
    clock::WallClock,
    concurrency_limit::CpuLoad,
    idempotency::{IdMint, QueryGate},
    operation::{Recorder, ledger::Ledger},
};

use crate::{telemetry::metrics::Metrics, wire::body::budget::BodyBudget};

/// What snapshots are built with.
pub(crate) struct Resources {
    pub(crate) ledger: Arc<dyn Ledger>,
    /// The one door for every change of an operation.
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) clock: WallClock,
    pub(crate) metrics: Arc<Metrics>,
    /// Threads that serve; fixed at start, since sockets and pools belong to them.
    pub(crate) workers: usize,
    /// Bounds status queries per upstream, whoever asks.
    pub(crate) gate: QueryGate,
    /// Makes fresh keys, in one order.
    pub(crate) mint: Arc<IdMint>,
    /// How busy the CPU is, for limits that shed by it.
    pub(crate) cpu: CpuLoad,
    /// What bodies that are held whole may take of memory.
    pub(crate) bodies: Arc<BodyBudget>,
}

impl Resources {
    /// The number by which the resolver, a thread more, is known to upstreams.
    pub(crate) const fn background(&self) -> usize {
        self.workers
    }
}
