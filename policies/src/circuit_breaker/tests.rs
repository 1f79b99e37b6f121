use std::{num::NonZeroU32, time::Duration};

use http::StatusCode;
use proptest::prelude::*;
use tokio::time::Instant;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
use CallOutcome::{Error, Success};

fn ratio(error_ratio: f64, min_requests: u32) -> CircuitBreaker {
    CircuitBreaker {
        error_ratio: Some(error_ratio),
        min_requests: NonZeroU32::new(min_requests).unwrap(),
        ..CircuitBreaker::default()
    }
}

fn consecutive(errors: u32) -> CircuitBreaker {
    CircuitBreaker { consecutive_errors: NonZeroU32::new(errors), ..CircuitBreaker::default() }
}

fn probing(probes: u32) -> CircuitBreaker {
    let half_open = HalfOpen { probes: NonZeroU32::new(probes).unwrap(), ..HalfOpen::default() };
    CircuitBreaker { half_open, ..consecutive(1) }
}

/// Plays calls of no length: `s` success, `e` error. The answer is after how many the breaker opened.
fn trips_after(breaker: &Breaker, calls: &str, now: Instant) -> Option<usize> {
    for (index, call) in calls.chars().enumerate() {
        let outcome = if call == 'e' { Error } else { Success };
        breaker.acquire(now).expect("closed so far").record(outcome, now);
        if state(breaker, now) == State::Open {
            return Some(index + 1);
        }
    }
    None
}

fn state(breaker: &Breaker, now: Instant) -> State {
    breaker.snapshot(now).state
}

/// A breaker that opened at `now`.
fn opened(params: CircuitBreaker, now: Instant) -> Breaker {
    let breaker = Breaker::new(params);
    breaker.acquire(now).unwrap().record(Error, now);
    assert_eq!(state(&breaker, now), State::Open);
    breaker
}

#[tokio::test(start_paused = true)]
async fn a_call_that_tells_its_outcome_late_is_as_slow_as_its_beginning() {
    let slow_call = Some(SlowCall { duration: Duration::from_secs(1), ratio: 0.1 });
    let breaker =
        Breaker::new(CircuitBreaker { slow_call, min_requests: NonZeroU32::MIN, ..CircuitBreaker::default() });
    for (latency, state) in [(1, State::Closed), (2, State::Open)] {
        let began = Instant::now();
        let permit = breaker.acquire(began).unwrap();
        tokio::time::advance(Duration::from_mins(1)).await;
        permit.record_after(CallOutcome::Success, Duration::from_secs(latency), Instant::now());
        assert_eq!(breaker.snapshot(Instant::now()).state, state);
    }
}

#[test]
fn each_condition_trips_on_exactly_the_call_that_meets_it() {
    let count = CircuitBreaker { error_count: NonZeroU32::new(3), ..CircuitBreaker::default() };
    for (params, calls, expected) in [
        (ratio(0.5, 4), "eee", None),
        (ratio(0.5, 4), "eeee", Some(4)),
        (ratio(0.5, 4), "eees", Some(4)),
        (ratio(0.5, 4), "sseess", Some(4)),
        (ratio(0.5, 4), "sssesee", None),
        (ratio(0.5, 4), "sssesees", None),
        (ratio(0.5, 4), "sssesseee", None),
        (ratio(0.5, 4), "sssessseeeee", Some(12)),
        (ratio(0.3, 10), "ssssssseee", Some(10)),
        (ratio(1.0, 1), "se", None),
        (ratio(1.0, 1), "e", Some(1)),
        (ratio(0.0, 2), "sss", None),
        (ratio(0.0, 2), "see", Some(2)),
        (ratio(7.0, 2), "ee", Some(2)),
        (ratio(f64::NAN, 2), "eeee", None),
        (count.clone(), "eee", None),
        (count.clone(), "eees", None),
        (count, "eeess", Some(5)),
        (consecutive(3), "eeseeseee", Some(9)),
        (consecutive(1), "e", Some(1)),
    ] {
        let breaker = Breaker::new(params.clone());
        assert_eq!(trips_after(&breaker, calls, Instant::now()), expected, "{calls} under {params:?}");
    }
}

