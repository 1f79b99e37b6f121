//! Opening a connection to an endpoint: resolve, connect, handshake, all within `connect_timeout`.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use http::uri::Authority;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use mainstay_policies::evidence::{AttemptError, Cause, Sent};
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout_at},
};

use crate::body::ProxyBody;

/// A connection that answers no ping is dead, whatever TCP believes; without this it would take every request with it.
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(10);
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(5);

/// Flow-control windows of an HTTP/2 connection: large enough for a fast local link, small enough to bound what a stalled
/// client leaves in memory.
const HTTP2_STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

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

/// Opens a connection before `deadline`; for HTTP/1.1 that is all. Nothing of a request can have been sent if this fails.
pub(crate) async fn tcp(target: &Target, deadline: Instant) -> Result<TcpStream, AttemptError> {
    match timeout_at(deadline, target.connect()).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(AttemptError::new(Cause::Connect, Sent::No).with_source(error)),
        Err(_) => Err(AttemptError::new(Cause::Connect, Sent::No).with_source("connect_timeout")),
    }
}

fn handshake_failed(error: hyper::Error) -> AttemptError {
    AttemptError::new(Cause::Connect, Sent::No).with_source(error)
}

/// Opens an HTTP/2 connection (prior knowledge) and spawns the task that drives it.
pub(crate) async fn http2(target: &Target, deadline: Instant) -> Result<http2::SendRequest<ProxyBody>, AttemptError> {
    let stream = tcp(target, deadline).await?;
    let handshake = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(HTTP2_PING_INTERVAL)
        .keep_alive_timeout(HTTP2_PING_TIMEOUT)
        .initial_stream_window_size(HTTP2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW_BYTES)
        .handshake(TokioIo::new(stream));
    let (sender, connection) = match timeout_at(deadline, handshake).await {
        Ok(result) => result.map_err(handshake_failed)?,
        Err(_) => return Err(AttemptError::new(Cause::Connect, Sent::No).with_source("connect_timeout")),
    };
    // Ends when every sender is dropped and its streams are done, or the peer closes.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "upstream connection ended");
        }
    });
    Ok(sender)
}
