//! A request on its way out over HTTP/1.1: its head, and its body as it comes.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http::{
    HeaderMap, HeaderValue,
    header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING},
    uri::Authority,
};
use http_body::Body;
use tokio::io::AsyncWrite;

use super::buffers;
use crate::upstream::head::RequestHead;
use crate::wire::{
    body::{BoxError, ProxyBody},
    forward,
    http1::{
        chunked::{CHUNK_END, write_chunk_head, write_end},
        fields::write_field,
    },
    turns::{STEP_BYTES, Turn},
};

/// Pieces of a body up to this many bytes are copied behind what precedes them; larger ones are handed to the kernel where
/// they are.
const COPIED_BYTES: usize = 8 * 1024;

/// A request on its way out. It outlives a connection that took nothing of it, and then goes out over another.
pub(crate) struct Outgoing {
    /// What goes first; `sent` bytes of it are out.
    buffer: Vec<u8>,
    sent: usize,
    /// What follows, uncopied, and its line end.
    data: Bytes,
    end: &'static [u8],
    /// What is still to come.
    body: ProxyBody,
    framing: Framing,
    written: u64,
    /// Bytes that the connection has taken may not be out.
    unflushed: bool,
    /// For a piece that is more than a step.
    turn: Turn,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// Bytes that are still to come.
    Length(u64),
    Chunked,
    /// The end is written, or in the buffer.
    Ended,
}

