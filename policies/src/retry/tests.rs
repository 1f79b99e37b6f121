use std::{collections::VecDeque, time::Duration};

use http::{HeaderMap, HeaderValue, Method, StatusCode, header::RETRY_AFTER};
use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::evidence::{AttemptError, Cause, Sent};

const SECOND: Duration = Duration::from_secs(1);

fn unbudgeted(max_retries: u32) -> Retry {
    let delays = Delays::Backoff(Backoff { jitter: Jitter::None, ..Backoff::default() });
    Retry { max_retries, delays, budget: None, ..Retry::default() }
}

fn after_error(retry: Retry, cause: Cause, sent: Sent, repeatable: Repeatable) -> Decision {
    let retrier = Retrier::new(retry);
    let error = AttemptError::new(cause, sent);
    let now = Instant::now();
    retrier.start(now).next(&Outcome::Error(&error), repeatable, None, now, 0)
}

fn after_response(retry: Retry, status: u16, headers: &HeaderMap, remaining: Option<Duration>, wall: u64) -> Decision {
    let retrier = Retrier::new(retry);
    let outcome = Outcome::Response { status: StatusCode::from_u16(status).unwrap(), headers };
    let now = Instant::now();
    retrier.start(now).next(&outcome, Repeatable::Always, remaining, now, wall)
}

fn retry_after(value: &str) -> HeaderMap {
    HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(value).unwrap())])
}

#[test]
fn an_error_is_retried_if_listed_and_safe() {
    use Cause::{AttemptTimeout, Connect, Malformed, Refused, Reset, Tls, TotalTimeout};
    use Repeatable::{Always, OnlyIfUnsent};
    use Sent::{Maybe, No};
    let retried = |reason| Decision::Retry { after: Duration::from_millis(25), reason };
    let stopped = Decision::Stop;
    for (cause, sent, repeatable, expected) in [
        (Connect, No, OnlyIfUnsent, retried("connect_error")),
        (Tls, No, OnlyIfUnsent, retried("connect_error")),
        (Refused, No, OnlyIfUnsent, retried("refused")),
        (Reset, No, OnlyIfUnsent, retried("reset")),
        (Reset, Maybe, OnlyIfUnsent, stopped(Stop::Unsafe)),
        (Malformed, Maybe, OnlyIfUnsent, stopped(Stop::Unsafe)),
        (AttemptTimeout, Maybe, OnlyIfUnsent, stopped(Stop::Unsafe)),
        (Reset, Maybe, Always, retried("reset")),
        (Malformed, Maybe, Always, retried("reset")),
        (AttemptTimeout, Maybe, Always, retried("timeout")),
        (TotalTimeout, Maybe, Always, stopped(Stop::NotRetryable)),
        (TotalTimeout, No, Always, stopped(Stop::NotRetryable)),
    ] {
        assert_eq!(after_error(unbudgeted(1), cause, sent, repeatable), expected, "{cause:?} {sent:?} {repeatable:?}");
    }
}

#[test]
fn a_safe_failure_that_is_not_listed_is_not_retried() {
    let retry = Retry { on: vec![Condition::Reset], ..unbudgeted(1) };
    let decision = after_error(retry, Cause::Connect, Sent::No, Repeatable::Always);
    assert_eq!(decision, Decision::Stop(Stop::NotRetryable));
}

#[test]
fn a_write_that_got_a_response_is_not_sent_again() {
    let retrier = Retrier::new(unbudgeted(1));
    let now = Instant::now();
    let outcome = Outcome::Response { status: StatusCode::SERVICE_UNAVAILABLE, headers: &HeaderMap::new() };
    let decision = retrier.start(now).next(&outcome, Repeatable::OnlyIfUnsent, None, now, 0);
    assert_eq!(decision, Decision::Stop(Stop::Unsafe));
}