#[test]
fn a_call_is_slow_only_when_longer_than_the_duration() {
    let slow_call = Some(SlowCall { duration: SECOND, ratio: 0.5 });
    let params = CircuitBreaker { slow_call, min_requests: NonZeroU32::MIN, ..CircuitBreaker::default() };
    for (latency, expected) in [(SECOND, State::Closed), (SECOND + Duration::from_nanos(1), State::Open)] {
        let breaker = Breaker::new(params.clone());
        let now = Instant::now();
        breaker.acquire(now).unwrap().record(Success, now + latency);
        assert_eq!(state(&breaker, now + latency), expected, "{latency:?}");
    }
}

#[test]
fn old_results_leave_the_window() {
    let breaker = Breaker::new(ratio(0.5, 2));
    let start = Instant::now();
    breaker.acquire(start).unwrap().record(Error, start);
    assert_eq!(breaker.snapshot(start + SECOND * 89 / 10).errors, 1);
    let later = start + 10 * SECOND;
    assert_eq!(breaker.snapshot(later).errors, 0);
    breaker.acquire(later).unwrap().record(Error, later);
    assert_eq!(state(&breaker, later), State::Closed, "one error in the window, two are the minimum");
}

#[test]
fn consecutive_errors_know_no_window() {
    let breaker = Breaker::new(consecutive(2));
    let start = Instant::now();
    breaker.acquire(start).unwrap().record(Error, start);
    let later = start + 100 * SECOND;
    breaker.acquire(later).unwrap().record(Error, later);
    assert_eq!(state(&breaker, later), State::Open);
}

#[test]
fn it_is_open_for_exactly_the_open_duration_whatever_is_rejected_meanwhile() {
    let start = Instant::now();
    let breaker = opened(probing(1), start);
    for ms in [0, 1000, 4999] {
        let rejected = breaker.acquire(start + Duration::from_millis(ms)).unwrap_err();
        assert_eq!(rejected.retry_after, Duration::from_millis(5000 - ms));
    }
    assert!(breaker.acquire(start + 5 * SECOND).unwrap().is_probe());
}

#[test]
fn half_open_lets_only_its_probes_through() {
    let start = Instant::now();
    let breaker = opened(probing(2), start);
    let now = start + 5 * SECOND;
    let probes = [breaker.acquire(now).unwrap(), breaker.acquire(now).unwrap()];
    assert!(breaker.acquire(now).is_err());
    assert_eq!(state(&breaker, now), State::HalfOpen);
    for probe in probes {
        probe.record(Success, now);
    }
    assert_eq!(state(&breaker, now), State::Closed);
    assert_eq!(breaker.snapshot(now).requests, 0, "the window is empty");
}

#[test]
fn the_first_bad_probe_reopens_for_a_full_period() {
    let start = Instant::now();
    let breaker = opened(probing(3), start);
    let now = start + 5 * SECOND;
    let (good, bad, late) =
        (breaker.acquire(now).unwrap(), breaker.acquire(now).unwrap(), breaker.acquire(now).unwrap());
    good.record(Success, now);
    bad.record(Error, now + SECOND);
    late.record(Success, now + SECOND);
    assert_eq!(breaker.acquire(now + SECOND).unwrap_err().retry_after, 5 * SECOND);
}

#[test]
fn a_slow_probe_is_a_bad_one() {
    let start = Instant::now();
    let slow_call = Some(SlowCall { duration: SECOND, ratio: 1.0 });
    let breaker = opened(CircuitBreaker { slow_call, ..probing(1) }, start);
    let now = start + 5 * SECOND;
    breaker.acquire(now).unwrap().record(Success, now + 2 * SECOND);
    assert_eq!(state(&breaker, now + 2 * SECOND), State::Open);
}

#[test]
fn calls_from_before_the_trip_decide_nothing() {
    let start = Instant::now();
    let breaker = Breaker::new(probing(1));
    let (old_good, old_bad) = (breaker.acquire(start).unwrap(), breaker.acquire(start).unwrap());
    breaker.acquire(start).unwrap().record(Error, start);
    let now = start + 5 * SECOND;
    let probe = breaker.acquire(now).unwrap();
    old_good.record(Success, now);
    old_bad.record(Error, now);
    assert_eq!(state(&breaker, now), State::HalfOpen);
    probe.record(Success, now);
    assert_eq!(state(&breaker, now), State::Closed);
}

