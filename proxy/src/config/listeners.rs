//! Listeners as a whole: their addresses beside each other, which way their calls go, and the routes that belong to them.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use super::{
    decode::{Cx, or},
    model::{Address, ClientRule, Direction, Listener, Principal, Route, TunnelTarget, Upstream},
    node::{At, Node, Pos},
    raw::{PrincipalChoice, RawConnect, RawListener},
};

/// A listener that is not for traffic.
pub(super) struct Ours {
    pub(super) what: &'static str,
    pub(super) key: &'static str,
    pub(super) address: SocketAddr,
}

pub(super) fn build(
    cx: &mut Cx,
    at: Option<Pos>,
    raw: Vec<(At<String>, RawListener)>,
    ours: &[Ours],
) -> Vec<Arc<Listener>> {
    if let Some(at) = at.filter(|_| raw.is_empty() && cx.issues.is_empty()) {
        cx.error::<()>(at, "there is no listener", "give one: inbound: { address: 0.0.0.0:8080 }");
    }
    let mut taken: Vec<(String, Address)> = Vec::new();
    let mut listeners = Vec::with_capacity(raw.len());
    for (name, listener) in raw {
        let direction = or(listener.direction, Direction::Inbound);
        let principal_at = listener.principal.as_ref().map(|it| it.at);
        let (principal, former) = PrincipalChoice::of(listener.principal, direction, cx);
        let tls_at = listener.tls.as_ref().map(|it| it.at);
        let tls = listener.tls.and_then(|it| it.value.build(it.at, cx)).map(Arc::new);
        let asks = tls.as_ref().is_some_and(|tls| tls.client.is_some());
        if let Some(at) = principal_at.filter(|_| !asks && matches!(principal, Principal::Certificate(_))) {
            let help = "say whose certificates are wanted: `tls: { client: { ca_file: … } }`";
            cx.error::<()>(at, "callers are known by certificates, and this listener asks for none", help);
        }
        let Some(address) = listener.address else { continue };
        if let (Address::Unix(_), Some(tls)) = (&address.value, &tls_at) {
            let help =
                "remove `tls`: no network sees what goes through it, and its file's owner and group say who may call";
            cx.error::<()>(*tls, "a Unix socket speaks no TLS", help);
        }
        if let Some((other, _)) = taken.iter().find(|(_, other)| collide(other, &address.value)) {
            let message = format!("listener `{other}` already listens on {}", address.value);
            cx.error::<()>(address.at, message, "give each listener its own port");
        }
        for Ours { what, key, address: taken } in ours {
            if address.value.internet().is_some_and(|address| overlap(*taken, address)) {
                let message = format!("{what} already listen on {taken}");
                cx.error::<()>(address.at, message, format!("give this listener or `{key}` another port"));
            }
        }
        taken.push((name.value.clone(), address.value.clone()));
        let tunnels = tunnels(cx, &name.value, direction, listener.connect);
        let trust_network = trust_network(cx, &name.value, direction, &address, listener.trust_network);
        listeners.push(Arc::new(Listener {
            name: Arc::from(name.value),
            address: address.value,
            direction,
            trust_network,
            tunnels,
            principal,
            former,
            client: or(listener.client, ClientRule::default()),
            trust_deadline: or(listener.trust_deadline, false),
            cors: listener.cors.and_then(|it| it.value.0),
            access: listener.access.map(|it| it.value),
            tls,
        }));
    }
    listeners
}

/// Whether the second address cannot be bound beside the first. Port 0 is a fresh port each time.
pub(super) fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    // All addresses of IPv6 are those of IPv4, too.
    let is_every = |address: SocketAddr| address.ip() == Ipv6Addr::UNSPECIFIED;
    let same = a.is_ipv4() == b.is_ipv4() && (a.ip().is_unspecified() || b.ip().is_unspecified());
    let wildcard = same || is_every(a) || is_every(b);
    a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || wildcard)
}

/// Whether only one of two listeners can be there.
fn collide(a: &Address, b: &Address) -> bool {
    match (a, b) {
        (Address::Internet(a), Address::Internet(b)) => overlap(*a, *b),
        _ => a == b,
    }
}

