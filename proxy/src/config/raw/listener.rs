//! `listeners`.

use std::{net::SocketAddr, sync::Arc};

use http::HeaderName;
use mainstay_policies::access::{AccessList, Cidr, ForwardedField, Peer, Peers};
use schemars::{Schema, SchemaGenerator};

use super::cors::MaybeCors;
use crate::config::{
    decode::{Cx, Setting, any_of, or, section, words},
    model::{ClientRule, HeaderPrincipal, Principal},
    node::Node,
};

/// Entries of a list of peers at most.
const MAX_PEERS: usize = 64;

section! {
    /// An address on which HTTP is accepted.
    RawListener {
        /// Where it listens: an IP address with a port.
        address: SocketAddr = required,
        /// How the caller is known: `anonymous`, or `{ header: X-Tenant }` set by a trusted front. Default anonymous.
        principal: Principal,
        /// Who the client is, for limits, access lists and logs: `{ trusted: [10.0.0.0/8] }`. Default: the peer.
        client: ClientRule,
        /// Whether deadlines in request headers are honoured. Default false.
        trust_deadline: bool,
        /// Which pages of other origins may read answers: `upstream` says whatever the service says, or a map. Default upstream.
        cors: MaybeCors,
        /// Who may send what, on whichever route: `{ allow: [...], deny: [...] }`.
        access: Arc<AccessList>,
    }
    later ["tls"]
}

section! {
    /// The caller is named by a header that a trusted front sets.
    RawPrincipal {
        /// The header.
        header: HeaderName = required,
        /// From whom it counts: `local` (this host or pod) and networks. It is taken off anybody else's request. Default [local].
        from: Peers,
    }
    later ["tls"]
}

section! {
    /// Who the client is, where trusted fronts say whom they forward for. The right-most address that is not trusted counts.
    RawClient {
        /// The field in which they say it: X-Forwarded-For or Forwarded. Default X-Forwarded-For.
        header: ForwardedField,
        /// Who they are: `local` (this host or pod) and networks. Others' word does not count, and is taken off.
        trusted: Peers,
        /// Leading bits by which clients of IPv6 count. Default 64.
        prefix6: u8,
    }
}

impl Setting for Principal {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if node.scalar().is_some() {
            return if node.is_word("anonymous") {
                Some(Self::Anonymous)
            } else {
                cx.mismatch(node, "anonymous or { header: X-Tenant }")
            };
        }
        if node.lookup("tls").is_some() {
            let help = "use { header: X-Tenant } set by a front that ends TLS";
            return cx.error(node.at, "`principal: { tls: … }` is not available in this version", help);
        }
        let raw = RawPrincipal::decode(node, cx)?;
        let from = or(raw.from, Peers(vec![Peer::Local]));
        Some(Self::Header(HeaderPrincipal { name: raw.header?.value, from }))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        any_of([words(&["anonymous"]), RawPrincipal::schema(generator)])
    }
}

impl Setting for ClientRule {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let raw = RawClient::decode(node, cx)?;
        let default = Self::default();
        if raw.trusted.is_none() && raw.header.is_some() {
            return cx.error(
                node.at,
                "`header` counts only from fronts that are trusted",
                "name them: trusted: [10.0.0.0/8]",
            );
        }
        Some(Self {
            header: or(raw.header, default.header),
            trusted: or(raw.trusted, default.trusted),
            prefix6: cx.ranged(
                "prefix6",
                raw.prefix6,
                default.prefix6,
                |bits| *bits <= 128,
                "at most 128: an IPv6 address has no more bits",
            ),
        })
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        RawClient::schema(generator)
    }
}

impl Setting for ForwardedField {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let name = HeaderName::decode(node, cx)?;
        let known = [Self::XForwardedFor, Self::Forwarded].into_iter().find(|field| field.name() == name.as_str());
        match known {
            Some(field) => Some(field),
            None => cx.mismatch(node, "X-Forwarded-For or Forwarded"),
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        HeaderName::schema(generator)
    }
}

impl Setting for Peers {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let peers = Vec::<Peer>::decode(node, cx)?;
        if peers.is_empty() {
            return cx.error(
                node.at,
                "the list is empty, so nobody is meant",
                "name `local` or networks, or remove it",
            );
        }
        if peers.len() > MAX_PEERS {
            return cx.error(node.at, "the list is too long", "at most 64 entries: they are tried one by one");
        }
        Some(Self(peers))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        Vec::<Peer>::schema(generator)
    }
}

impl Setting for Peer {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if node.is_word("local") {
            return Some(Self::Local);
        }
        Cidr::decode(node, cx).map(Self::Network)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        any_of([words(&["local"]), Cidr::schema(generator)])
    }
}
