//! Waits and decisions against models written as their rules are.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, header::RETRY_AFTER};
use proptest::prelude::*;
use tokio::time::Instant;

use super::*;

const WALL_MS: u64 = 1_700_000_000_000;

fn delays() -> impl Strategy<Value = Delays> {
    let backoff =
        (1_u64..2000, 1_u64..20_000, 1.0_f64..8.0, any::<bool>()).prop_map(|(base, max, multiplier, full)| {
            let jitter = if full { Jitter::Full } else { Jitter::None };
            let (base, max) = (Duration::from_millis(base), Duration::from_millis(max));
            Delays::Backoff(Backoff { base, max, multiplier, jitter })
        });
    let schedule = prop::collection::vec(0_u64..5000, 1..5);
    prop_oneof![
        backoff,
        schedule.prop_map(|waits| Delays::Schedule(waits.into_iter().map(Duration::from_millis).collect()))
    ]
}

/// The least and the most that retry `n` may wait by the policy alone, in milliseconds.
fn bounds_ms(delays: &Delays, n: u32) -> (f64, f64) {
    match delays {
        Delays::Backoff(backoff) => {
            let mut bound = backoff.base.as_secs_f64() * 1e3;
            for _ in 1..n {
                bound = (bound * backoff.multiplier).min(1e12);
            }
            let bound = bound.min(backoff.max.as_secs_f64() * 1e3);
            (if backoff.jitter == Jitter::None { bound } else { 0.0 }, bound)
        }
        Delays::Schedule(waits) => {
            let wait = waits[(n as usize - 1).min(waits.len() - 1)].as_secs_f64() * 1e3;
            (wait, wait)
        }
    }
}

proptest! {
    /// However a retry is put off, by the policy, by the service in seconds or by a date: it waits for the longer of both, and
    /// is not begun where the time that is left is over before.
    #[test]
    fn waits_agree_with_their_rules(
        delays in delays(),
        max_retries in 1_u32..6,
        asks in prop::option::of((0_u64..10, any::<bool>())),
        remaining_ms in prop::option::of(0_u64..30_000),
    ) {
        let retrier = Retrier::new(Retry { max_retries, delays: delays.clone(), budget: None, ..Retry::default() });
        let now = Instant::now();
        let mut attempts = retrier.start(now);
        let mut headers = HeaderMap::new();
        if let Some((seconds, as_date)) = asks {
            let at = std::time::UNIX_EPOCH + Duration::from_millis(WALL_MS) + Duration::from_secs(seconds);
            let value = if as_date { httpdate::fmt_http_date(at) } else { seconds.to_string() };
            headers.insert(RETRY_AFTER, HeaderValue::try_from(value).unwrap());
        }
        let asked_ms = asks.map_or(0.0, |(seconds, _)| seconds as f64 * 1e3);
        let remaining = remaining_ms.map(Duration::from_millis);
        for retry in 1..=max_retries + 1 {
            let outcome = Outcome::Response { status: StatusCode::SERVICE_UNAVAILABLE, headers: &headers };
            let decision = attempts.next(&outcome, Repeatable::Always, remaining, now, WALL_MS);
            let (least, most) = bounds_ms(&delays, retry);
            match decision {
                Decision::Retry { after, .. } => {
                    let after_ms = after.as_secs_f64() * 1e3;
                    prop_assert!(retry <= max_retries);
                    prop_assert!(after_ms + 1e-3 >= least.max(asked_ms), "{after:?}, at least {least} and {asked_ms}");
                    prop_assert!(after_ms <= most.max(asked_ms) + 1e-3, "{after:?}, at most {most} or {asked_ms}");
                    prop_assert!(remaining.is_none_or(|left| after < left), "{after:?} of {remaining:?}");
                }
                Decision::Stop(Stop::NoTime) => {
                    let left = remaining_ms.unwrap() as f64;
                    prop_assert!(most.max(asked_ms) + 1e-3 >= left, "{left} ms were left for at most {most}");
                    return Ok(());
                }
                Decision::Stop(stop) => {
                    prop_assert_eq!(stop, Stop::Exhausted);
                    prop_assert_eq!(retry, max_retries + 1);
                }
            }
        }
    }
}
