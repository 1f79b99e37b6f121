//! Looks at the counters now and then, for those who ask what the last minute was like.

use std::sync::Arc;

use tokio::time::{MissedTickBehavior, interval};

use crate::{runtime::Runtime, telemetry::metrics::recent::INTERVAL};

/// Looks every [`INTERVAL`]; the first time after one.
pub(super) async fn watch(runtime: Arc<Runtime>) {
    let mut every = interval(INTERVAL);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    every.tick().await;
    loop {
        let now = every.tick().await;
        runtime.look_at_counters(now);
    }
}
