//! `upstreams`.

use std::{net::SocketAddr, num::NonZeroUsize, sync::Arc, time::Duration};

use http::{Uri, uri::Authority};
use mainstay_policies::balance::Balance;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};

use super::{
    service::service,
    tls::RawCredentials,
    unix::socket_path,
    upstream_head::{ForwardWord, RawFields, TraceWord, forward},
};
use crate::{
    config::{
        decode::{Cx, Setting, or, section, words},
        definitions::Definitions,
        model::{CONNECT_TIMEOUT, Endpoint, Family, Health, HostRule, Protocol, Resolve, SRV, UNIX, Upstream},
        node::{At, Node},
        report::Issue,
    },
    wire::tls::{ClientTls, MinVersion, UpstreamTls},
};

/// Below the 5 s after which common servers (Node, Apache) close an idle connection, so that we close first.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// A service behind one address of its own is balanced by connection, so without it nothing would ever move.
const MAX_AGE: Duration = Duration::from_mins(5);
/// What one process can serve with ordinary file limits.
const MAX_CONNECTIONS: NonZeroUsize = NonZeroUsize::new(1024).expect("1024 is not zero");

section! {
    /// A service behind.
    RawUpstream {
        /// Its addresses: `http://host:port`, `https://host:port` over TLS, `srv+http://_http._tcp.orders.example.com` where the records of a service say (RFC 2782), or `unix:/run/app.sock`. At least one.
        endpoints: Vec<At<Endpoint>> = required,
        /// Which HTTP is spoken to it; auto is HTTP/1.1 in clear, and what the service chooses over TLS. Default auto.
        protocol: Protocol,
        /// Bounds resolving, connecting and handshake. Default 1s.
        connect_timeout: Duration,
        /// It deduplicates by the same key, so a keyed write may be sent again. Default false.
        honours_key: bool,
        /// Connections per endpoint at most, all workers together. Default 1024.
        max_connections: NonZeroUsize,
        /// An idle connection is closed after this; keep it below the service's own. Default 4s.
        idle_timeout: Duration,
        /// A connection takes no new request after this, a tenth more or less: what stands behind one address may change. Default 5m.
        max_age: Duration,
        /// How names of endpoints are resolved.
        resolve: Resolve,
        /// Which endpoint a request goes to: `p2c`, the less loaded of two; `round_robin`, each in turn; or `{ hash: principal | key | { header: NAME } }`, the same one for requests that belong together, as long as it has not too much to do. Default p2c.
        balance: Balance,
        /// Over so long the share grows of an address that a name has come to stand for, from little to the whole; those of the start have all of it. Default 0s.
        slow_start: Duration,
        /// Endpoints are asked whether they can serve; one that cannot gets no new requests as long as another one can. Default: they are not asked.
        health: Health,
        /// How its endpoints are known, if they are written with `https://`: authorities, our own certificate, names.
        tls: RawUpstreamTls,
        /// The `Host` it is sent: `keep` what the request says, `endpoint`, or a name. Default: endpoint over TLS, keep in clear.
        host: HostRule,
        /// What it is told of us: `internal` all of it; `external` no X-Forwarded-*, no Mainstay-*, no trace, no baggage. Default: external where public authorities vouch for it, else internal.
        forward: ForwardWord,
        /// The trace context that an external one is told: none, or w3c, which is `traceparent` alone. Default none.
        trace: TraceWord,
        /// Fields that every request to it has, such as credentials, and fields that none has.
        headers: RawFields,
    }
}

section! {
    /// How an `https://` endpoint is known, and how we make ourselves known to it.
    RawUpstreamTls {
        /// The authorities that its certificate may be from, and no others. Default: `SSL_CERT_FILE`, else Mozilla's.
        ca_file: String,
        /// Our certificate with its key, in one file, in any order.
        bundle_file: String,
        /// Our certificate, for a service that asks for one.
        cert_file: String,
        /// The key of that certificate.
        key_file: String,
        /// The name that its certificate must have, and that it is asked for. Default: the endpoint's host.
        server_name: String,
        /// URIs of which its certificate must have exactly one, and none else, instead of a name, such as `spiffe://prod/ns/pay/sa/ledgerd`.
        identity: Vec<At<String>>,
        /// The oldest TLS that is spoken, "1.2" or "1.3". Default "1.2".
        min_version: MinVersion,
    }
}

