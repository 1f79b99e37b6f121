//! A request without idempotency: attempts until one stands, then its answer, streamed.

pub(crate) mod deliver;
pub(crate) mod obtain;
mod writing;

pub(crate) mod tunnel;

use std::pin::pin;

use http::{HeaderValue, Response, StatusCode, header::EXPECT};
use http_body::Body as _;
use mainstay_policies::{
    body::Replay,
    evidence::{AttemptError, Cause, Sent},
    retry::Retry,
};

use self::{
    deliver::deliver,
    obtain::{Obtained, obtain},
};
use super::{heads::finish_head, routed::Routed, session::Session};
use crate::request::heads;
use crate::{
    attempts::{
        sending::{KeptCopy, Resend, Sending},
        upload::Upload,
    },
    listener::{Upgrade, body::ClientBody},
    respond::failure::Failure,
    runtime::route::Route,
    upstream::{InFlight, UpstreamBody},
    wire::{body::ProxyBody, forward, gate::Gate, http1::maps},
};

/// Serves a request that is not a keyed write.
pub(crate) async fn serve(session: &Session, mut routed: Box<Routed>) -> Response<ProxyBody> {
    let idle = routed.outbound.route.params.policy.timeout.idle;
    // The connection offers itself only to a request that asks for it.
    let may_upgrade = routed.extras.upgrade.is_some();
    let upgrade = may_upgrade.then(|| forward::upgrade(&routed.parts.headers, routed.parts.version)).flatten();
    // Where an upgrade would take over the client's connection.
    let client_side = if upgrade.is_some() { routed.extras.upgrade.take() } else { None };
    // Before they are taken off the head, in which they stand.
    let has_body = routed.body.as_ref().is_some_and(|body| !body.is_end_stream());
    let nominated = if has_body { forward::nominated(&routed.parts.headers) } else { Vec::new() };
    let mut head = heads::outgoing(session, &mut routed, upgrade);
    if !routed.read.is_empty() {
        forward::fix_length(&mut head.headers, routed.read.len());
    }
    let body = routed.body.take().filter(|body| !body.is_end_stream());
    // Any other expectation is the service's to judge, and its client sends the body unasked.
    let waits = |expected: &HeaderValue| expected.as_bytes().eq_ignore_ascii_case(b"100-continue");
    let gate = body.as_ref().and_then(|_| head.headers.get(EXPECT)).filter(|expected| waits(expected));
    let gate = gate.map(|_| Gate::default());
    let mut owed = None;
    let mut copy = KeptCopy::Unasked;
    let read = std::mem::take(&mut routed.read);
    let body = match body {
        None if read.is_empty() => Resend::Empty,
        None => Resend::Whole(read),
        Some(body) => {
            let key =
                routed.outbound.route.protection.as_ref().map(|protection| protection.params().key.header.clone());
            let formerly = routed.listener.former.iter().filter_map(|way| way.header().cloned());
            let others = nominated.into_iter().chain(formerly).collect();
            let body = ClientBody::new(body, idle, session.connection.clone(), gate.clone())
                .without([routed.listener.principal.header().cloned(), key], others);
            owed = Some(body.owed());
            let arrived = routed.exchange.started;
            routed.outbound.upload = Some(Upload { owed: body.owed(), arrived, idle });
            match kept_for_replay(&routed.outbound.route) {
                Some(max) => {
                    // What is announced to be larger is not kept at all.
                    let room =
                        body.size_hint().exact().map_or(max, |length| usize::try_from(length).unwrap_or(max + 1));
                    if let Some(held) = session.runtime.resources.bodies.hold(if room > max { 0 } else { room }) {
                        copy = KeptCopy::Kept { _held: held };
                        Resend::Replay(Replay::new(body, max))
                    } else {
                        copy = KeptCopy::NoMemory;
                        Resend::Once(Some(ProxyBody::stream(body)))
                    }
                }
                None => Resend::Once(Some(ProxyBody::stream(body))),
            }
        }
    };
    let wants_upgrade = head.upgrade.is_some();
    let mut sending = Sending { body, owed, gate, copy };
    let obtained = { pin!(obtain(session, &mut routed, &mut head, None, &mut sending)).await };
    maps::give_back(head.headers);
    match obtained.answered {
        Ok(answer) if answer.response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            match client_side.filter(|_| wants_upgrade) {
                Some(client_side) => switch_protocols(routed, answer.response, answer.in_flight, client_side, idle),
                // Nobody asked: the upstream speaks nonsense.
                None => routed.refuse(Failure::Attempt(AttemptError::new(Cause::Malformed, Sent::Maybe))),
            }
        }
        answered => deliver(routed, Obtained { answered, ..obtained }),
    }
}

/// Bytes of a request's body that are kept to send it again; `None`: it is sent once.
fn kept_for_replay(route: &Route) -> Option<usize> {
    let retry = route.retrier.as_ref().map(|retrier| retrier.params());
    let wanted = route.fallback.is_some() || retry.is_some_and(|retry| retry.max_retries > 0);
    wanted.then(|| retry.map_or_else(|| Retry::default().max_body, |retry| retry.max_body))
}

fn switch_protocols(
    mut routed: Box<Routed>,
    mut response: Response<UpstreamBody>,
    in_flight: InFlight,
    client_side: Upgrade,
    idle: std::time::Duration,
) -> Response<ProxyBody> {
    let Some(upstream_side) = response.body_mut().take_switched() else {
        // HTTP/2 knows no such status.
        return routed.refuse(Failure::Attempt(AttemptError::new(Cause::Malformed, Sent::Maybe)));
    };
    finish_head(&mut response, routed.exchange.attempts);
    // The tunnel is the request's body: it holds the concurrency permit as long as it lasts.
    let held = (in_flight, routed.exchange.switch());
    tunnel::spawn(client_side, upstream_side, idle, held);
    routed.exchange.answer(response.map(|_| ProxyBody::Empty))
}
