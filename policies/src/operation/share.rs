//! How much of a ledger one principal may hold.
//!
//! A ledger takes `max_open` operations that are not settled. One caller whose writes all end in doubt could take every
//! place, and with them the writes of everybody else. So the last tenth is for those who hold less than their fair share: an
//! equal part for every principal that holds any, and never more than half.

/// The part of the places that is kept for those below their share.
const RESERVED: usize = 10;
/// Below so many places a tenth is none.
const SMALL: usize = 100;

/// Whether a principal that holds `own` places may have one more while `principals` hold `open` of `max_open`.
pub fn admits(own: usize, principals: usize, open: usize, max_open: usize) -> bool {
    if open >= max_open {
        return false;
    }
    let reserved = if max_open < SMALL { 0 } else { max_open / RESERVED };
    open < max_open - reserved || own < max_open / principals.max(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_tenth_is_for_those_below_their_share() {
        for (own, principals, open, max_open, expected, what) in [
            (899, 1, 899, 1000, true, "before the last tenth, whoever it is"),
            (900, 1, 900, 1000, false, "one that holds nearly all"),
            (0, 1, 900, 1000, true, "a newcomer"),
            (99, 10, 950, 1000, true, "below a tenth, beside nine others"),
            (100, 10, 950, 1000, false, "at its share"),
            (0, 1, 1000, 1000, false, "nobody beyond the bound"),
            (98, 1, 98, 99, true, "a small ledger has nothing to reserve"),
            (0, 1, 0, 0, false, "none at all"),
            (0, 2000, 950, 1000, false, "more principals than places: nobody has a share left"),
        ] {
            assert_eq!(admits(own, principals, open, max_open), expected, "{what}");
        }
    }
}