#[test]
fn a_response_is_retried_if_its_status_or_grpc_code_is_listed() {
    let unavailable = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("14"))]);
    let on = vec![Condition::Status(StatusCode::BAD_GATEWAY), Condition::Grpc(14)];
    let retry = Retry { on, ..unbudgeted(1) };
    for (status, headers, reason) in [
        (502, HeaderMap::new(), Some("502")),
        (503, HeaderMap::new(), None),
        (200, unavailable, Some("grpc:unavailable")),
        (200, HeaderMap::new(), None),
    ] {
        let expected = reason.map_or(Decision::Stop(Stop::NotRetryable), |reason| Decision::Retry {
            after: Duration::from_millis(25),
            reason,
        });
        assert_eq!(after_response(retry.clone(), status, &headers, None, 0), expected, "{status} {headers:?}");
    }
}

#[test]
fn attempts_stop_after_max_retries() {
    let retrier = Retrier::new(unbudgeted(2));
    let now = Instant::now();
    let reset = AttemptError::new(Cause::Reset, Sent::Maybe);
    let mut attempts = retrier.start(now);
    let mut next = || {
        let decision = attempts.next(&Outcome::Error(&reset), Repeatable::Always, None, now, 0);
        (attempts.made(), decision)
    };
    let ms = Duration::from_millis;
    assert_eq!(next(), (2, Decision::Retry { after: ms(25), reason: "reset" }));
    assert_eq!(next(), (3, Decision::Retry { after: ms(50), reason: "reset" }));
    assert_eq!(next(), (3, Decision::Stop(Stop::Exhausted)));
}

#[test]
fn backoff_grows_to_its_maximum_and_never_overflows() {
    let backoff = Backoff { jitter: Jitter::None, ..Backoff::default() };
    for (retry, ms) in [(1, 25), (2, 50), (3, 100), (4, 200), (6, 800), (7, 1000), (64, 1000), (u32::MAX, 1000)] {
        assert_eq!(backoff.bound(retry), Duration::from_millis(ms), "retry {retry}");
    }
    let shrinking = Backoff { multiplier: 0.5, ..backoff };
    assert_eq!(shrinking.bound(3), Duration::from_millis(25), "a multiplier under 1 counts as 1");
}

#[test]
fn full_jitter_is_spread_over_the_whole_bound() {
    let delays = Delays::Backoff(Backoff { base: SECOND, ..Backoff::default() });
    let waits: Vec<f64> = (0..4000).map(|_| delays.wait(1).as_secs_f64()).collect();
    assert!(waits.iter().all(|wait| (0.0..=1.0).contains(wait)));
    for quarter in 0..4 {
        let low = f64::from(quarter) / 4.0;
        let share = waits.iter().filter(|wait| **wait >= low && **wait < low + 0.25).count();
        assert!((800..1200).contains(&share), "quarter {quarter} got {share} of 4000");
    }
}

#[test]
fn a_schedule_is_stepped_and_its_last_wait_repeats() {
    let delays = Delays::Schedule(vec![SECOND, 5 * SECOND]);
    assert_eq!([1, 2, 3, 9].map(|retry| delays.wait(retry).as_secs()), [1, 5, 5, 5]);
    assert_eq!(Delays::Schedule(Vec::new()).wait(1), Duration::ZERO);
}

#[test]
fn retry_after_is_the_minimum_wait_of_429_and_503() {
    let wall = 784_111_777_000; // Sun, 06 Nov 1994 08:49:37 GMT
    let on = [429, 503, 504].map(|code| Condition::Status(StatusCode::from_u16(code).unwrap())).to_vec();
    let retry = Retry { on, ..unbudgeted(1) };
    for (status, value, wait_ms) in [
        (503, "2", 2000),
        (429, "2", 2000),
        (504, "2", 25),
        (503, "0", 25),
        (503, "soon", 25),
        (503, "-1", 25),
        (503, "1.5", 25),
        (503, "", 25),
        (503, "Sun, 06 Nov 1994 08:49:40 GMT", 3000),
        (503, "Sun, 06 Nov 1994 08:49:30 GMT", 25),
        (503, "99999999999999999999", u64::from(u32::MAX) * 1000),
    ] {
        let decision = after_response(retry.clone(), status, &retry_after(value), None, wall);
        let Decision::Retry { after, .. } = decision else { panic!("{status} {value:?}: {decision:?}") };
        assert_eq!(after, Duration::from_millis(wait_ms), "{status} {value:?}");
    }
}

