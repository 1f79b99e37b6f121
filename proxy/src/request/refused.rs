//! A head that is refused before there is a request. It is answered, counted, logged and traced like any other, as far as
//! anything is known of it; its method and path are not.

use std::sync::Arc;

use http::{HeaderMap, Method, Request, Response, Uri};
use tokio::time::Instant;

use super::{
    cached,
    exchange::Exchange,
    fallback::{mark, of_failure},
    keyed::recognise,
    routed::{self, Routed},
    session::Session,
    unkeyed,
};
use crate::{
    respond::failure::Failure,
    wire::{body::ProxyBody, http1::head::Refused},
};

/// The answer to such a head. The fields that are known of it say whether it is a gRPC call's.
pub(crate) fn head(session: &Arc<Session>, refused: Refused, fields: &HeaderMap) -> Response<ProxyBody> {
    let snapshot = session.runtime.snapshot.load_full();
    let now = Instant::now();
    let mut parts = Request::new(()).into_parts().0;
    parts.method = Method::from_bytes(b"-").expect("a dash is a token");
    parts.uri = Uri::from_static("-");
    parts.headers.clone_from(fields);
    let trace = session.runtime.tracing.start(&HeaderMap::new(), now);
    // Nor is its Origin: no field is taken at its word out of a head that was cut off or that two parties would read
    // differently. So this answer is the one that a page of another origin cannot read, whatever `cors` allows.
    routed::refuse(Exchange::new(session.clone(), now, &parts, trace), &snapshot, Failure::Head(refused))
}

/// Answers a request that a limit refused: by the other upstream, where the route has one, or as the failure says.
pub(crate) async fn refused(session: &Session, mut routed: Box<Routed>, failure: Failure) -> Response<ProxyBody> {
    let route = routed.outbound.route.clone();
    // A protected write belongs to its upstream: under another one its key would mean another operation.
    let movable = route.protection.is_none() || routed.parts.method.is_safe();
    let reason = of_failure(&route, &routed.parts.method, &failure);
    // Nothing was sent of this request. Its operation may have an outcome all the same, which nothing else may stand in for.
    if reason.is_some() && !routed.parts.method.is_safe() && recognise::may_be_repeat(&mut routed).await {
        return routed::refuse(routed.exchange, &routed.snapshot, failure);
    }
    if let Some(reason) = reason
        && let Some(stored) = cached::hit::stale(&routed)
    {
        routed.exchange.tell_fallback(reason.label());
        return cached::hit::answer_stale(routed, &stored, reason);
    }
    match (reason, &route.fallback) {
        (Some(reason), Some(other)) if movable && Instant::now() < routed.outbound.deadline => {
            routed.exchange.tell_fallback(reason.label());
            routed.outbound.route = other.clone();
            let mut response = unkeyed::serve(session, routed).await;
            mark(&mut response, reason);
            response
        }
        _ => routed.refuse(failure),
    }
}
