//! The bytes of an HTTP/2 client connection: those that told its version come first, a preface counts only when it is whole, the
//! guard sees what is read, and blocked writes are noted.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::guard::Guard;
use crate::listener::phase::{Connection, Phase};
use crate::wire::{http2::Heard, transport::Transport};

/// What an HTTP/2 peer must send before it counts as one: the preface and the head of a SETTINGS frame.
const PREFACE_BYTES: usize = 24 + 9;

pub(super) struct Http2Stream {
    stream: Transport,
    /// Read while telling HTTP/1 from HTTP/2.
    ahead: BytesMut,
    connection: Arc<Connection>,
    heard: Heard,
    guard: Guard,
    /// Bytes of the preface that are still to come.
    preface_left: usize,
}

impl Http2Stream {
    pub(super) fn new(
        stream: Transport,
        ahead: BytesMut,
        connection: Arc<Connection>,
        heard: Heard,
        guard: Guard,
    ) -> Self {
        Self { stream, ahead, connection, heard, guard, preface_left: PREFACE_BYTES }
    }

    fn poll_read_any(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let take = self.ahead.len().min(buf.remaining());
        buf.put_slice(&self.ahead[..take]);
        self.ahead.advance(take);
        if self.ahead.is_empty() {
            self.ahead = BytesMut::new(); // lets go of the buffer
        }
        Poll::Ready(Ok(()))
    }

    /// Since when the client takes nothing is noted.
    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_pending() {
            self.connection.write_blocked();
        } else {
            self.connection.write_went_on();
        }
        written
    }
}

impl AsyncRead for Http2Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let start = buf.filled().len();
        while buf.filled().len() == start && !this.guard.give(buf) {
            ready!(this.poll_read_any(cx, buf))?;
            let fresh = &buf.filled()[start..];
            if fresh.is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.heard.note();
            let passed = this.guard.look(fresh);
            buf.set_filled(start + passed);
        }
        if this.connection.is(Phase::Head) && buf.filled().len() > start {
            this.preface_left = this.preface_left.saturating_sub(buf.filled().len() - start);
            if this.preface_left == 0 {
                this.connection.enter(Phase::Idle);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Http2Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.wrote(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
