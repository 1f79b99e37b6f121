//! Whether an attempt may be made, and made again.

use std::time::Duration;

use http::{Response, header::HeaderMap};
use mainstay_policies::{
    evidence::AttemptError,
    retry::{Attempts, Decision, Outcome, Repeatable, Stop},
};
use tokio::time::Instant;

use super::attempt::Outbound;
use crate::{runtime::Runtime, upstream::UpstreamBody};

/// Asks the retry policy about an attempt's result.
pub(crate) fn decide(
    runtime: &Runtime,
    attempts: &mut Attempts<'_>,
    result: &Result<Response<UpstreamBody>, AttemptError>,
    trailers: Option<&HeaderMap>,
    repeatable: Repeatable,
    outbound: &Outbound,
    now: Instant,
) -> Decision {
    let outcome = outcome(result, trailers);
    // Most attempts stand, and those need to know neither the time that is left nor what day it is.
    if !attempts.retrier().is_failure(&outcome) {
        return Decision::Stop(Stop::NotRetryable);
    }
    let remaining = Some(outbound.ends_at(now).saturating_duration_since(now));
    attempts.next(&outcome, repeatable, remaining, now, runtime.resources.clock.now())
}

/// The first endpoint whose breaker lets the request through, with what it gave. `next` names one beside those that have refused.
///
/// # Errors
/// None does: how long it is until the first of them may.
pub(super) fn first_admitted<P>(
    mut next: impl FnMut(&[usize]) -> Option<usize>,
    mut acquire: impl FnMut(usize) -> Result<P, Duration>,
) -> Result<(usize, P), Duration> {
    let (mut refused, mut soonest) = (Vec::new(), None);
    while let Some(endpoint) = next(&refused) {
        match acquire(endpoint) {
            Ok(given) => return Ok((endpoint, given)),
            Err(after) => {
                soonest = Some(soonest.map_or(after, |soonest: Duration| soonest.min(after)));
                refused.push(endpoint);
            }
        }
    }
    Err(soonest.unwrap_or_default())
}

/// How an attempt ended, as the retry policy sees it; a gRPC answer whose trailers are there already, by them.
pub(super) fn outcome<'a>(
    result: &'a Result<Response<UpstreamBody>, AttemptError>,
    trailers: Option<&'a HeaderMap>,
) -> Outcome<'a> {
    match result {
        Ok(response) => {
            Outcome::Response { status: response.status(), headers: trailers.unwrap_or(response.headers()) }
        }
        Err(error) => Outcome::Error(error),
    }
}

/// Counts a failure that would have been tried again, but for a bound.
pub(crate) fn note_denied(route: &crate::runtime::route::Route, stop: Stop) {
    if stop != Stop::NotRetryable {
        route.metrics.retry_denied(stop.label());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who takes a request that is offered to endpoints 0, 1, … in turn, each of which lets it through or says after how many
    /// seconds; who was asked.
    fn offered(breakers: &[Option<u64>]) -> (Result<(usize, usize), Duration>, usize) {
        let mut asked = 0;
        let next = |refused: &[usize]| (0..breakers.len()).find(|endpoint| !refused.contains(endpoint));
        let acquire = |endpoint: usize| {
            asked += 1;
            breakers[endpoint].map_or(Ok(endpoint), |seconds| Err(Duration::from_secs(seconds)))
        };
        (first_admitted(next, acquire), asked)
    }

    #[test]
    fn the_first_that_lets_a_request_through_gets_it() {
        assert_eq!(offered(&[None, Some(1)]), (Ok((0, 0)), 1));
        assert_eq!(offered(&[Some(5), Some(1), None, None]), (Ok((2, 2)), 3));
    }

    #[test]
    fn where_none_does_it_is_worth_coming_again_when_the_first_of_them_may() {
        for breakers in
            [&[Some(5), Some(30), Some(9)][..], &[Some(30), Some(5), Some(9)], &[Some(30), Some(9), Some(5)]]
        {
            assert_eq!(offered(breakers), (Err(Duration::from_secs(5)), 3), "{breakers:?}");
        }
    }
}
