//! What stands between a client's bytes and `h2`: a request that is malformed is an error of its stream (RFC 9113 section 8.1.1),
//! and `h2` ends the whole connection for some, with all that others have in flight on it.
//!
//! | a section with | `h2` alone | behind the guard |
//! |---|---|---|
//! | a name or value with octets that none may have, an unknown pseudo-field, a `:method` that is no token | ends the connection | `RST_STREAM` |
//! | the same, or a field of HTTP/1.1, with CONTINUATION to come | ends the connection | `RST_STREAM` |
//! | pseudo-fields in trailers | drops them in silence | `RST_STREAM` |
//! | trailers larger than a head may be | drops their end in silence | `RST_STREAM` |
//! | a `:path` with `#` | cuts it off | 400 |
//! | a `:path` longer than `http` counts | takes a wrong part of it for the path | 414 |
//! | more than a head may be read of | a 431 that says nothing | 431, 414 |
//! | a stream that depends on itself | loses count of the peer's table | `RST_STREAM` |
//!
//! Bytes pass untouched: frames are found by their heads, and of header sections the fields are looked at where they stand, by a
//! decoder that keeps the peer's table as `h2` does. A section that is not fine is replaced by one that `h2` refuses for its
//! stream alone, or by a request that stands for it and is answered without a service. If the one that was replaced has changed
//! the peer's table, that of `h2` is behind from then on, and later sections of the connection reach it without need of a table.

mod hpack;
mod refusals;
mod section;
#[cfg(test)]
mod test_kit;
#[cfg(test)]
mod tests;
mod verdict;

use std::{mem, sync::Arc};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::ReadBuf;

pub use self::refusals::Refusals;
use self::{
    hpack::{Decoder, field::Field},
    section::{
        CONTINUATION, END_HEADERS, END_STREAM, Found, HEAD_BYTES, HEADERS, Head, MAX_FRAME_BYTES, PUSH_PROMISE, Section,
    },
    verdict::{Judge, Verdict},
};
use crate::wire::http1::{HeadLimits, head::MAX_TARGET_BYTES};

/// The preface's own bytes, before the first frame.
const PREFACE_BYTES: usize = 24;

/// What `h2` reads of a request's header fields is so many times what a request may have: it counts more bytes than HTTP/1.1 has,
/// and crumbs of cookies, which count as one field, add to it. Requests between the two are refused like any other.
const READ_BEYOND: usize = 4;

/// Fields of a section: more than this an [`http::HeaderMap`] may not take.
const MAX_FIELDS: usize = 24_000;

/// How much of a head is read.
struct Bounds {
    /// Of a request that is accepted.
    head_bytes: usize,
    list_bytes: usize,
    fields: usize,
    target_bytes: usize,
    /// CONTINUATION frames that are not the last: a quarter more than the largest list has, if they are full.
    continuations: usize,
}

/// How many bytes of a header list `h2` is to read, by its own sum, where a head may have so many.
pub fn list_bytes(limits: HeadLimits) -> usize {
    limits.bytes.saturating_mul(READ_BEYOND).min(u32::MAX as usize)
}

/// Where the bytes that go on stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// `h2` has the same table as the peer.
    InStep,
    /// It has missed a change.
    Apart,
    /// The connection has been ended: nothing that comes counts.
    Over,
}

/// The guard of one connection.
pub struct Guard {
    bounds: Bounds,
    decoder: Decoder,
    mode: Mode,
    /// Bytes that pass whatever they are: the rest of the preface, or of a frame without fields.
    passing: usize,
    /// A frame's head or a header section that is not whole.
    held: BytesMut,
    /// What goes on before anything else.
    ready: BytesMut,
    /// The highest stream that the peer has begun.
    latest: u32,
    refusals: Arc<Refusals>,
}

/// What becomes of the first bytes of some.
enum Step {
    /// So many go on as they are.
    Pass(usize),
    /// They wait for more.
    Hold,
    /// So many are done with: what goes on in their place is ready.
    Replaced(usize),
}

impl Guard {
    /// Before a connection's first byte.
    pub fn new(limits: HeadLimits, refusals: Arc<Refusals>) -> Self {
        let list_bytes = list_bytes(limits);
        let full = (list_bytes / MAX_FRAME_BYTES).max(1);
        Self {
            bounds: Bounds {
                head_bytes: limits.bytes,
                list_bytes,
                fields: MAX_FIELDS,
                target_bytes: MAX_TARGET_BYTES,
                continuations: (full + full / 4).max(5),
            },
            decoder: Decoder::default(),
            mode: Mode::InStep,
            passing: PREFACE_BYTES,
            held: BytesMut::new(),
            ready: BytesMut::new(),
            latest: 0,
            refusals,
        }
    }

    /// Looks at what was read. So many bytes at its beginning go on as they are; the guard has the others, and then perhaps some
    /// that are ready.
    pub fn look(&mut self, fresh: &[u8]) -> usize {
        if !self.held.is_empty() {
            self.held.extend_from_slice(fresh);
            self.settle();
            return 0;
        }
        let mut passed = 0;
        while passed < fresh.len() {
            match self.step(&fresh[passed..]) {
                Step::Pass(bytes) => passed += bytes,
                Step::Hold => {
                    self.held.extend_from_slice(&fresh[passed..]);
                    break;
                }
                Step::Replaced(bytes) => {
                    self.held.extend_from_slice(&fresh[passed + bytes..]);
                    self.settle();
                    break;
                }
            }
        }
        passed
    }

