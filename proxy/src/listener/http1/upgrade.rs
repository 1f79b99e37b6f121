//! A client's connection that has changed protocol.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
};

use crate::wire::transport::Transport;

/// A connection that will change protocol, if its client is told so.
pub(crate) struct Upgrade(oneshot::Receiver<Upgraded>);

/// Hands the connection over.
pub(super) struct Handover(oneshot::Sender<Upgraded>);

/// A connection that has changed protocol.
pub(crate) struct Upgraded {
    stream: Transport,
    /// Read with the request, and no longer part of HTTP.
    ahead: BytesMut,
}

/// The client left before it was told.
#[derive(Debug, thiserror::Error)]
#[error("the client's connection ended before it changed protocol")]
pub(crate) struct Ended;

pub(super) fn pair() -> (Handover, Upgrade) {
    let (sender, receiver) = oneshot::channel();
    (Handover(sender), Upgrade(receiver))
}

impl Handover {
    /// Whether somebody waits for the connection.
    pub(super) fn is_wanted(&self) -> bool {
        !self.0.is_closed()
    }

    pub(super) fn give(self, stream: Transport, ahead: BytesMut) {
        // If nobody wants it any more, it is closed.
        drop(self.0.send(Upgraded { stream, ahead }));
    }
}

impl Upgrade {
    /// Waits until the answer has been written.
    pub(crate) async fn ready(self) -> Result<Upgraded, Ended> {
        self.0.await.map_err(|_| Ended)
    }
}

impl AsyncRead for Upgraded {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ahead.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        let length = this.ahead.len().min(buf.remaining());
        buf.put_slice(&this.ahead[..length]);
        this.ahead.advance(length);
        if this.ahead.is_empty() {
            this.ahead = BytesMut::new(); // lets go of the buffer
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