#[test]
fn a_cancelled_probe_frees_its_place_once() {
    let start = Instant::now();
    let breaker = opened(probing(1), start);
    let now = start + 5 * SECOND;
    drop(breaker.acquire(now).unwrap());
    let probe = breaker.acquire(now).unwrap();
    assert!(breaker.acquire(now).is_err(), "no extra probe");
    probe.record(Success, now);
    assert_eq!(state(&breaker, now), State::Closed);
}

#[test]
fn a_stale_cancel_mints_no_probe() {
    let start = Instant::now();
    let breaker = opened(probing(1), start);
    let stuck = breaker.acquire(start + 5 * SECOND).unwrap();
    let now = start + 20 * SECOND;
    let probe = breaker.acquire(now).expect("timed out at 15 s, open until 20 s");
    drop(stuck);
    assert!(breaker.acquire(now).is_err());
    drop(probe);
}

#[test]
fn a_probe_without_a_verdict_reopens_after_the_timeout() {
    let start = Instant::now();
    let breaker = opened(probing(1), start);
    let stuck = breaker.acquire(start + 5 * SECOND).unwrap();
    assert_eq!(state(&breaker, start + Duration::from_millis(14_999)), State::HalfOpen);
    assert_eq!(breaker.acquire(start + 16 * SECOND).unwrap_err().retry_after, 4 * SECOND);
    stuck.record(Success, start + 17 * SECOND);
    assert_eq!(state(&breaker, start + 17 * SECOND), State::Open, "too late to count");
}

#[test]
fn a_cancelled_call_is_no_sample() {
    let breaker = Breaker::new(consecutive(1));
    let now = Instant::now();
    drop(breaker.acquire(now).unwrap());
    assert_eq!(breaker.snapshot(now).requests, 0);
}

#[test]
fn of_a_group_only_a_share_is_open_at_once() {
    let now = Instant::now();
    for (members, percent, open) in [(1, 10, 1), (3, 10, 1), (4, 50, 2), (5, 50, 2), (4, 100, 4)] {
        let group = Ejections::new(members, percent);
        let breakers: Vec<_> = (0..members).map(|_| Breaker::in_group(consecutive(2), group.clone())).collect();
        for breaker in &breakers {
            for _ in 0..5 {
                if let Ok(permit) = breaker.acquire(now) {
                    permit.record(CallOutcome::Error, now);
                }
            }
        }
        let is_open = |breaker: &&Breaker| state(breaker, now) == State::Open;
        assert_eq!(breakers.iter().filter(is_open).count(), open, "{percent} % of {members}");
        assert_eq!(group.ejected(), open);
    }
}

#[test]
fn a_breaker_beyond_the_share_opens_when_there_is_room() {
    let now = Instant::now();
    let group = Ejections::new(2, 50);
    let [first, second] = [(); 2].map(|()| Breaker::in_group(consecutive(1), group.clone()));
    first.acquire(now).unwrap().record(CallOutcome::Error, now);
    second.acquire(now).unwrap().record(CallOutcome::Error, now);
    assert_eq!((state(&first, now), state(&second, now)), (State::Open, State::Closed));
    let later = now + Duration::from_mins(1);
    first.acquire(later).unwrap().record(CallOutcome::Error, later);
    assert_eq!((state(&first, later), group.ejected()), (State::Open, 1), "a bad probe keeps its place");
    let end = later + Duration::from_mins(1);
    first.acquire(end).unwrap().record(CallOutcome::Success, end);
    assert_eq!((state(&first, end), group.ejected()), (State::Closed, 0));
    second.acquire(end).unwrap().record(CallOutcome::Error, end);
    assert_eq!(state(&second, end), State::Open);
    second.force(Forced::Closed);
    assert_eq!(group.ejected(), 0);
    drop((first, second));
}

