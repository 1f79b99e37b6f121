//! What the keys of a rate limit weigh, to the byte. A test binary of its own: it counts every allocation of its process.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{alloc::System, num::NonZeroU32, time::Duration};

use cap::Cap;
use mainstay_policies::rate_limit::{Admission, Behavior, Key, Limiter, RateLimit, WarmUp};
use tokio::time::Instant;

#[global_allocator]
static ALLOCATED: Cap<System> = Cap::new(System, usize::MAX);

const KEYS: usize = 100_000;
const BOUND_BYTES: usize = 40 * 1024 * 1024;
const LONG: usize = 8 * 1024;

fn limiter(behavior: Behavior) -> Limiter {
    let one = NonZeroU32::MIN;
    Limiter::new(RateLimit {
        key: Key::Principal,
        max_keys: KEYS,
        behavior,
        ..RateLimit::per(one, Duration::from_secs(1))
    })
}

/// A key of 8 KiB, as a hostile client may send.
fn long_key(number: usize) -> Vec<u8> {
    let mut key = vec![b'k'; LONG];
    key[..8].copy_from_slice(&number.to_be_bytes());
    key
}

/// One test, so that nothing else allocates meanwhile.
#[test]
fn a_hundred_thousand_keys_of_every_behaviour_weigh_less_than_forty_mebibytes_and_are_given_back() {
    let max_wait = Duration::from_millis(500);
    let warm_up = WarmUp { period: Duration::from_secs(10), cold_factor: 3.0 };
    for behavior in [
        Behavior::Reject,
        Behavior::Queue { max_wait },
        Behavior::WarmUp(warm_up.clone()),
        Behavior::WarmUpQueue { warm_up, max_wait },
    ] {
        let before = ALLOCATED.allocated();
        let limiter = limiter(behavior.clone());
        let start = Instant::now();
        for number in 0..KEYS {
            let admission = if number % 100 == 0 {
                limiter.admit(&long_key(number), start)
            } else {
                limiter.admit(&number.to_be_bytes(), start)
            };
            assert!(matches!(admission, Admission::Admitted(_)), "{behavior:?}: each key has a limit of its own");
        }
        assert_eq!(limiter.keys(), KEYS);
        let weight = ALLOCATED.allocated() - before;
        println!("{behavior:?}: {} KiB, {} bytes a key", weight / 1024, weight / KEYS);
        assert!(weight < BOUND_BYTES, "{behavior:?}: {weight} bytes");

        // Full of keys in use: ever more keys, however long, cost nothing.
        for number in KEYS..KEYS + 2000 {
            drop(limiter.admit(&long_key(number), start));
        }
        assert_eq!(limiter.keys(), KEYS);
        assert!(ALLOCATED.allocated() - before <= weight, "{behavior:?}: grew beyond max_keys");

        // A request looks at a few dozen of them at most; a sweep, off the path of requests, finds them all and gives back the
        // memory.
        let later = start + Duration::from_hours(1);
        for _ in 0..KEYS / 1000 + 16 {
            limiter.sweep(later, 1000);
        }
        assert_eq!(limiter.keys(), 0, "{behavior:?}");
        let left = ALLOCATED.allocated() - before;
        assert!(left < 256 * 1024, "{behavior:?}: {left} bytes are kept for no key");
    }
}
