//! What a request must pass before anything is recorded or sent: access, rate limit, concurrency limit.

use std::borrow::Cow;

use http::HeaderValue;
use mainstay_policies::{
    access::counted,
    evidence::Sent,
    problem::Problem,
    rate_limit::{Admission, Key, Usage},
};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{routed::Routed, session::Session};
use crate::{respond::failure::Failure, wire::forward::Address};

/// What an access list says to whom it does not admit.
pub(super) const FORBIDDEN: Failure =
    Failure::Request(Problem::Forbidden, Cow::Borrowed("An access list of this proxy does not admit this request."));

/// What is said to a caller whom nobody knows, where requests carry credentials that are not its own.
const NAMELESS: Failure = Failure::Request(
    Problem::PrincipalMissing,
    Cow::Borrowed(
        "This proxy adds credentials to requests on this route, for identified callers only. Nothing was sent.",
    ),
);

/// Access, rate limit, then concurrency limit. `shown` is set where the limit's headers are wanted.
pub(super) async fn admit(session: &Session, routed: &mut Routed, shown: &mut Option<Usage>) -> Result<(), Failure> {
    if let Some(access) = &routed.outbound.route.params.policy.access
        && !access.admits_caller(
            (routed.exchange.client.ip(), routed.principal.as_deref()),
            &routed.parts.method,
            routed.parts.uri.path(),
        )
    {
        return Err(FORBIDDEN);
    }
    if routed.outbound.route.needs_principal && routed.principal.is_none() {
        return Err(NAMELESS);
    }
    if let Some(limiter) = &routed.outbound.route.limiter {
        let params = limiter.params();
        let address;
        let key: &[u8] = match &params.key {
            Key::Route => &[],
            Key::Principal => routed.principal.as_deref().unwrap_or_default(),
            // Most are their connection's peer, whose address is in words already.
            Key::ClientIp if routed.exchange.client == session.peer && session.peer.is_ipv4() => {
                session.client.address.as_bytes()
            }
            Key::ClientIp => {
                let client = routed.exchange.client.ip();
                address = Address::new(counted(client, routed.listener.client.prefix6));
                address.as_bytes()
            }
            Key::Header(name) => routed.parts.headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default(),
        };
        let admission = limiter.admit(key, routed.exchange.started);
        let (Admission::Admitted(usage) | Admission::Wait(_, usage) | Admission::Rejected { usage, .. }) = &admission;
        *shown = params.headers.then_some(*usage);
        match admission {
            Admission::Admitted(_) => {}
            // Dropping the slot gives it back.
            Admission::Wait(slot, _) if slot.until() > routed.outbound.deadline => {
                return Err(Failure::NoTime(Sent::No));
            }
            Admission::Wait(slot, _) => {
                routed.outbound.route.metrics.queued();
                routed.exchange.told.waited = slot.until().saturating_duration_since(routed.exchange.started);
                unless_cut_off(session, sleep_until(slot.until())).await?;
                slot.taken();
            }
            Admission::Rejected { retry_after, .. } => {
                routed.outbound.route.metrics.rate_limited();
                routed.exchange.trace().event("rate_limited", Instant::now());
                return Err(Failure::RateLimited { retry_after });
            }
        }
    }
    if let Some(limit) = routed.outbound.route.concurrency.clone() {
        // The queue has its own bound; the request's time ends the waiting, too.
        let acquired = unless_cut_off(session, timeout_at(routed.outbound.deadline, limit.acquire())).await?;
        let Ok(acquired) = acquired else {
            return Err(Failure::NoTime(Sent::No));
        };
        let permit = acquired.map_err(|overloaded| {
            routed.outbound.route.metrics.overloaded(overloaded.by);
            routed.exchange.trace().event("overloaded", Instant::now());
            Failure::Overloaded(overloaded)
        })?;
        if permit.has_waited() {
            routed.outbound.route.metrics.queued();
        }
        routed.exchange.told.waited = permit.acquired().saturating_duration_since(routed.exchange.started);
        routed.exchange.permit = Some(permit);
    }
    Ok(())
}

/// Waits for a request's turn, but not past the end of a drain: nothing of it was sent, so another instance may have it.
async fn unless_cut_off<T>(session: &Session, turn: impl Future<Output = T>) -> Result<T, Failure> {
    let _queued = session.connection.queued();
    tokio::select! {
        biased;
        turn = turn => Ok(turn),
        () = session.runtime.cut_off() => Err(Failure::Draining),
    }
}
