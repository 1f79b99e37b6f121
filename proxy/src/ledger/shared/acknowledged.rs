//! What the store has acknowledged lately: what it must know after every reconnect. A store that does not has gone back in time, as
//! one that was restored from a copy, or a standby that was behind and is the primary now.

use std::collections::{HashMap, VecDeque};

use mainstay_policies::operation::{Operation, UnixMillis};

/// Operations that are looked for after a reconnect.
const KEPT: usize = 256;

/// What the store has acknowledged lately.
#[derive(Debug, Default)]
pub(in crate::ledger) struct Acknowledged(VecDeque<Entry>);

#[derive(Clone, Copy, Debug)]
struct Entry {
    seq: u64,
    revision: u64,
    /// From then on it may be forgotten.
    forgotten_at: Option<UnixMillis>,
}

impl Acknowledged {
    /// A begin or a change was acknowledged.
    pub(in crate::ledger) fn add(&mut self, operation: &Operation) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        let (seq, revision) = (operation.id.seq, operation.revision);
        self.0.push_back(Entry { seq, revision, forgotten_at: operation.forgotten_at() });
    }

    /// What to look for.
    pub(in crate::ledger) fn seqs(&self) -> Vec<i64> {
        self.0.iter().map(|entry| entry.seq.cast_signed()).collect()
    }

    /// Those that are missing at `now`, or older than was acknowledged, where these are there, each with its revision.
    pub(in crate::ledger) fn lost(&self, there: &HashMap<u64, u64>, now: UnixMillis) -> Vec<u64> {
        let is_lost = |entry: &&Entry| match there.get(&entry.seq) {
            Some(revision) => *revision < entry.revision,
            None => entry.forgotten_at.is_none_or(|at| now < at),
        };
        let mut lost: Vec<_> = self.0.iter().filter(is_lost).map(|entry| entry.seq).collect();
        lost.sort_unstable();
        lost.dedup();
        lost
    }

    /// It has been written again.
    pub(in crate::ledger) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_older_is_lost_and_what_may_be_forgotten_is_not() {
        let entry = |seq, revision, forgotten_at| Entry { seq, revision, forgotten_at };
        let all =
            [entry(1, 1, None), entry(1, 2, None), entry(2, 2, Some(100)), entry(3, 2, Some(10)), entry(4, 1, None)];
        let acknowledged = Acknowledged(all.into());
        assert_eq!(acknowledged.lost(&HashMap::from([(1, 2), (2, 9), (4, 1)]), 50), [] as [u64; 0]);
        assert_eq!(
            acknowledged.lost(&HashMap::from([(1, 1), (4, 1)]), 50),
            [1, 2],
            "older, missing; the third may be gone"
        );
        assert_eq!(acknowledged.lost(&HashMap::new(), 50), [1, 2, 4]);
    }
}
