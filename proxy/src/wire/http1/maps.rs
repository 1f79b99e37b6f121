//! Header maps that the worker's requests lend each other: making one takes two allocations, and every exchange needs two.

use std::cell::RefCell;

use http::HeaderMap;

/// One with room for more fields than this is not kept.
const KEPT_FIELDS: usize = 48;

/// How many are kept.
const KEPT: usize = 128;

/// Fields that the proxy adds to most messages: room for them, so that the map need not grow; more would double a small one.
const ADDED_FIELDS: usize = 1;

thread_local! {
    static SPARE: RefCell<Vec<HeaderMap>> = const { RefCell::new(Vec::new()) };
}

/// An empty map for a message of `fields` fields.
pub(crate) fn take(fields: usize) -> HeaderMap {
    SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| HeaderMap::with_capacity(fields + ADDED_FIELDS))
}

/// Takes back the map of a message that nobody needs any more.
pub(crate) fn give_back(mut map: HeaderMap) {
    if (1..=KEPT_FIELDS).contains(&map.capacity()) {
        // Before it is kept: no field outlives its message.
        map.clear();
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < KEPT {
                spare.push(map);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use http::header::{HOST, HeaderValue, VIA};

    use super::*;

    #[test]
    fn a_map_that_is_lent_again_is_empty() {
        let mut map = take(1);
        map.append(HOST, HeaderValue::from_static("a"));
        map.append(VIA, HeaderValue::from_static("b"));
        map.append(VIA, HeaderValue::from_static("c"));
        let room = map.capacity();
        give_back(map);
        let again = take(40);
        assert_eq!((again.len(), again.capacity()), (0, room));
        assert!(take(1).is_empty());
    }

    #[test]
    fn large_ones_and_many_are_not_kept() {
        give_back(HeaderMap::with_capacity(2 * KEPT_FIELDS));
        give_back(HeaderMap::new());
        assert_eq!(SPARE.with_borrow(Vec::len), 0);
        for _ in 0..2 * KEPT {
            give_back(HeaderMap::with_capacity(1));
        }
        assert_eq!(SPARE.with_borrow(Vec::len), KEPT);
    }
}
