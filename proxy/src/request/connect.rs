//! CONNECT on an outbound listener (RFC 9110 section 9.3.6).
//!
//! Where tunnels are allowed, bytes go both ways and stay opaque: no retry, no key, no certificate of ours. Where a route leads
//! to the host in clear, what follows is read as HTTP/1.1 and routed like any request: some clients tunnel even plain HTTP.
//! Everything else is refused, and told how to be served.

use std::{borrow::Cow, sync::Arc};

use http::{Response, request::Parts, uri::Authority};
use mainstay_policies::{problem::Problem, timeout::Timeout};

use super::{egress, exchange::Exchange, routed::refuse, session::Session, unkeyed::tunnel};
use crate::{
    config::model, listener::Upgrade, respond::failure::Failure, runtime::snapshot::Snapshot, upstream,
    wire::body::ProxyBody,
};

/// A request for a tunnel.
pub(super) struct TunnelRequest {
    pub(super) exchange: Exchange,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) listener: Arc<model::Listener>,
    /// Of the listener in the snapshot.
    pub(super) place: Option<usize>,
    pub(super) parts: Box<Parts>,
    /// The connection itself, once it has been told that the tunnel is there.
    pub(super) upgrade: Option<Upgrade>,
}

/// What becomes of such a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    /// It is a tunnel to there.
    Tunnel,
    /// What follows is HTTP, and ours to route.
    Http,
    /// A route leads there, but not by a tunnel.
    CallInClear,
    /// Nothing leads there.
    Denied,
}

fn decide(
    listener: &model::Listener,
    mut routes: impl Iterator<Item = Option<u16>>,
    host: &str,
    port: u16,
) -> Decision {
    if listener.tunnels.iter().any(|target| target.admits(host, port)) {
        return Decision::Tunnel;
    }
    let Some(first) = routes.next() else { return Decision::Denied };
    let is_there = |named: Option<u16>| named.unwrap_or(80) == port;
    if is_there(first) || routes.any(is_there) { Decision::Http } else { Decision::CallInClear }
}

/// Opens the tunnel, or says why there is none.
pub(super) async fn serve(session: &Session, request: TunnelRequest) -> Response<ProxyBody> {
    let TunnelRequest { exchange, snapshot, listener, place, parts, upgrade } = request;
    // Checked when the head was.
    let Some((authority, port)) = parts.uri.authority().and_then(|it| Some((it, it.port_u16()?))) else {
        let detail = Cow::Borrowed("The target of CONNECT is no host with a port.");
        return refuse(exchange, &snapshot, Failure::Request(Problem::BadRequest, detail));
    };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let routes = snapshot.router(place, listener.direction).leads_to(authority.host());
    match decide(&listener, routes, host, port) {
        Decision::Tunnel => open(session, exchange, &snapshot, authority.clone(), upgrade).await,
        // Whoever drops the upgrade leaves the connection with its listener, which reads on.
        Decision::Http => exchange.answer(Response::new(ProxyBody::Empty)),
        Decision::CallInClear => {
            let detail = format!(
                "call http://{}/ through this proxy: Mainstay opens the TLS connection itself",
                authority.host()
            );
            refuse(exchange, &snapshot, Failure::Request(Problem::EgressDenied, Cow::Owned(detail)))
        }
        Decision::Denied => {
            let failure = egress::denied(&listener, authority.host());
            refuse(exchange, &snapshot, failure)
        }
    }
}

async fn open(
    session: &Session,
    mut exchange: Exchange,
    snapshot: &Snapshot,
    target: Authority,
    upgrade: Option<Upgrade>,
) -> Response<ProxyBody> {
    let Some(client) = upgrade else {
        let detail = Cow::Borrowed("This connection cannot become a tunnel.");
        return refuse(exchange, snapshot, Failure::Request(Problem::BadRequest, detail));
    };
    let idle = Timeout::default().idle;
    match upstream::dial(target, model::CONNECT_TIMEOUT).await {
        Ok(stream) => {
            session.connection.set_idle(idle);
            tunnel::spawn(client, stream, idle, exchange.switch());
            exchange.answer(Response::new(ProxyBody::Empty))
        }
        Err(error) => refuse(exchange, snapshot, Failure::Attempt(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn a_tunnel_is_allowed_or_is_http_of_a_route_or_is_nothing() {
        let text = "
listeners: { out: { address: 127.0.0.1:15001, direction: outbound, connect: { allow: ['*.tunnel.test:443'] } } }
upstreams: { app: { endpoints: [http://127.0.0.1:9000] } }
routes: [{ match: { listener: out }, upstream: app }]
";
        let config = config::parse("mainstay.yaml", text).expect("a configuration").config;
        let listener = &config.listeners[0];
        for (routes, host, port, expected) in [
            (&[][..], "a.tunnel.test", 443, Decision::Tunnel),
            (&[None], "a.tunnel.test", 443, Decision::Tunnel),
            (&[None], "a.tunnel.test", 80, Decision::Http),
            (&[], "other.test", 80, Decision::Denied),
            (&[None], "other.test", 80, Decision::Http),
            (&[None], "other.test", 443, Decision::CallInClear),
            (&[Some(8080)], "other.test", 80, Decision::CallInClear),
            (&[None, Some(8080)], "other.test", 8080, Decision::Http),
        ] {
            assert_eq!(decide(listener, routes.iter().copied(), host, port), expected, "{routes:?} {host}:{port}");
        }
    }
}
