//! The attempts of a request, and the upstream of the fallback if they fail.

use std::pin::pin;

use http::header::HeaderMap;
use mainstay_policies::{evidence::Sent, fallback::Reason};

use super::writing::Writing;
use crate::{
    attempts::{
        affinity,
        attempt::Outbound,
        head::Head,
        run::{Tally, UpstreamResponse, until_one_stands},
        sending::Sending,
    },
    request::{fallback, routed::Routed, session::Session},
    respond::failure::Failure,
};

/// What was obtained for a request, to be delivered.
pub(crate) struct Obtained {
    pub(crate) answered: Result<UpstreamResponse, Failure>,
    pub(crate) attempts: u32,
    /// Why it is the answer of the fallback's upstream.
    pub(crate) instead: Option<Reason>,
    /// Whether its head is what the client gets already.
    pub(crate) finished: bool,
}

/// Makes the attempts, and asks the upstream of the fallback if they fail. `validators` are those of an answer of the first one:
/// they mean nothing to another.
pub(crate) async fn obtain(
    session: &Session,
    routed: &mut Routed,
    head: &mut Head,
    validators: Option<HeaderMap>,
    sending: &mut Sending,
) -> Obtained {
    let mut tally = Tally::default();
    let other = routed.outbound.route.fallback.as_ref().map(|route| (route.clone(), head.clone()));
    for (name, value) in validators.iter().flatten() {
        head.headers.insert(name, value.clone());
    }
    let mut writing = (!head.method.is_safe()).then(|| Writing::begin(session, &routed.outbound, head));
    let mut answered = { pin!(until_one_stands(&session.runtime, &routed.outbound, head, sending, &mut tally)).await };
    let attempts = tally.attempts;
    routed.exchange.tell_attempts(tally, &routed.outbound.route);
    if answered.is_ok() || !sending.is_owed() {
        routed.exchange.teach_limit(answered.as_ref().map(|answer| &answer.response));
    }
    if let Some(writing) = &mut writing {
        writing.ended(&answered, attempts);
    }
    let mut instead = None;
    if let Some((route, head)) = other {
        let affinity = affinity::of_request(&route.upstream, routed.principal.as_deref(), &head.headers);
        let other = Outbound { route, affinity, ..routed.outbound.clone() };
        let others = other.route.clone();
        if let Some((reason, tally)) = Box::pin(try_other(session, routed, other, head, sending, &mut answered)).await {
            routed.exchange.tell_fallback(reason.label());
            routed.exchange.tell_last(tally, &others);
            instead = Some(reason);
        }
    }
    Obtained { answered, attempts, instead, finished: false }
}

/// Asks the upstream of the fallback, if what there is calls for it and the request can be sent again. What it answers takes the
/// place of what there was; if it does not answer, the first failure stands.
async fn try_other(
    session: &Session,
    routed: &Routed,
    other: Outbound,
    mut head: Head,
    sending: &mut Sending,
    answered: &mut Result<UpstreamResponse, Failure>,
) -> Option<(Reason, Tally)> {
    let (route, method) = (&routed.outbound.route, &routed.exchange.method);
    let reason = match &*answered {
        Ok(answer) => fallback::of_response(route, method, &answer.response),
        Err(failure) => fallback::of_failure(route, method, failure),
    }?;
    if !sending.body.can_repeat() {
        return None;
    }
    let mut writing = (!method.is_safe()).then(|| Writing::begin(session, &other, &head));
    let mut tally = Tally::default();
    let other_answered = until_one_stands(&session.runtime, &other, &mut head, sending, &mut tally).await;
    let attempts = tally.attempts;
    if let Some(writing) = &mut writing {
        writing.ended(&other_answered, attempts);
    }
    match other_answered {
        Ok(answer) => {
            *answered = Ok(answer);
            Some((reason, tally))
        }
        // What is told speaks for both: the other one may have acted.
        Err(Failure::Attempt(error)) if error.sent == Sent::Maybe && !method.is_safe() => {
            *answered = Err(Failure::Attempt(error));
            None
        }
        Err(_) => None,
    }
}
