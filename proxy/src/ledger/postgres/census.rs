//! What all replicas have open together, as one of them has counted it for all.

use mainstay_policies::operation::ledger::Census;

use crate::ledger::shared::numbers::arrived_at;

/// What stands in the store: five numbers of eight bytes each. `None`: another version's.
pub(super) fn read(value: &[u8]) -> Option<Census> {
    let (numbers, rest) = value.as_chunks::<8>();
    let (&[pending, unknown, flagged, oldest, at], []) = (numbers, rest) else { return None };
    let [pending, unknown, flagged, oldest, at] = [pending, unknown, flagged, oldest, at].map(u64::from_be_bytes);
    // Of the oldest its number is known, and a number says when it was given.
    let oldest_unknown = (oldest > 0).then(|| arrived_at(oldest));
    Some(Census { pending, unknown, flagged, oldest_unknown, at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_read_as_it_was_written() {
        let of = |numbers: [u64; 5]| numbers.map(u64::to_be_bytes).concat();
        let found = read(&of([1, 2, 3, 1_000 << 22, 5])).expect("it is one");
        assert_eq!((found.pending, found.unknown, found.flagged, found.at), (1, 2, 3, 5));
        assert_eq!(found.oldest_unknown, Some(arrived_at(1_000 << 22)));
        assert_eq!(read(&of([0; 5])).expect("it is one").oldest_unknown, None);
        assert_eq!(read(&[0; 39]), None);
    }
}
