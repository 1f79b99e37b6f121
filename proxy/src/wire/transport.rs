//! The bytes of a connection: in clear, through TLS, or within this machine. Which of them is settled once, when it is made: in
//! clear nothing lies between a request and its socket but a look at that.

use std::{
    future::{Future as _, poll_fn},
    io::{self, IoSlice, Read as _},
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use rustls::ProtocolVersion;
use tokio::{
    io::{AsyncBufRead as _, AsyncRead, AsyncWrite, ReadBuf},
    net::{
        TcpStream, UnixStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
        unix,
    },
    task::unconstrained,
};
use tokio_rustls::TlsStream;

use super::peer::{Peer, Place};

/// A connection.
pub(crate) enum Transport {
    /// What is written is what the network sees.
    Clear(TcpStream),
    /// Through TLS.
    Tls(Box<Secure>),
    /// A Unix socket: no network sees it.
    Local(UnixStream),
}

/// A connection through TLS.
pub(crate) struct Secure {
    stream: TlsStream<TcpStream>,
    /// What came behind the bytes that are still to be read.
    error: Option<io::Error>,
}

impl Transport {
    /// Through TLS, shaken hands over.
    pub(crate) fn secure(stream: impl Into<TlsStream<TcpStream>>) -> Self {
        Self::Tls(Box::new(Secure { stream: stream.into(), error: None }))
    }

    /// The socket of the network below, if it is one.
    pub(crate) fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Clear(stream) => Some(stream),
            Self::Tls(secure) => Some(secure.stream.get_ref().0),
            Self::Local(_) => None,
        }
    }

    /// The other end, with which this version of HTTP is spoken.
    pub(crate) fn peer(&self, http: &'static str) -> Peer {
        let place = match self {
            Self::Clear(_) | Self::Tls(_) => self.tcp().and_then(|stream| stream.peer_addr().ok()).map(Place::Network),
            Self::Local(stream) => {
                let address = stream.peer_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname());
                path.map(|path| Place::Local(path.to_string_lossy().into_owned()))
            }
        };
        let tls = match self {
            Self::Tls(secure) => match secure.stream.get_ref().1.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => Some("1.2"),
                Some(ProtocolVersion::TLSv1_3) => Some("1.3"),
                _ => None,
            },
            Self::Clear(_) | Self::Local(_) => None,
        };
        Peer { place, http, tls }
    }

    pub(crate) const fn is_secure(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Ready when a read brings something, or an end.
    pub(crate) fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Clear(stream) => stream.poll_read_ready(cx),
            Self::Local(stream) => stream.poll_read_ready(cx),
            Self::Tls(secure) if secure.error.is_some() => Poll::Ready(Ok(())),
            // The reading meets the error.
            Self::Tls(secure) => match Pin::new(&mut secure.stream).poll_fill_buf(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
                Poll::Ready(Err(error)) => {
                    secure.error = Some(error);
                    Poll::Ready(Ok(()))
                }
            },
        }
    }

    /// Whether it is open, and nothing has come. Costs a system call only if something has, which through TLS need not be for
    /// its user: tickets come unasked.
    pub(crate) fn is_silent(&mut self) -> bool {
        match self {
            Self::Clear(stream) => is_empty(&stream.try_read(&mut [0])),
            Self::Local(stream) => is_empty(&stream.try_read(&mut [0])),
            Self::Tls(_) => {
                let ready = poll_fn(|cx| self.poll_read_ready(cx));
                // Without the bound on a task's work, which would pass for silence.
                pin!(unconstrained(ready)).poll(&mut Context::from_waker(Waker::noop())).is_pending()
            }
        }
    }

    /// The two directions apart.
    pub(crate) fn split(self) -> (Reader, Writer) {
        match self {
            Self::Clear(stream) => {
                let (reader, writer) = stream.into_split();
                (Reader::Clear(reader), Writer::Clear(writer))
            }
            Self::Local(stream) => {
                let (reader, writer) = stream.into_split();
                (Reader::Local(reader), Writer::Local(writer))
            }
            Self::Tls(_) => {
                let (reader, writer) = tokio::io::split(self);
                (Reader::Tls(reader), Writer::Tls(writer))
            }
        }
    }
}

/// Whether a read found nothing, and no end.
fn is_empty(read: &io::Result<usize>) -> bool {
    matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

impl Secure {
    /// An error never hides the bytes that came before it.
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.error.is_none() {
            match Pin::new(&mut self.stream).poll_read(cx, buf) {
                Poll::Ready(Err(error)) => self.error = Some(error),
                other => return other,
            }
        }
        let mut before = match &mut self.stream {
            TlsStream::Client(stream) => stream.get_mut().1.reader(),
            TlsStream::Server(stream) => stream.get_mut().1.reader(),
        };
        match before.read(buf.initialize_unfilled()) {
            Ok(read) if read > 0 => {
                buf.advance(read);
                Poll::Ready(Ok(()))
            }
            // It is met again by whoever reads on: there is nothing behind it.
            _ => Poll::Ready(self.error.take().map_or_else(|| Err(io::ErrorKind::BrokenPipe.into()), Err)),
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Local(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(secure) => secure.poll_read(cx, buf),
        }
    }
}

/// Through TLS, what is written is out only once it is flushed.
impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Local(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(secure) => Pin::new(&mut secure.stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Local(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(secure) => Pin::new(&mut secure.stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(_) | Self::Local(_) => Poll::Ready(Ok(())),
            Self::Tls(secure) => Pin::new(&mut secure.stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Local(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(secure) => Pin::new(&mut secure.stream).poll_shutdown(cx),
        }
    }
}

/// What arrives on a connection.
pub(crate) enum Reader {
    Clear(OwnedReadHalf),
    Tls(tokio::io::ReadHalf<Transport>),
    Local(unix::OwnedReadHalf),
}

impl AsyncRead for Reader {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(reader) => Pin::new(reader).poll_read(cx, buf),
            Self::Local(reader) => Pin::new(reader).poll_read(cx, buf),
            Self::Tls(reader) => Pin::new(reader).poll_read(cx, buf),
        }
    }
}

/// What leaves by a connection.
pub(crate) enum Writer {
    Clear(OwnedWriteHalf),
    Tls(tokio::io::WriteHalf<Transport>),
    Local(unix::OwnedWriteHalf),
}

impl Writer {
    /// Lets go of it without ending the sending side.
    pub(crate) fn forget(self) {
        match self {
            Self::Clear(writer) => writer.forget(),
            Self::Local(writer) => writer.forget(),
            Self::Tls(_) => {}
        }
    }
}

impl AsyncWrite for Writer {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(writer) => Pin::new(writer).poll_write(cx, buf),
            Self::Local(writer) => Pin::new(writer).poll_write(cx, buf),
            Self::Tls(writer) => Pin::new(writer).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(writer) => Pin::new(writer).poll_write_vectored(cx, bufs),
            Self::Local(writer) => Pin::new(writer).poll_write_vectored(cx, bufs),
            Self::Tls(writer) => Pin::new(writer).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(_) | Self::Local(_) => Poll::Ready(Ok(())),
            Self::Tls(writer) => Pin::new(writer).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(writer) => Pin::new(writer).poll_shutdown(cx),
            Self::Local(writer) => Pin::new(writer).poll_shutdown(cx),
            Self::Tls(writer) => Pin::new(writer).poll_shutdown(cx),
        }
    }
}
