//! Opening a connection to an endpoint: resolve and connect, within `connect_timeout`.

use std::net::{IpAddr, SocketAddr};

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

    async fn connect(&self) -> std::io::Result<TcpStream> {
        let stream = match self.literal {
            Some(address) => TcpStream::connect(address).await?,
            None => self.connect_by_name().await?,
        };
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Tries each resolved address in turn; the last error stands.
    async fn connect_by_name(&self) -> std::io::Result<TcpStream> {
        let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name resolves to no address");
        for address in lookup_host((self.authority.host(), self.port)).await? {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// Opens a connection before `deadline`. Nothing of a request can have been sent if this fails.
pub(crate) async fn tcp(target: &Target, deadline: Instant) -> Result<TcpStream, AttemptError> {
    match timeout_at(deadline, target.connect()).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(AttemptError::new(Cause::Connect, Sent::No).with_source(error)),
        Err(_) => Err(AttemptError::new(Cause::Connect, Sent::No).with_source("connect_timeout")),
    }
}
