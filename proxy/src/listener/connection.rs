//! One client connection: which HTTP it speaks, then requests until it ends.

use std::{future::poll_fn, io, net::SocketAddr};

use bytes::BytesMut;
use tokio::{io::AsyncReadExt, time::timeout};

use crate::wire::transport::Transport;

use super::{
    buffers,
    http1::Http1,
    http2,
    incoming::{Serve, Serving},
};

const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves one connection to its end. Errors of a client's making are its own business: they end its connection only.
pub(crate) async fn serve<S: Serve>(stream: Transport, peer: SocketAddr, session: Serving<S>) {
    let mut stream = stream;
    if session.speaks_http2 {
        Box::pin(http2::serve(stream, BytesMut::new(), session)).await;
        return;
    }
    let preface = read_preface(&mut stream);
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
        Box::pin(http2::serve(stream, ahead, session)).await;
        return;
    }
    let Serving { service, connection, limits, last_word, draining, .. } = session;
    // Each answer says by itself that the connection drains.
    drop(draining);
    Http1::new(stream, ahead, connection, limits.request_head()).run(&service, last_word).await;
}

/// Reads until the bytes either are the HTTP/2 preface or cannot become it. `None`: the client has left.
async fn read_preface(stream: &mut Transport) -> io::Result<Option<BytesMut>> {
    poll_fn(|cx| stream.poll_read_ready(cx)).await?;
    let mut ahead = buffers::take_reading();
    loop {
        if stream.read_buf(&mut ahead).await? == 0 {
            return Ok(None);
        }
        if ahead.len() >= HTTP2_PREFACE.len() || !HTTP2_PREFACE.starts_with(&ahead) {
            return Ok(Some(ahead));
        }
    }
}