#[test]
fn a_429_may_ask_by_a_reset_header() {
    let wall = 1_800_000_000_000;
    let on = [429, 503].map(|code| Condition::Status(StatusCode::from_u16(code).unwrap())).to_vec();
    let retry = Retry { on, ..unbudgeted(1) };
    for (status, name, value, wait_ms) in [
        (429, "ratelimit-reset", "2", 2000),
        (429, "x-ratelimit-reset", "3", 3000),
        (429, "x-rate-limit-reset", "0.5", 500),
        (429, "x-ratelimit-reset", "1800000004", 4000),
        (429, "x-ratelimit-reset", "1800000004500", 4500),
        (429, "x-ratelimit-reset", "1700000000", 25),
        (429, "x-ratelimit-reset", "tomorrow", 25),
        (429, "x-ratelimit-reset", "-1", 25),
        (429, "x-ratelimit-reset", "1.2.3", 25),
        (503, "ratelimit-reset", "2", 25),
    ] {
        let headers = HeaderMap::from_iter([(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap())]);
        let decision = after_response(retry.clone(), status, &headers, None, wall);
        let Decision::Retry { after, .. } = decision else { panic!("{status} {value:?}: {decision:?}") };
        assert_eq!(after, Duration::from_millis(wait_ms), "{status} {name}: {value}");
    }
    let mut both = retry_after("1");
    both.insert("ratelimit-reset", HeaderValue::from_static("9"));
    let decision = after_response(retry, 429, &both, None, wall);
    assert_eq!(decision, Decision::Retry { after: SECOND, reason: "429" }, "Retry-After is the standard");
}

#[test]
fn hedges_are_paid_for_like_retries() {
    let budget = Some(Budget { percent: 50.0, min_retries_per_sec: 0.0, ttl: 10 * SECOND });
    let hedge = Some(Hedge { after: HedgeAfter::Fixed(SECOND), max: 9 });
    let retrier = Retrier::new(Retry { budget, hedge, ..unbudgeted(9) });
    let now = Instant::now();
    let attempts: Vec<_> = (0..4).map(|_| retrier.start(now)).collect();
    assert_eq!(attempts.iter().filter(|attempts| attempts.hedge(now)).count(), 2);
    assert_eq!(drain(&mut retrier.start(now), now), 0, "nothing is left for a retry");
}

#[test]
fn a_percentile_hedges_once_it_is_known() {
    let hedge = Some(Hedge { after: HedgeAfter::Percentile(95), max: 1 });
    let retrier = Retrier::new(Retry { hedge, ..unbudgeted(0) });
    let now = Instant::now();
    assert_eq!(retrier.hedge_after(now), None);
    for _ in 0..100 {
        retrier.observe(Duration::from_millis(10), now);
    }
    let after = retrier.hedge_after(now).unwrap();
    assert!((10..12).contains(&after.as_millis()), "{after:?}");
    let same = retrier.reconfigured(Retry { max_retries: 2, ..retrier.params().clone() });
    assert_eq!(same.hedge_after(now), Some(after), "another number forgets nothing");
}

#[test]
fn a_wait_that_would_outlast_the_remaining_time_is_not_begun() {
    let ms = Duration::from_millis;
    let left = |left| after_response(unbudgeted(1), 503, &HeaderMap::new(), Some(left), 0);
    assert_eq!(left(ms(25)), Decision::Stop(Stop::NoTime));
    assert_eq!(left(ms(26)), Decision::Retry { after: ms(25), reason: "503" });
    let asked = after_response(unbudgeted(1), 503, &retry_after("3"), Some(2 * SECOND), 0);
    assert_eq!(asked, Decision::Stop(Stop::NoTime));
}

#[test]
fn idempotent_methods_are_those_of_rfc_9110() {
    for (method, expected) in [
        (Method::GET, true),
        (Method::HEAD, true),
        (Method::OPTIONS, true),
        (Method::TRACE, true),
        (Method::PUT, true),
        (Method::DELETE, true),
        (Method::POST, false),
        (Method::PATCH, false),
        (Method::CONNECT, false),
        (Method::from_bytes(b"BREW").unwrap(), false),
    ] {
        assert_eq!(is_idempotent(&method), expected, "{method}");
    }
}

