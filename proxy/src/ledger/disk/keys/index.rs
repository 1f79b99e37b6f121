//! What is known of keys in memory: the latest ones, and a filter for each segment on disk.
//!
//! A filter is a Bloom filter of [`BITS`] bits and [`PROBES`] probes: 32 768 keys at 16 bits each, so that one look in
//! 1 000 is for nothing. The filters of 64 segments lie side by side, bit by bit, and one look asks all of them.

use std::{collections::BTreeSet, sync::Arc};

/// Bits of a segment's filter, as a power of two.
const BITS_LOG: u32 = 19;
const BITS: usize = 1 << BITS_LOG;
/// Bits that a key sets.
const PROBES: u32 = 6;
/// Filters in a group: the bits of a word.
const GROUP: usize = u64::BITS as usize;

/// The beginning of a hash, of a key or of what a service is asked, and the number of an operation under it.
pub(crate) type Entry = (i64, u64);

/// Some operations that followed each other, as they are filed on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) id: i64,
    /// The first and the last number that may be in it.
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// How many are in it.
    pub(crate) entries: usize,
}

/// Which operations may be under a key.
#[derive(Default)]
pub(crate) struct KeyIndex {
    /// What is in no segment.
    fresh: BTreeSet<Entry>,
    /// In order: what is being written as a segment, and older than what is fresh.
    sealing: Arc<[Entry]>,
    groups: Vec<Group>,
}

impl KeyIndex {
    /// Files a new operation.
    pub(crate) fn add(&mut self, entry: Entry) {
        self.fresh.insert(entry);
    }

    /// How many operations are in no segment and on the way to none.
    pub(crate) fn fresh(&self) -> usize {
        self.fresh.len()
    }

    /// The newest operation before `below` that may be under a key and is in no segment.
    pub(crate) fn newest(&self, prefix: i64, below: u64) -> Option<u64> {
        let fresh = self.fresh.range((prefix, 0)..(prefix, below)).next_back();
        fresh.or_else(|| newest_of(&self.sealing, prefix, below)).map(|(_, seq)| *seq)
    }

    /// The segments in which a key may be, the newest first.
    pub(crate) fn segments(&self, prefix: i64) -> Vec<Segment> {
        let mut found: Vec<_> = self.groups.iter().flat_map(|group| group.with(prefix)).collect();
        found.sort_unstable_by_key(|segment| std::cmp::Reverse(segment.last));
        found
    }

    /// Takes what is fresh, to be written as a segment. Until [`Self::seal`] it is found as before.
    pub(crate) fn start_sealing(&mut self) -> Arc<[Entry]> {
        self.sealing = std::mem::take(&mut self.fresh).into_iter().collect();
        Arc::clone(&self.sealing)
    }

    /// What was being written is a segment on disk now.
    pub(crate) fn seal(&mut self, segment: Segment) {
        let entries = std::mem::take(&mut self.sealing);
        self.file(segment, entries.iter().map(|(prefix, _)| *prefix));
    }

    /// Knows a segment on disk, with these keys in it.
    pub(crate) fn file(&mut self, segment: Segment, prefixes: impl Iterator<Item = i64>) {
        let known = self.groups.iter().position(|group| group.free().is_some());
        let group = known.unwrap_or_else(|| {
            self.groups.push(Group { segments: [None; GROUP], rows: vec![0; BITS].into() });
            self.groups.len() - 1
        });
        let group = &mut self.groups[group];
        let slot = group.free().expect("the group has a free place, or is new");
        group.segments[slot] = Some(segment);
        for prefix in prefixes {
            for row in rows(prefix) {
                group.rows[row] |= 1 << slot;
            }
        }
    }

    /// Forgets a segment.
    pub(crate) fn forget(&mut self, id: i64) {
        for group in &mut self.groups {
            let slot = group.segments.iter().position(|segment| segment.is_some_and(|segment| segment.id == id));
            if let Some(slot) = slot {
                group.segments[slot] = None;
                group.rows.iter_mut().for_each(|row| *row &= !(1 << slot));
            }
        }
    }
}

