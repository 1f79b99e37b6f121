//! What has expired is forgotten, off the path of requests.

use std::{sync::Arc, time::Duration};

use mainstay_policies::operation::ledger::{Health, LedgerError};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    api::document,
    config::model::{Config, ReadyLedger, Store},
    faults::{self, Pitfall},
    ledger::principals,
    runtime::{
        Runtime,
        readiness::{Condition, Readiness},
        resources::Resources,
    },
};

/// How often the ledger forgets what has expired, and limiters what is idle.
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(1);

/// Records that are removed at once, so that this never holds up a write for long.
const EXPIRED_AT_ONCE: usize = 256;

/// Keys of one limiter that one round of housekeeping looks at.
const KEYS_AT_ONCE: usize = 4096;

/// Forgets what has expired, off the path of requests, and looks whether the ledger still takes writes.
///
/// A ledger on disk that does not makes the pod unready, unlike a failing upstream or an open breaker: the disk is the pod's own, so
/// other pods can take the writes that this one would refuse. The pod stays alive, and what has been sent is followed up.
pub(crate) async fn keep_house(runtime: Arc<Runtime>, readiness: Arc<Readiness>) {
    let mut every = interval(HOUSEKEEPING_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ledger = &runtime.resources.ledger;
    let mut known_as = ledger.instance();
    loop {
        let now = every.tick().await;
        faults::stumble(Pitfall::House);
        if let Err(error) = forget_expired(&runtime.resources).await {
            tracing::warn!(%error, "the ledger cannot forget what has expired");
        }
        let snapshot = runtime.snapshot.load_full();
        let instance = ledger.instance();
        if instance != known_as {
            match principals::register_anew(ledger, &snapshot.config).await {
                Ok(()) => known_as = instance,
                Err(error) => tracing::error!(%error, "other replicas do not know how this one knows its callers"),
            }
        }
        runtime.notices.look(&snapshot, now);
        // Before readiness: whoever has seen that change has been told of it.
        runtime.look_for_changes(&snapshot, now);
        let is_writable = runtime.resources.ledger.health() == Health::Writable;
        readiness.set(Condition::LedgerWritable, is_writable || !needs_ledger(&snapshot.config));
        readiness.set_quarantine(
            ledger.quarantined_until().map(|until| {
                format!("in quarantine until {}: keys without a record are refused", document::time(until))
            }),
        );
        for limiter in snapshot.routes.iter().filter_map(|route| route.limiter.as_ref()) {
            limiter.sweep(now, KEYS_AT_ONCE);
        }
        for upstream in snapshot.upstreams.values() {
            upstream.sweep(runtime.resources.background(), now);
        }
    }
}

/// Whether traffic should stay away while the ledger takes no writes.
fn needs_ledger(config: &Config) -> bool {
    let is_needed = match &config.ledger.store {
        Store::Disk { .. } => config.probes.ready.ledger == ReadyLedger::Auto,
        // It fails for every replica at once: if all were unready, the reads would be lost with the writes.
        Store::Postgres(store) => !store.ready_without,
        Store::Memory => false,
    };
    config.protects_writes() && is_needed
}

/// Forgets in small pieces, between which writes get their turn, but at most for one round's time.
async fn forget_expired(resources: &Resources) -> Result<(), LedgerError> {
    let until = Instant::now() + HOUSEKEEPING_EVERY;
    while Instant::now() < until {
        let now = resources.clock.steady(resources.clock.now());
        if resources.ledger.expire(now, EXPIRED_AT_ONCE).await? < EXPIRED_AT_ONCE {
            break;
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}