fn budgeted(percent: f64, min_retries_per_sec: f64) -> Retrier {
    let budget = Some(Budget { percent, min_retries_per_sec, ttl: 10 * SECOND });
    let delays = Delays::Schedule(Vec::new());
    Retrier::new(Retry { max_retries: u32::MAX, budget, delays, ..Retry::default() })
}

/// Sends `originals`, then retries until the budget refuses.
fn affordable(retrier: &Retrier, originals: u32, now: Instant) -> u32 {
    for _ in 1..originals {
        retrier.start(now);
    }
    drain(&mut retrier.start(now), now)
}

fn drain(attempts: &mut Attempts<'_>, now: Instant) -> u32 {
    let reset = AttemptError::new(Cause::Reset, Sent::Maybe);
    let before = attempts.made();
    loop {
        match attempts.next(&Outcome::Error(&reset), Repeatable::Always, None, now, 0) {
            Decision::Retry { .. } => {}
            Decision::Stop(stop) => {
                assert_eq!(stop, Stop::Budget);
                return attempts.made() - before;
            }
        }
    }
}

#[test]
fn the_budget_takes_every_percentage_at_its_word() {
    let now = Instant::now();
    // tower's TpsBudget takes 60 to 90 % for 100 % and 30 % for 33 %.
    for (percent, floor, originals, retries) in [
        (20.0, 0.0, 100, 20),
        (30.0, 0.0, 1000, 300),
        (60.0, 0.0, 100, 60),
        (90.0, 0.0, 100, 90),
        (100.0, 0.0, 100, 100),
        (0.1, 0.0, 1000, 1),
        (0.1, 0.0, 999, 0),
        (150.0, 0.0, 10, 15),
        (0.0, 3.0, 1, 30),
        (20.0, 3.0, 100, 50),
        (0.0, 0.0, 1000, 0),
        (10.0, 0.1, 5, 1),
        (f64::NAN, -1.0, 100, 0),
    ] {
        let made = affordable(&budgeted(percent, floor), originals, now);
        assert_eq!(made, retries, "{percent} %, floor {floor}/s, {originals} originals");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deposit_counts_for_the_whole_ttl_and_at_most_one_percent_longer() {
    for offset_ms in [0, 1, 39, 77, 78, 79, 5000] {
        let retrier = budgeted(100.0, 0.0);
        let arrived = Instant::now() + Duration::from_millis(offset_ms);
        retrier.start(arrived);
        for (age_ms, balance) in [(0, 1.0), (9_999, 1.0), (10_101, 0.0)] {
            let now = arrived + Duration::from_millis(age_ms);
            assert!((retrier.balance(now) - balance).abs() < 1e-9, "offset {offset_ms}, age {age_ms}");
        }
    }
}

#[test]
fn without_a_budget_nothing_is_withheld() {
    let retrier = Retrier::new(unbudgeted(1));
    assert!(retrier.balance(Instant::now()).is_infinite());
}

#[test]
fn a_retry_that_is_not_made_costs_nothing() {
    let retrier = budgeted(100.0, 0.0);
    let now = Instant::now();
    let mut attempts = retrier.start(now);
    let outcome = Outcome::Response { status: StatusCode::SERVICE_UNAVAILABLE, headers: &retry_after("5") };
    let decision = attempts.next(&outcome, Repeatable::Always, Some(SECOND), now, 0);
    assert_eq!(decision, Decision::Stop(Stop::NoTime));
    assert!((retrier.balance(now) - 1.0).abs() < 1e-9);
}

#[test]
fn a_reconfigured_policy_keeps_what_was_earned_and_spent() {
    let now = Instant::now();
    let retrier = budgeted(20.0, 0.0);
    assert_eq!(affordable(&retrier, 100, now), 20);
    let with = |percent, ttl| {
        let budget = Some(Budget { percent, min_retries_per_sec: 0.0, ttl });
        retrier.reconfigured(Retry { budget, ..retrier.params().clone() }).balance(now)
    };
    assert!((with(30.0, 10 * SECOND) - 10.0).abs() < 1e-9);
    assert!((with(30.0, 20 * SECOND) - 10.0).abs() < 1e-9, "another ttl, the same history");
    assert!((with(10.0, 5 * SECOND) + 10.0).abs() < 1e-9);
}

proptest! {
    /// Against a queue of every event: exact while nothing is between ttl and ttl + 1 % old.
    #[test]
    fn the_budget_agrees_with_a_naive_model(
        percent in 0_u32..200,
        floor in 0_u32..3,
        steps in prop::collection::vec((any::<bool>(), 0_u64..1500), 1..200),
    ) {
        let (percent, floor) = (f64::from(percent), f64::from(floor) / 10.0);
        let retrier = budgeted(percent, floor);
        let ttl = 10 * SECOND;
        let mut now = Instant::now();
        let mut events: VecDeque<(Instant, f64)> = VecDeque::new();
        for (original, ms) in steps {
            now += Duration::from_millis(ms);
            let settled = |(at, _): &&(Instant, f64)| now.duration_since(*at) <= ttl;
            let blurred = events.iter().any(|(at, _)| {
                let age = now.duration_since(*at);
                age > ttl && age <= ttl + ttl / 100
            });
            let expected = floor * 10.0 + events.iter().filter(settled).map(|(_, worth)| worth).sum::<f64>();
            let balance = retrier.balance(now);
            if !blurred {
                prop_assert!((balance - expected).abs() < 1e-6, "{balance} {expected}");
            }
            if original {
                retrier.start(now);
                events.push_back((now, percent / 100.0));
            } else if retrier.withdraw(now) {
                prop_assert!(balance >= 1.0 - 1e-6);
                events.push_back((now, -1.0));
            } else {
                prop_assert!(balance < 1.0);
            }
        }
    }
}

mod layered {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use bytes::Bytes;
    use http::{Method, Request, Response};
    use http_body_util::{BodyExt, Full};
    use tower::{ServiceBuilder, ServiceExt, service_fn};

    use super::*;
    use crate::{
        body::{BoxError, ReplayBody},
        clock::WallClock,
        timeout::{Timeout, TotalTimeoutLayer},
    };

    /// Answers 503 to the first two attempts; the status, `Mainstay-Attempts`, and how often the service was called.
    async fn call(method: Method, max_retries: u32, size: usize) -> (u16, Option<String>, u32) {
        let calls = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&calls);
        let inner = service_fn(move |request: Request<ReplayBody<Full<Bytes>>>| {
            let call = counter.fetch_add(1, Ordering::Relaxed);
            async move {
                assert!(request.headers().contains_key("mainstay-deadline-ms"));
                let body = request.into_body().collect().await?.to_bytes();
                assert_eq!(body.len(), size, "every attempt gets the whole body");
                let status = if call < 2 { 503 } else { 200 };
                Ok::<_, BoxError>(Response::builder().status(status).body(Full::new(Bytes::new())).unwrap())
            }
        });
        let service = ServiceBuilder::new()
            .layer(TotalTimeoutLayer::new(Timeout::default()))
            .layer(RetryLayer::new(Retry { max_body: 100, ..unbudgeted(max_retries) }, WallClock::system()))
            .service(inner);
        let request = Request::builder().method(method).body(Full::new(Bytes::from(vec![7; size]))).unwrap();
        let response = service.oneshot(request).await.unwrap();
        let attempts = response.headers().get("mainstay-attempts").map(|value| value.to_str().unwrap().to_owned());
        (response.status().as_u16(), attempts, calls.load(Ordering::Relaxed))
    }

    #[tokio::test(start_paused = true)]
    async fn the_layer_repeats_what_is_safe_within_its_bounds() {
        for (method, max_retries, size, expected) in [
            (Method::PUT, 3, 50, (200, Some("3"), 3)),
            (Method::PUT, 1, 50, (503, Some("2"), 2)),
            (Method::PUT, 3, 101, (503, None, 1)),
            (Method::POST, 3, 50, (503, None, 1)),
        ] {
            let (status, attempts, calls) = call(method.clone(), max_retries, size).await;
            assert_eq!((status, attempts.as_deref(), calls), expected, "{method} {max_retries} {size}");
        }
    }
}
