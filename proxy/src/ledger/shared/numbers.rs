//! The order of operations: numbers that no two replicas give, and that grow with time.
//!
//! ```text
//! seq = milliseconds since 2024 (41 bits) · node (10) · counter (12)
//! ```
//!
//! Only milliseconds that the store has reserved for the node are used, so a replica that gets the node of a dead one starts
//! after everything that one may have given.

use mainstay_policies::operation::UnixMillis;
use parking_lot::Mutex;

/// 2024-01-01T00:00:00Z.
pub(in crate::ledger) const EPOCH: UnixMillis = 1_704_067_200_000;
/// Milliseconds that are reserved at once: a beat renews them long before they are used up.
pub(in crate::ledger) const BLOCK_MS: u64 = 60_000;
const COUNTERS: u64 = 1 << 12;

/// Gives the numbers of one replica.
#[derive(Debug, Default)]
pub(in crate::ledger) struct Numbers(Mutex<State>);

#[derive(Clone, Copy, Debug, Default)]
struct State {
    node: u16,
    /// What is reserved: from, and up to.
    from: UnixMillis,
    until: UnixMillis,
    ms: UnixMillis,
    counter: u64,
}

impl Numbers {
    /// From now on as `node`, with the milliseconds from `from` on for [`BLOCK_MS`].
    pub(in crate::ledger) fn reserved(&self, node: u16, from: UnixMillis) {
        let mut state = self.0.lock();
        if state.node != node || from != state.until {
            (state.node, state.from) = (node, from);
        }
        state.until = from.saturating_add(BLOCK_MS);
    }

    /// Whether more is to be reserved.
    pub(in crate::ledger) fn runs_out(&self, now: UnixMillis) -> bool {
        let state = self.0.lock();
        state.ms.max(now).saturating_add(BLOCK_MS / 2) > state.until
    }

    /// The next number; `None`: nothing is reserved for now.
    pub(in crate::ledger) fn next(&self, now: UnixMillis) -> Option<u64> {
        let mut state = self.0.lock();
        let now = now.max(state.from).max(EPOCH);
        if now > state.ms {
            (state.ms, state.counter) = (now, 0);
        } else if state.counter + 1 < COUNTERS {
            state.counter += 1;
        } else {
            (state.ms, state.counter) = (state.ms + 1, 0);
        }
        (state.ms < state.until).then(|| number(state.ms, state.node, state.counter))
    }

    /// Below every number that is given from now on.
    pub(in crate::ledger) fn low(&self, now: UnixMillis) -> u64 {
        let state = self.0.lock();
        // What was given in the same millisecond may not have arrived in the store yet.
        let now = now.max(state.from).max(EPOCH);
        number(if state.ms == 0 { now } else { now.min(state.ms) }, 0, 0)
    }
}

/// When a number was given.
pub(in crate::ledger) const fn arrived_at(number: u64) -> UnixMillis {
    (number >> 22) + EPOCH
}

fn number(ms: UnixMillis, node: u16, counter: u64) -> u64 {
    ((ms.saturating_sub(EPOCH) & ((1 << 41) - 1)) << 22) | (u64::from(node) << 12) | counter
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = EPOCH + 1_000_000;

    #[test]
    fn numbers_grow_and_stay_within_what_is_reserved() {
        let numbers = Numbers::default();
        assert_eq!(numbers.next(NOW), None, "nothing is reserved");
        numbers.reserved(5, NOW);
        let mut last = 0;
        for at in 0..10_000 {
            let next = numbers.next(NOW + at / 1_000).expect("there is room");
            assert!(next > last && (next >> 12) & 1023 == 5);
            last = next;
        }
        assert_eq!(numbers.next(NOW + BLOCK_MS), None, "over");
        assert!(numbers.runs_out(NOW + BLOCK_MS / 2 + 1));
        numbers.reserved(5, NOW + BLOCK_MS);
        assert!(numbers.next(NOW + BLOCK_MS).expect("there is room again") > last);
    }

    #[test]
    fn a_clock_that_stands_behind_what_was_reserved_gives_nothing_earlier() {
        let numbers = Numbers::default();
        numbers.reserved(1, NOW + 30_000);
        assert!(numbers.next(NOW).expect("there is room") >> 22 == NOW + 30_000 - EPOCH);
        assert!(numbers.low(NOW) <= numbers.next(NOW).expect("there is room"));
    }
}
