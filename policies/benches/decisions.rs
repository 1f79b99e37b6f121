//! What one decision of a traffic policy costs: `cargo bench -p mainstay-policies`. `README.md` has the table.
//!
//! Each bench is run over one handle (hot) and over a thousand in turn, whose state is in no cache when its turn comes; the keyed
//! ones over a hundred thousand keys. The clock is given, not read: the proxy reads it once per request.
#![allow(missing_docs, reason = "a bench has no callers")]

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use divan::{Bencher, black_box};
use mainstay_policies::{
    circuit_breaker::{Breaker, CallOutcome, CircuitBreaker, SlowCall},
    concurrency_limit::{ConcurrencyLimit, Limit},
    rate_limit::{Behavior, Key, Limiter, RateLimit, WarmUp},
    retry::{Budget, Retrier, Retry},
};
use tokio::time::Instant;

const HANDLES: [usize; 2] = [1, 1000];
const KEYS: [usize; 2] = [1000, 100_000];
const MAX_WAIT: Duration = Duration::from_millis(500);
/// Between two requests of a bench: more than the rate allows, so that both answers occur.
const STEP: Duration = Duration::from_nanos(500);

fn main() {
    divan::main();
}

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("the benches use no zero")
}

fn warm_up() -> WarmUp {
    WarmUp { period: Duration::from_secs(10), cold_factor: 3.0 }
}

/// Runs a decision over these states in turn, at times that go on.
fn in_turn<T: Sync, R>(bencher: Bencher<'_, '_>, states: &[T], decide: impl Fn(&T, usize, Instant) -> R + Sync) {
    let start = Instant::now();
    let next = AtomicUsize::new(0);
    bencher.bench(|| {
        let n = next.fetch_add(1, Ordering::Relaxed);
        // A stride that is prime to both sizes: neighbours in time are no neighbours in memory.
        let state = &states[n.wrapping_mul(7919) % states.len()];
        black_box(decide(state, n, start + STEP * n as u32))
    });
}

fn rate_limit(bencher: Bencher<'_, '_>, handles: usize, behavior: &Behavior) {
    let params = RateLimit { behavior: behavior.clone(), ..RateLimit::per(count(1_000_000), Duration::from_secs(1)) };
    let limiters: Vec<_> = (0..handles).map(|_| Limiter::new(params.clone())).collect();
    in_turn(bencher, &limiters, |limiter, _, now| limiter.admit(b"", now));
}

fn keyed_rate_limit(bencher: Bencher<'_, '_>, keys: usize, behavior: &Behavior) {
    let params = RateLimit {
        key: Key::Principal,
        behavior: behavior.clone(),
        ..RateLimit::per(count(1_000_000), Duration::from_secs(1))
    };
    let limiter = Limiter::new(params);
    let names: Vec<_> = (0..keys).map(|key| format!("principal-{key}")).collect();
    let start = Instant::now();
    for name in &names {
        drop(limiter.admit(name.as_bytes(), start));
    }
    in_turn(bencher, &names, |name, _, now| limiter.admit(name.as_bytes(), now));
}

#[divan::bench(args = HANDLES)]
fn rate_limit_reject(bencher: Bencher<'_, '_>, handles: usize) {
    rate_limit(bencher, handles, &Behavior::Reject);
}

#[divan::bench(args = HANDLES)]
fn rate_limit_queue(bencher: Bencher<'_, '_>, handles: usize) {
    rate_limit(bencher, handles, &Behavior::Queue { max_wait: MAX_WAIT });
}

#[divan::bench(args = HANDLES)]
fn rate_limit_warm_up(bencher: Bencher<'_, '_>, handles: usize) {
    rate_limit(bencher, handles, &Behavior::WarmUp(warm_up()));
}

#[divan::bench(args = HANDLES)]
fn rate_limit_warm_up_queue(bencher: Bencher<'_, '_>, handles: usize) {
    rate_limit(bencher, handles, &Behavior::WarmUpQueue { warm_up: warm_up(), max_wait: MAX_WAIT });
}

#[divan::bench(args = KEYS)]
fn rate_limit_reject_keyed(bencher: Bencher<'_, '_>, keys: usize) {
    keyed_rate_limit(bencher, keys, &Behavior::Reject);
}

#[divan::bench(args = KEYS)]
fn rate_limit_queue_keyed(bencher: Bencher<'_, '_>, keys: usize) {
    keyed_rate_limit(bencher, keys, &Behavior::Queue { max_wait: MAX_WAIT });
}

#[divan::bench(args = KEYS)]
fn rate_limit_warm_up_keyed(bencher: Bencher<'_, '_>, keys: usize) {
    keyed_rate_limit(bencher, keys, &Behavior::WarmUp(warm_up()));
}

