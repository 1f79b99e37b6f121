//! The client gets what was obtained.

use http::Response;
use mainstay_policies::timeout::IdleBody;
use tokio::time::Instant;

use super::obtain::Obtained;
use crate::{
    attempts::{first_frame::Resumed, run::UpstreamResponse},
    request::{
        fallback,
        heads::{finish_head, name_attempts},
        routed::Routed,
    },
    respond::failure::Failure,
    wire::body::ProxyBody,
};

/// Gives the client what was obtained.
pub(crate) fn deliver(mut routed: Box<Routed>, obtained: Obtained) -> Response<ProxyBody> {
    let Obtained { answered, attempts, instead, finished } = obtained;
    let idle = routed.outbound.route.params.policy.timeout.idle;
    match answered {
        Ok(UpstreamResponse { mut response, in_flight, first }) => {
            if let Some(reason) = fallback::of_response(&routed.outbound.route, &routed.exchange.method, &response)
                .filter(|_| instead.is_none())
                && let Some(mut fixed) = fallback::fixed(&routed.outbound.route, reason)
            {
                routed.exchange.tell_fallback(reason.label());
                name_attempts(fixed.headers_mut(), attempts);
                return routed.exchange.answer(fixed);
            }
            if !finished {
                finish_head(&mut response, attempts);
            }
            if let Some(reason) = instead {
                fallback::mark(&mut response, reason);
            }
            if first.is_some() {
                let resumed = |body| Resumed::new(first, IdleBody::new(body, idle));
                return routed.exchange.stream(response.map(resumed), Some(in_flight));
            }
            match response.body_mut().take_whole() {
                Some(whole) => routed.exchange.answer(response.map(|_| ProxyBody::from(whole))),
                None => routed.exchange.stream(response.map(|body| IdleBody::new(body, idle)), Some(in_flight)),
            }
        }
        Err(failure) => {
            if matches!(failure, Failure::CircuitOpen { .. }) {
                routed.exchange.trace().event("breaker_open", Instant::now());
            }
            let mut response = routed.refuse(failure);
            name_attempts(response.headers_mut(), attempts);
            response
        }
    }
}
