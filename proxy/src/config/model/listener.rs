//! Where HTTP is accepted, and how the caller is known.

use std::{fmt, net::SocketAddr, sync::Arc};

use http::HeaderName;
use mainstay_policies::{
    access::{AccessList, ForwardedField, Peers},
    cors::Cors,
};

use crate::wire::tls::ListenerTls;

/// An address on which Mainstay accepts HTTP.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Its name.
    pub name: Arc<str>,
    /// Where it listens.
    pub address: SocketAddr,
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

impl Listener {
    /// The headers that say who is calling, or said so before.
    pub fn identifying_headers(&self) -> impl Iterator<Item = &HeaderPrincipal> {
        std::iter::once(&self.principal).chain(&self.former).filter_map(Principal::by_header)
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

impl Principal {
    /// The header that says who is calling.
    pub fn header(&self) -> Option<&HeaderName> {
        match self {
            Self::Anonymous | Self::Certificate(_) => None,
            Self::Header(header) => Some(&header.name),
        }
    }

    /// The same with those from whom it counts.
    pub const fn by_header(&self) -> Option<&HeaderPrincipal> {
        match self {
            Self::Anonymous | Self::Certificate(_) => None,
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
