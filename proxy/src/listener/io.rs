//! A client connection as hyper reads it: bytes read ahead, heads checked, our own last word where hyper has none.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

use super::{
    head,
    phase::{Connection, Phase},
};

/// Bounds on a request's head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadLimits {
    pub(crate) bytes: usize,
    pub(crate) fields: usize,
}

/// How long a request goes on after its client has closed the sending side. Closing it is how a client leaves, and also how
/// a half-closing client says that it has no more to ask; only the answer would tell them apart. A second serves the latter
/// in most cases, and is not long to work for nobody.
const HALF_CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// Makes the answer to a head that was refused before there was a request.
pub(crate) type LastWord = fn(head::Refused) -> Bytes;

/// A client connection.
pub(crate) struct ClientStream {
    stream: TcpStream,
    /// Read while telling HTTP/1 from HTTP/2.
    ahead: Bytes,
    connection: Arc<Connection>,
    limits: HeadLimits,
    /// The part of a head that came in earlier reads.
    partial: Vec<u8>,
    last_word: LastWord,
    /// Set when a head was refused: written at shutdown, and nothing more is read.
    refusal: Option<Bytes>,
    refused: bool,
    /// HTTP/2 has its own checks.
    checks_heads: bool,
    /// Bytes that an HTTP/2 peer must send before it counts as one: the preface and the head of a SETTINGS frame.
    preface_left: usize,
    /// The client has closed its sending side while its request is being served.
    half_closed: bool,
    /// Until when that may be a client that only half-closed; armed when it happens.
    patience: Option<Pin<Box<Sleep>>>,
}

impl ClientStream {
    pub(crate) fn http1(
        stream: TcpStream,
        ahead: Bytes,
        connection: Arc<Connection>,
        limits: HeadLimits,
        last_word: LastWord,
    ) -> Self {
        Self {
            stream,
            ahead,
            connection,
            limits,
            partial: Vec::new(),
            last_word,
            refusal: None,
            refused: false,
            checks_heads: true,
            preface_left: 24 + 9,
            half_closed: false,
            patience: None,
        }
    }

    pub(crate) fn http2(stream: TcpStream, ahead: Bytes, connection: Arc<Connection>, last_word: LastWord) -> Self {
        let limits = HeadLimits { bytes: 0, fields: 0 };
        Self { checks_heads: false, ..Self::http1(stream, ahead, connection, limits, last_word) }
    }

    /// Looks at what was just read, if it belongs to a head.
    fn inspect(&mut self, read: &[u8]) -> Result<(), head::Refused> {
        if self.connection.is(Phase::Busy) || self.connection.is(Phase::Unread) {
            return Ok(());
        }
        if self.connection.is(Phase::Idle) {
            self.partial.clear();
        }
        let check = |head: &[u8]| head::check(head, self.limits.bytes, self.limits.fields);
        if self.partial.is_empty() {
            if let Some(length) = head::length(read) {
                self.connection.enter(Phase::Busy);
                return check(&read[..length]);
            }
            self.connection.enter(Phase::Head);
        }
        self.partial.extend_from_slice(read);
        if let Some(length) = head::length(&self.partial) {
            let head = std::mem::take(&mut self.partial);
            self.connection.enter(Phase::Busy);
            return check(&head[..length]);
        }
        if self.partial.len() > self.limits.bytes { Err(head::Refused::TooLarge) } else { Ok(()) }
    }

    /// Whether hyper may see that the client's side has ended: at once between requests and inside a body; after a while
    /// during a request, and each time something could be written to the client the while begins anew.
    fn poll_half_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.checks_heads || !self.connection.may_be_half_closed() {
            return Poll::Ready(());
        }
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(HALF_CLOSE_PATIENCE)));
        patience.as_mut().poll(cx)
    }

    /// A client that takes what is written is still there.
    fn wrote(&mut self) {
        if let Some(patience) = &mut self.patience {
            patience.as_mut().reset(Instant::now() + HALF_CLOSE_PATIENCE);
        }
    }

    /// Takes hyper's bare refusal out of its hands; ours follows at shutdown.
    fn replace_bare_refusal(&mut self, buf: &[u8]) -> bool {
        if self.refusal.is_some() || !self.is_bare_refusal(buf) {
            return false;
        }
        let refused = if buf.starts_with(b"HTTP/1.1 431") { head::Refused::TooLarge } else { head::Refused::Malformed };
        self.refusal = Some((self.last_word)(refused));
        true
    }

    /// hyper answers a head that it cannot parse with an empty 400, 414 or 431; ours has a document. Only hyper's own
    /// answer has neither `via` (every forwarded answer does) nor a body (each of ours does).
    fn is_bare_refusal(&self, buf: &[u8]) -> bool {
        self.checks_heads
            && buf.len() < 200
            && buf.starts_with(b"HTTP/1.1 4")
            && memchr::memmem::find(buf, b"\r\ncontent-length: 0\r\n").is_some()
            && memchr::memmem::find(buf, b"\r\nvia: ").is_none()
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.refused {
            return Poll::Ready(Ok(()));
        }
        let start = buf.filled().len();
        if this.half_closed {
            return this.poll_half_close(cx).map(Ok);
        }
        if this.ahead.is_empty() {
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
            if buf.filled().len() == start && buf.remaining() > 0 {
                this.half_closed = true;
                return this.poll_half_close(cx).map(Ok);
            }
        } else {
            let take = this.ahead.len().min(buf.remaining());
            buf.put_slice(&this.ahead[..take]);
            this.ahead.advance(take);
            if this.ahead.is_empty() {
                this.ahead = Bytes::new(); // lets go of the buffer
            }
        }
        if !this.checks_heads && this.connection.is(Phase::Head) && buf.filled().len() > start {
            // More than the preface has come: the peer does speak HTTP/2.
            this.preface_left = this.preface_left.saturating_sub(buf.filled().len() - start);
            if this.preface_left == 0 {
                this.connection.enter(Phase::Idle);
            }
        }
        if this.checks_heads
            && buf.filled().len() > start
            && let Err(refused) = this.inspect(&buf.filled()[start..])
        {
            // hyper sees the end of the stream instead of the head, and shuts down; that is when we answer.
            buf.set_filled(start);
            this.refused = true;
            this.refusal = Some((this.last_word)(refused));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.replace_bare_refusal(buf) {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, buf))?;
        this.wrote();
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let [buf] = bufs
            && this.replace_bare_refusal(buf)
        {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, bufs))?;
        this.wrote();
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while let Some(word) = &mut this.refusal {
            if word.is_empty() {
                this.refusal = None;
                break;
            }
            let written = ready!(Pin::new(&mut this.stream).poll_write(cx, word))?;
            word.advance(written);
        }
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}
