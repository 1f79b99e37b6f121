//! Whether an attempt may be made again.

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
