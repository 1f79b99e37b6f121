//! `listeners`.

use std::sync::Arc;

use http::HeaderName;
use mainstay_policies::access::{AccessList, Cidr, ForwardedField, Peer, Peers};
use serde_json::{Value, json};

use super::{cors::MaybeCors, listener_tls::RawListenerTls};
use crate::config::{
    decode::{Cx, Setting, any_of, or, section, words},
    definitions::Definitions,
    model::{Address, ClientRule, Direction, HeaderFormat, HeaderPrincipal, LOCAL, Principal, San, TunnelTarget},
    node::{At, Kind, Node, shorten},
};

/// Entries of a list of peers at most.
const MAX_PEERS: usize = 64;
/// Ways in which callers were known at most: each costs a new write two looks at the ledger.
const MAX_FORMER: usize = 4;

section! {
    /// An address on which HTTP is accepted.
    RawListener {
        /// Where it listens: an IP address with a port, or a Unix socket, `unix:/run/mainstay.sock`.
        address: Address = required,
        /// Which way its calls go: `inbound`, from callers to the service, or `outbound`, from the service to others. Default inbound.
        direction: Direction,
        /// Whether an outbound listener may be reached from beyond this host or pod. Default false.
        trust_network: bool,
        /// Which tunnels the callers of an outbound listener may open. Default: none.
        connect: RawConnect,
        /// How the caller is known: `anonymous`, `{ tls: san }` by its certificate, or `{ header: X-Tenant }` set by a trusted front. Default anonymous.
        principal: PrincipalChoice,
        /// Who the client is, for limits, access lists and logs: `{ trusted: [10.0.0.0/8] }`. Default: the peer.
        client: ClientRule,
        /// Whether deadlines in request headers are honoured. Default false.
        trust_deadline: bool,
        /// Which pages of other origins may read answers: `upstream` says whatever the service says, or a map. Default upstream.
        cors: MaybeCors,
        /// Who may send what, on whichever route: `{ allow: [...], deny: [...] }`.
        access: Arc<AccessList>,
        /// Speak TLS: our certificate with its key, and whose certificates callers need. Default: in clear.
        tls: RawListenerTls,
    }
}

section! {
    /// Which tunnels the callers of an outbound listener may open.
    RawConnect {
        /// Where they may lead: `api.github.com:443`, or `*.amazonaws.com:443` for every name below one.
        allow: Vec<TunnelTarget> = required,
    }
}

impl Setting for TunnelTarget {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let expected = "a host and a port: api.github.com:443, *.amazonaws.com:443";
        let text = String::decode(node, cx)?.to_ascii_lowercase();
        let Some((host, port)) = text.rsplit_once(':') else {
            return cx.error(
                node.at,
                format!("`{}` names no port", shorten(&text)),
                format!("write {}:443", shorten(&text)),
            );
        };
        let (is_suffix, host) = match host.strip_prefix('*') {
            Some(rest) => (true, rest),
            None => (false, host.trim_start_matches('[').trim_end_matches(']')),
        };
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        };
        let is_host = if is_suffix {
            host.strip_prefix('.').is_some_and(|below| is_name(below) && !below.starts_with('.'))
        } else {
            is_name(host) || host.parse::<std::net::Ipv6Addr>().is_ok()
        };
        match port.parse() {
            Ok(port) if port > 0 && is_host => Some(Self { host: host.to_owned(), is_suffix, port }),
            _ => cx.mismatch(node, expected),
        }
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({ "type": "string", "examples": ["api.github.com:443", "*.amazonaws.com:443"] })
    }
}

section! {
    /// The caller is named by a header that a trusted front sets.
    RawPrincipal {
        /// The header. Without it, nobody is named any more, and `was` says how callers were.
        header: HeaderName,
        /// From whom it counts: `local` (this host or pod) and networks. It is taken off anybody else's request. Default [local].
        from: Peers,
        /// How the header says it: `plain`, its value; `xfcc`, the URI of the last element, as Envoy and Istio write it. Default plain.
        format: HeaderFormat,
        /// The certificate of the caller's connection instead: `san`, its one URI, else its one DNS name; or `uri`, or `dns`.
        tls: San,
        /// How callers were known before: keys that were begun then are found under their former owners, too.
        was: FormerPrincipals,
    }
}

section! {
    /// The caller was named by a header that a trusted front sets.
    RawFormerPrincipal {
        /// The header.
        header: HeaderName,
        /// From whom it counts. It is taken off anybody else's request. Default [local].
        from: Peers,
        /// How the header said it: `plain` or `xfcc`. Default plain.
        format: HeaderFormat,
        /// The certificate of its connection instead: `san`, `uri` or `dns`.
        tls: San,
    }
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

/// How the caller is known, and how it was.
pub(crate) struct PrincipalChoice {
    /// On an outbound listener it stands for everybody there.
    principal: Principal,
    was: Option<At<Vec<Principal>>>,
}

impl PrincipalChoice {
    /// How callers of a listener are known, and how they were; `choice` is what was written.
    pub(crate) fn of(choice: Option<At<Self>>, direction: Direction, cx: &mut Cx) -> (Principal, Vec<Principal>) {
        let everybody = match direction {
            Direction::Inbound => Principal::Anonymous,
            Direction::Outbound => Principal::Local,
        };
        let Some(At { value: Self { principal, was }, at }) = choice else { return (everybody, Vec::new()) };
        if direction == Direction::Outbound && (principal != Principal::Anonymous || was.is_none()) {
            let help = "remove `principal`: whoever is in the pod is the service";
            cx.error::<()>(at, "every caller of an outbound listener is `local`", help);
        }
        let principal = if principal == Principal::Anonymous { everybody } else { principal };
        let Some(At { value: former, at }) = was else { return (principal, Vec::new()) };
        let name = principal.to_string();
        if former.iter().any(|way| way.to_string() == name) {
            cx.error::<()>(at, format!("callers are known by `{name}`, as they were"), "remove `was`");
        }
        (principal, former)
    }
}

/// How the caller was known, in one way or several.
pub(crate) struct FormerPrincipals(Vec<Principal>);

/// The one word that a way of knowing callers can be.
fn anonymous(node: &Node, cx: &mut Cx) -> Option<Principal> {
    if node.is_word("anonymous") {
        return Some(Principal::Anonymous);
    }
    cx.mismatch(node, "anonymous or { header: X-Tenant }")
}

/// The one word of a way in which callers were known beside it: a listener may have been an outbound one.
fn anonymous_or_local(node: &Node, cx: &mut Cx) -> Option<Principal> {
    if node.is_word(LOCAL) { Some(Principal::Local) } else { anonymous(node, cx) }
}

impl Setting for Direction {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &[("inbound", Self::Inbound), ("outbound", Self::Outbound)])
    }

    fn schema(_: &mut Definitions) -> Value {
        words(&["inbound", "outbound"])
    }
}

