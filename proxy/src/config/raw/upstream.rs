//! `upstreams`.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use http::{Uri, uri::Authority};
use schemars::{Schema, SchemaGenerator, json_schema};

use crate::config::{
    decode::{Cx, Setting, or, section, words},
    model::{Endpoint, Protocol, Upstream},
    node::{At, Node},
    report::Issue,
};

/// One round trip across a continent and a lost SYN: longer means that the endpoint is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Below the 5 s after which common servers (Node, Apache) close an idle connection, so that we close first.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// What one process can serve with ordinary file limits.
const MAX_CONNECTIONS: NonZeroUsize = NonZeroUsize::new(1024).expect("1024 is not zero");

section! {
    /// A service behind.
    RawUpstream {
        /// Its addresses: `http://host:port`. At least one.
        endpoints: Vec<At<Endpoint>> = required,
        /// Which HTTP is spoken to it; auto is HTTP/1.1 in clear. Default auto.
        protocol: Protocol,
        /// Bounds resolving, connecting and handshake. Default 1s.
        connect_timeout: Duration,
        /// It deduplicates by the same key, so a keyed write may be sent again. Default false.
        honours_key: bool,
        /// Connections per endpoint and worker at most. Default 1024.
        max_connections: NonZeroUsize,
        /// An idle connection is closed after this; keep it below the service's own. Default 4s.
        idle_timeout: Duration,
    }
    later ["tls", "health"]
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
                let message = format!("`{}` is listed twice", endpoint.value.authority);
                cx.error::<()>(endpoint.at, message, "remove one of the two");
            }
            seen.push(&endpoint.value);
        }
        Some(Upstream {
            name: Arc::from(name),
            endpoints: endpoints.value.iter().map(|endpoint| endpoint.value.clone()).collect(),
            protocol: or(self.protocol, Protocol::Auto),
            connect_timeout: cx.positive("connect_timeout", self.connect_timeout, CONNECT_TIMEOUT),
            honours_key: or(self.honours_key, false),
            max_connections: or(self.max_connections, MAX_CONNECTIONS),
            idle_timeout: cx.positive("idle_timeout", self.idle_timeout, IDLE_TIMEOUT),
        })
    }
}

impl Setting for Protocol {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &[("auto", Self::Auto), ("http1", Self::Http1), ("http2", Self::Http2)])
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
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
        let wrong =
            |cx: &mut Cx, problem: &str, help: String| cx.error(node.at, format!("{} {problem}", scalar.shown()), help);
        if text.starts_with("https://") {
            let help = "TLS to the service is not available in this version; use http://".to_owned();
            return wrong(cx, "needs TLS", help);
        }
        let Some(rest) = text.strip_prefix("http://") else {
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
        let full = if authority.port_u16().is_some() { authority.to_string() } else { format!("{authority}:80") };
        let full = full.to_ascii_lowercase().parse::<Uri>().ok().and_then(|uri| uri.into_parts().authority);
        match full {
            Some(authority) => Some(Self { authority }),
            None => wrong(cx, "is not an address", format!("expected {expected}")),
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": format!("^http://[^/?#@]+/?$|{}", crate::config::decode::ENV) })
    }
}