section! {
    /// How names of endpoints are resolved: by Mainstay itself, in the background, by the time to live of the answer.
    RawResolve {
        /// An answer is good for no less. Default 1s.
        min: Duration,
        /// An answer is good for no more. Default 30s.
        max: Duration,
        /// Which addresses are asked for: any, ipv4 or ipv6. Default any.
        family: Family,
        /// Addresses of one name that are used. Default 256.
        max_addresses: NonZeroUsize,
        /// Name servers to ask, as IP addresses with ports. Default: those of resolv.conf, with its search list.
        servers: Vec<SocketAddr>,
    }
}

impl Setting for Resolve {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let raw = RawResolve::decode(node, cx)?;
        let default = Self::default();
        let min = cx.positive("min", raw.min, default.min);
        let max = cx.positive("max", raw.max, default.max.max(min));
        if min > max {
            return cx.error(
                node.at,
                "`min` is longer than `max`",
                "an answer is good for `min` at the least, and `max` at the most",
            );
        }
        Some(Self {
            min,
            max,
            family: or(raw.family, default.family),
            max_addresses: cx.ranged(
                "max_addresses",
                raw.max_addresses,
                default.max_addresses,
                |count| count.get() <= 4096,
                "it is from 1 to 4096",
            ),
            servers: or(raw.servers, default.servers),
        })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        RawResolve::schema(definitions)
    }
}

impl Setting for Family {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &[("any", Self::Any), ("ipv4", Self::Ipv4), ("ipv6", Self::Ipv6)])
    }

    fn schema(_: &mut Definitions) -> Value {
        words(&["any", "ipv4", "ipv6"])
    }
}

impl RawUpstream {
    /// The upstream under its name.
    pub(crate) fn build(self, name: &str, cx: &mut Cx) -> Option<Upstream> {
        let endpoints = self.endpoints?;
        if endpoints.value.is_empty() {
            return cx.error(endpoints.at, format!("upstream `{name}` has no endpoint"), "give at least one address");
        }
        let mut seen: Vec<&Endpoint> = Vec::new();
        for endpoint in &endpoints.value {
            if seen.contains(&&endpoint.value) {
                let message = format!("`{}` is listed twice", endpoint.value);
                cx.error::<()>(endpoint.at, message, "remove one of the two");
            }
            seen.push(&endpoint.value);
        }
        let tls = tls(&endpoints.value, self.tls, cx);
        let default = if tls.is_some() { HostRule::Endpoint } else { HostRule::Keep };
        let forward = forward(tls.as_deref(), self.forward, self.trace, cx);
        let (set, remove) = self.headers.map(|fields| fields.value.resolve(cx)).unwrap_or_default();
        Some(Upstream {
            name: Arc::from(name),
            endpoints: endpoints.value.iter().map(|endpoint| endpoint.value.clone()).collect(),
            protocol: or(self.protocol, Protocol::Auto),
            connect_timeout: cx.positive("connect_timeout", self.connect_timeout, CONNECT_TIMEOUT),
            honours_key: or(self.honours_key, false),
            max_connections: or(self.max_connections, MAX_CONNECTIONS),
            idle_timeout: cx.positive("idle_timeout", self.idle_timeout, IDLE_TIMEOUT),
            max_age: cx.positive("max_age", self.max_age, MAX_AGE),
            resolve: or(self.resolve, Resolve::default()),
            balance: or(self.balance, Balance::default()),
            slow_start: or(self.slow_start, Duration::ZERO),
            health: self.health.map(|health| health.value),
            tls,
            host: or(self.host, default),
            forward,
            set,
            remove,
        })
    }
}

