//! The services behind.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    path::Path,
    sync::Arc,
    time::Duration,
};

use http::{
    HeaderName, HeaderValue,
    uri::{Authority, PathAndQuery},
};
use mainstay_policies::balance::{Balance, Thresholds};

use super::telemetry::HeaderSource;
use crate::wire::tls::UpstreamTls;

/// One round trip across a continent and a lost SYN: longer means that the endpoint is not there.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The service behind.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// Its name.
    pub name: Arc<str>,
    /// At least one.
    pub endpoints: Vec<Endpoint>,
    /// Which HTTP is spoken to it.
    pub protocol: Protocol,
    /// Bounds resolving, connecting and handshake.
    pub connect_timeout: Duration,
    /// It deduplicates by the same key, so a keyed write may be sent again.
    pub honours_key: bool,
    /// Connections per endpoint at most, all workers together.
    pub max_connections: NonZeroUsize,
    /// An idle connection is closed after this; below the upstream's own.
    pub idle_timeout: Duration,
    /// A connection takes no new request after this, a tenth more or less.
    pub max_age: Duration,
    /// How names of endpoints are resolved.
    pub resolve: Resolve,
    /// Which of its endpoints a request goes to.
    pub balance: Balance,
    /// Over so long the share of an address grows that a name has come to stand for; 0: it has all of it at once.
    pub slow_start: Duration,
    /// How its endpoints are asked whether they can serve; `None`: they are not.
    pub health: Option<Health>,
    /// How its endpoints are reached over TLS; `None` where that is in clear.
    pub tls: Option<Arc<UpstreamTls>>,
    /// The `Host` that is sent to it.
    pub host: HostRule,
    /// What it is told of us.
    pub forward: Forward,
    /// The fields that every head has that goes to it. Their values are secrets.
    pub set: Vec<(HeaderName, HeaderSource)>,
    /// The fields that none has.
    pub remove: Vec<HeaderName>,
}

impl Upstream {
    /// Whether each of its endpoints is reached over TLS.
    pub fn is_secure(&self) -> bool {
        self.endpoints.iter().all(|endpoint| endpoint.is_secure)
    }

    /// The `Host` of what is sent to `endpoint`; `None`: what the request says.
    ///
    /// # Panics
    /// Never: an authority is visible ASCII.
    pub fn host_at(&self, endpoint: &Endpoint) -> Option<HeaderValue> {
        let text = match &self.host {
            HostRule::Keep => return None,
            HostRule::Endpoint => endpoint.written(),
            HostRule::Name(name) => name.as_str(),
        };
        Some(HeaderValue::from_str(text).expect("an authority is visible ASCII"))
    }
}

/// How names of endpoints are resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolve {
    /// An answer is good for no less.
    pub min: Duration,
    /// And for no more.
    pub max: Duration,
    /// Which addresses are asked for.
    pub family: Family,
    /// Addresses of one name that are used.
    pub max_addresses: NonZeroUsize,
    /// Who is asked; the machine's own name servers, if nobody is named.
    pub servers: Vec<SocketAddr>,
}

impl Default for Resolve {
    /// 30 s is what `CoreDNS` lets its answers live; a second keeps a name without any life from being asked for with each connection.
    fn default() -> Self {
        const MAX_ADDRESSES: NonZeroUsize = NonZeroUsize::new(256).expect("256 is not zero");
        Self {
            min: Duration::from_secs(1),
            max: Duration::from_secs(30),
            family: Family::Any,
            max_addresses: MAX_ADDRESSES,
            servers: Vec::new(),
        }
    }
}

/// Which addresses of a name are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Both.
    Any,
    /// Those of IPv4.
    Ipv4,
    /// Those of IPv6.
    Ipv6,
}

impl Family {
    /// Whether an address is of it.
    pub const fn admits(self, ip: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Ipv4 => ip.is_ipv4(),
            Self::Ipv6 => ip.is_ipv6(),
        }
    }
}

/// How endpoints are asked whether they can serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What is asked for.
    pub path: PathAndQuery,
    /// How often, a tenth more or less.
    pub interval: Duration,
    /// How long an answer is waited for.
    pub timeout: Duration,
    /// How many answers in a row change what is thought.
    pub thresholds: Thresholds,
}

/// One address of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `host:port` as written, with the scheme's default port filled in; the `Host` of requests that carry none. A dot that ends
    /// the host is left out: it is for whoever resolves the name, and no certificate has it.
    pub authority: http::uri::Authority,
    /// The host was written with a dot at its end: the name is asked for as it is, and nowhere searched.
    pub is_rooted: bool,
    /// Written with `https://`.
    pub is_secure: bool,
    /// The Unix socket at which it listens; its authority is `localhost` then.
    pub socket: Option<Arc<Path>>,
    /// The service whose records say where it is; its authority is the domain of that, without a port, then.
    pub service: Option<Arc<str>>,
}

/// Where it is, for people and in metrics.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.socket, &self.service) {
            (Some(path), _) => write!(f, "{UNIX}{}", path.display()),
            (None, Some(service)) => f.write_str(service),
            (None, None) if self.is_rooted => {
                let (host, port) = self.authority.as_str().rsplit_once(':').unwrap_or((self.authority.as_str(), "80"));
                write!(f, "{host}.:{port}")
            }
            (None, None) => self.authority.fmt(f),
        }
    }
}

/// What the address of a Unix socket begins with.
pub const UNIX: &str = "unix:";

/// What an endpoint begins with that the records of a service name.
pub const SRV: &str = "srv+";

impl Endpoint {
    /// Its authority without the port that its scheme has anyway: so clients write it, and so servers expect it.
    pub(crate) fn written(&self) -> &str {
        let default = if self.is_secure { ":443" } else { ":80" };
        self.authority.as_str().strip_suffix(default).unwrap_or(self.authority.as_str())
    }
}

/// Which `Host` an upstream is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostRule {
    /// What the request says.
    Keep,
    /// That of the endpoint, whose name its certificate proves.
    Endpoint,
    /// This one.
    Name(Authority),
}

/// What an upstream is told of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// Who is calling, over which host, in which trace, and how long is waited: it is one of our own.
    Internal,
    /// Nothing of that.
    External {
        /// But for `traceparent`.
        trace: bool,
    },
}

/// Which HTTP is spoken to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 in clear; over TLS what the endpoint chooses (ALPN).
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, in clear with prior knowledge.
    Http2,
}
