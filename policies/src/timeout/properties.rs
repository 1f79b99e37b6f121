//! The bounds in time against models that only compare numbers.

use std::{convert::Infallible, future::Future, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, channel::Channel};
use proptest::prelude::*;
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

use super::*;
use crate::{
    body::BoxError,
    evidence::{AttemptError, Cause, Sent},
};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Runs on a clock that is moved on whenever all wait.
fn paused<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(future)
}

type Answered = Response<Full<Bytes>>;

/// Attempts that would be answered after so many milliseconds each, one after the other until one is.
fn until_answered(one: AttemptTimeoutLayer, latencies: Vec<u64>) -> BoxFuture<'static, Result<Answered, BoxError>> {
    Box::pin(async move {
        let mut last = None;
        for latency in latencies {
            let answer = service_fn(move |_: Request<()>| async move {
                sleep(ms(latency)).await;
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
            });
            match one.layer(answer).oneshot(Request::new(())).await {
                Ok(response) => return Ok(response),
                Err(error) => last = Some(error),
            }
        }
        Err(last.expect("there is an attempt"))
    })
}

proptest! {
    /// Attempts of so many milliseconds each, made until one is answered. Whichever bound is reached first ends what it bounds,
    /// to the millisecond; nothing is claimed about what was sent.
    #[test]
    fn whichever_bound_comes_first_ends_what_it_bounds(
        total in 1_u64..500,
        attempt in prop::option::of(1_u64..300),
        latencies in prop::collection::vec(0_u64..400, 1..6),
    ) {
        // A call that ends in the millisecond of a bound may be counted either way.
        let total = total * 2 + 1;
        let attempt = attempt.map(|attempt| attempt * 2 + 1);
        let latencies: Vec<u64> = latencies.into_iter().map(|latency| latency * 2).collect();
        let mut at = 0;
        let expected = latencies.iter().find_map(|latency| {
            let (ends, answered) = match attempt {
                Some(attempt) if attempt < *latency => (at + attempt, false),
                _ => (at + latency, true),
            };
            if ends > total {
                return Some((total, Some(Cause::TotalTimeout)));
            }
            at = ends;
            answered.then_some((ends, None))
        });
        // Attempts can add up to an even number on the bound itself.
        prop_assume!(expected.is_none_or(|(ends, cause)| cause.is_some() || ends != total) && at != total);
        let expected = expected.unwrap_or((at, Some(Cause::AttemptTimeout)));

        let params = Timeout { total: ms(total), attempt: attempt.map(ms), ..Timeout::default() };
        let (took, cause) = paused(async {
            let one = AttemptTimeoutLayer::new(params.clone());
            let attempts = service_fn(move |_: Request<()>| until_answered(one.clone(), latencies.clone()));
            let service = ServiceBuilder::new().layer(TotalTimeoutLayer::new(params)).service(attempts);
            let began = Instant::now();
            let result = service.oneshot(Request::new(())).await;
            (began.elapsed(), result.err().map(|error| {
                let error = error.downcast::<AttemptError>().expect("time ended it");
                assert_eq!(error.sent, Sent::Maybe);
                error.cause
            }))
        });
        prop_assert_eq!((took, cause), (ms(expected.0), expected.1));
    }

    /// A body is whole if no pause in it is longer than `idle`; else it ends that long after the last frame before the first
    /// such pause, however its reader dawdles elsewhere.
    #[test]
    fn a_body_ends_in_its_first_pause_that_is_too_long(
        idle in 1_u64..200,
        pauses in prop::collection::vec(0_u64..250, 0..12),
    ) {
        let idle = idle * 2 + 1;
        let pauses: Vec<u64> = pauses.into_iter().map(|pause| pause * 2).collect();
        let whole = pauses.iter().position(|pause| *pause > idle);
        let frames = whole.unwrap_or(pauses.len());
        let took = pauses[..frames].iter().sum::<u64>() + if whole.is_some() { idle } else { 0 };
        let seen = paused(async {
            let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
            let mut body = IdleBody::new(body, ms(idle));
            let began = Instant::now();
            let feeding = tokio::spawn(async move {
                for pause in pauses {
                    sleep(ms(pause)).await;
                    if sender.send(Frame::data(Bytes::from_static(b"x"))).await.is_err() {
                        return;
                    }
                }
            });
            let mut read = 0;
            let broken = loop {
                match body.frame().await {
                    Some(Ok(_)) => read += 1,
                    Some(Err(error)) => break error.is::<IdleTimeout>(),
                    None => break false,
                }
            };
            let seen = (read, broken, began.elapsed());
            drop(body);
            feeding.await.expect("it only sends");
            seen
        });
        prop_assert_eq!(seen, (frames, whole.is_some(), ms(took)));
    }
}
