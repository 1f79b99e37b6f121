use std::{num::NonZeroU32, time::Duration};

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

fn per_second(requests: u32, burst: u32) -> RateLimit {
    RateLimit { burst: count(burst), ..RateLimit::per(count(requests), SECOND) }
}

fn keyed(requests: u32, max_keys: usize) -> RateLimit {
    RateLimit { key: Key::Principal, max_keys, ..per_second(requests, requests) }
}

fn queue(requests: u32, max_wait: Duration) -> RateLimit {
    RateLimit { behavior: Behavior::Queue { max_wait }, ..per_second(requests, requests) }
}

fn warm(requests: u32, period: Duration, cold_factor: f64) -> RateLimit {
    RateLimit { behavior: Behavior::WarmUp(WarmUp { period, cold_factor }), ..per_second(requests, requests) }
}

fn admitted(limiter: &Limiter, key: &[u8], tries: u32, now: Instant) -> u32 {
    (0..tries).map(|_| u32::from(matches!(limiter.admit(key, now), Admission::Admitted(_)))).sum()
}

#[test]
fn gcra_admits_a_burst_then_one_per_interval() {
    let limiter = Limiter::new(per_second(10, 3));
    let start = Instant::now();
    for (ms, tries, expected) in [(0, 5, 3), (99, 1, 0), (100, 2, 1), (350, 5, 2), (400, 1, 1), (10_000, 9, 3)] {
        assert_eq!(admitted(&limiter, b"", tries, start + Duration::from_millis(ms)), expected, "at {ms} ms");
    }
}

#[test]
fn a_refusal_says_when_and_how_the_limit_stands() {
    let limiter = Limiter::new(per_second(4, 2));
    let now = Instant::now();
    let ms = Duration::from_millis;
    let Admission::Admitted(usage) = limiter.admit(b"", now) else { panic!() };
    assert_eq!(usage, Usage { limit: 2, remaining: 1, reset: ms(250) });
    let Admission::Admitted(usage) = limiter.admit(b"", now) else { panic!() };
    assert_eq!(usage, Usage { limit: 2, remaining: 0, reset: ms(500) });
    let Admission::Rejected { retry_after, usage } = limiter.admit(b"", now + ms(100)) else { panic!() };
    assert_eq!((retry_after, usage), (ms(150), Usage { limit: 2, remaining: 0, reset: ms(400) }));
    assert!(matches!(limiter.admit(b"", now + ms(250)), Admission::Admitted(_)));
}

#[test]
fn rates_that_divide_no_second_stay_exact() {
    for requests in [3, 7, 1400, 2500, 999_983] {
        // The second place takes up what rounding a wait up to a nanosecond loses.
        let limiter = Limiter::new(per_second(requests, 2));
        let mut now = Instant::now();
        let end = now + SECOND / 10;
        let mut total = 0_u64;
        while now < end {
            match limiter.admit(b"", now) {
                Admission::Admitted(_) => total += 1,
                Admission::Rejected { retry_after, .. } => now += retry_after,
                Admission::Wait(..) => panic!("reject never waits"),
            }
        }
        assert_eq!(total, u64::from(requests).div_ceil(10) + 1, "{requests}/s in a tenth of a second");
    }
}

#[test]
fn each_key_has_its_own_limit() {
    let limiter = Limiter::new(keyed(2, 10));
    let now = Instant::now();
    for key in [&b"alice"[..], b"bob", b""] {
        assert_eq!(admitted(&limiter, key, 5, now), 2);
    }
}