#[test]
fn errors_are_5xx_unless_listed() {
    let default = Breaker::new(consecutive(1));
    let listed = Breaker::new(CircuitBreaker { errors: vec![StatusCode::TOO_MANY_REQUESTS], ..consecutive(1) });
    for (status, by_default, by_list) in
        [(200, false, false), (429, false, true), (500, true, false), (599, true, false)]
    {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!((default.is_error(status), listed.is_error(status)), (by_default, by_list), "{status}");
    }
}

#[test]
fn a_forced_breaker_stays_where_it_is_held() {
    let now = Instant::now();
    let breaker = Breaker::new(consecutive(1));
    for (forced, expected, admits) in [
        (Forced::Open, State::ForcedOpen, false),
        (Forced::Closed, State::ForcedClosed, true),
        (Forced::Disabled, State::Disabled, true),
    ] {
        breaker.force(forced);
        let changed = breaker.reconfigured(consecutive(2));
        for breaker in [&breaker, &changed, &breaker.reconfigured(consecutive(1))] {
            let permit = breaker.acquire(now);
            assert_eq!(permit.is_ok(), admits, "{forced:?}");
            if let Ok(permit) = permit {
                permit.record(Error, now);
            }
            assert_eq!(state(breaker, now), expected);
        }
    }
    breaker.release();
    assert_eq!(state(&breaker, now), State::Closed);
    assert_eq!(breaker.snapshot(now).requests, 0);
}

#[test]
fn releasing_a_breaker_that_is_not_held_changes_nothing() {
    let now = Instant::now();
    let breaker = opened(consecutive(1), now);
    breaker.release();
    assert_eq!(state(&breaker, now), State::Open);
}

#[test]
fn unchanged_parameters_keep_the_state_and_changed_ones_do_not() {
    let now = Instant::now();
    let breaker = opened(consecutive(1), now);
    assert_eq!(state(&breaker.reconfigured(consecutive(1)), now), State::Open);
    let changed = breaker.reconfigured(consecutive(2));
    assert_eq!(state(&changed, now), State::Closed);
    assert_eq!(changed.snapshot(now).transitions.opened, 1, "counters never go back");
}

#[test]
fn durations_without_end_do_not_overflow() {
    let now = Instant::now();
    let breaker = opened(CircuitBreaker { open_duration: Duration::MAX, window: Duration::MAX, ..consecutive(1) }, now);
    assert!(breaker.acquire(now + Duration::from_hours(1000)).is_err());
}

/// The closed breaker, as one would write it down: every completion is remembered.
fn naive_trip(calls: &[(Duration, bool)], params: &CircuitBreaker) -> Option<usize> {
    let bucket = |at: Duration| at.as_nanos() / (params.window.as_nanos() / 10);
    (0..calls.len()).find(|&last| {
        let in_window: Vec<bool> =
            calls[..=last].iter().filter(|(at, _)| bucket(calls[last].0) - bucket(*at) < 10).map(|(_, e)| *e).collect();
        let errors = in_window.iter().filter(|error| **error).count();
        let row = calls[..=last].iter().rev().take_while(|(_, error)| *error).count();
        row >= params.consecutive_errors.unwrap().get() as usize
            || in_window.len() >= params.min_requests.get() as usize
                && (errors as f64 / in_window.len() as f64 >= params.error_ratio.unwrap()
                    || errors >= params.error_count.unwrap().get() as usize)
    })
}

