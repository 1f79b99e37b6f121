//! What a caller is told of a limit, against what it would find out by trying.

use std::{num::NonZeroU32, time::Duration};

use proptest::prelude::*;

use crate::rate_limit::*;

const NANO: Duration = Duration::from_nanos(1);

/// When requests came, in nanoseconds, each after the one before it.
type History = Vec<u64>;

/// A limit to which the same has happened, for a trial that leaves no trace.
fn after(params: &RateLimit, history: &[u64]) -> Limiter {
    let limiter = Limiter::new(params.clone());
    for at in history {
        ask(&limiter, *at);
    }
    limiter
}

/// How a request ended: admitted, at once or later, or refused; and what its caller was told.
fn ask(limiter: &Limiter, at: u64) -> (Option<Duration>, Usage) {
    match limiter.admit(b"", limiter.epoch() + Duration::from_nanos(at)) {
        Admission::Admitted(usage) => (None, usage),
        Admission::Wait(slot, usage) => {
            slot.taken();
            (None, usage)
        }
        Admission::Rejected { retry_after, usage } => (Some(retry_after), usage),
    }
}

/// How many requests one after the other are let in at `at`, up to 1000.
fn room(params: &RateLimit, history: &[u64], at: u64) -> u64 {
    let limiter = after(params, history);
    (0..1000).take_while(|_| ask(&limiter, at).0.is_none()).count() as u64
}

/// Whether one more at `at` finds less than a fresh limit has: a bucket that is not full, a slot that is not now.
fn is_used(params: &RateLimit, history: &[u64], at: u64) -> bool {
    let limiter = after(params, history);
    match params.behavior {
        Behavior::Reject => room(params, history, at) < u64::from(params.burst.get()),
        _ => !matches!(limiter.admit(b"", limiter.epoch() + Duration::from_nanos(at)), Admission::Admitted(_)),
    }
}

fn history() -> impl Strategy<Value = History> {
    prop::collection::vec(0_u64..900_000_000, 1..30).prop_map(|steps| {
        let mut at = 0;
        steps
            .into_iter()
            .map(|step| {
                at += step;
                at
            })
            .collect()
    })
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap()
}

/// Fails unless each answer to `history` tells the truth about how many more are let in, when the next one is, and when the
/// limit is unused: from then on, and not earlier, it lets in as many as a fresh one.
fn check(params: &RateLimit, history: &[u64]) -> Result<(), TestCaseError> {
    let limiter = Limiter::new(params.clone());
    let fresh = room(params, &[], 0);
    for (n, at) in history.iter().enumerate() {
        let (refused, usage) = ask(&limiter, *at);
        let before = after(params, &history[..n]);
        let before = before.usage(before.epoch() + Duration::from_nanos(*at));
        prop_assert_eq!(before.remaining, room(params, &history[..n], *at), "remaining before request {}", n);
        let unused = at + nanos(before.reset);
        prop_assert_eq!(room(params, &history[..n], unused), fresh, "after the reset before request {}", n);
        let history = &history[..=n];
        prop_assert_eq!(usage.remaining, room(params, history, *at), "remaining of request {}", n);
        if let Some(retry_after) = refused {
            prop_assert_eq!(usage.remaining, 0);
            let when = at + nanos(retry_after);
            prop_assert!(room(params, history, when) > 0, "request {n} is refused after Retry-After, too");
            prop_assert_eq!(room(params, history, when - nanos(NANO)), 0, "request {} could have come sooner", n);
        }
        let reset = at + nanos(usage.reset);
        prop_assert!(reset > *at, "request {n} has used nothing");
        prop_assert_eq!(room(params, history, reset), fresh, "after the reset of request {}", n);
        prop_assert!(is_used(params, history, reset - nanos(NANO)), "request {n}: unused before its reset");
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_bucket_tells_the_truth_about_itself(
        requests in 1_u32..20,
        burst in 1_u32..12,
        unit_ms in 1_u64..3000,
        history in history(),
    ) {
        let unit = Duration::from_millis(unit_ms);
        let count = |n| NonZeroU32::new(n).unwrap();
        let params = RateLimit { burst: count(burst), ..RateLimit::per(count(requests), unit) };
        prop_assert!(room(&params, &[], 0) == u64::from(burst));
        check(&params, &history)?;
    }

    #[test]
    fn a_queue_tells_the_truth_about_itself(
        requests in 1_u32..20,
        max_wait_ms in 0_u64..2000,
        unit_ms in 200_u64..3000,
        history in history(),
    ) {
        let behavior = Behavior::Queue { max_wait: Duration::from_millis(max_wait_ms) };
        let unit = Duration::from_millis(unit_ms);
        let params = RateLimit { behavior, ..RateLimit::per(NonZeroU32::new(requests).unwrap(), unit) };
        check(&params, &history)?;
    }
}

#[test]
fn a_slot_between_two_nanoseconds_is_waited_out() {
    let behavior = Behavior::Queue { max_wait: Duration::from_millis(768) };
    let params = RateLimit { behavior, ..RateLimit::per(NonZeroU32::new(9).unwrap(), Duration::from_millis(256)) };
    check(&params, &[0, 0]).unwrap();
}
