//! The service is asked, and what it says is passed on, kept, or stood in for.

use std::{sync::Arc, time::Duration};

use http::{Response, StatusCode};
use mainstay_policies::{
    cache::{Flown, Stored, forbids_storing, validators},
    fallback::Reason,
};
use tokio::time::Instant;

use super::{
    fill::{self, Filling},
    hit::{from_stored, say},
    miss::Miss,
    refresh,
};
use crate::request::heads;
use crate::{
    attempts::{run::UpstreamResponse, sending::Sending},
    request::{
        fallback,
        routed::Routed,
        session::Session,
        unkeyed::{self, obtain::Obtained},
    },
    respond::failure::Failure,
    wire::body::ProxyBody,
};

/// Asks the service.
pub(super) async fn ask(session: &Session, mut routed: Box<Routed>, mut miss: Miss) -> Response<ProxyBody> {
    let began = Instant::now();
    let mut head = heads::outgoing(session, &mut routed, None);
    let conditions = match (&miss.found, &miss.lead) {
        (Some(found), Some(_)) => validators(&found.headers),
        _ => None,
    };
    let asks = conditions.is_some();
    let obtained = unkeyed::obtain::obtain(session, &mut routed, &mut head, conditions, &mut Sending::empty()).await;
    let delay = began.elapsed();
    match obtained.answered {
        Ok(answer) if asks && obtained.instead.is_none() && answer.response.status() == StatusCode::NOT_MODIFIED => {
            let found = miss.found.take().expect("what is validated was found");
            let update = answer.response.into_parts().0.headers;
            let now = session.runtime.resources.clock.now();
            let fresh =
                refresh::updated(&miss.store, &miss.key, &miss.client, &found, &update, delay, now, miss.asked_at);
            if let Some(lead) = miss.lead.take() {
                lead.landed(Flown::Stored);
            }
            routed.exchange.tell_cache("revalidated");
            from_stored(routed, &fresh, &miss.client, "mainstay; fwd=stale; fwd-status=304")
        }
        answered => match instead(&routed, &miss, &answered) {
            Some((found, reason)) => {
                if let Some(lead) = miss.lead.take() {
                    lead.landed(Flown::Failed);
                }
                routed.exchange.tell_cache("stale");
                let status = match &answered {
                    Ok(answer) => format!("mainstay; hit; fwd=stale; fwd-status={}", answer.response.status().as_u16()),
                    Err(_) => "mainstay; hit; fwd=stale".into(),
                };
                let mut response = from_stored(routed, &found, &miss.client, &status);
                if let Some(reason) = reason {
                    fallback::mark(&mut response, reason);
                }
                response
            }
            None => pass(session, routed, miss, Obtained { answered, ..obtained }, delay),
        },
    }
}

/// The stale answer that may stand in for a failure, and whether as a fallback of the policy.
fn instead(
    routed: &Routed,
    miss: &Miss,
    answered: &Result<UpstreamResponse, Failure>,
) -> Option<(Arc<Stored>, Option<Reason>)> {
    let found = miss.found.clone()?;
    let failed = match answered {
        Ok(answer) => answer.response.status().is_server_error(),
        Err(failure) => fallback::is_of_the_service(failure),
    };
    if failed && miss.or_if_error {
        return Some((found, None));
    }
    let route = &routed.outbound.route;
    let reason = match answered {
        Ok(answer) => fallback::of_response(route, &routed.exchange.method, &answer.response),
        Err(failure) => fallback::of_failure(route, &routed.exchange.method, failure),
    }?;
    fallback::may_be_stale(route, &found).then_some((found, Some(reason)))
}

/// Passes the answer on, and keeps it once it is whole.
fn pass(
    session: &Session,
    mut routed: Box<Routed>,
    mut miss: Miss,
    obtained: Obtained,
    delay: Duration,
) -> Response<ProxyBody> {
    let reason = match &miss.found {
        None => "uri-miss",
        Some(found) if !found.ttl(Instant::now()).is_zero() => "request",
        Some(_) => "stale",
    };
    routed.exchange.tell_cache("miss");
    let wall = session.runtime.resources.clock.now();
    if miss.found.is_some() {
        forget_superseded(&miss, &obtained);
    }
    match fill::prepare(&mut miss, obtained, &routed.outbound.route, &routed.exchange.method, delay, wall) {
        Filling::No(obtained) => {
            if let Some(lead) = miss.lead.take() {
                // A failure tells nothing of whether answers can be stored.
                lead.landed(if obtained.answered.is_ok() { Flown::NotStorable } else { Flown::Failed });
            }
            let mut response = unkeyed::deliver::deliver(routed, *obtained);
            if !response.headers().contains_key(crate::respond::MAINSTAY_ERROR) {
                say(response.headers_mut(), &format!("mainstay; fwd={reason}"));
            }
            response
        }
        Filling::Yes(mut answer) => {
            say(answer.head.headers_mut(), &format!("mainstay; fwd={reason}; stored"));
            answer.pass_on(routed)
        }
    }
}

/// The service has answered anew and says that nobody may store it: what is stored is not its word any more.
fn forget_superseded(miss: &Miss, obtained: &Obtained) {
    if obtained.instead.is_none()
        && let Ok(UpstreamResponse { response, .. }) = &obtained.answered
        && (response.status().is_success() || response.status().is_redirection() || response.status().is_client_error())
        && forbids_storing(response.status(), response.headers())
    {
        miss.store.remove(&miss.key, &miss.client);
    }
}
