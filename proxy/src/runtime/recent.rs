//! What was lately so: counters are looked at now and then, for people who look at the process now.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Runtime, snapshot::Snapshot};
use crate::{telemetry::metrics::recent::MOST, upstream::Upstream};

/// Looks that the last minute has.
const SLOTS: usize = 12;

/// Attempts of the last minute that found no connection, by endpoint. Only endpoints that ever failed are in it, and only those
/// that are configured.
#[derive(Debug, Default)]
pub(crate) struct RecentFailures(Mutex<HashMap<(Arc<str>, String), Failures>>);

/// Those of one endpoint.
#[derive(Debug, Default)]
struct Failures {
    /// All of them, at the last look.
    known: u64,
    /// Those between two looks.
    slots: [u32; SLOTS],
    slot: usize,
}

impl Failures {
    /// How many there are more than at the last look. An upstream that is configured anew counts anew.
    fn since(&self, all: u64) -> u64 {
        if all < self.known { all } else { all - self.known }
    }

    fn look(&mut self, all: u64) {
        self.slot = (self.slot + 1) % SLOTS;
        self.slots[self.slot] = u32::try_from(self.since(all)).unwrap_or(u32::MAX);
        self.known = all;
    }

    fn of_the_minute(&self, all: u64) -> u64 {
        self.slots.iter().map(|count| u64::from(*count)).sum::<u64>() + self.since(all)
    }
}

impl RecentFailures {
    fn look(&self, snapshot: &Snapshot) {
        let mut known = self.0.lock();
        known.retain(|(upstream, address), _| {
            snapshot
                .upstreams
                .get(upstream)
                .is_some_and(|upstream| upstream.live().into_iter().any(|at| upstream.address(at) == address.as_str()))
        });
        for upstream in snapshot.upstreams.values() {
            for at in upstream.live() {
                let all = upstream.reached(at).failures;
                let name = || (upstream.params().name.clone(), upstream.address(at).into_owned());
                if all > 0 {
                    known.entry(name()).or_default().look(all);
                }
            }
        }
    }

    /// How often the endpoint could not be connected to in the last minute, of `all` such failures.
    pub(crate) fn of_the_minute(&self, upstream: &Upstream, at: usize, all: u64) -> u64 {
        let name = (upstream.params().name.clone(), upstream.address(at).into_owned());
        self.0.lock().get(&name).map_or(all, |failures| failures.of_the_minute(all))
    }
}

impl Runtime {
    /// Looks at what is counted; to be called every [`INTERVAL`](crate::telemetry::metrics::recent::INTERVAL).
    pub(crate) fn look_at_counters(&self, now: Instant) {
        let (snapshot, slot) = (self.snapshot.load(), self.resources.metrics.slot());
        self.recent_failures.look(&snapshot);
        let mut room = MOST;
        for upstream in snapshot.upstreams.values() {
            room -= upstream.look(slot, room).min(room);
        }
        let ledger = &self.resources.ledger;
        let in_doubt = ledger.census().map_or(ledger.owned()[1], |census| census.unknown);
        self.resources.metrics.look(in_doubt, (now, self.resources.clock.now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_count_for_a_minute() {
        let mut failures = Failures::default();
        failures.look(3);
        assert_eq!(failures.of_the_minute(5), 5);
        for _ in 1..SLOTS {
            failures.look(5);
        }
        assert_eq!(failures.of_the_minute(5), 5);
        failures.look(5);
        assert_eq!(failures.of_the_minute(5), 2);
        failures.look(5);
        assert_eq!(failures.of_the_minute(6), 1);
        assert_eq!(failures.of_the_minute(2), 2, "counted anew");
    }
}
