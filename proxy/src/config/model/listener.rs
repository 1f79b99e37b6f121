//! Where HTTP is accepted, and how the caller is known.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
};

use http::HeaderName;
use mainstay_policies::{
    access::{AccessList, ForwardedField, Peers},
    cors::Cors,
};

use super::upstream::UNIX;
pub use crate::wire::direction::Direction;
use crate::wire::tls::ListenerTls;

/// An address on which Mainstay accepts HTTP.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Its name.
    pub name: Arc<str>,
    /// Where it listens.
    pub address: Address,
    /// Which way its calls go.
    pub direction: Direction,
    /// Whether calls out are taken from whoever reaches it, and not from this host or pod alone.
    pub trust_network: bool,
    /// Where tunnels may lead that its callers ask for.
    pub tunnels: Vec<TunnelTarget>,
    /// How the caller is known.
    pub principal: Principal,
    /// How it was known before: keys that were begun then are still its caller's.
    pub former: Vec<Principal>,
    /// Who the client is, where fronts forward for it.
    pub client: ClientRule,
    /// Whether deadlines in request headers are honoured.
    pub trust_deadline: bool,
    /// Which pages of other origins may read answers; `None` leaves that to the service.
    pub cors: Option<Arc<Cors>>,
    /// `None` lets everybody in.
    pub access: Option<Arc<AccessList>>,
    /// How it shows itself over TLS; `None` is in clear.
    pub tls: Option<Arc<ListenerTls>>,
}

/// Where a listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An address of this host or pod, with a port.
    Internet(SocketAddr),
    /// A Unix socket: whoever calls there is on this machine.
    Unix(Arc<Path>),
}

impl Address {
    /// The address of the network, if it is one.
    pub const fn internet(&self) -> Option<SocketAddr> {
        match self {
            Self::Internet(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// Its IP address, if it has one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.internet().map(|address| address.ip())
    }

    /// Whether nobody beyond this host or pod can reach it.
    pub fn is_local(&self) -> bool {
        self.ip().is_none_or(|ip| ip.to_canonical().is_loopback())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Internet(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

impl Listener {
    /// Whether it takes calls of the service to others.
    pub fn is_outbound(&self) -> bool {
        self.direction == Direction::Outbound
    }

    /// The headers that say who is calling, or said so before.
    pub fn identifying_headers(&self) -> impl Iterator<Item = &HeaderPrincipal> {
        std::iter::once(&self.principal).chain(&self.former).filter_map(Principal::by_header)
    }
}

/// Where a tunnel may lead: `api.github.com:443`, or `*.amazonaws.com:443` for every name below one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelTarget {
    /// The name or address, in lower case and without brackets; the part behind the asterisk, with its dot, where there is one.
    pub host: String,
    /// Whether it is the end of the names that are meant.
    pub is_suffix: bool,
    /// The port.
    pub port: u16,
}

impl TunnelTarget {
    /// Whether a tunnel may lead there; `host` without brackets.
    pub fn admits(&self, host: &str, port: u16) -> bool {
        let host = host.to_ascii_lowercase();
        let is_meant = if self.is_suffix {
            host.strip_suffix(&*self.host).is_some_and(|rest| !rest.is_empty())
        } else {
            host == self.host
        };
        port == self.port && is_meant
    }
}

impl fmt::Display for TunnelTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, is_suffix, port } = self;
        match (is_suffix, host.contains(':')) {
            (true, _) => write!(f, "*{host}:{port}"),
            (false, true) => write!(f, "[{host}]:{port}"),
            (false, false) => write!(f, "{host}:{port}"),
        }
    }
}

/// How the caller is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Not at all.
    Anonymous,
    /// By a header that a trusted front sets.
    Header(HeaderPrincipal),
    /// By the certificate of its connection.
    Certificate(San),
    /// As the service itself: whoever calls out is in its pod.
    Local,
}

/// Which name of a certificate says who is calling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum San {
    /// Its one URI, else its one DNS name.
    Any,
    /// Its one URI.
    Uri,
    /// Its one DNS name.
    Dns,
}

/// Who calls out, whoever it is.
pub const LOCAL: &str = "local";

impl Principal {
    /// The header that says who is calling.
    pub fn header(&self) -> Option<&HeaderName> {
        match self {
            Self::Anonymous | Self::Certificate(_) | Self::Local => None,
            Self::Header(header) => Some(&header.name),
        }
    }

    /// The same with those from whom it counts.
    pub const fn by_header(&self) -> Option<&HeaderPrincipal> {
        match self {
            Self::Anonymous | Self::Certificate(_) | Self::Local => None,
            Self::Header(header) => Some(header),
        }
    }
}

/// How principals are made, as far as the same caller has the same one: `anonymous`, or `header x-tenant`. The ledger remembers
/// it so, and people read it. From whom a header counts is no part of it.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("anonymous"),
            Self::Header(header) if header.format == HeaderFormat::Xfcc => write!(f, "xfcc {}", header.name),
            Self::Header(header) => write!(f, "header {}", header.name),
            Self::Local => f.write_str(LOCAL),
            Self::Certificate(san) => write!(f, "tls {}", san.word()),
        }
    }
}

impl San {
    /// As it is written.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Any => "san",
            Self::Uri => "uri",
            Self::Dns => "dns",
        }
    }
}

/// A header that says who is calling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderPrincipal {
    /// Its name.
    pub name: HeaderName,
    /// From whom it counts; from anybody else it is taken off.
    pub from: Peers,
    /// How it says it.
    pub format: HeaderFormat,
}

/// How a header says who is calling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeaderFormat {
    /// Its value is the caller.
    #[default]
    Plain,
    /// The URI of the last element of an `X-Forwarded-Client-Cert`.
    Xfcc,
}

/// Who the client of a request is, for limits, access lists and logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRule {
    /// In which field trusted fronts say it.
    pub header: ForwardedField,
    /// Who they are; if nobody, the peer is the client.
    pub trusted: Peers,
    /// Leading bits of an IPv6 address by which clients count.
    pub prefix6: u8,
}

impl Default for ClientRule {
    /// A home or a virtual machine is given a /64 at the least (RFC 6177, RFC 7934), and so calls from as many addresses as it likes.
    fn default() -> Self {
        Self { header: ForwardedField::XForwardedFor, trusted: Peers::default(), prefix6: 64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asterisk_stands_for_names_below_and_nothing_else() {
        let below = TunnelTarget { host: ".example.com".into(), is_suffix: true, port: 443 };
        let one = TunnelTarget { host: "::1".into(), is_suffix: false, port: 443 };
        assert_eq!((below.to_string(), one.to_string()), ("*.example.com:443".into(), "[::1]:443".into()));
        for (target, host, port, admitted) in [
            (&below, "a.example.com", 443, true),
            (&below, "A.B.Example.COM", 443, true),
            (&below, "a.example.com", 444, false),
            (&below, "example.com", 443, false),
            (&below, ".example.com", 443, false),
            (&below, "badexample.com", 443, false),
            (&below, "a.example.com.evil.test", 443, false),
            (&one, "::1", 443, true),
            (&one, "::2", 443, false),
        ] {
            assert_eq!(target.admits(host, port), admitted, "{target} {host}:{port}");
        }
    }
}
