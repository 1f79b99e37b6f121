//! What a caller gets instead of a failure, where the route's policy says so.

use http::{HeaderValue, Method, Response, StatusCode};
use mainstay_policies::{
    cache::Stored,
    evidence::Sent,
    fallback::{Answer, MAINSTAY_FALLBACK, Reason, To},
};
use tokio::time::Instant;

use crate::{respond::failure::Failure, runtime::route::Route, wire::body::ProxyBody};

/// Why a failure may be answered otherwise, and what is known of the request then. `None`: it stands.
pub(super) fn reason(failure: &Failure) -> Option<(Reason, Sent)> {
    match failure {
        Failure::CircuitOpen { .. } => Some((Reason::CircuitOpen, Sent::No)),
        Failure::Overloaded(_) | Failure::NoMemory => Some((Reason::Overloaded, Sent::No)),
        Failure::RateLimited { .. } => Some((Reason::RateLimited, Sent::No)),
        Failure::NoTime(sent) => Some((Reason::Timeout, *sent)),
        Failure::Attempt(error) => Some((Reason::of_attempt(error)?, error.sent)),
        Failure::Request(..)
        | Failure::Head(_)
        | Failure::Refused(_)
        | Failure::OutcomeUnknown { .. }
        | Failure::LedgerUnavailable
        | Failure::NotPassable { .. }
        | Failure::Draining => None,
    }
}

/// Why the failure is answered otherwise on this route.
pub(crate) fn of_failure(route: &Route, method: &Method, failure: &Failure) -> Option<Reason> {
    let fallback = route.params.policy.fallback.as_ref()?;
    let (reason, sent) = reason(failure)?;
    fallback.applies(reason, method, sent).then_some(reason)
}

/// Why a response is answered otherwise on this route.
pub(crate) fn of_response<B>(route: &Route, method: &Method, response: &Response<B>) -> Option<Reason> {
    covers(route, method, response.status()).then_some(Reason::ServerError)
}

/// Whether a response with this status is answered otherwise on this route: a 5xx says nothing of what a write did.
pub(crate) fn covers(route: &Route, method: &Method, status: StatusCode) -> bool {
    status.is_server_error()
        && route
            .params
            .policy
            .fallback
            .as_ref()
            .is_some_and(|fallback| fallback.applies(Reason::ServerError, method, Sent::Maybe))
}

/// Whether the failure is the service's or the way's to it, so that a stored answer may stand in for it.
pub(crate) fn is_of_the_service(failure: &Failure) -> bool {
    matches!(reason(failure), Some((Reason::CircuitOpen | Reason::Timeout | Reason::ServerError, _)))
}

/// Whether the route's fallback is a stored answer as stale as this one, and this is a good one.
pub(crate) fn may_be_stale(route: &Route, stored: &Stored) -> bool {
    if stored.status.is_server_error() {
        return false;
    }
    match route.params.policy.fallback.as_ref().map(|fallback| &fallback.to) {
        Some(To::Stale(limit)) => !stored.forbids_stale() && stored.staleness(Instant::now()) <= *limit,
        _ => false,
    }
}

/// Marks an answer as a fallback.
pub(crate) fn mark<B>(response: &mut Response<B>, reason: Reason) {
    response.headers_mut().insert(MAINSTAY_FALLBACK, HeaderValue::from_static(reason.label()));
}

/// The answer that never changes, if the route has one.
pub(crate) fn fixed(route: &Route, reason: Reason) -> Option<Response<ProxyBody>> {
    let To::Answer(Answer { status, headers, body }) = &route.params.policy.fallback.as_ref()?.to else { return None };
    let mut response = Response::new(ProxyBody::from(body.clone()));
    *response.status_mut() = *status;
    *response.headers_mut() = headers.clone();
    mark(&mut response, reason);
    Some(response)
}