/// Tunnels are for calls out: at an inbound listener they would lead anybody anywhere.
fn tunnels(cx: &mut Cx, name: &str, direction: Direction, written: Option<At<RawConnect>>) -> Vec<TunnelTarget> {
    let Some(At { value: RawConnect { allow }, at }) = written else { return Vec::new() };
    if direction == Direction::Inbound {
        let message = format!("listener `{name}` is inbound, and opens no tunnels");
        cx.error::<()>(at, message, "remove `connect`: it is for outbound listeners");
    }
    or(allow, Vec::new())
}

/// Whoever reaches an outbound listener calls as the service: that is this host or pod, unless somebody says so.
fn trust_network(
    cx: &mut Cx,
    name: &str,
    direction: Direction,
    address: &At<Address>,
    written: Option<At<bool>>,
) -> bool {
    if direction == Direction::Inbound {
        if let Some(At { at, .. }) = written {
            let message = format!("listener `{name}` is inbound, and anybody may reach it");
            cx.error::<()>(at, message, "remove `trust_network`: it is for outbound listeners");
        }
        return false;
    }
    let is_trusted = or(written, false);
    if let Some(internet) = address.value.internet().filter(|_| !is_trusted && !address.value.is_local()) {
        let message = format!("outbound listener `{name}` can be reached from beyond this host or pod");
        let help = format!(
            "bind 127.0.0.1:{}; or, if whoever reaches it may call as this service, say `trust_network: true`",
            internet.port()
        );
        cx.error::<()>(address.at, message, help);
    }
    is_trusted
}

/// Reports outbound listeners that no route belongs to: nothing would be served there.
pub(super) fn check_routes(cx: &mut Cx, root: &Node, listeners: &[Arc<Listener>], routes: &[Arc<Route>]) {
    for listener in listeners.iter().filter(|listener| listener.is_outbound()) {
        if !routes.iter().any(|route| route.matches.belongs_to(listener)) {
            let (at, _) = root.locate(&["listeners", &listener.name]);
            let message = format!("no route belongs to outbound listener `{}`", listener.name);
            let help = format!(
                "name it in one: `match: {{ listener: {} }}`; a route without `listener` serves inbound ones only",
                listener.name
            );
            cx.coded::<()>("unknown-reference", at, message, help);
        }
    }
}

/// Reports endpoints that are a listener of this very configuration: requests would go round in a circle.
pub(super) fn check_loops(cx: &mut Cx, root: &Node, listeners: &[Arc<Listener>], upstreams: &[Arc<Upstream>]) {
    for upstream in upstreams {
        for (number, endpoint) in upstream.endpoints.iter().enumerate() {
            let host = endpoint.authority.host().trim_start_matches('[').trim_end_matches(']');
            let port = endpoint.authority.port_u16();
            let is_it = |listener: &&Arc<Listener>| match (&listener.address, &endpoint.socket) {
                (Address::Internet(bound), None) => {
                    Some(bound.port()) == port && is_at(host, bound.ip().to_canonical())
                }
                (Address::Unix(bound), Some(socket)) => bound == socket,
                _ => false,
            };
            let Some(listener) = listeners.iter().find(is_it) else { continue };
            let (at, _) = root.locate(&["upstreams", &upstream.name, "endpoints", &number.to_string()]);
            let message = format!("`{endpoint}` is listener `{}` of this configuration", listener.name);
            cx.error::<()>(
                at,
                message,
                "an endpoint is where the service listens: requests would go round in a circle",
            );
        }
    }
}

/// Whether who listens on `bound` is reached under `host` on this machine.
fn is_at(host: &str, bound: IpAddr) -> bool {
    let is_here = |ip: IpAddr| ip.is_loopback() || ip.is_unspecified();
    match host.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        Ok(ip) => ip == bound || (is_here(ip) && bound.is_unspecified()),
        Err(_) => host.eq_ignore_ascii_case("localhost") && is_here(bound),
    }
}
