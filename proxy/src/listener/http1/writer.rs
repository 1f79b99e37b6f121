//! What is on its way to an HTTP/1 client: heads and small pieces gathered in one buffer, a large piece as it is.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::time::{Instant, Sleep};

use super::reader::Wire;
use crate::{
    listener::{buffers, phase::Connection},
    wire::http1::chunked,
};

/// A larger piece is not copied.
const COPIED_BYTES: usize = 8 * 1024;

pub(super) struct Writer {
    connection: Arc<Connection>,
    buffer: Vec<u8>,
    /// How much of it has been written.
    written: usize,
    /// Behind the buffer.
    piece: Bytes,
    /// Behind the piece.
    after: &'static [u8],
    /// What was written may not be out.
    unflushed: bool,
}

impl Writer {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self { connection, buffer: Vec::new(), written: 0, piece: Bytes::new(), after: &[], unflushed: false }
    }

    /// Where to append; what is appended comes behind all that is pending.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        if self.buffer.capacity() == 0 {
            self.buffer = buffers::take_writing();
        }
        if !self.piece.is_empty() || !self.after.is_empty() {
            let piece = std::mem::take(&mut self.piece);
            self.buffer.extend_from_slice(&piece);
            self.buffer.extend_from_slice(std::mem::take(&mut self.after));
        }
        &mut self.buffer
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.buffer().extend_from_slice(bytes);
    }

    /// Appends a piece of a body.
    pub(super) fn push(&mut self, data: Bytes) {
        let buffer = self.buffer();
        if data.len() <= COPIED_BYTES {
            buffer.extend_from_slice(&data);
        } else {
            self.piece = data;
        }
    }

    /// Appends a chunk; an empty one would be the end.
    pub(super) fn push_chunk(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        chunked::write_chunk_head(self.buffer(), data.len());
        self.push(data);
        if self.piece.is_empty() {
            self.buffer.extend_from_slice(chunked::CHUNK_END);
        } else {
            self.after = chunked::CHUNK_END;
        }
    }

    pub(super) fn pending_bytes(&self) -> usize {
        self.buffer.len() - self.written + self.piece.len() + self.after.len()
    }

    /// Writes all that is pending. Since when the client takes nothing is noted, and that one which takes something is still
    /// there.
    pub(super) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        wire: &mut Wire,
        patience: &mut Option<Pin<Box<Sleep>>>,
    ) -> Poll<io::Result<()>> {
        while self.pending_bytes() > 0 {
            let slices = [&self.buffer[self.written..], &self.piece[..], self.after].map(IoSlice::new);
            let written = wire.state().poll_write(cx, &slices);
            if written.is_pending() {
                self.connection.write_blocked();
            }
            let written = ready!(written)?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.connection.write_went_on();
            if let Some(patience) = patience {
                patience.as_mut().reset(Instant::now() + self::HALF_CLOSE_PATIENCE);
            }
            self.advance(written);
            self.unflushed = true;
        }
        if self.unflushed {
            let flushed = wire.state().poll_flush(cx);
            if flushed.is_pending() {
                self.connection.write_blocked();
            }
            ready!(flushed)?;
            self.connection.write_went_on();
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut written: usize) {
        let of_buffer = written.min(self.buffer.len() - self.written);
        self.written += of_buffer;
        written -= of_buffer;
        if self.written == self.buffer.len() {
            self.buffer.clear();
            self.written = 0;
        }
        let of_piece = written.min(self.piece.len());
        self.piece.advance(of_piece);
        self.after = &self.after[written - of_piece..];
    }

    /// Nothing is to be written for now: no buffer is held.
    pub(super) fn give_back(&mut self) {
        if self.buffer.capacity() > 0 {
            buffers::put_writing(&mut self.buffer);
        }
    }
}

/// How long a request goes on after its client has closed the sending side. Closing it is how a client leaves, and also how
/// a half-closing client says that it has no more to ask; only the answer would tell them apart. Most proxies take both for
/// leaving; a tenth of a second serves those of the latter whose answer is near, and is not long to hold a place in a limit, a
/// slot or a breaker's probe for nobody.
pub(super) const HALF_CLOSE_PATIENCE: Duration = Duration::from_millis(100);
