//! What runs with no client about: the resolver, housekeeping, renewed certificates, and looks at the CPU and the
//! counters; each is started again if it ends.

mod certificates;
mod counters;
pub mod cpu;
pub(crate) mod housekeeping;
pub(crate) mod resolver;
pub(crate) mod supervise;

use std::sync::Arc;

use tokio::task::JoinHandle;

use self::supervise::Restarts;
use crate::runtime::{Runtime, readiness::Readiness};

/// Starts all of it. Each task runs until its handle aborts it.
pub(crate) fn start(runtime: &Arc<Runtime>, readiness: &Arc<Readiness>) -> Vec<JoinHandle<()>> {
    let restarts = Arc::new(Restarts::default());
    restarts.register(&runtime.resources.metrics);
    let resolving = runtime.clone();
    let resolver = restarts.clone().keep_running("resolver", move || resolver::run(resolving.clone()));
    let watching = runtime.clone();
    let cpu = restarts.clone().keep_running("cpu", move || cpu::watch(watching.clone()));
    let counting = runtime.clone();
    let counters = restarts.clone().keep_running("counters", move || counters::watch(counting.clone()));
    let (renewing, told) = (runtime.clone(), readiness.clone());
    let certificates =
        restarts.clone().keep_running("certificates", move || certificates::watch(renewing.clone(), told.clone()));
    let (keeping, readiness) = (runtime.clone(), readiness.clone());
    let housekeeping =
        restarts.keep_running("housekeeping", move || housekeeping::keep_house(keeping.clone(), readiness.clone()));
    vec![
        tokio::spawn(resolver),
        tokio::spawn(cpu),
        tokio::spawn(counters),
        tokio::spawn(certificates),
        tokio::spawn(housekeeping),
    ]
}