/// By a certificate, where that is what is said; nothing else may be said then.
fn by_certificate<T>(
    san: Option<&At<San>>,
    (header, from): (Option<&At<T>>, Option<&At<Peers>>),
    cx: &mut Cx,
) -> Option<Principal> {
    let san = san?;
    if let Some(at) = header.map(|it| it.at).or(from.map(|it| it.at)) {
        let help = "a caller is known by its certificate or by a header: remove one";
        cx.error::<()>(at, "`header` or `from` is given beside `tls`", help);
    }
    Some(Principal::Certificate(san.value))
}

impl Setting for HeaderFormat {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &[("plain", Self::Plain), ("xfcc", Self::Xfcc)])
    }

    fn schema(_: &mut Definitions) -> Value {
        words(&["plain", "xfcc"])
    }
}

impl Setting for San {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &[("san", Self::Any), ("uri", Self::Uri), ("dns", Self::Dns)])
    }

    fn schema(_: &mut Definitions) -> Value {
        words(&["san", "uri", "dns"])
    }
}

fn by_header(name: HeaderName, from: Option<At<Peers>>, format: Option<At<HeaderFormat>>) -> Principal {
    let from = or(from, Peers(vec![Peer::Local]));
    Principal::Header(HeaderPrincipal { name, from, format: or(format, HeaderFormat::Plain) })
}

impl Setting for PrincipalChoice {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if node.scalar().is_some() {
            return Some(Self { principal: anonymous(node, cx)?, was: None });
        }
        let RawPrincipal { header, from, format, tls, was } = RawPrincipal::decode(node, cx)?;
        let certified = by_certificate(tls.as_ref(), (header.as_ref(), from.as_ref()), cx);
        let principal = match header {
            _ if certified.is_some() => certified?,
            Some(header) => by_header(header.value, from, format),
            None if was.is_none() || from.is_some() => {
                let help = "add it: { header: X-Tenant }; where nobody is named any more, say only what `was`";
                return cx.coded("missing-key", node.at, "`header` is missing in `principal`", help);
            }
            None => Principal::Anonymous,
        };
        Some(Self { principal, was: was.map(|was| At { value: was.value.0, at: was.at }) })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        any_of([words(&["anonymous"]), RawPrincipal::schema(definitions)])
    }
}

impl Setting for FormerPrincipals {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let Kind::List(items) = &node.kind else { return Some(Self(vec![Principal::decode(node, cx)?])) };
        if items.is_empty() || items.len() > MAX_FORMER {
            return cx.error(
                node.at,
                "`was` is a list without use",
                "name one to four ways in which callers were known",
            );
        }
        Some(Self(items.iter().map(|item| Principal::decode(item, cx)).collect::<Option<_>>()?))
    }

    fn schema(definitions: &mut Definitions) -> Value {
        any_of([Principal::schema(definitions), Vec::<Principal>::schema(definitions)])
    }
}

/// One way in which callers were known.
impl Setting for Principal {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if node.scalar().is_some() {
            return anonymous_or_local(node, cx);
        }
        let raw = RawFormerPrincipal::decode(node, cx)?;
        if let Some(way) = by_certificate(raw.tls.as_ref(), (raw.header.as_ref(), raw.from.as_ref()), cx) {
            return Some(way);
        }
        let Some(header) = raw.header else {
            let help = "name the header, or say `tls: san`";
            return cx.coded("missing-key", node.at, "neither `header` nor `tls` says how callers were known", help);
        };
        Some(by_header(header.value, raw.from, raw.format))
    }

    fn schema(definitions: &mut Definitions) -> Value {
        any_of([words(&["anonymous", LOCAL]), RawFormerPrincipal::schema(definitions)])
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

    fn schema(definitions: &mut Definitions) -> Value {
        RawClient::schema(definitions)
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

    fn schema(definitions: &mut Definitions) -> Value {
        HeaderName::schema(definitions)
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

    fn schema(definitions: &mut Definitions) -> Value {
        Vec::<Peer>::schema(definitions)
    }
}

impl Setting for Peer {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if node.is_word("local") {
            return Some(Self::Local);
        }
        Cidr::decode(node, cx).map(Self::Network)
    }

    fn schema(definitions: &mut Definitions) -> Value {
        any_of([words(&["local"]), Cidr::schema(definitions)])
    }
}