/// How `endpoints` are reached over TLS, if they are; contradictions are said.
fn tls(endpoints: &[At<Endpoint>], raw: Option<At<RawUpstreamTls>>, cx: &mut Cx) -> Option<Arc<UpstreamTls>> {
    let is_secure = endpoints.iter().any(|endpoint| endpoint.value.is_secure);
    if let Some(clear) = endpoints.iter().find(|endpoint| is_secure && !endpoint.value.is_secure) {
        let help = "write all of them with https://, or make two upstreams of them";
        return cx.error(clear.at, "this endpoint is in clear, and others are over TLS", help);
    }
    let Some(At { value: raw, at }) = raw else { return is_secure.then(Arc::default) };
    if !is_secure {
        return cx.error(at, "`tls` is given for endpoints in clear", "write them with https://, or remove `tls`");
    }
    let identity = raw.identity.map(|it| it.value).unwrap_or_default();
    if let Some(wrong) = identity.iter().find(|uri| !uri.value.contains("://")) {
        let help = "a URI as it stands in the certificate: spiffe://prod/ns/pay/sa/ledgerd";
        return cx.error(wrong.at, format!("`{}` is no identity", wrong.value), help);
    }
    let server_name = match raw.server_name {
        None => None,
        Some(name) => {
            let Ok(found) = ServerName::try_from(name.value.clone()) else {
                let help = "a host name as it stands in the certificate, or an address";
                return cx.error(name.at, format!("`{}` is no name of a server", name.value), help);
            };
            Some(found)
        }
    };
    let credentials = RawCredentials { bundle_file: raw.bundle_file, cert_file: raw.cert_file, key_file: raw.key_file };
    Some(Arc::new(UpstreamTls {
        client: ClientTls {
            ca_file: raw.ca_file.map(|file| file.value.into()),
            credentials: credentials.resolve(cx),
            min_version: or(raw.min_version, MinVersion::default()),
        },
        server_name,
        identity: identity.into_iter().map(|uri| uri.value).collect(),
    }))
}

impl Setting for Protocol {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &[("auto", Self::Auto), ("http1", Self::Http1), ("http2", Self::Http2)])
    }

    fn schema(_: &mut Definitions) -> Value {
        words(&["auto", "http1", "http2"])
    }
}

impl Setting for Endpoint {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let expected = "an address of the service: http://127.0.0.1:9000";
        let Some(scalar) = node.scalar() else {
            return cx.mismatch(node, expected);
        };
        let text = scalar.text.as_str();
        if text.starts_with(UNIX) {
            let socket = Some(socket_path(node, text, cx)?);
            return Some(Self {
                authority: Authority::from_static("localhost:80"),
                is_rooted: false,
                is_secure: false,
                socket,
                service: None,
            });
        }
        if text.starts_with(SRV) {
            return service(node, text, cx);
        }
        let wrong =
            |cx: &mut Cx, problem: &str, help: String| cx.error(node.at, format!("{} {problem}", scalar.shown()), help);
        let secure = text.strip_prefix("https://");
        let is_secure = secure.is_some();
        let Some(rest) = secure.or_else(|| text.strip_prefix("http://")) else {
            return if text.contains("://") {
                wrong(cx, "is not an HTTP address", format!("expected {expected}"))
            } else {
                wrong(cx, "has no scheme", format!("write http://{}", crate::config::node::shorten(text)))
            };
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            let issue = Issue::new(node.at, "an endpoint cannot hold credentials").help("write http://host:port");
            cx.issues.push(Issue { secret: true, ..issue });
            return None;
        }
        if !matches!(path, "" | "/") {
            return wrong(cx, "has a path", "an endpoint is a host and a port; requests keep their own path".into());
        }
        let parsed = authority.parse::<Authority>().ok().filter(|authority| !authority.host().is_empty());
        let port_is_fine = |authority: &Authority| match authority.as_str().rsplit_once(':') {
            Some((_, port)) if !authority.as_str().ends_with(']') => port.parse::<u16>().is_ok_and(|port| port != 0),
            _ => true,
        };
        let Some(authority) = parsed.filter(port_is_fine) else {
            return wrong(cx, "is not an address", format!("expected {expected}"));
        };
        let port = authority.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        let host = authority.host().strip_suffix('.').unwrap_or(authority.host());
        let is_rooted = host.len() < authority.host().len();
        if host.is_empty() {
            return wrong(cx, "is not an address", format!("expected {expected}"));
        }
        let full = format!("{host}:{port}")
            .to_ascii_lowercase()
            .parse::<Uri>()
            .ok()
            .and_then(|uri| uri.into_parts().authority);
        match full {
            Some(authority) => Some(Self { authority, is_rooted, is_secure, socket: None, service: None }),
            None => wrong(cx, "is not an address", format!("expected {expected}")),
        }
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({ "type": "string", "pattern": format!("^(srv\\+)?https?://[^/?#@]+/?$|^unix:/|{}", crate::config::decode::ENV) })
    }
}
