//! Metrics of a ledger that replicas share; of any other none of them is there.

use std::sync::{Arc, Weak};

use super::Runtime;
use crate::telemetry::metrics::{Kind, Samples};

/// Each by its name, as [`Reading`](mainstay_policies::operation::ledger::Reading) has it, with what its word says.
const FAMILIES: [(&str, &str, &str, Kind, &str); 14] = [
    ("retries", "mainstay_ledger_retries", "Batches that were asked again, by why", Kind::Counter, "reason"),
    ("ambiguous", "mainstay_ledger_ambiguous", "What batches had done that were asked again", Kind::Counter, "found"),
    ("refused", "mainstay_ledger_refused", "Begins that were refused, by why", Kind::Counter, "reason"),
    ("lease_seconds", "mainstay_ledger_lease_seconds", "How long this replica may still act", Kind::Gauge, ""),
    ("beats", "mainstay_ledger_beats", "Signs of life, by what the store made of them", Kind::Counter, "result"),
    ("fenced", "mainstay_ledger_fenced", "Times that others took this replica for dead", Kind::Counter, ""),
    (
        "taken_over",
        "mainstay_ledger_taken_over",
        "Operations taken over, by how their replica ended",
        Kind::Counter,
        "from",
    ),
    ("replicas", "mainstay_ledger_replicas", "Replicas that live", Kind::Gauge, ""),
    ("clock_offset", "mainstay_ledger_clock_offset_seconds", "The store's time less this machine's", Kind::Gauge, ""),
    ("durability", "mainstay_ledger_durability", "What outlives what the store acknowledged", Kind::Gauge, "level"),
    ("lost", "mainstay_ledger_lost", "Operations that the store had acknowledged and forgot", Kind::Counter, ""),
    ("keys_twice", "mainstay_ledger_keys_twice", "Keys begun again after the store forgot them", Kind::Counter, ""),
    ("waiters", "mainstay_ledger_waiters", "Operations whose change somebody waits for", Kind::Gauge, ""),
    (
        "abandoned",
        "mainstay_ledger_abandoned",
        "Begins that were refused, found on record and freed",
        Kind::Counter,
        "",
    ),
];

/// Registers them.
pub(super) fn register(runtime: &Arc<Runtime>) {
    let metrics = &runtime.resources.metrics;
    for (reading, name, help, kind, label) in FAMILIES {
        // The registry is part of what it reads, so it holds no strong reference.
        let runtime: Weak<Runtime> = Arc::downgrade(runtime);
        metrics.on_scrape(name, help, kind, move |samples: &mut Samples| {
            let Some(runtime) = runtime.upgrade() else { return };
            for found in runtime.resources.ledger.readings().iter().filter(|found| found.name == reading) {
                let labels = [(label, found.word)];
                samples.push(if label.is_empty() { &[] } else { &labels }, found.value);
            }
        });
    }
    let weak: Weak<Runtime> = Arc::downgrade(runtime);
    let help = "Changes that their callers were told nobody knows of, and that are tried on";
    metrics.on_scrape("mainstay_ledger_unrecorded", help, Kind::Gauge, move |samples: &mut Samples| {
        if let Some(runtime) = weak.upgrade().filter(|runtime| runtime.resources.ledger.patience().is_some()) {
            samples.push(&[], runtime.resources.recorder.unrecorded() as f64);
        }
    });
}