#[test]
fn idle_keys_make_room_and_live_ones_are_never_forgotten() {
    let limiter = Limiter::new(keyed(1, 2));
    let start = Instant::now();
    assert_eq!(admitted(&limiter, b"a", 2, start) + admitted(&limiter, b"b", 2, start), 2);
    assert_eq!(admitted(&limiter, b"c", 2, start) + admitted(&limiter, b"d", 2, start), 1, "they share one limit");
    assert_eq!(admitted(&limiter, b"a", 1, start), 0, "still limited");
    assert_eq!(limiter.keys(), 2);
    let later = start + 2 * SECOND;
    assert_eq!(admitted(&limiter, b"c", 2, later) + admitted(&limiter, b"d", 2, later), 2);
    assert_eq!(limiter.keys(), 2);
}

#[test]
fn a_sweep_is_bounded_and_forgets_every_idle_key_in_the_end() {
    let limiter = Limiter::new(keyed(1, 100_000));
    let start = Instant::now();
    for key in 0..5000_u32 {
        limiter.admit(&key.to_be_bytes(), start);
    }
    limiter.sweep(start, usize::MAX);
    assert_eq!(limiter.keys(), 5000, "all live");
    let later = start + 2 * SECOND;
    limiter.sweep(later, 1000);
    assert_eq!(limiter.keys(), 4000);
    for _ in 0..10 {
        limiter.sweep(later, 1000);
    }
    assert_eq!(limiter.keys(), 0);
}

#[test]
fn a_key_that_is_idle_under_a_new_rate_is_forgotten_whatever_the_old_one_was() {
    let hour = RateLimit { unit: 3600 * SECOND, ..keyed(1, 10) };
    let limiter = Limiter::new(hour);
    let start = Instant::now();
    limiter.admit(b"a", start);
    let faster = limiter.reconfigured(keyed(1, 10));
    faster.sweep(start, usize::MAX);
    assert_eq!(faster.keys(), 1, "it is used up as it was before");
    faster.sweep(start + 2 * SECOND, usize::MAX);
    assert_eq!(faster.keys(), 0);
}

#[test]
fn another_rate_keeps_what_was_used() {
    let limiter = Limiter::new(per_second(10, 10));
    let now = Instant::now();
    assert_eq!(admitted(&limiter, b"", 20, now), 10);
    let faster = limiter.reconfigured(per_second(20, 20));
    assert_eq!(admitted(&faster, b"", 20, now), 0, "the debt of a second is still owed");
    assert_eq!(admitted(&faster, b"", 20, now + SECOND / 2), 10);
    let other = limiter.reconfigured(keyed(10, 5));
    assert_eq!(admitted(&other, b"", 20, now), 10, "another key begins anew");
}

#[test]
fn no_change_of_a_number_hands_out_a_fresh_burst() {
    let minute = 60 * SECOND;
    let limit = |requests, unit, burst| RateLimit { burst: count(burst), ..RateLimit::per(count(requests), unit) };
    let used_up = limit(5, minute, 5);
    for changed in [limit(50, minute, 50), limit(5, minute, 500), limit(5, 10 * minute, 5), limit(1, SECOND, 100)] {
        let limiter = Limiter::new(used_up.clone());
        let now = Instant::now();
        assert_eq!(admitted(&limiter, b"", 9, now), 5);
        let limiter = limiter.reconfigured(changed.clone());
        assert_eq!(admitted(&limiter, b"", 9, now), 0, "{changed:?}");
        let interval = changed.unit / changed.requests.get();
        assert_eq!(admitted(&limiter, b"", 9, now + interval), 1, "then at the new rate: {changed:?}");
    }
    let half = Limiter::new(limit(10, minute, 10));
    let now = Instant::now();
    assert_eq!(admitted(&half, b"", 5, now), 5);
    assert_eq!(admitted(&half.reconfigured(limit(100, minute, 100)), b"", 99, now), 50, "half full stays half full");
}

#[test]
fn threads_together_never_pass_the_limit() {
    let limiter = Limiter::new(per_second(1000, 1000));
    let now = Instant::now();
    let total: u32 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| admitted(&limiter, b"", 2000, now))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(total, 1000);
}