#[divan::bench(args = KEYS)]
fn rate_limit_warm_up_queue_keyed(bencher: Bencher<'_, '_>, keys: usize) {
    keyed_rate_limit(bencher, keys, &Behavior::WarmUpQueue { warm_up: warm_up(), max_wait: MAX_WAIT });
}

/// A key that nobody has seen, while the table is full of keys in use: the worst case, and what an attacker sends.
#[divan::bench]
fn rate_limit_new_key_in_a_full_table(bencher: Bencher<'_, '_>) {
    let params =
        RateLimit { key: Key::Principal, max_keys: 100_000, ..RateLimit::per(count(1), Duration::from_hours(24)) };
    let limiter = Limiter::new(params);
    let start = Instant::now();
    for key in 0..100_000_u32 {
        drop(limiter.admit(&key.to_be_bytes(), start));
    }
    in_turn(bencher, &[limiter], |limiter, n, now| limiter.admit(&(n as u64).to_le_bytes(), now));
}

#[divan::bench(args = HANDLES)]
fn concurrency_limit(bencher: Bencher<'_, '_>, handles: usize) {
    let params = ConcurrencyLimit { max_concurrent: count(8), max_wait: Duration::ZERO, max_queue: 0, adaptive: None };
    let limits: Vec<_> = (0..handles).map(|_| Limit::new(params.clone())).collect();
    in_turn(bencher, &limits, |limit, _, now| limit.try_acquire(now).map(|permit| permit.finish(MAX_WAIT)));
}

fn breaker(bencher: Bencher<'_, '_>, handles: usize, params: &CircuitBreaker) {
    let breakers: Vec<_> = (0..handles).map(|_| Breaker::new(params.clone())).collect();
    in_turn(bencher, &breakers, |breaker, n, now| {
        let outcome = if n % 20 == 0 { CallOutcome::Error } else { CallOutcome::Success };
        breaker.acquire(now).map(|permit| permit.record(outcome, now + Duration::from_micros(300)))
    });
}

#[divan::bench(args = HANDLES)]
fn breaker_error_ratio(bencher: Bencher<'_, '_>, handles: usize) {
    breaker(bencher, handles, &CircuitBreaker { error_ratio: Some(0.5), ..CircuitBreaker::default() });
}

#[divan::bench(args = HANDLES)]
fn breaker_slow_call(bencher: Bencher<'_, '_>, handles: usize) {
    let slow_call = Some(SlowCall { duration: Duration::from_millis(500), ratio: 0.5 });
    breaker(bencher, handles, &CircuitBreaker { slow_call, ..CircuitBreaker::default() });
}

#[divan::bench(args = HANDLES)]
fn breaker_error_count(bencher: Bencher<'_, '_>, handles: usize) {
    breaker(bencher, handles, &CircuitBreaker { error_count: Some(count(1_000_000)), ..CircuitBreaker::default() });
}

#[divan::bench(args = HANDLES)]
fn breaker_consecutive_errors(bencher: Bencher<'_, '_>, handles: usize) {
    breaker(bencher, handles, &CircuitBreaker { consecutive_errors: Some(count(5)), ..CircuitBreaker::default() });
}

#[divan::bench(args = HANDLES)]
fn breaker_all_conditions(bencher: Bencher<'_, '_>, handles: usize) {
    let slow_call = Some(SlowCall { duration: Duration::from_millis(500), ratio: 0.5 });
    let params = CircuitBreaker {
        error_ratio: Some(0.5),
        slow_call,
        error_count: Some(count(1_000_000)),
        consecutive_errors: Some(count(5)),
        ..CircuitBreaker::default()
    };
    breaker(bencher, handles, &params);
}

#[divan::bench(args = HANDLES)]
fn breaker_open(bencher: Bencher<'_, '_>, handles: usize) {
    let params = CircuitBreaker {
        consecutive_errors: Some(count(1)),
        open_duration: Duration::from_hours(24),
        ..CircuitBreaker::default()
    };
    let breakers: Vec<_> = (0..handles).map(|_| Breaker::new(params.clone())).collect();
    let start = Instant::now();
    for breaker in &breakers {
        breaker.acquire(start).expect("a new breaker is closed").record(CallOutcome::Error, start);
    }
    in_turn(bencher, &breakers, |breaker, _, now| breaker.acquire(now).is_err());
}

/// The deposit of an original request.
#[divan::bench(args = HANDLES)]
fn retry_budget(bencher: Bencher<'_, '_>, handles: usize) {
    let params = Retry { budget: Some(Budget::default()), ..Retry::default() };
    let retriers: Vec<_> = (0..handles).map(|_| Retrier::new(params.clone())).collect();
    in_turn(bencher, &retriers, |retrier, _, now| {
        black_box(retrier.start(now));
    });
}
