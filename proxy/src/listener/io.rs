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
    framing::Messages,
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
    /// Read while telling HTTP/1 from HTTP/2, or behind a request that is still being answered. Nothing more is read from
    /// the socket meanwhile.
    ahead: Bytes,
    connection: Arc<Connection>,
    messages: Messages,
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
            messages: Messages::new(limits),
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

    /// Looks at what was just read: how much of it hyper may have.
    fn inspect(&mut self, start: usize, buf: &mut ReadBuf<'_>) {
        let read = &buf.filled()[start..];
        let (awaited, begun) = (self.messages.awaits_head(), self.messages.head_begun());
        match self.messages.take(read) {
            Ok(taken) => {
                if awaited && !self.messages.awaits_head() {
                    self.connection.head(true);
                } else if awaited && !begun {
                    self.connection.head(false);
                }
                if taken < read.len() {
                    // The next request, which waits its turn. Some of what was taken from `ahead` may go back there.
                    self.ahead = [&read[taken..], &self.ahead].concat().into();
                    buf.set_filled(start + taken);
                }
            }
            Err(refused) => {
                // hyper sees the end of the stream instead of the head. What it wrote before has been taken.
                buf.set_filled(start);
                self.refuse(refused);
            }
        }
    }

    /// Has the last word. What the socket does not take at once follows at shutdown.
    fn refuse(&mut self, refused: head::Refused) {
        let mut word = (self.last_word)(refused);
        if let Ok(written) = self.stream.try_write(&word) {
            word.advance(written);
        }
        self.refused = true;
        self.refusal = Some(word);
    }

    /// Reads what belongs to the request at hand.
    fn poll_read_message(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let start = buf.filled().len();
        loop {
            let tunnel = self.connection.is_tunnel();
            if !tunnel {
                if self.refused || self.messages.is_lost() {
                    return Poll::Ready(Ok(()));
                }
                if self.messages.is_whole() && !self.connection.is_answering() {
                    self.messages.next();
                }
                if self.messages.is_whole() && !self.ahead.is_empty() {
                    self.connection.wake_when_answered(cx);
                    return Poll::Pending;
                }
            }
            ready!(self.poll_read_any(cx, buf))?;
            if tunnel || buf.filled().len() == start {
                return Poll::Ready(Ok(()));
            }
            self.inspect(start, buf);
            if buf.filled().len() > start {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Reads whatever comes.
    fn poll_read_any(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let start = buf.filled().len();
        if self.half_closed {
            return self.poll_half_close(cx).map(Ok);
        }
        if self.ahead.is_empty() {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
            if buf.filled().len() == start && buf.remaining() > 0 {
                self.half_closed = true;
                return self.poll_half_close(cx).map(Ok);
            }
        } else {
            let take = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead[..take]);
            self.ahead.advance(take);
            if self.ahead.is_empty() {
                self.ahead = Bytes::new(); // lets go of the buffer
            }
        }
        Poll::Ready(Ok(()))
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

    /// A client that takes what is written is still there; since when one takes nothing is noted.
    fn wrote(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_pending() {
            self.connection.write_blocked();
            return written;
        }
        self.connection.write_went_on();
        if let Some(patience) = &mut self.patience {
            patience.as_mut().reset(Instant::now() + HALF_CLOSE_PATIENCE);
        }
        written
    }

    /// Takes hyper's bare refusal out of its hands; ours follows at shutdown.
    fn replace_bare_refusal(&mut self, buf: &[u8]) -> bool {
        if !self.is_bare_refusal(buf) {
            return false;
        }
        if self.refused {
            return true; // it has been said
        }
        let refused = if buf.starts_with(b"HTTP/1.1 431") { head::Refused::TooLarge } else { head::Refused::Malformed };
        self.refused = true;
        self.refusal = Some((self.last_word)(refused));
        true
    }

    /// hyper answers a head that it cannot parse with an empty 400, 414 or 431; ours has a document. Only such an answer is
    /// written while the last head has not become a request.
    fn is_bare_refusal(&self, buf: &[u8]) -> bool {
        self.checks_heads
            && self.connection.is_unserved()
            && buf.starts_with(b"HTTP/1.1 4")
            && memchr::memmem::find(buf, b"\r\nconnection: close\r\n").is_some()
            && memchr::memmem::find(buf, b"\r\ncontent-length: 0\r\n").is_some()
            && memchr::memmem::find(buf, b"\r\nvia: ").is_none()
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.checks_heads {
            return this.poll_read_message(cx, buf);
        }
        let start = buf.filled().len();
        ready!(this.poll_read_any(cx, buf))?;
        if this.connection.is(Phase::Head) && buf.filled().len() > start {
            // More than the preface has come: the peer does speak HTTP/2.
            this.preface_left = this.preface_left.saturating_sub(buf.filled().len() - start);
            if this.preface_left == 0 {
                this.connection.enter(Phase::Idle);
            }
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
        let written = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.wrote(written)
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