#[test]
fn pacing_gives_evenly_spaced_slots_to_the_nanosecond() {
    for requests in [5, 1400, 2500, 5000] {
        let limiter = Limiter::new(queue(requests, 10 * SECOND));
        let now = Instant::now();
        let Admission::Admitted(_) = limiter.admit(b"", now) else { panic!("the first waits for nothing") };
        for k in 1..=20_u64 {
            let Admission::Wait(slot, _) = limiter.admit(b"", now) else { panic!() };
            let wait = slot.until().duration_since(now).as_nanos() as u64;
            assert_eq!(wait, (k * 1_000_000_000).div_ceil(requests.into()), "slot {k} of {requests}/s");
            slot.taken();
        }
    }
}

#[test]
fn a_wait_over_max_wait_is_refused_and_books_nothing() {
    let limiter = Limiter::new(queue(10, SECOND / 10));
    let now = Instant::now();
    assert!(matches!(limiter.admit(b"", now), Admission::Admitted(_)));
    let Admission::Wait(slot, _) = limiter.admit(b"", now) else { panic!("exactly max_wait is allowed") };
    slot.taken();
    for _ in 0..50 {
        let Admission::Rejected { retry_after, .. } = limiter.admit(b"", now) else { panic!() };
        assert_eq!(retry_after, SECOND / 10);
    }
    assert!(matches!(limiter.admit(b"", now + SECOND / 10), Admission::Wait(..)));
}

#[test]
fn a_cancelled_waiter_gives_its_slot_back_only_if_it_is_the_last() {
    let limiter = Limiter::new(queue(10, SECOND));
    let now = Instant::now();
    let wait = || match limiter.admit(b"", now) {
        Admission::Wait(slot, _) => slot,
        other => panic!("{other:?}"),
    };
    assert!(matches!(limiter.admit(b"", now), Admission::Admitted(_)));
    let (first, second) = (wait(), wait());
    let at = second.until();
    drop(second);
    let again = wait();
    assert_eq!(again.until(), at, "given back");
    drop(first);
    assert_eq!(wait().until(), at + SECOND / 10, "the first one's slot is lost");
    again.taken();
}

/// Offers a request every millisecond; the admissions of each second.
fn saturated(limiter: &Limiter, start: Instant, seconds: u64) -> Vec<u32> {
    (0..seconds)
        .map(|s| (0..1000).map(|ms| admitted(limiter, b"", 1, start + Duration::from_millis(s * 1000 + ms))).sum())
        .collect()
}

#[test]
fn a_warm_up_rises_from_cold_to_full_along_sentinels_curve() {
    let limiter = Limiter::new(warm(100, 10 * SECOND, 3.0));
    let seconds = saturated(&limiter, Instant::now(), 14);
    assert_eq!(seconds[0], 33, "C/cf in the first second, not twice that");
    assert!(seconds.windows(2).all(|pair| pair[0] <= pair[1]), "{seconds:?}");
    for (t, rate) in seconds.iter().enumerate().take(10) {
        // The store is settled once a second, so the steps follow the curve by up to one.
        let curve = |t: f64| 100.0 / (9.0 - 8.0 * t / 10.0).sqrt();
        let (low, high) = (curve(t as f64 - 1.0) - 2.0, curve(t as f64) + 1.0);
        assert!((low..=high).contains(&f64::from(*rate)), "second {t}: {rate}, expected {low:.1} to {high:.1}");
    }
    assert_eq!(seconds[13], 100);
}

#[test]
fn no_warm_up_locks_itself_out() {
    for (requests, cold_factor) in [(1, 3.0), (2, 3.0), (3, 3.0), (5, 10.0), (10, 3.0), (1, 1.0), (7, f64::NAN)] {
        let limiter = Limiter::new(warm(requests, 5 * SECOND, cold_factor));
        let seconds = saturated(&limiter, Instant::now(), 60);
        let tail: u32 = seconds[50..].iter().sum();
        assert!(tail >= requests * 9, "{requests}/s with factor {cold_factor} is still cold: {seconds:?}");
        assert!(tail <= requests * 11, "{requests}/s: {seconds:?}");
    }
}