proptest! {
    #[test]
    fn a_closed_breaker_trips_when_a_naive_model_does(
        calls in prop::collection::vec((0_u64..900, prop::bool::weighted(0.4)), 1..150),
        percent in 30_u32..100,
        min_requests in 1_u32..12,
        error_count in 2_u32..12,
        row in 3_u32..8,
    ) {
        let params = CircuitBreaker {
            error_count: NonZeroU32::new(error_count),
            consecutive_errors: NonZeroU32::new(row),
            window: 2 * SECOND,
            ..ratio(f64::from(percent) / 100.0, min_requests)
        };
        let start = Instant::now();
        let mut at = Duration::ZERO;
        let calls: Vec<_> = calls.into_iter().map(|(ms, error)| { at += Duration::from_millis(ms); (at, error) }).collect();
        let mut machine = machine::Machine::new(&params, start);
        let mut tripped = None;
        for (index, (at, error)) in calls.iter().enumerate() {
            let now = start + *at;
            let ticket = machine.acquire(&params, now).unwrap();
            machine.record(&params, ticket, if *error { Error } else { Success }, Duration::ZERO, now);
            if machine.snapshot(&params, now).state == State::Open {
                tripped = Some(index);
                break;
            }
        }
        prop_assert_eq!(tripped, naive_trip(&calls, &params));
    }

    /// Whatever callers do, a half-open epoch never has more probes out than permits, and never stands still for ever.
    #[test]
    fn probes_are_bounded_and_never_stranded(steps in prop::collection::vec((0_u8..4, 0_u64..4000), 1..300), probes in 1_u32..4) {
        let params = probing(probes);
        let mut now = Instant::now();
        let breaker = opened(params, now);
        let mut held: Vec<Permit> = Vec::new();
        for (what, ms) in steps {
            now += Duration::from_millis(ms);
            match what {
                0 => held.extend(breaker.acquire(now).ok()),
                1 => { held.pop(); }
                2 => if let Some(permit) = held.pop() { permit.record(Success, now) },
                _ => if !held.is_empty() { held.remove(0).record(Error, now) },
            }
            if state(&breaker, now) == State::HalfOpen {
                let mut extra: Vec<Permit> = Vec::new();
                while let Ok(permit) = breaker.acquire(now) {
                    extra.push(permit);
                    prop_assert!(extra.len() <= probes as usize);
                }
            }
        }
        now += 20 * SECOND;
        let _ = breaker.snapshot(now);
        prop_assert!(breaker.acquire(now).is_ok());
    }
}

