//! Which other replicas have died.
//!
//! A replica is dead when its beat was *seen to stand still* for `ttl` by the observer's own monotonic clock. No replica's wall
//! clock is read, and nobody's word about time is taken. While the store cannot be read, or is read late, nothing is seen, so
//! everybody gets a full `ttl` again: an outage of the store kills nobody.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use mainstay_policies::faults::{Safeguard, is_off};
use tokio::time::Instant;

/// What was seen of the other replicas.
#[derive(Debug)]
pub(in crate::ledger) struct Watch {
    ttl: Duration,
    /// Two looks further apart than this saw nothing in between.
    late: Duration,
    /// By number: the last beat, and since when it has been that.
    seen: HashMap<i64, (i64, Instant)>,
    last: Option<Instant>,
}

impl Watch {
    pub(in crate::ledger) fn new(ttl: Duration, heartbeat: Duration) -> Self {
        Self { ttl, late: heartbeat * 3, seen: HashMap::new(), last: None }
    }

    /// Takes in the numbers and beats of all others that have not ended; returns those that are dead.
    pub(in crate::ledger) fn look(&mut self, others: &[(i64, i64)], now: Instant) -> Vec<(i64, i64)> {
        let was_missed = self.last.replace(now).is_none_or(|last| now.duration_since(last) > self.late);
        if was_missed && !is_off(Safeguard::MissedLooks) {
            self.seen.clear();
        }
        let there: HashSet<_> = others.iter().map(|(no, _)| *no).collect();
        self.seen.retain(|no, _| there.contains(no));
        let mut dead = Vec::new();
        for &(no, beat) in others {
            let seen = self.seen.entry(no).or_insert((beat, now));
            if seen.0 != beat {
                *seen = (beat, now);
            }
            if now.duration_since(seen.1) >= self.ttl {
                dead.push((no, beat));
            }
        }
        dead
    }

    /// A look failed.
    pub(in crate::ledger) fn missed(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(10);
    const HEARTBEAT: Duration = Duration::from_secs(2);

    #[test]
    fn only_a_beat_that_stands_still_for_the_whole_time_is_a_death() {
        let (mut watch, start) = (Watch::new(TTL, HEARTBEAT), Instant::now());
        for second in (0..10).step_by(2) {
            assert_eq!(watch.look(&[(1, 7), (2, second)], start + Duration::from_secs(second.unsigned_abs())), []);
        }
        assert_eq!(watch.look(&[(1, 7), (2, 10)], start + TTL), [(1, 7)]);
        assert_eq!(watch.look(&[(2, 11)], start + TTL + HEARTBEAT), [], "it has ended");
        assert_eq!(watch.look(&[(1, 7), (2, 12)], start + TTL + HEARTBEAT * 2), [], "nothing is known of it any more");
    }

    #[test]
    fn an_outage_of_the_store_kills_nobody() {
        for failed in [true, false] {
            let (mut watch, start) = (Watch::new(TTL, HEARTBEAT), Instant::now());
            assert_eq!(watch.look(&[(1, 7)], start), []);
            // Either the look failed, or none was made for long.
            if failed {
                watch.missed();
            }
            let back = start + if failed { HEARTBEAT } else { TTL * 3 };
            assert_eq!(watch.look(&[(1, 7)], back), [], "{failed}");
            for seconds in [2, 4, 6, 8] {
                assert_eq!(watch.look(&[(1, 7)], back + Duration::from_secs(seconds)), []);
            }
            assert_eq!(watch.look(&[(1, 7)], back + TTL), [(1, 7)], "a full time later");
        }
    }
}