#[test]
fn traffic_below_the_cold_rate_never_warms_and_rest_cools() {
    let limiter = Limiter::new(warm(100, 5 * SECOND, 4.0));
    let start = Instant::now();
    for tenth in 0..600 {
        assert_eq!(admitted(&limiter, b"", 2, start + tenth * SECOND / 10), 2, "20/s fit under 25/s");
    }
    let mut now = start + 60 * SECOND;
    // Twenty were admitted in the second before; a bucket may leave it a twentieth early.
    assert!(saturated(&limiter, now, 1)[0] <= 25 + 7);
    now += SECOND;
    assert!(saturated(&limiter, now, 20)[19] >= 99, "warm");
    now += 120 * SECOND;
    assert_eq!(saturated(&limiter, now, 1)[0], 25, "cold again");
}

#[test]
fn a_warm_limit_stays_warm_under_another_rate() {
    let limiter = Limiter::new(warm(100, 5 * SECOND, 3.0));
    let start = Instant::now();
    saturated(&limiter, start, 20);
    let changed = limiter.reconfigured(warm(50, 5 * SECOND, 3.0));
    let after = saturated(&changed, start + 21 * SECOND, 3);
    assert!(after.iter().all(|rate| *rate >= 40), "{after:?}");
}

#[test]
fn a_warming_queue_paces_at_the_allowed_rate() {
    let behavior =
        Behavior::WarmUpQueue { warm_up: WarmUp { period: 10 * SECOND, cold_factor: 3.0 }, max_wait: Duration::ZERO };
    let limiter = Limiter::new(RateLimit { behavior, ..per_second(100, 100) });
    let start = Instant::now();
    let seconds = saturated(&limiter, start, 15);
    assert!((30..=34).contains(&seconds[0]), "{seconds:?}");
    assert!(seconds[14] >= 95, "{seconds:?}");
}

#[test]
fn retry_after_is_rounded_up_to_whole_seconds() {
    for (ms, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (59_999, 60)] {
        assert_eq!(retry_after_secs(Duration::from_millis(ms)), seconds);
    }
    assert_eq!(retry_after_secs(Duration::MAX), u64::MAX);
}

