//! One client connection: which HTTP it speaks, then requests until it ends.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::{
    Request, Response,
    body::Incoming,
    server::conn::{http1, http2},
    service::Service,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{io::AsyncReadExt, net::TcpStream, sync::watch, time::timeout};

use super::{
    io::{ClientStream, HeadLimits, LastWord},
    phase::Connection,
};
use crate::{body::ProxyBody, config::model::Limits};

const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The first read: most request heads fit.
const FIRST_READ_BYTES: usize = 1024;

/// hyper allows no smaller buffer.
const MIN_READ_BUFFER_BYTES: usize = 8 * 1024;

/// An HTTP/2 peer that answers no ping for this long is gone.
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(30);
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Flow-control windows: what one stream and one connection may leave in memory when the upstream does not read.
const HTTP2_STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// What a connection needs to serve.
pub(crate) struct Session<S> {
    pub(crate) service: S,
    pub(crate) connection: Arc<Connection>,
    pub(crate) limits: Limits,
    pub(crate) last_word: LastWord,
    pub(crate) draining: watch::Receiver<bool>,
}

/// Serves one connection to its end. Errors of a client's making are its own business: they end its connection only.
pub(crate) async fn serve<S>(stream: TcpStream, peer: SocketAddr, session: Session<S>)
where
    S: Service<Request<Incoming>, Response = Response<ProxyBody>> + Send + Clone + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut stream = stream;
    let ahead = match timeout(session.limits.header_timeout, read_preface(&mut stream)).await {
        Ok(Ok(Some(ahead))) => ahead,
        Ok(Ok(None) | Err(_)) => return,
        Err(_) => {
            tracing::debug!(%peer, "a client connected and sent nothing in time");
            return;
        }
    };
    if ahead.starts_with(HTTP2_PREFACE) {
        // Boxed, so that the many HTTP/1 connections do not hold its room.
        Box::pin(serve_http2(stream, ahead, session)).await;
    } else {
        serve_http1(stream, ahead, session).await;
    }
}

/// Reads until the bytes either are the HTTP/2 preface or cannot become it. `None`: the client has left.
async fn read_preface(stream: &mut TcpStream) -> io::Result<Option<Bytes>> {
    let mut ahead = Vec::with_capacity(FIRST_READ_BYTES);
    loop {
        if stream.read_buf(&mut ahead).await? == 0 {
            return Ok(None);
        }
        if ahead.len() >= HTTP2_PREFACE.len() || !HTTP2_PREFACE.starts_with(&ahead) {
            return Ok(Some(ahead.into()));
        }
    }
}

async fn serve_http1<S>(stream: TcpStream, ahead: Bytes, session: Session<S>)
where
    S: Service<Request<Incoming>, Response = Response<ProxyBody>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let limits = HeadLimits { bytes: session.limits.header_bytes.get(), fields: session.limits.header_count.get() };
    let mut builder = http1::Builder::new();
    builder
        // Our own sweep bounds the reading of a head.
        .header_read_timeout(None)
        .max_buf_size(limits.bytes.max(MIN_READ_BUFFER_BYTES));
    // Up to its default of 100 fields hyper parses on the stack.
    if limits.fields > 100 {
        builder.max_headers(limits.fields);
    }
    let io = ClientStream::http1(stream, ahead, session.connection, limits, session.last_word);
    let served = builder.serve_connection(TokioIo::new(io), session.service).with_upgrades().await;
    if let Err(error) = served {
        tracing::debug!(%error, "client connection ended");
    }
}

async fn serve_http2<S>(stream: TcpStream, ahead: Bytes, mut session: Session<S>)
where
    S: Service<Request<Incoming>, Response = Response<ProxyBody>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    session.connection.speaks_http2();
    let io = ClientStream::http2(stream, ahead, session.connection, session.last_word);
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(session.limits.streams.get())
        .max_header_list_size(u32::try_from(session.limits.header_bytes.get()).unwrap_or(u32::MAX))
        .initial_stream_window_size(HTTP2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(HTTP2_PING_INTERVAL)
        .keep_alive_timeout(HTTP2_PING_TIMEOUT)
        .serve_connection(TokioIo::new(io), session.service);
    tokio::pin!(connection);
    let drains = async { session.draining.wait_for(|draining| *draining).await.is_ok() };
    let served = tokio::select! {
        served = connection.as_mut() => served,
        _ = drains => {
            // GOAWAY, then the streams in flight to their ends; the drain's own deadline bounds them.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "client connection ended");
    }
}
