use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use proptest::prelude::*;
use tokio::time::{Instant, advance};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn params(max_concurrent: u32, max_wait: Duration, max_queue: u32) -> ConcurrencyLimit {
    ConcurrencyLimit { max_concurrent: NonZeroU32::new(max_concurrent).unwrap(), max_wait, max_queue, adaptive: None }
}

fn adaptive(start: u32, min: u32, max: u32) -> ConcurrencyLimit {
    let [min, max] = [min, max].map(|bound| NonZeroU32::new(bound).unwrap());
    ConcurrencyLimit {
        adaptive: Some(Adaptive::Aimd(Aimd { min, max, threshold: SECOND })),
        ..params(start, Duration::ZERO, 0)
    }
}

fn take(limit: &Limit) -> Permit {
    limit.try_acquire(Instant::now()).expect("a free place")
}

#[tokio::test(start_paused = true)]
async fn the_limit_is_reached_and_never_passed() {
    let limit = Limit::new(params(2, Duration::ZERO, 10));
    let held = [take(&limit), take(&limit)];
    assert_eq!(
        limit.try_acquire(Instant::now()).unwrap_err(),
        Overloaded { by: OverloadedBy::Places, retry_after: SECOND }
    );
    assert!(limit.acquire().await.is_err(), "max_wait 0 refuses at once");
    assert_eq!(limit.in_flight(), 2);
    drop(held);
    assert_eq!(limit.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_gives_up_after_max_wait() {
    let limit = Limit::new(params(1, SECOND, 1));
    let _held = take(&limit);
    let began = Instant::now();
    assert!(limit.acquire().await.is_err());
    assert_eq!(began.elapsed(), SECOND);
    assert_eq!((limit.queued(), limit.in_flight()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn waiters_are_served_in_order_and_never_overtaken() {
    let limit = Limit::new(params(1, 60 * SECOND, 8));
    let held = take(&limit);
    let served = Arc::new(AtomicU32::new(0));
    let waiters: Vec<_> = (0..5)
        .map(|order| {
            let (limit, served) = (limit.clone(), Arc::clone(&served));
            tokio::spawn(async move {
                let permit = limit.acquire().await.unwrap();
                assert_eq!(served.fetch_add(1, Ordering::Relaxed), order);
                drop(permit);
            })
        })
        .collect();
    while limit.queued() < 5 {
        tokio::task::yield_now().await;
    }
    drop(held);
    assert!(limit.try_acquire(Instant::now()).is_err(), "the place was handed to the first waiter");
    for waiter in waiters {
        waiter.await.unwrap();
    }
    assert_eq!(limit.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_and_a_waiter_that_leaves_makes_room() {
    let limit = Limit::new(params(1, SECOND, 1));
    let _held = take(&limit);
    let waiter = tokio::spawn({
        let limit = limit.clone();
        async move { limit.acquire().await.is_ok() }
    });
    while limit.queued() < 1 {
        tokio::task::yield_now().await;
    }
    let began = Instant::now();
    assert!(limit.acquire().await.is_err());
    assert_eq!(began.elapsed(), Duration::ZERO, "refused at once");
    waiter.abort();
    let _ = waiter.await;
    assert_eq!(limit.queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_place_granted_to_a_waiter_that_left_is_not_lost() {
    let limit = Limit::new(params(1, SECOND, 1));
    let held = take(&limit);
    let waiter = tokio::spawn({
        let limit = limit.clone();
        async move { limit.acquire().await.map(drop) }
    });
    while limit.queued() < 1 {
        tokio::task::yield_now().await;
    }
    drop(held);
    assert_eq!((limit.in_flight(), limit.queued()), (1, 0), "granted, not yet heard");
    waiter.abort();
    let _ = waiter.await;
    assert_eq!(limit.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_reconfigured_limit_keeps_what_is_in_flight_and_serves_who_waits() {
    let limit = Limit::new(params(1, SECOND, 4));
    let held = take(&limit);
    let waiter = tokio::spawn({
        let limit = limit.clone();
        async move { limit.acquire().await }
    });
    while limit.queued() < 1 {
        tokio::task::yield_now().await;
    }
    let raised = limit.reconfigured(params(2, SECOND, 4));
    let second = waiter.await.unwrap().unwrap();
    assert_eq!(raised.in_flight(), 2);
    let lowered = raised.reconfigured(params(1, SECOND, 4));
    drop(second);
    assert!(lowered.try_acquire(Instant::now()).is_err(), "one is still in flight");
    drop(held);
    assert!(lowered.try_acquire(Instant::now()).is_ok());
}

#[test]
fn the_adaptive_limit_follows_its_formula() {
    let limit = Limit::new(adaptive(10, 5, 12));
    let finish = |held: usize, latency: Option<Duration>| {
        let mut permits: Vec<_> = (0..held).map(|_| take(&limit)).collect();
        let last = permits.pop().unwrap();
        match latency {
            Some(latency) => last.finish(latency),
            None => last.dropped_by_upstream(),
        }
        limit.limit()
    };
    assert_eq!(finish(4, Some(SECOND)), 10, "2 * 4 < 10: not its limit that holds it back");
    assert_eq!(finish(5, Some(SECOND)), 11, "exactly the threshold is not over it");
    assert_eq!(finish(6, Some(SECOND)), 12);
    assert_eq!(finish(6, Some(SECOND)), 12, "max");
    assert_eq!(finish(1, Some(SECOND + Duration::from_nanos(1))), 10, "floor(10.8)");
    assert_eq!(finish(1, None), 9);
    assert_eq!([finish(1, None), finish(1, None), finish(1, None), finish(1, None)], [8, 7, 6, 5]);
    assert_eq!(finish(1, None), 5, "min");
    drop(take(&limit));
    assert_eq!(limit.limit(), 5, "a cancel is no sample");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threads_together_never_pass_the_limit() {
    let limit = Limit::new(params(3, 60 * SECOND, 64));
    let inside = Arc::new(AtomicU32::new(0));
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (limit, inside) = (limit.clone(), Arc::clone(&inside));
            tokio::spawn(async move {
                for _ in 0..200 {
                    let permit = limit.acquire().await.unwrap();
                    assert!(inside.fetch_add(1, Ordering::SeqCst) < 3);
                    tokio::task::yield_now().await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(permit);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!((limit.in_flight(), limit.queued()), (0, 0));
}

proptest! {
    #[test]
    fn counts_agree_with_a_naive_model(steps in prop::collection::vec((0_u8..5, 0_u64..700), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let limit = Limit::new(params(2, SECOND, 2));
            let mut held = Vec::new();
            let mut waiters = Vec::new();
            for (what, ms) in steps {
                match what {
                    0 => if let Ok(permit) = limit.try_acquire(Instant::now()) { held.push(permit) },
                    1 => { held.pop(); }
                    2 => {
                        let limit = limit.clone();
                        waiters.push(tokio::spawn(async move { limit.acquire().await }));
                    }
                    3 => if let Some(waiter) = waiters.pop() { waiter.abort() },
                    _ => advance(Duration::from_millis(ms)).await,
                }
                for _ in 0..4 { tokio::task::yield_now().await; }
                assert!(limit.in_flight() <= 2 && limit.queued() <= 2);
                assert!(limit.queued() == 0 || limit.in_flight() == 2, "nobody waits beside a free place");
            }
            drop(held);
            for waiter in waiters { waiter.abort(); let _ = waiter.await; }
            assert_eq!((limit.in_flight(), limit.queued()), (0, 0));
        });
    }
}

proptest! {
    /// The limit after each ending is the formula's, in real numbers and rounded down, and never outside its bounds.
    #[test]
    fn an_adaptive_limit_agrees_with_its_formula(
        (min, max) in (1_u32..40).prop_flat_map(|min| (Just(min), min..200)),
        start in 1_u32..250,
        steps in prop::collection::vec((0_u8..6, 0_u64..2000), 1..300),
    ) {
        let limit = Limit::new(adaptive(start, min, max));
        let mut expected = start.clamp(min, max);
        let mut held = Vec::new();
        for (what, ms) in steps {
            match what {
                0..3 => {
                    let admitted = limit.try_acquire(Instant::now());
                    prop_assert_eq!(admitted.is_ok(), held.len() < expected as usize, "{} held of {}", held.len(), expected);
                    held.extend(admitted);
                }
                3 => { held.pop(); }
                _ => if let Some(permit) = held.pop() {
                    let in_flight = held.len() as u32 + 1;
                    let latency = Duration::from_millis(ms);
                    if what == 4 { permit.finish(latency) } else { permit.dropped_by_upstream() }
                    let next = if what == 5 || latency > SECOND {
                        (f64::from(expected) * 0.9 + 1e-9).floor() as u32
                    } else if 2 * in_flight >= expected {
                        expected + 1
                    } else {
                        expected
                    };
                    expected = next.clamp(min, max);
                }
            }
            prop_assert_eq!((limit.limit(), limit.in_flight()), (expected, held.len() as u32));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_layer_holds_a_place_until_the_response_body_ends() {
    use crate::body::BoxError;
    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::{BodyExt, Full};
    use tower::{Layer, ServiceExt, service_fn};
    let layer = ConcurrencyLimitLayer::new(params(1, Duration::ZERO, 0));
    let call = || {
        let inner = service_fn(|_: Request<()>| async {
            Ok::<_, BoxError>(Response::new(Full::new(Bytes::from_static(b"body"))))
        });
        layer.layer(inner).oneshot(Request::new(()))
    };
    let mut response = call().await.unwrap();
    assert!(call().await.unwrap_err().is::<Overloaded>(), "the first body is not read yet");
    response.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(layer.limit().in_flight(), 0, "its last frame was taken");
    drop(call().await.unwrap());
    assert_eq!(layer.limit().in_flight(), 0, "a dropped body is over, too");
}

/// A limit by CPU that has seen 20 answers in 100 ms, each after 50 ms: a capacity of ten.
async fn by_cpu(params: ConcurrencyLimit) -> (Limit, CpuLoad) {
    let cpu = CpuLoad::unknown();
    let limit =
        Limit::watching(ConcurrencyLimit { adaptive: Some(Adaptive::Bbr(Bbr::default())), ..params }, cpu.clone());
    let held: Vec<_> = (0..20).map(|_| take(&limit)).collect();
    advance(Duration::from_millis(50)).await;
    for permit in held {
        permit.finish(Duration::from_millis(50));
    }
    advance(Duration::from_millis(50)).await;
    (limit, cpu)
}

#[tokio::test(start_paused = true)]
async fn a_busy_cpu_sheds_what_is_beyond_the_capacity_and_an_idle_one_nothing() {
    let (limit, cpu) = by_cpu(params(1000, SECOND, 100)).await;
    assert_eq!(limit.shedding(Instant::now()), Some(Shedding { capacity: Some(10), is_armed: false }));
    cpu.set(Some(0.95));
    assert_eq!(limit.shedding(Instant::now()), Some(Shedding { capacity: Some(10), is_armed: true }));
    let mut held: Vec<_> = (0..11).map(|_| take(&limit)).collect();
    let began = Instant::now();
    let shed = Overloaded { by: OverloadedBy::Cpu, retry_after: SECOND };
    assert_eq!(limit.acquire().await.unwrap_err(), shed);
    assert_eq!((limit.queued(), began.elapsed()), (0, Duration::ZERO), "it does not wait");
    held.pop();
    held.push(limit.acquire().await.expect("one has ended"));
    cpu.set(Some(0.2));
    assert_eq!(limit.try_acquire(Instant::now()).unwrap_err(), shed, "the CPU has only just calmed");
    advance(SECOND).await;
    held.push(take(&limit));
    cpu.set(None);
    held.push(take(&limit));
}

#[tokio::test(start_paused = true)]
async fn a_limit_by_cpu_still_ends_at_its_places_and_there_requests_wait() {
    let (limit, cpu) = by_cpu(params(20, SECOND, 1)).await;
    let held: Vec<_> = (0..20).map(|_| take(&limit)).collect();
    let began = Instant::now();
    assert_eq!(limit.acquire().await.unwrap_err().by, OverloadedBy::Places);
    assert_eq!(began.elapsed(), SECOND);
    cpu.set(Some(1.0));
    assert_eq!(limit.acquire().await.unwrap_err().by, OverloadedBy::Cpu);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn failures_errors_and_cancels_show_no_capacity() {
    let bbr = Some(Adaptive::Bbr(Bbr::default()));
    let limit = Limit::new(ConcurrencyLimit { adaptive: bbr, ..params(10, Duration::ZERO, 0) });
    take(&limit).dropped_by_upstream();
    drop(take(&limit));
    let mut failing = take(&limit);
    failing.observe_error(Duration::from_millis(1));
    drop(failing);
    advance(SECOND).await;
    assert_eq!(limit.shedding(Instant::now()).unwrap().capacity, None);
    // The whole time in the place counts, not only that until the head.
    let mut streaming = take(&limit);
    streaming.observe_latency(Duration::from_millis(1));
    advance(Duration::from_millis(400)).await;
    drop(streaming);
    advance(SECOND).await;
    assert_eq!(limit.shedding(Instant::now()).unwrap().capacity, Some(4));
}

#[tokio::test(start_paused = true)]
async fn what_was_seen_outlives_other_numbers_but_not_another_rule() {
    let (limit, _cpu) = by_cpu(params(1000, Duration::ZERO, 0)).await;
    let same = limit.params().clone();
    let fewer = limit.reconfigured(ConcurrencyLimit { max_concurrent: NonZeroU32::new(50).unwrap(), ..same.clone() });
    assert_eq!(fewer.shedding(Instant::now()).unwrap().capacity, Some(10));
    let calmer = Some(Adaptive::Bbr(Bbr { cpu_percent: 60, ..Bbr::default() }));
    let other = fewer.reconfigured(ConcurrencyLimit { adaptive: calmer, ..same.clone() });
    assert_eq!(other.shedding(Instant::now()).unwrap().capacity, None);
    assert_eq!(other.reconfigured(ConcurrencyLimit { adaptive: None, ..same }).shedding(Instant::now()), None);
}

#[test]
fn the_load_is_smoothed_by_the_time_that_a_sample_stands_for() {
    let quarter = Duration::from_millis(250);
    let mut smoothed = SmoothedLoad::default();
    assert!(smoothed.next(0.0, quarter).abs() < 1e-12, "the first as it is");
    assert!((smoothed.next(1.0, quarter) - 0.05).abs() < 1e-12);
    assert!((smoothed.next(1.0, quarter) - 0.0975).abs() < 1e-12);
    let mut late = SmoothedLoad::default();
    late.next(0.0, quarter);
    assert!((late.next(1.0, 2 * quarter) - 0.0975).abs() < 1e-12, "one of 500 ms is two of 250 ms");
    // From nothing to everything: over 80 % with the 32nd sample, after 8 s.
    let mut jump = SmoothedLoad::default();
    jump.next(0.0, quarter);
    let over = (1..100).find(|_| jump.next(1.0, quarter) >= 0.8);
    assert_eq!(over, Some(32));
    assert!((SmoothedLoad::default().next(7.0, quarter) - 1.0).abs() < 1e-12);
}
