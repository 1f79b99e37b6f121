//! What is due, by upstream: the longest due first.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use mainstay_policies::operation::{OperationId, UnixMillis, ledger::Due};

/// Operations that are due, each once, and how many are being worked on. Bounded by `ledger.max_open`.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    known: HashSet<OperationId>,
    lanes: HashMap<Arc<str>, Lane>,
}

/// The operations of one upstream.
#[derive(Debug, Default)]
pub(super) struct Lane {
    waiting: BTreeMap<(UnixMillis, u64), OperationId>,
    /// Being worked on.
    pub(super) running: usize,
    /// Of those, how many wait for their turn to ask.
    pub(super) booked: usize,
}

impl Lanes {
    /// Takes an operation in, unless it is here.
    pub(super) fn add(&mut self, due: Due) {
        if self.known.insert(due.id) {
            let place = due.place();
            self.lanes.entry(due.upstream).or_default().waiting.insert(place, due.id);
        }
    }

    /// The upstreams that have anything here.
    pub(super) fn upstreams(&self) -> Vec<Arc<str>> {
        self.lanes.keys().cloned().collect()
    }

    pub(super) fn lane(&mut self, upstream: &str) -> Option<&mut Lane> {
        self.lanes.get_mut(upstream)
    }

    /// The operation that has been due for longest.
    pub(super) fn first(&self, upstream: &str) -> Option<OperationId> {
        self.lanes.get(upstream)?.waiting.values().next().copied()
    }

    /// The first operation of an upstream is being worked on from now on.
    pub(super) fn start(&mut self, upstream: &str) {
        if let Some(lane) = self.lanes.get_mut(upstream) {
            lane.waiting.pop_first();
            lane.running += 1;
            lane.booked += 1;
        }
    }

    /// The first operation of an upstream needs no work.
    pub(super) fn skip(&mut self, upstream: &str) {
        let id = self.lanes.get_mut(upstream).and_then(|lane| lane.waiting.pop_first());
        if let Some((_, id)) = id {
            self.known.remove(&id);
        }
    }

    /// An operation has been worked on.
    pub(super) fn end(&mut self, upstream: &str, id: OperationId) {
        self.known.remove(&id);
        if let Some(lane) = self.lanes.get_mut(upstream) {
            lane.running -= 1;
        }
    }

    /// Lets go of lanes in which nothing is.
    pub(super) fn tidy(&mut self) {
        self.lanes.retain(|_, lane| lane.running > 0 || !lane.waiting.is_empty());
    }

    /// How many operations wait, by upstream.
    pub(super) fn depths(&self) -> Vec<(Arc<str>, usize)> {
        self.lanes.iter().map(|(upstream, lane)| (Arc::clone(upstream), lane.waiting.len())).collect()
    }

    /// All that are here.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(at: UnixMillis, seq: u64, upstream: &str) -> Due {
        Due { at, id: OperationId { seq, tag: 0 }, upstream: upstream.into() }
    }

    fn first(lanes: &Lanes, upstream: &str) -> Option<u64> {
        lanes.first(upstream).map(|id| id.seq)
    }

    #[test]
    fn the_longest_due_of_each_upstream_comes_first_and_each_is_here_once() {
        let mut lanes = Lanes::default();
        for (at, seq, upstream) in [(20, 1, "a"), (10, 2, "a"), (10, 2, "a"), (30, 2, "a"), (5, 3, "b")] {
            lanes.add(due(at, seq, upstream));
        }
        assert_eq!((first(&lanes, "a"), first(&lanes, "b"), lanes.len()), (Some(2), Some(3), 3));
        lanes.start("a");
        lanes.add(due(40, 2, "a"));
        assert_eq!((first(&lanes, "a"), lanes.len()), (Some(1), 3), "what is worked on is not taken in again");
        lanes.end("a", OperationId { seq: 2, tag: 0 });
        lanes.skip("a");
        lanes.add(due(40, 2, "a"));
        assert_eq!((first(&lanes, "a"), lanes.len()), (Some(2), 2));
    }

    #[test]
    fn nothing_stays_of_upstreams_that_have_nothing_to_do() {
        let mut lanes = Lanes::default();
        lanes.add(due(1, 1, "a"));
        lanes.start("a");
        lanes.tidy();
        assert_eq!(lanes.upstreams().len(), 1);
        lanes.end("a", OperationId { seq: 1, tag: 0 });
        lanes.tidy();
        assert_eq!((lanes.upstreams().len(), lanes.len()), (0, 0));
    }
}
