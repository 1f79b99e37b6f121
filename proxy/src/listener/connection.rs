//! One client connection: which HTTP it speaks, then requests until it ends.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::BytesMut;
use hyper::{Request, body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{io::AsyncReadExt, net::TcpStream, sync::watch, time::timeout};

use super::{
    http1::{Http1, LastWord},
    http2::Http2Stream,
    incoming::{Beside, ClientIncoming, Serve},
    phase::Connection,
    request::HeadLimits,
};
use crate::config::model::Limits;

const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// An HTTP/2 peer that answers no ping for this long is gone.
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(30);
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Flow-control windows: what one stream and one connection may leave in memory when the upstream does not read.
const HTTP2_STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// What a connection needs to serve.
pub(crate) struct Session<S> {
    pub(crate) service: Arc<S>,
    pub(crate) connection: Arc<Connection>,
    pub(crate) limits: Limits,
    pub(crate) last_word: LastWord,
    pub(crate) draining: watch::Receiver<bool>,
}

/// Serves one connection to its end. Errors of a client's making are its own business: they end its connection only.
pub(crate) async fn serve<S: Serve>(stream: TcpStream, peer: SocketAddr, session: Session<S>) {
    let mut stream = stream;
    let preface = read_preface(&mut stream, &session.connection);
    let ahead = match Box::pin(timeout(session.limits.header_timeout, preface)).await {
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
        return;
    }
    let Session { service, connection, limits, last_word, draining } = session;
    // Each answer says by itself that the connection drains.
    drop(draining);
    let limits = HeadLimits { bytes: limits.header_bytes.get(), fields: limits.header_count.get() };
    Http1::new(stream, ahead, connection, limits).run(&*service, last_word).await;
}

/// Reads until the bytes either are the HTTP/2 preface or cannot become it. `None`: the client has left.
async fn read_preface(stream: &mut TcpStream, connection: &Connection) -> io::Result<Option<BytesMut>> {
    stream.readable().await?;
    let mut ahead = connection.buffers().take_reading();
    loop {
        if stream.read_buf(&mut ahead).await? == 0 {
            return Ok(None);
        }
        if ahead.len() >= HTTP2_PREFACE.len() || !HTTP2_PREFACE.starts_with(&ahead) {
            return Ok(Some(ahead));
        }
    }
}

async fn serve_http2<S: Serve>(stream: TcpStream, ahead: BytesMut, mut session: Session<S>) {
    session.connection.speaks_http2();
    let io = Http2Stream::new(stream, ahead, session.connection);
    let service = session.service;
    let service = service_fn(move |request: Request<Incoming>| {
        let service = service.clone();
        // Boxed once, here, as hyper moves it about.
        Box::pin(async move {
            let request = request.map(ClientIncoming::http2);
            Ok::<_, std::convert::Infallible>(service.serve(request, Beside::default()).await)
        })
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(session.limits.streams.get())
        // h2 ends a connection when so many streams were reset before it had begun to serve them, 20 unless told otherwise: a
        // busy machine would cut off a client that cancels what it may have open at once, its other writes with it.
        .max_pending_accept_reset_streams(usize::try_from(session.limits.streams.get()).unwrap_or(usize::MAX))
        .max_header_list_size(u32::try_from(session.limits.header_bytes.get()).unwrap_or(u32::MAX))
        .initial_stream_window_size(HTTP2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(HTTP2_PING_INTERVAL)
        .keep_alive_timeout(HTTP2_PING_TIMEOUT)
        .serve_connection(TokioIo::new(io), service);
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
