//! Who is calling, and where it leads.

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Response, Version, header::USER_AGENT, request::Parts};
use http_body::Body as _;
use mainstay_policies::{
    idempotency::principal_hash,
    problem::Problem,
    timeout::{deadline_from_headers, grpc_timeout_from_headers},
};
use tokio::time::Instant;

use super::{
    admission::FORBIDDEN,
    connect::TunnelRequest,
    control::ControlRequest,
    cors, egress,
    exchange::Exchange,
    max_forwards,
    routed::{Routed, refuse},
    session::Session,
    told::beginning,
    unambiguous,
};
use crate::{
    attempts::{
        affinity,
        attempt::{GrpcCall, Outbound},
    },
    config::model,
    listener::{ClientExtras, ClientIncoming, ClientRequest},
    respond::failure::Failure,
    router::{Router, Target, host_of, port_of},
    runtime::{route::Route, snapshot::Snapshot},
    telemetry::trace::RequestInfo,
    wire::{body::ProxyBody, forward::Hints, via},
};

/// What a request turned out to be.
pub(super) enum Found {
    Route(Box<Routed>),
    Control(Box<ControlRequest>),
    Tunnel(Box<TunnelRequest>),
    Refused(Response<ProxyBody>),
}

/// Begins the exchange: connection phase, trace, access log.
fn begin(
    session: &Arc<Session>,
    parts: &Parts,
    body: &ClientIncoming,
    listener: &model::Listener,
    client: SocketAddr,
) -> Exchange {
    let now = Instant::now();
    let is_http1 = parts.version != Version::HTTP_2;
    if is_http1 {
        session.connection.begin(!body.is_end_stream());
    } else {
        session.connection.stream_begun();
    }
    let mut trace = session.runtime.tracing.start(&parts.headers, now);
    if trace.is_recorded() {
        trace.describe(&RequestInfo {
            method: &parts.method,
            path: parts.uri.path(),
            scheme: if session.client.is_secure { "https" } else { "http" },
            host: Some(host_of(&parts.uri, &parts.headers)),
            port: port_of(&parts.uri, &parts.headers),
            client: Some(client.ip()),
            // Over a Unix socket there is none.
            peer: Some(session.peer).filter(|peer| peer.port() != 0),
            user_agent: parts.headers.get(USER_AGENT).and_then(|name| name.to_str().ok()),
            version: parts.version,
            listener: &listener.name,
        });
    }
    let mut exchange = Exchange::new(session.clone(), now, parts, trace);
    exchange.client = client;
    exchange.bytes_in = body.size_hint().exact().unwrap_or_default();
    exchange
}

/// The listener's parameters in the configuration that the request keeps, with its place there; its last ones if it is not in
/// there any more.
pub(super) fn listener_in(session: &Session, snapshot: &Snapshot) -> (Arc<model::Listener>, Option<usize>) {
    let listeners = &snapshot.config.listeners;
    // No reload has renamed it in most cases.
    let (name, address) = &session.accepted_by;
    let same = listeners.iter().position(|listener| listener.name == *name && listener.address == *address);
    if let Some(place) = same {
        return (listeners[place].clone(), same);
    }
    let last = session.listener.load();
    let place = listeners.iter().position(|listener| listener.name == last.name);
    (place.map_or_else(|| last.clone(), |place| listeners[place].clone()), place)
}

/// Who is calling, and where it leads.
pub(super) fn find_route(
    session: &Arc<Session>,
    snapshot: Arc<Snapshot>,
    (listener, place): (Arc<model::Listener>, Option<usize>),
    request: ClientRequest,
    mut extras: ClientExtras,
) -> Found {
    let ClientRequest { mut parts, body } = request;
    let is_outbound = listener.is_outbound();
    let hints = Hints::of(&parts.headers);
    let client = session.client_of(&listener, &mut parts.headers, hints);
    let mut exchange = begin(session, &parts, &body, &listener, client);
    let principal = session.principal(&listener.principal, &parts.headers);
    if let Some(failure) = refusal(&snapshot, &listener, &parts, hints, (client.ip(), principal.as_deref())) {
        return Found::Refused(refuse(exchange, &snapshot, failure));
    }
    if principal.is_some() && exchange.is_told() {
        exchange.told.principal = Some(beginning(&principal_hash(principal.as_deref())));
    }
    if parts.method == Method::CONNECT {
        let upgrade = extras.upgrade.take();
        return Found::Tunnel(Box::new(TunnelRequest { exchange, snapshot, listener, place, parts, upgrade }));
    }
    let router = snapshot.router(place, listener.direction);
    if let Some(response) = answer_at_once(&snapshot, router, &listener, &mut parts) {
        return Found::Refused(exchange.answer(response));
    }
    if snapshot.is_control(parts.uri.path()) && (!is_outbound || egress::is_for_us(&parts, &listener, session.own)) {
        return Found::Control(Box::new(ControlRequest { exchange, snapshot, listener, parts, body, principal }));
    }
    let route = match look_up(router, &listener, &parts) {
        Ok(route) => route,
        Err(failure) => return Found::Refused(refuse(exchange, &snapshot, failure)),
    };
    exchange.take_route(route.clone());
    if is_outbound && egress::asks_for_tls(&parts) && !route.upstream.params().is_secure() {
        return Found::Refused(refuse(exchange, &snapshot, egress::DOWNGRADED));
    }
    let grpc = grpc_call(&exchange, &parts.headers);
    let outbound = Outbound {
        deadline: deadline(&exchange, &route, &listener, &parts.headers, grpc),
        grpc,
        upload: None,
        trace: exchange.trace().handle().clone(),
        worker: session.worker,
        interim: extras.interim.take(),
        direction: listener.direction,
        affinity: affinity::of_request(&route.upstream, principal.as_deref(), &parts.headers),
        route,
    };
    let (body, read) = (Some(body), Bytes::new());
    Found::Route(Box::new(Routed {
        exchange,
        snapshot,
        listener,
        outbound,
        parts,
        hints,
        body,
        read,
        extras,
        principal,
    }))
}

