//! Opening a connection to an endpoint: resolve and connect, within `connect_timeout`.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use http::uri::Authority;
use mainstay_policies::evidence::{AttemptError, Cause, Sent};
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout_at},
};

/// Where an endpoint is, with a literal address already parsed.
pub(crate) struct Target {
    pub(crate) authority: Authority,
    port: u16,
    literal: Option<SocketAddr>,
}

impl Target {
    pub(crate) fn new(authority: Authority) -> Self {
        let port = authority.port_u16().unwrap_or(80);
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let literal = host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, port));
        Self { authority, port, literal }
    }

    async fn connect(&self) -> Result<TcpStream, AttemptError> {
        let stream = match self.literal {
            Some(address) => TcpStream::connect(address).await.map_err(unconnected)?,
            None => self.connect_by_name().await?,
        };
        stream.set_nodelay(true).map_err(unconnected)?;
        Ok(stream)
    }

    /// Tries each resolved address in turn; the last error stands.
    async fn connect_by_name(&self) -> Result<TcpStream, AttemptError> {
        let unresolved = |error| AttemptError::new(Cause::Connect, Sent::No).named(DNS).with_source(error);
        let mut last = unresolved(io::Error::new(io::ErrorKind::NotFound, "the name resolves to no address"));
        for address in lookup_host((self.authority.host(), self.port)).await.map_err(unresolved)? {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = unconnected(error),
            }
        }
        Err(last)
    }
}

/// The words for a connection that was not made.
pub(super) const DNS: &str = "dns";
pub(super) const REFUSED: &str = "refused";
pub(super) const TIMED_OUT: &str = "connect_timeout";

fn unconnected(error: io::Error) -> AttemptError {
    let attempt = AttemptError::new(Cause::Connect, Sent::No);
    match error.kind() {
        io::ErrorKind::ConnectionRefused => attempt.named(REFUSED),
        io::ErrorKind::TimedOut => attempt.named(TIMED_OUT),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => attempt.named("unreachable"),
        _ => attempt,
    }
    .with_source(error)
}

/// Opens a connection before `deadline`. Nothing of a request can have been sent if this fails.
pub(crate) async fn tcp(target: &Target, deadline: Instant) -> Result<TcpStream, AttemptError> {
    match timeout_at(deadline, target.connect()).await {
        Ok(connected) => connected,
        Err(_) => Err(AttemptError::new(Cause::Connect, Sent::No).named(TIMED_OUT).with_source("connect_timeout")),
    }
}