proptest! {
    /// The design's formula in exact fractions: everything times `requests`.
    #[test]
    fn gcra_agrees_with_its_formula(
        requests in 1_u32..50,
        burst in 1_u32..20,
        unit_ms in 1_u64..3000,
        steps in prop::collection::vec(0_u64..400_000_000, 1..200),
    ) {
        let unit = Duration::from_millis(unit_ms);
        let limiter = Limiter::new(RateLimit { burst: count(burst), ..RateLimit::per(count(requests), unit) });
        let t = unit.as_nanos();
        let start = limiter.epoch();
        let (mut tat, mut at) = (0_u128, 0_u64);
        for step in steps {
            at += step;
            let now = u128::from(at) * u128::from(requests);
            let next = tat.max(now) + t;
            let expected = next - now <= t * u128::from(burst);
            if expected { tat = next; }
            let admission = limiter.admit(b"", start + Duration::from_nanos(at));
            prop_assert_eq!(matches!(admission, Admission::Admitted(_)), expected);
        }
    }

    /// The design's formula, with cancels: everything times `requests`.
    #[test]
    fn pacing_agrees_with_its_formula(
        requests in 1_u32..5000,
        max_wait_ms in 0_u64..800,
        steps in prop::collection::vec((0_u64..400_000_000, prop::bool::weighted(0.3)), 1..200),
    ) {
        let limiter = Limiter::new(queue(requests, Duration::from_millis(max_wait_ms)));
        let (scale, t) = (u128::from(requests), SECOND.as_nanos());
        let max_wait = u128::from(max_wait_ms) * 1_000_000 * scale;
        let (mut last, mut at) = (None::<u128>, 0_u64);
        for (step, cancel) in steps {
            at += step / u64::from(requests).min(100);
            let now = u128::from(at) * scale;
            let slot = last.map_or(now, |last| now.max(last + t));
            match limiter.admit(b"", limiter.epoch() + Duration::from_nanos(at)) {
                Admission::Admitted(_) => {
                    prop_assert_eq!(slot, now);
                    last = Some(slot);
                }
                Admission::Wait(booked, _) => {
                    prop_assert!(slot > now && slot - now <= max_wait);
                    let until = booked.until().duration_since(limiter.epoch()).as_nanos();
                    prop_assert_eq!(until, slot.div_ceil(scale));
                    if cancel { drop(booked) } else {
                        booked.taken();
                        last = Some(slot);
                    }
                }
                Admission::Rejected { .. } => prop_assert!(slot - now > max_wait),
            }
        }
    }

    #[test]
    fn the_table_never_holds_more_than_max_keys(keys in prop::collection::vec((0_u8..40, 0_u64..500), 1..300), max in 1_usize..8) {
        let limiter = Limiter::new(keyed(2, max));
        let mut now = Instant::now();
        for (key, ms) in keys {
            now += Duration::from_millis(ms);
            limiter.admit(&[key], now);
            prop_assert!(limiter.keys() <= max);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_layer_paces_or_refuses_per_key() {
    use http::{HeaderName, Request, Response};
    use tower::{Layer, ServiceExt, service_fn};

    use crate::body::BoxError;
    let key = Key::Header(HeaderName::from_static("x-tenant"));
    let layer = RateLimitLayer::new(RateLimit { key, max_keys: 10, ..queue(10, SECOND / 10) });
    let call = |tenant: &'static str| {
        let inner = service_fn(|_: Request<()>| async { Ok::<_, BoxError>(Response::new(())) });
        layer.layer(inner).oneshot(Request::builder().header("x-tenant", tenant).body(()).unwrap())
    };
    let began = Instant::now();
    let (first, second, third, other) = tokio::join!(call("a"), call("a"), call("a"), call("b"));
    assert!(first.is_ok() && second.is_ok() && other.is_ok());
    assert!(third.unwrap_err().is::<RateLimited>());
    assert_eq!(began.elapsed().as_millis(), 100, "the second waited for its slot");
}

#[test]
fn the_keys_that_used_most_come_first_and_idle_ones_not_at_all() {
    let (limiter, now) = (Limiter::new(keyed(10, 10_000)), Instant::now());
    assert_eq!(limiter.top(now, 5), TopKeys { keys: Vec::new(), is_complete: true });
    for (key, tries) in [("a", 3), ("b", 10), ("c", 1), ("d", 7)] {
        admitted(&limiter, key.as_bytes(), tries, now);
    }
    let left = |now, most| limiter.top(now, most).keys.iter().map(|key| key.usage.remaining).collect::<Vec<_>>();
    assert_eq!(left(now, 5), [0, 3, 7, 9]);
    assert_eq!(left(now, 2), [0, 3]);
    assert_eq!(left(now + Duration::from_millis(500), 5), [5, 8], "each has its burst back as time goes on");
    let hashes: std::collections::BTreeSet<u64> = limiter.top(now, 5).keys.iter().map(|key| key.key).collect();
    assert_eq!(hashes.len(), 4);
}

#[test]
fn who_asks_for_the_keys_that_used_most_is_told_if_some_were_not_looked_at() {
    let (limiter, now) = (Limiter::new(keyed(10, 100_000)), Instant::now());
    for key in 0..20_000_u32 {
        let _ = limiter.admit(&key.to_be_bytes(), now);
    }
    let top = limiter.top(now, 5);
    assert_eq!((top.keys.len(), top.is_complete), (5, false));
}
