//! The bytes of an HTTP/2 connection to an upstream, and two things that they prove.
//!
//! `h2` does not tell the last stream of a GOAWAY, and what it reports of a stream may be what it concluded from a later frame
//! on another one. So the frame is read here as well: a stream above the last one that the peer names was not processed
//! (RFC 9113 section 6.8), and no other is ever taken for it.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll, ready},
};

use mainstay_policies::evidence::AttemptError;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    upstream::handshake::refused_late,
    wire::{http2::Heard, transport::Transport},
};

/// Bytes before a frame's payload: its length in 24 bits, type, flags and stream.
const HEAD_BYTES: usize = 9;

const HEADERS: u8 = 0x1;
const SETTINGS: u8 = 0x4;
const GOAWAY: u8 = 0x7;

/// Reads of 1 KiB after which no last word of the peer is looked for any more.
const LAST_READS: usize = 64;

/// What the peer's frames have said.
#[derive(Default)]
pub(super) struct Seen {
    settings: AtomicBool,
    goes_away: AtomicBool,
    /// Of the GOAWAY that came last.
    last_stream: AtomicU32,
    /// An answer has begun.
    answered: AtomicBool,
    /// How the connection ended, where that was by the peer's word about our certificate, and before any answer.
    refused: Mutex<Option<Arc<io::Error>>>,
}

impl Seen {
    /// The peer speaks HTTP/2, and has said how many streams it takes.
    pub(super) fn has_settings(&self) -> bool {
        self.settings.load(Ordering::Relaxed)
    }

    /// The peer takes no more streams.
    pub(super) fn goes_away(&self) -> bool {
        self.goes_away.load(Ordering::Relaxed)
    }

    /// The peer refused our certificate once the connection was made, and has answered nothing: it has looked at no request.
    pub(super) fn refusal(&self) -> Option<AttemptError> {
        self.refused.lock().as_deref().and_then(refused_late)
    }

    /// The connection cannot be read any more.
    fn ended(&self, error: io::Error) -> io::Error {
        if self.answered.load(Ordering::Relaxed) || refused_late(&error).is_none() {
            return error;
        }
        let (kind, error) = (error.kind(), Arc::new(error));
        *self.refused.lock() = Some(error.clone());
        io::Error::new(kind, error)
    }

    /// Whether the peer's GOAWAY says that it has not processed `stream`, and will not.
    pub(super) fn is_unprocessed(&self, stream: u32) -> bool {
        self.goes_away() && stream > self.last_stream.load(Ordering::Relaxed)
    }
}

/// Reads along.
#[derive(Default)]
struct Reader {
    /// The head of the frame that is being read, and after it the beginning of a GOAWAY's payload.
    start: [u8; HEAD_BYTES + 4],
    filled: usize,
    /// Bytes of the frame that are of no interest.
    skip: usize,
}

impl Reader {
    fn read(&mut self, mut bytes: &[u8], seen: &Seen) {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return;
            }
            let wanted = self.wanted();
            let taken = (wanted - self.filled).min(bytes.len());
            self.start[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled == self.wanted() {
                self.note(seen);
            }
        }
    }

    fn length(&self) -> usize {
        u32::from_be_bytes([0, self.start[0], self.start[1], self.start[2]]) as usize
    }

    /// How much of the frame is looked at. A GOAWAY too short to name a stream is an error of its own.
    fn wanted(&self) -> usize {
        let names_stream = self.filled >= HEAD_BYTES && self.start[3] == GOAWAY && self.length() >= 4;
        if names_stream { HEAD_BYTES + 4 } else { HEAD_BYTES }
    }

    fn note(&mut self, seen: &Seen) {
        match self.start[3] {
            HEADERS => seen.answered.store(true, Ordering::Relaxed),
            SETTINGS => seen.settings.store(true, Ordering::Relaxed),
            GOAWAY if self.filled > HEAD_BYTES => {
                let [.., a, b, c, d] = self.start;
                // The first bit is reserved.
                seen.last_stream.store(u32::from_be_bytes([a, b, c, d]) & (u32::MAX >> 1), Ordering::Relaxed);
                seen.goes_away.store(true, Ordering::Relaxed);
            }
            _ => {}
        }
        self.skip = HEAD_BYTES + self.length() - self.filled;
        self.filled = 0;
    }
}