/// Why a request did not get out whole.
#[derive(Debug, thiserror::Error)]
pub(in crate::upstream) enum Stuck {
    /// The connection is at fault.
    #[error("the connection does not take the request")]
    Connection(#[source] io::Error),
    /// The body is.
    #[error("the request's body broke off")]
    Body(#[source] BoxError),
}

/// A body that is not as long as its head says.
#[derive(Debug, thiserror::Error)]
#[error("the body is not as long as announced")]
struct WrongLength;

impl Outgoing {
    /// `endpoint` is whom it is for where the client did not say: a client of HTTP/1.0 need not, but this is HTTP/1.1.
    pub(super) fn new(head: RequestHead<'_>, body: ProxyBody, endpoint: &Authority) -> Self {
        let mut buffer = buffers::take();
        write_request_line(&mut buffer, head);
        let own_host = match head.host {
            Some(host) => Some(host.as_bytes()),
            None if forward::has(head.headers, &HOST) => None,
            None => Some(endpoint.as_str().as_bytes()),
        };
        if let Some(host) = own_host {
            write_field(&mut buffer, "host", host);
        }
        let mut announced = None;
        for (name, value) in head.headers {
            if name == CONTENT_LENGTH {
                announced = announced.or(Some(value));
            } else if own_host.is_some() && name == HOST {
                // Written already.
            } else if name != TRANSFER_ENCODING && !head.added.is_some_and(|added| added.replaces(name, head.headers)) {
                write_field(&mut buffer, name.as_str(), value.as_bytes());
            }
        }
        if let Some(added) = head.added {
            added.write(head.headers, |name, value| write_field(&mut buffer, name, value));
        }
        let mut outgoing = Self {
            buffer,
            sent: 0,
            data: Bytes::new(),
            end: &[],
            body,
            framing: Framing::Ended,
            written: 0,
            unflushed: false,
            turn: Turn::default(),
        };
        outgoing.frame(announced);
        outgoing
    }

    /// Says in the head how the body is delimited, which what it is decides, and ends the head. `announced`: the length that
    /// the client said.
    fn frame(&mut self, announced: Option<&HeaderValue>) {
        let length = match &self.body {
            // Said only if the client did.
            ProxyBody::Empty => announced.map(|_| 0),
            ProxyBody::Full(bytes) => Some(bytes.len() as u64),
            ProxyBody::Stream(_) => {
                let announced = announced.and_then(|value| value.to_str().ok()?.parse().ok());
                self.framing = announced.map_or(Framing::Chunked, Framing::Length);
                announced
            }
        };
        if let Some(length) = length {
            write_field(&mut self.buffer, "content-length", itoa::Buffer::new().format(length).as_bytes());
        } else if self.framing == Framing::Chunked {
            write_field(&mut self.buffer, "transfer-encoding", b"chunked");
        }
        self.buffer.extend_from_slice(b"\r\n");
        if let ProxyBody::Full(bytes) = &mut self.body {
            let bytes = std::mem::take(bytes);
            self.body = ProxyBody::Empty;
            self.put(bytes);
        }
    }

    /// Whether the kernel has taken a byte.
    pub(super) fn has_begun(&self) -> bool {
        self.written > 0
    }

    /// Bytes that the kernel has taken.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Whether the kernel has taken all of it.
    pub(super) fn is_out(&self) -> bool {
        self.framing == Framing::Ended && !self.is_waiting() && !self.unflushed
    }

    /// Whether bytes wait for the connection to take them.
    fn is_waiting(&self) -> bool {
        self.sent < self.buffer.len() || self.data.has_remaining() || !self.end.is_empty()
    }

    /// Writes what the connection takes and reads the body as it does. Ready when all is out.
    pub(in crate::upstream) fn poll_send<W>(&mut self, writer: &mut W, cx: &mut Context<'_>) -> Poll<Result<(), Stuck>>
    where
        W: AsyncWrite + Unpin,
    {
        loop {
            // Before what precedes it is written, so that the beginning of a body goes out together with its head.
            let pulled = self.poll_pull(cx).map_err(Stuck::Body)?;
            if self.is_waiting() {
                ready!(self.poll_write(writer, cx)).map_err(Stuck::Connection)?;
                continue;
            }
            if self.unflushed {
                ready!(Pin::new(&mut *writer).poll_flush(cx)).map_err(Stuck::Connection)?;
                self.unflushed = false;
            }
            if self.framing == Framing::Ended {
                buffers::give_back(std::mem::take(&mut self.buffer));
                return Poll::Ready(Ok(()));
            }
            ready!(pulled);
        }
    }

    fn poll_write<W>(&mut self, writer: &mut W, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        W: AsyncWrite + Unpin,
    {
        let is_long = self.data.len() > STEP_BYTES;
        if is_long {
            // One that has begun goes out before others begin: its time runs.
            ready!(if self.has_begun() { self.turn.poll_next(cx) } else { self.turn.poll_take(cx) });
        }
        let first = &self.buffer[self.sent..];
        let written = if is_long {
            let slices = [IoSlice::new(first), IoSlice::new(&self.data[..STEP_BYTES])];
            ready!(Pin::new(writer).poll_write_vectored(cx, &slices))?
        } else if self.data.is_empty() && self.end.is_empty() {
            ready!(Pin::new(writer).poll_write(cx, first))?
        } else {
            let slices = [IoSlice::new(first), IoSlice::new(&self.data), IoSlice::new(self.end)];
            ready!(Pin::new(writer).poll_write_vectored(cx, &slices))?
        };
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.advance(written);
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, written: usize) {
        self.written += written as u64;
        self.unflushed = true;
        let first = written.min(self.buffer.len() - self.sent);
        self.sent += first;
        let second = (written - first).min(self.data.len());
        self.data.advance(second);
        self.end = &self.end[written - first - second..];
        if self.sent == self.buffer.len() {
            self.buffer.clear();
            self.sent = 0;
        }
    }

    /// Takes the next piece of the body, where there is room for it.
    fn poll_pull(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let full = self.buffer.len() - self.sent > COPIED_BYTES || !self.data.is_empty() || !self.end.is_empty();
        if full || self.framing == Framing::Ended {
            return Poll::Ready(Ok(()));
        }
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else {
            return Poll::Ready(self.finish(None));
        };
        match frame?.into_data() {
            Ok(data) => {
                self.put_framed(data)?;
                if self.framing == Framing::Length(0) || self.body.is_end_stream() {
                    self.finish(None)?;
                }
            }
            Err(other) => {
                if let Ok(trailers) = other.into_trailers() {
                    self.finish(Some(&trailers))?;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn put_framed(&mut self, data: Bytes) -> Result<(), BoxError> {
        match &mut self.framing {
            Framing::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(WrongLength)?;
                self.put(data);
            }
            Framing::Chunked if !data.is_empty() => {
                write_chunk_head(&mut self.buffer, data.len());
                self.put(data);
                if self.data.is_empty() {
                    self.buffer.extend_from_slice(CHUNK_END);
                } else {
                    self.end = CHUNK_END;
                }
            }
            Framing::Chunked | Framing::Ended => {}
        }
        Ok(())
    }

    fn put(&mut self, data: Bytes) {
        if data.len() <= COPIED_BYTES {
            self.buffer.extend_from_slice(&data);
        } else {
            self.data = data;
        }
    }

    fn finish(&mut self, trailers: Option<&HeaderMap>) -> Result<(), BoxError> {
        match self.framing {
            Framing::Length(1..) => return Err(WrongLength.into()),
            // Behind uncopied data the end waits for the next turn, which asks the body once more.
            Framing::Chunked if !self.end.is_empty() => return Ok(()),
            Framing::Chunked => write_end(&mut self.buffer, trailers),
            Framing::Length(0) | Framing::Ended => {}
        }
        self.framing = Framing::Ended;
        self.body = ProxyBody::Empty;
        Ok(())
    }
}

fn write_request_line(out: &mut Vec<u8>, head: RequestHead<'_>) {
    let target = head.uri.path_and_query().map_or("", |target| target.as_str());
    out.extend_from_slice(head.method.as_str().as_bytes());
    out.push(b' ');
    if !target.starts_with(['/', '*']) {
        out.push(b'/');
    }
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
}