proptest! {
    /// Whatever happens to the members of a group: those that are open or half-open are counted, each of them once, and never
    /// more than the share; and while an operator holds a breaker nothing else moves it.
    #[test]
    fn ejections_are_counted_and_a_forced_breaker_is_moved_by_nothing(
        members in 1_usize..6,
        percent in 0_u32..=100,
        steps in prop::collection::vec((0_usize..6, 0_u8..8, 0_u64..8000), 1..200),
    ) {
        let group = Ejections::new(members, percent);
        let breakers: Vec<_> = (0..members).map(|_| Breaker::in_group(consecutive(2), group.clone())).collect();
        let mut held: Vec<Option<State>> = vec![None; members];
        let share = (members * percent as usize / 100).max(1);
        let mut now = Instant::now();
        for (member, what, ms) in steps {
            let member = member % members;
            let breaker = &breakers[member];
            now += Duration::from_millis(ms / 4);
            let force = |forced, state| { breaker.force(forced); Some(state) };
            match what {
                0 => held[member] = force(Forced::Open, State::ForcedOpen),
                1 => held[member] = force(Forced::Closed, State::ForcedClosed),
                2 => held[member] = force(Forced::Disabled, State::Disabled),
                3 => { breaker.release(); held[member] = None; }
                _ => if let Ok(permit) = breaker.acquire(now) {
                    prop_assert_ne!(held[member], Some(State::ForcedOpen));
                    match what {
                        4 | 5 => permit.record(Error, now),
                        6 => permit.record(Success, now),
                        _ => drop(permit),
                    }
                },
            }
            let states: Vec<_> = breakers.iter().map(|breaker| state(breaker, now)).collect();
            let ejected = states.iter().filter(|state| matches!(state, State::Open | State::HalfOpen)).count();
            prop_assert_eq!(group.ejected(), ejected, "{:?}", states);
            prop_assert!(ejected <= share, "{} of {} at {} %", ejected, members, percent);
            for (state, held) in states.iter().zip(&held) {
                prop_assert!(held.is_none_or(|held| held == *state), "{state:?} while it is held at {held:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_layer_stops_calls_while_open_and_probes_afterwards() {
    use crate::body::BoxError;
    use http::{Request, Response};
    use tower::{Layer, ServiceExt, service_fn};
    let layer = CircuitBreakerLayer::new(consecutive(1));
    let call = async |status: u16| {
        let inner = service_fn(move |_: Request<()>| async move {
            Ok::<_, BoxError>(Response::builder().status(status).body(()).unwrap())
        });
        layer.layer(inner).oneshot(Request::new(())).await
    };
    assert_eq!(call(500).await.unwrap().status(), 500);
    let error = call(200).await.unwrap_err();
    assert_eq!(error.downcast_ref::<Rejected>(), Some(&Rejected { retry_after: 5 * SECOND }));
    tokio::time::advance(5 * SECOND).await;
    assert_eq!(call(200).await.unwrap().status(), 200);
    assert_eq!(state(layer.breaker(), Instant::now()), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn the_layer_counts_an_attempt_cut_off_by_the_total_timeout_but_not_one_that_was_left() {
    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::Full;
    use tower::{Layer, ServiceExt, service_fn};

    use crate::{
        body::BoxError,
        timeout::{Timeout, TotalTimeoutLayer},
    };
    let layer = CircuitBreakerLayer::new(consecutive(1));
    let hang = service_fn(|_: Request<()>| std::future::pending::<Result<Response<Full<Bytes>>, BoxError>>());
    let total = TotalTimeoutLayer::new(Timeout { total: 2 * SECOND, ..Timeout::default() });
    let call = || total.layer(layer.layer(hang)).oneshot(Request::new(()));
    let left = tokio::time::timeout(SECOND, call()).await;
    assert!(left.is_err());
    assert_eq!(state(layer.breaker(), Instant::now()), State::Closed);
    assert!(call().await.is_err());
    assert_eq!(state(layer.breaker(), Instant::now()), State::Open);
}

#[test]
fn a_breaker_that_is_to_guard_something_else_forgets_what_the_first_did_and_leaves_its_place_in_the_group() {
    let now = Instant::now();
    let group = Ejections::new(2, 50);
    let breaker = Breaker::in_group(consecutive(1), group.clone());
    let before = breaker.acquire(now).unwrap();
    assert_eq!(trips_after(&breaker, "e", now), Some(1));
    assert_eq!(group.ejected(), 1);
    breaker.forget(now);
    assert_eq!((state(&breaker, now), group.ejected()), (State::Closed, 0));
    before.record(Error, now);
    assert_eq!(state(&breaker, now), State::Closed, "a call that was begun before says nothing of what it guards now");
    breaker.force(Forced::Open);
    breaker.forget(now);
    assert_eq!(state(&breaker, now), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_breaker_says_since_when_it_is_in_its_state() {
    let start = Instant::now();
    let breaker = Breaker::new(consecutive(1));
    let since = |now| breaker.snapshot(now).since;
    assert_eq!(since(start), None);
    assert_eq!(trips_after(&breaker, "e", start), Some(1));
    assert_eq!(since(start + SECOND), Some(start));
    let probing = start + breaker.params().open_duration;
    breaker.acquire(probing).unwrap().record(Success, probing);
    assert!(since(probing) >= Some(probing), "half-open, or closed, from then on");
    tokio::time::advance(SECOND).await;
    breaker.force(Forced::Open);
    assert_eq!(since(Instant::now()), Some(start + SECOND));
}

#[test]
fn the_window_is_told_by_tenths_the_oldest_first() {
    let (breaker, start) = (Breaker::new(CircuitBreaker { window: 10 * SECOND, ..ratio(1.0, 1000) }), Instant::now());
    let errors_at = |second: u32, calls: u32| {
        let now = start + SECOND * second + Duration::from_millis(500);
        (0..calls).for_each(|_| breaker.acquire(now).expect("closed").record(Error, now));
        breaker.buckets(now).map(|bucket| bucket.errors)
    };
    assert_eq!(errors_at(0, 3), [0, 0, 0, 0, 0, 0, 0, 0, 0, 3]);
    assert_eq!(errors_at(2, 1), [0, 0, 0, 0, 0, 0, 0, 3, 0, 1]);
    assert_eq!(errors_at(9, 2), [3, 0, 1, 0, 0, 0, 0, 0, 0, 2]);
    assert_eq!(errors_at(10, 0), [0, 1, 0, 0, 0, 0, 0, 0, 2, 0], "what is older than the window is not in it");
    assert_eq!(errors_at(90, 0), [0; 10]);
}