/// Why a request is refused before it is known what it asks for.
fn refusal(
    snapshot: &Snapshot,
    listener: &model::Listener,
    parts: &Parts,
    hints: Hints,
    (client, principal): (IpAddr, Option<&[u8]>),
) -> Option<Failure> {
    if let Err(failure) = unambiguous::check(parts, listener, snapshot.config.limits.request_head()) {
        return Some(failure);
    }
    if hints.via && via::is_loop(listener.direction, &parts.headers) {
        let detail = Cow::Borrowed("This request came back to the proxy that had sent it on. It was not sent again.");
        return Some(Failure::Request(Problem::Loop, detail));
    }
    let access = listener.access.as_ref()?;
    (!access.admits_caller((client, principal), &parts.method, parts.uri.path())).then_some(FORBIDDEN)
}

/// What needs no route: a preflight, and a request that may go no further.
fn answer_at_once(
    snapshot: &Snapshot,
    router: &Router<Arc<Route>>,
    listener: &model::Listener,
    parts: &mut Parts,
) -> Option<Response<ProxyBody>> {
    if listener.cors.is_some()
        && let Some(response) = cors::answer_preflight(snapshot, router, parts, host_of(&parts.uri, &parts.headers))
    {
        return Some(response);
    }
    if matches!(parts.method, Method::OPTIONS | Method::TRACE) { max_forwards::answer_or_count(parts) } else { None }
}

/// Where it leads.
fn look_up(router: &Router<Arc<Route>>, listener: &model::Listener, parts: &Parts) -> Result<Arc<Route>, Failure> {
    let is_outbound = listener.is_outbound();
    let asks_for_port = is_outbound || router.asks_for_port();
    let target = Target {
        method: &parts.method,
        port: asks_for_port.then(|| egress::asked_port(parts, port_of(&parts.uri, &parts.headers))),
        host: if router.asks_for_host() { host_of(&parts.uri, &parts.headers) } else { "" },
        path: parts.uri.path(),
        headers: &parts.headers,
    };
    match router.find(target) {
        Some((route, _)) => Ok(route.clone()),
        None if is_outbound => Err(egress::denied(listener, host_of(&parts.uri, &parts.headers))),
        None => {
            let detail = Cow::Borrowed("No route of this proxy matches the method, host, path and headers.");
            Err(Failure::Request(Problem::NoRoute, detail))
        }
    }
}

/// What a gRPC call says of itself; `None` if the request is none.
fn grpc_call(exchange: &Exchange, headers: &HeaderMap) -> Option<GrpcCall> {
    exchange.grpc?;
    Some(GrpcCall { deadline: grpc_timeout_from_headers(headers).map(|given| exchange.started + given) })
}

/// When the total time ends. A deadline that the caller sends counts only where it is trusted, and only if it is smaller; that of
/// a gRPC call is its caller's own, and counts everywhere.
fn deadline(
    exchange: &Exchange,
    route: &Route,
    listener: &model::Listener,
    headers: &HeaderMap,
    grpc: Option<GrpcCall>,
) -> Instant {
    let total = route.params.policy.timeout.total;
    let given = if listener.trust_deadline { deadline_from_headers(headers) } else { None };
    let end = exchange.started + given.map_or(total, |given| given.min(total));
    grpc.and_then(|call| call.deadline).map_or(end, |given| given.min(end))
}