/// A connection that is read along.
pub(super) struct Watched {
    stream: Transport,
    reader: Reader,
    seen: Arc<Seen>,
    heard: Heard,
    /// Why nothing can be written any more, until it has been told.
    unwritten: Option<io::Error>,
}

impl Watched {
    pub(super) fn new(stream: Transport, seen: Arc<Seen>, heard: Heard) -> Self {
        Self { stream, reader: Reader::default(), seen, heard, unwritten: None }
    }

    /// What became of a write. Where a peer takes nothing more it may have said why before it closed, and nobody would read that
    /// then: so through TLS a write fails only once the reading has come to its end.
    fn written<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        match written {
            Poll::Ready(Err(error)) if self.stream.is_secure() => {
                self.unwritten = Some(error);
                self.read_to_end(cx)
            }
            written => written,
        }
    }

    fn read_to_end<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let mut scratch = [0; 1024];
        for _ in 0..LAST_READS {
            let mut rest = ReadBuf::new(&mut scratch);
            let read = ready!(Pin::new(&mut *self).poll_read(cx, &mut rest));
            if read.is_err() || rest.filled().is_empty() {
                break;
            }
        }
        let error = self.unwritten.take().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
        Poll::Ready(Err(error))
    }
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let start = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf)).map_err(|error| this.seen.ended(error))?;
        this.heard.note();
        this.reader.read(&buf.filled()[start..], &this.seen);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.unwritten.is_some() {
            return this.read_to_end(cx);
        }
        let written = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.written(written, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.unwritten.is_some() {
            return this.read_to_end(cx);
        }
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.written(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.unwritten.is_some() {
            return this.read_to_end(cx);
        }
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        this.written(flushed, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, 0]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    fn goaway(last_stream: u32) -> Vec<u8> {
        frame(GOAWAY, 0, &[&last_stream.to_be_bytes()[..], &[0; 4], b"debug data"].concat())
    }

    /// What the frames say in any division into pieces: settings, and the streams of 1, 3 and 5 that were not processed.
    #[track_caller]
    fn check(frames: &[Vec<u8>], settings: bool, unprocessed: &[u32]) {
        let bytes = frames.concat();
        for size in 1..=bytes.len() {
            let (mut reader, seen) = (Reader::default(), Seen::default());
            for piece in bytes.chunks(size) {
                reader.read(piece, &seen);
            }
            assert_eq!(seen.has_settings(), settings, "in pieces of {size}");
            let found: Vec<u32> = [1, 3, 5].into_iter().filter(|stream| seen.is_unprocessed(*stream)).collect();
            assert_eq!(found, unprocessed, "in pieces of {size}");
        }
    }

    #[test]
    fn settings_are_seen() {
        check(&[frame(SETTINGS, 0, &[0, 3, 0, 0, 0, 1])], true, &[]);
        check(&[frame(SETTINGS, 0, &[])], true, &[]);
        check(&[frame(0, 1, &[SETTINGS; 40]), frame(1, 3, &[GOAWAY; 25])], false, &[]);
    }

    #[test]
    fn a_goaway_names_the_streams_above_its_last() {
        check(&[goaway(0)], false, &[1, 3, 5]);
        check(&[frame(0, 1, b"data"), goaway(1)], false, &[3, 5]);
        check(&[goaway(u32::MAX), frame(0, 1, b"")], false, &[]);
    }

    #[test]
    fn the_last_word_counts() {
        check(&[goaway(u32::MAX), frame(6, 0, &[0; 8]), goaway(3)], false, &[5]);
        check(&[goaway(0), goaway(3)], false, &[5]);
    }

    #[test]
    fn a_goaway_that_names_no_stream_proves_nothing() {
        check(&[frame(GOAWAY, 0, &[0, 0]), frame(SETTINGS, 0, &[])], true, &[]);
    }
}