/// 64 filters: bit `n` of row `r` is bit `r` of the filter of segment `n`.
struct Group {
    segments: [Option<Segment>; GROUP],
    rows: Box<[u64]>,
}

impl Group {
    fn free(&self) -> Option<usize> {
        self.segments.iter().position(Option::is_none)
    }

    fn with(&self, prefix: i64) -> impl Iterator<Item = Segment> {
        let mut all = u64::MAX;
        for row in rows(prefix) {
            all &= self.rows[row];
            if all == 0 {
                break;
            }
        }
        self.segments
            .iter()
            .enumerate()
            .filter(move |(slot, _)| all >> slot & 1 == 1)
            .filter_map(|(_, segment)| *segment)
    }
}

/// The bits that a key sets. Two halves of one number make all of them (Kirsch and Mitzenmacher, 2006); it is mixed first,
/// so that nothing depends on how evenly the beginnings of key hashes are spread.
fn rows(prefix: i64) -> impl Iterator<Item = usize> {
    let mut mixed = prefix.cast_unsigned();
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    let (start, step) = (mixed as u32, (mixed >> 32) as u32 | 1);
    (0..PROBES).map(move |probe| (start.wrapping_add(probe.wrapping_mul(step)) >> (u32::BITS - BITS_LOG)) as usize)
}

fn newest_of(entries: &[Entry], prefix: i64, below: u64) -> Option<&Entry> {
    let end = entries.partition_point(|entry| *entry < (prefix, below));
    entries[..end].last().filter(|(known, _)| *known == prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(id: i64) -> Segment {
        let last = id.cast_unsigned() * 100;
        Segment { id, first: last - 99, last, entries: 100 }
    }

    /// Every operation that may be under a key and is in no segment, the newest first.
    fn fresh(index: &KeyIndex, prefix: i64) -> Vec<u64> {
        let mut below = u64::MAX;
        std::iter::from_fn(|| {
            below = index.newest(prefix, below)?;
            Some(below)
        })
        .collect()
    }

    #[test]
    fn the_newest_comes_first_before_and_while_it_is_sealed() {
        let mut index = KeyIndex::default();
        for entry in [(7, 1), (-7, 2), (7, 3), (8, 4), (i64::MIN, 5), (i64::MAX, 6)] {
            index.add(entry);
        }
        index.start_sealing();
        index.add((7, 9));
        assert_eq!(fresh(&index, 7), [9, 3, 1]);
        assert_eq!(fresh(&index, -7), [2]);
        assert_eq!((fresh(&index, i64::MIN), fresh(&index, i64::MAX)), (vec![5], vec![6]));
        assert_eq!(fresh(&index, 9), [0; 0]);
        assert_eq!(index.segments(7), []);
        index.seal(segment(1));
        assert_eq!(fresh(&index, 7), [9]);
        assert_eq!(index.segments(7), [segment(1)]);
    }

    #[test]
    fn no_key_is_missed_and_few_are_suspected_in_vain() {
        let mut index = KeyIndex::default();
        let segments = 70;
        let key = |id: i64, number: i64| (id << 32 | number).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64.cast_signed());
        let size = 1_i64 << 15;
        for id in 1..=segments {
            index.file(segment(id), (0..size).map(|number| key(id, number)));
        }
        for id in 1..=segments {
            assert!((0..size).step_by(61).all(|number| index.segments(key(id, number)).contains(&segment(id))));
        }
        let in_vain: usize = (0..10_000).map(|number| index.segments(key(1000, number)).len()).sum();
        assert!(in_vain < 2 * 10_000 * 70 / 1000, "{in_vain} of 700 000");
    }

    #[test]
    fn a_forgotten_segment_leaves_its_place_clean() {
        let mut index = KeyIndex::default();
        for id in 1..=66 {
            index.file(segment(id), std::iter::once(id));
        }
        assert_eq!(index.segments(3), [segment(3)]);
        index.forget(3);
        assert_eq!(index.segments(3), []);
        index.file(segment(67), std::iter::once(1));
        assert_eq!(index.segments(3), []);
        assert_eq!(index.segments(1), [segment(67), segment(1)], "the newest first");
    }
}
