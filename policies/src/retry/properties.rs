//! Waits and decisions against models written as their rules are.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::RETRY_AFTER};
use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::evidence::{AttemptError, Cause, Sent};

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

#[derive(Clone, Copy, Debug)]
enum Failure {
    Transport(Cause, Sent),
    Answer(u16, Option<u16>),
}

fn status() -> impl Strategy<Value = u16> {
    prop::sample::select(vec![200, 408, 425, 429, 500, 502, 503, 504])
}

fn code() -> impl Strategy<Value = u16> {
    prop::sample::select(vec![0, 4, 8, 14])
}

fn condition() -> impl Strategy<Value = Condition> {
    let words = [Condition::ConnectError, Condition::Refused, Condition::Reset, Condition::Timeout];
    let status = status().prop_map(|status| Condition::Status(StatusCode::from_u16(status).unwrap()));
    prop_oneof![prop::sample::select(words.to_vec()), status, code().prop_map(Condition::Grpc)]
}

/// What proves that nothing was sent says so; everything else may have been, or not.
fn failure() -> impl Strategy<Value = Failure> {
    let proven = prop::sample::select(vec![Cause::Connect, Cause::Tls, Cause::Refused]);
    let other = vec![
        Cause::Reset,
        Cause::Malformed,
        Cause::RequestBody,
        Cause::AttemptTimeout,
        Cause::TotalTimeout,
        Cause::Drain,
    ];
    let sent = prop::sample::select(vec![Sent::No, Sent::Maybe]);
    prop_oneof![
        proven.prop_map(|cause| Failure::Transport(cause, Sent::No)),
        (prop::sample::select(other), sent).prop_map(|(cause, sent)| Failure::Transport(cause, sent)),
        (status(), prop::option::of(code())).prop_map(|(status, code)| Failure::Answer(status, code)),
    ]
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

    /// A request is sent again only if its failure is listed and a second sending can do no harm, whatever failed and whatever
    /// is listed: the rule in plain words beside the code.
    #[test]
    fn what_is_sent_again_agrees_with_the_rule(
        on in prop::collection::vec(condition(), 0..6),
        failure in failure(),
        repeatable in prop_oneof![Just(Repeatable::Always), Just(Repeatable::OnlyIfUnsent)],
    ) {
        let retrier = Retrier::new(Retry { max_retries: 1, on: on.clone(), budget: None, ..Retry::default() });
        let (mut headers, error);
        let (outcome, is_listed, is_proven_unsent) = match failure {
            Failure::Transport(cause, sent) => {
                error = AttemptError::new(cause, sent);
                let name = match cause {
                    Cause::Connect | Cause::Tls => Some(Condition::ConnectError),
                    Cause::Refused => Some(Condition::Refused),
                    Cause::Reset | Cause::Malformed => Some(Condition::Reset),
                    Cause::AttemptTimeout => Some(Condition::Timeout),
                    Cause::RequestBody | Cause::TotalTimeout | Cause::Drain => None,
                };
                (Outcome::Error(&error), name.is_some_and(|name| on.contains(&name)), sent == Sent::No)
            }
            Failure::Answer(status, grpc) => {
                headers = HeaderMap::new();
                if let Some(code) = grpc {
                    headers.insert("grpc-status", HeaderValue::from(code));
                }
                let status = StatusCode::from_u16(status).unwrap();
                let by_grpc = grpc.is_some_and(|code| on.contains(&Condition::Grpc(code)));
                (Outcome::Response { status, headers: &headers }, on.contains(&Condition::Status(status)) || by_grpc, false)
            }
        };
        let decision = retrier.start(Instant::now()).next(&outcome, repeatable, None, Instant::now(), WALL_MS);
        let is_harmless = repeatable == Repeatable::Always || is_proven_unsent;
        match decision {
            Decision::Retry { .. } => prop_assert!(is_listed && is_harmless),
            Decision::Stop(Stop::NotRetryable) => prop_assert!(!is_listed),
            Decision::Stop(stop) => prop_assert_eq!((stop, is_listed, is_harmless), (Stop::Unsafe, true, false)),
        }
    }

    /// The reset of a 429 that says it no other way: seconds from now, or a time in seconds or milliseconds.
    #[test]
    fn a_reset_is_read_in_whichever_way_it_is_written(
        name in prop_oneof![Just("x-ratelimit-reset"), Just("ratelimit-reset")],
        seconds in 0_u64..1000,
        form in 0_u8..3,
    ) {
        let retrier = Retrier::new(Retry {
            max_retries: 1,
            delays: Delays::Schedule(vec![Duration::ZERO]),
            on: vec![Condition::Status(StatusCode::TOO_MANY_REQUESTS)],
            ..Retry::default()
        });
        let value = match form {
            0 => seconds,
            1 => WALL_MS / 1000 + seconds,
            _ => WALL_MS + 1000 * seconds,
        };
        let headers = HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from(value))]);
        let outcome = Outcome::Response { status: StatusCode::TOO_MANY_REQUESTS, headers: &headers };
        let decision = retrier.start(Instant::now()).next(&outcome, Repeatable::Always, None, Instant::now(), WALL_MS);
        let Decision::Retry { after, .. } = decision else { panic!("{decision:?}") };
        prop_assert!(after.abs_diff(Duration::from_secs(seconds)) < Duration::from_millis(1), "{after:?}");
    }
}
