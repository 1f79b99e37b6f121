//! HTTP/1.1 as bytes on a socket: a small reader shared by the scripted upstream and the raw client, independent of hyper so
//! that one library's view of a message is not checked against itself.

use std::{io, time::Duration};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Bytes of a body that are kept; more is counted only.
pub const KEPT_BODY: usize = 8 * 1024 * 1024;

/// Header fields in order, as sent; bytes are mapped one to one to the first 256 characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// The first value of `name`, in any case.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// Every value of `name`, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    /// Whether there is a field `name`.
    pub fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }
}

/// A start line and its header fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Without its line end.
    pub start_line: String,
    /// The fields.
    pub headers: Headers,
}

/// Where a message's body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    None,
    /// After so many bytes.
    Length(u64),
    /// At the last chunk.
    Chunked,
    /// When the peer closes.
    UntilClose,
}

/// A body as far as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// At most [`KEPT_BODY`] bytes of it.
    pub data: Vec<u8>,
    /// All of it, counted.
    pub len: u64,
    /// Trailer fields.
    pub trailers: Headers,
    /// Whether it ended as its framing says.
    pub complete: bool,
}

impl Body {
    fn push(&mut self, bytes: &[u8]) {
        self.len += bytes.len() as u64;
        let room = KEPT_BODY.saturating_sub(self.data.len());
        self.data.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// A socket with what was read from it but not used.
#[derive(Debug)]
pub struct Wire {
    /// The socket.
    pub stream: TcpStream,
    buf: BytesMut,
}

impl Wire {
    /// A fresh connection.
    pub fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).ok();
        Self { stream, buf: BytesMut::new() }
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Reads more; 0 is the end.
    pub async fn fill(&mut self) -> io::Result<usize> {
        if self.buf.capacity() - self.buf.len() < 16 * 1024 {
            self.buf.reserve(64 * 1024);
        }
        self.stream.read_buf(&mut self.buf).await
    }

    async fn need(&mut self) -> io::Result<()> {
        match self.fill().await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Exactly `n` bytes.
    pub async fn take(&mut self, n: usize) -> io::Result<Vec<u8>> {
        while self.buf.len() < n {
            self.need().await?;
        }
        Ok(self.buf.split_to(n).to_vec())
    }

    /// Whatever comes next; empty at the end.
    pub async fn some(&mut self) -> io::Result<Vec<u8>> {
        if self.buf.is_empty() {
            self.fill().await?;
        }
        Ok(self.buf.split().to_vec())
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut from = 0;
        loop {
            if let Some(at) = self.buf[from..].windows(2).position(|w| w == b"\r\n") {
                let line = self.buf.split_to(from + at);
                self.buf.advance(2);
                return Ok(latin1(&line));
            }
            from = self.buf.len().saturating_sub(1);
            self.need().await?;
        }
    }

    async fn fields(&mut self) -> io::Result<Headers> {
        let mut headers = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(Headers(headers));
            }
            let (name, value) = line.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
            headers.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
        }
    }

    /// The next head; `None` if the peer closed cleanly before it.
    pub async fn head(&mut self) -> io::Result<Option<Head>> {
        if self.buf.is_empty() && self.fill().await? == 0 {
            return Ok(None);
        }
        let start_line = self.line().await?;
        let headers = self.fields().await?;
        Ok(Some(Head { start_line, headers }))
    }

    /// The body into `body`; on error what came before it is there.
    pub async fn body(&mut self, framing: Framing, body: &mut Body) -> io::Result<()> {
        match framing {
            Framing::None => {}
            Framing::Length(length) => self.counted(length, body).await?,
            Framing::Chunked => loop {
                let line = self.line().await?;
                let size = line.split(';').next().unwrap_or_default().trim();
                let size = u64::from_str_radix(size, 16).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
                if size == 0 {
                    body.trailers = self.fields().await?;
                    break;
                }
                self.counted(size, body).await?;
                if self.take(2).await? != b"\r\n" {
                    return Err(io::ErrorKind::InvalidData.into());
                }
            },
            Framing::UntilClose => loop {
                body.push(&self.buf);
                self.buf.clear();
                if self.fill().await? == 0 {
                    break;
                }
            },
        }
        body.complete = true;
        Ok(())
    }

    async fn counted(&mut self, mut left: u64, body: &mut Body) -> io::Result<()> {
        while left > 0 {
            if self.buf.is_empty() {
                self.need().await?;
            }
            let n = usize::try_from(left).unwrap_or(usize::MAX).min(self.buf.len());
            body.push(&self.buf[..n]);
            self.buf.advance(n);
            left -= n as u64;
        }
        Ok(())
    }

    /// Waits until the peer closes or resets; what it sends before that is thrown away.
    pub async fn until_closed(&mut self) {
        loop {
            self.buf.clear();
            if !matches!(self.fill().await, Ok(n) if n > 0) {
                return;
            }
        }
    }

    /// Waits until at least one byte is there, without taking it; `false` if the peer closed first.
    pub async fn readable(&mut self) -> bool {
        !self.buf.is_empty() || matches!(self.stream.peek(&mut [0]).await, Ok(n) if n > 0)
    }

    /// Ends the connection with RST.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).ok();
    }

    /// Ends our side with FIN, and stays a moment so that unread bytes do not turn the FIN into an RST.
    pub async fn finish(mut self) {
        self.stream.shutdown().await.ok();
        tokio::time::timeout(Duration::from_secs(2), self.until_closed()).await.ok();
    }
}

/// Bytes as characters, one to one.
pub fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&b| char::from(b)).collect()
}