    /// Gives out what goes on before anything else is read; whether there was any.
    pub fn give(&mut self, into: &mut ReadBuf<'_>) -> bool {
        let bytes = self.ready.len().min(into.remaining());
        if bytes == 0 {
            return false;
        }
        into.put_slice(&self.ready[..bytes]);
        self.ready.advance(bytes);
        if self.ready.is_empty() {
            self.ready = BytesMut::new(); // lets go of the buffer
        }
        true
    }

    /// Makes ready what can be of what is held.
    fn settle(&mut self) {
        let mut held = mem::take(&mut self.held);
        while !held.is_empty() {
            match self.step(&held) {
                Step::Pass(bytes) => self.ready.extend_from_slice(&held.split_to(bytes)),
                Step::Replaced(bytes) => held.advance(bytes),
                Step::Hold => {
                    self.held = held;
                    return;
                }
            }
        }
    }

    #[inline]
    fn step(&mut self, bytes: &[u8]) -> Step {
        if self.mode == Mode::Over {
            return Step::Replaced(bytes.len());
        }
        if self.passing == 0 {
            let Some(head) = Head::read(bytes) else { return Step::Hold };
            match head.kind {
                HEADERS => return self.section(bytes, head),
                // Of a section that has not begun, or from whom no section comes.
                CONTINUATION | PUSH_PROMISE => return self.end(bytes.len(), head),
                _ => self.passing = HEAD_BYTES + head.length,
            }
        }
        let bytes = bytes.len().min(self.passing);
        self.passing -= bytes;
        Step::Pass(bytes)
    }

    fn section(&mut self, bytes: &[u8], head: Head) -> Step {
        match section::find(bytes, head, self.bounds.continuations) {
            Found::Part => Step::Hold,
            Found::TooLong => {
                // `h2` ends the connection by the frame's own length.
                self.mode = Mode::Over;
                self.ready.put_slice(&[0xff; 3]);
                self.ready.put_slice(&bytes[3..HEAD_BYTES]);
                Step::Replaced(bytes.len())
            }
            Found::Broken => self.end(bytes.len(), head),
            // Ours, or nobody's.
            Found::Whole(_) if head.stream.is_multiple_of(2) => self.end(bytes.len(), head),
            Found::Whole(section) => self.judge(&section, head).unwrap_or_else(|| self.end(bytes.len(), head)),
        }
    }

    /// `None` where what was said cannot be read.
    fn judge(&mut self, section: &Section<'_>, head: Head) -> Option<Step> {
        let is_trailers = head.stream <= self.latest;
        self.latest = self.latest.max(head.stream);
        let mut judge = Judge::new(is_trailers);
        let mut plain = Vec::new();
        let is_apart = self.mode == Mode::Apart;
        let changed = self.decoder.read(&section.block, &mut |field| {
            judge.see(field);
            // No more than may be read of it, however often an entry is named.
            if is_apart && judge.list_bytes < self.bounds.list_bytes {
                literal(field, &mut plain);
            }
        });
        let changed = changed.ok()?;
        let verdict = if section.is_circular { Verdict::Malformed } else { judge.verdict(&self.bounds) };
        match verdict {
            Verdict::Fine if !is_apart => return Some(Step::Pass(section.bytes)),
            Verdict::Fine => self.put(head, &plain),
            verdict => {
                if changed {
                    self.mode = Mode::Apart;
                }
                self.put(head, &self.instead(verdict, &judge, head.stream));
            }
        }
        Some(Step::Replaced(section.bytes))
    }

    /// The block that takes the place of one that is not fine.
    fn instead(&self, verdict: Verdict, judge: &Judge, stream: u32) -> Vec<u8> {
        let mut block = Vec::new();
        match verdict {
            Verdict::Refused(refused) if self.refusals.note(stream, refused) => {
                // Of the static table: the method, `http` and `/`.
                if judge.is_head {
                    block.extend_from_slice(b"\x02\x04HEAD");
                } else {
                    block.push(0x83);
                }
                block.extend_from_slice(b"\x86\x84");
                if judge.is_grpc {
                    block.extend_from_slice(b"\x0f\x10\x10application/grpc");
                }
            }
            // No request of HTTP/2 has this field.
            _ => block.extend_from_slice(b"\x00\x07upgrade\x01-"),
        }
        block
    }

    /// Makes a section ready.
    fn put(&mut self, head: Head, block: &[u8]) {
        let mut pieces = block.chunks(MAX_FRAME_BYTES).peekable();
        let mut frame = Head { kind: HEADERS, flags: head.flags & END_STREAM, ..head };
        loop {
            let piece = pieces.next().unwrap_or_default();
            frame.length = piece.len();
            if pieces.peek().is_none() {
                frame.flags |= END_HEADERS;
                return frame.write(piece, &mut self.ready);
            }
            frame.write(piece, &mut self.ready);
            frame = Head { kind: CONTINUATION, flags: 0, ..frame };
        }
    }

    /// Has `h2` end the connection, which it does by field number 0.
    #[cold]
    fn end(&mut self, bytes: usize, head: Head) -> Step {
        self.mode = Mode::Over;
        let stream = head.stream.max(1) | 1;
        Head { kind: HEADERS, flags: END_HEADERS, stream, length: 1 }.write(&[0x80], &mut self.ready);
        Step::Replaced(bytes)
    }
}

/// Appends a field that needs no table and changes none (RFC 7541 section 6.2.2).
fn literal(field: &Field<'_>, block: &mut Vec<u8>) {
    block.push(0);
    for text in [field.name, field.value] {
        let mut length = text.len();
        if length < 0x7f {
            block.push(length as u8);
        } else {
            block.push(0x7f);
            length -= 0x7f;
            while length >= 0x80 {
                block.push(length as u8 | 0x80);
                length >>= 7;
            }
            block.push(length as u8);
        }
        block.extend_from_slice(text);
    }
}
