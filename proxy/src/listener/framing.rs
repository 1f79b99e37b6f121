//! Where one HTTP/1 request ends and the next begins, in the bytes as the client sent them.
//!
//! hyper decodes and judges; this only finds the same ends, so that every head can be checked wherever it begins and no
//! byte of a later request reaches hyper before its turn.

use super::{
    head::{self, Framing, Refused},
    io::HeadLimits,
};

/// Line ends that may precede a request line (RFC 9112 section 2.2 expects one at most).
const MAX_BLANK_BYTES: usize = 64;

/// Follows the requests of one connection.
pub(super) struct Messages {
    state: State,
    limits: HeadLimits,
    /// The part of a head that came in earlier reads.
    partial: Vec<u8>,
    /// Bytes of blank lines before the head.
    blank: usize,
}

enum State {
    Head,
    Length(u64),
    Chunked(Chunks),
    /// The request has been seen to its end.
    Whole,
    /// The body cannot be followed, so that nothing behind it can be told from it.
    Lost,
}

impl Messages {
    pub(super) fn new(limits: HeadLimits) -> Self {
        Self { state: State::Head, limits, partial: Vec::new(), blank: 0 }
    }

    /// A head is awaited, or has begun to arrive.
    pub(super) fn awaits_head(&self) -> bool {
        matches!(self.state, State::Head)
    }

    /// Some of the head has come, if only a line end before it.
    pub(super) fn head_begun(&self) -> bool {
        self.blank > 0 || !self.partial.is_empty()
    }

    pub(super) fn is_whole(&self) -> bool {
        matches!(self.state, State::Whole)
    }

    pub(super) fn is_lost(&self) -> bool {
        matches!(self.state, State::Lost)
    }

    /// What follows a whole request is the next one.
    pub(super) fn next(&mut self) {
        self.state = State::Head;
        self.blank = 0;
    }

    /// How many of `bytes` belong to the request at hand; those behind belong to the next.
    ///
    /// # Errors
    /// Its head is refused.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<usize, Refused> {
        let mut taken = 0;
        if self.awaits_head() {
            taken = self.take_head(bytes)?;
        }
        let rest = &bytes[taken..];
        match &mut self.state {
            State::Head | State::Whole | State::Lost => {}
            State::Length(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                taken += length;
                *left -= length as u64;
                if *left == 0 {
                    self.state = State::Whole;
                }
            }
            State::Chunked(chunks) => match chunks.end(rest) {
                Ok(None) => taken = bytes.len(),
                Ok(Some(end)) => {
                    taken += end;
                    self.state = State::Whole;
                }
                // hyper stumbles over the same byte, and says so to whoever reads the body.
                Err(bad) => {
                    taken += bad + 1;
                    self.state = State::Lost;
                }
            },
        }
        Ok(taken)
    }

    fn take_head(&mut self, bytes: &[u8]) -> Result<usize, Refused> {
        let check = |head: &[u8]| head::check(head, self.limits.bytes, self.limits.fields);
        let (taken, framing) = if self.partial.is_empty() {
            let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            self.blank += blank;
            if self.blank > MAX_BLANK_BYTES {
                return Err(Refused::Malformed);
            }
            let rest = &bytes[blank..];
            let Some(length) = head::length(rest) else {
                self.partial.extend_from_slice(rest);
                return if rest.len() > self.limits.bytes { Err(Refused::TooLarge) } else { Ok(bytes.len()) };
            };
            (blank + length, check(&rest[..length])?)
        } else {
            let before = self.partial.len();
            // The blank line may have begun in the last two bytes.
            let searched = before.saturating_sub(2);
            self.partial.extend_from_slice(bytes);
            let Some(length) = head::length(&self.partial[searched..]) else {
                return if self.partial.len() > self.limits.bytes { Err(Refused::TooLarge) } else { Ok(bytes.len()) };
            };
            let head = std::mem::take(&mut self.partial);
            let length = searched + length;
            (length - before, check(&head[..length])?)
        };
        self.state = match framing {
            Framing::None | Framing::Length(0) => State::Whole,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunked(Chunks::default()),
        };
        Ok(taken)
    }
}

/// Finds the end of a chunked body (RFC 9112 section 7.1), byte for byte as hyper's decoder does.
#[derive(Default)]
pub(super) struct Chunks {
    at: At,
    /// Bytes of the chunk that are still to come.
    left: u64,
}

#[derive(Clone, Copy, Default)]
enum At {
    /// Before the first digit of a size.
    #[default]
    Start,
    Size,
    /// White space between the size and what follows it.
    Space,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the beginning of a trailer line, or of the blank line that ends the body.
    Line,
    Trailer,
    TrailerLf,
    LastLf,
}

impl Chunks {
    /// Where the body ends in `bytes`, if it does.
    ///
    /// # Errors
    /// The position of a byte that does not belong there.
    fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>, usize> {
        let mut position = 0;
        while position < bytes.len() {
            if matches!(self.at, At::Data) {
                let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - position);
                self.left -= length as u64;
                position += length;
                if self.left == 0 {
                    self.at = At::DataCr;
                }
                continue;
            }
            match self.step(bytes[position]) {
                None => return Err(position),
                Some(true) => return Ok(Some(position + 1)),
                Some(false) => position += 1,
            }
        }
        Ok(None)
    }

    /// One byte outside a chunk's data: whether it ends the body; `None`: it does not belong there.
    fn step(&mut self, byte: u8) -> Option<bool> {
        self.at = match (self.at, byte) {
            (At::Start | At::Size, digit) if digit.is_ascii_hexdigit() => {
                let digit = char::from(digit).to_digit(16)?;
                self.left = self.left.checked_mul(16)?.checked_add(u64::from(digit))?;
                At::Size
            }
            (At::Size | At::Space, b' ' | b'\t') => At::Space,
            (At::Size | At::Space, b';') => At::Extension,
            (At::Size | At::Space | At::Extension, b'\r') => At::SizeLf,
            (At::Extension, other) if other != b'\n' => At::Extension,
            (At::SizeLf, b'\n') if self.left == 0 => At::Line,
            (At::SizeLf, b'\n') => At::Data,
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Start,
            (At::Line, b'\r') => At::LastLf,
            (At::Trailer, b'\r') => At::TrailerLf,
            (At::Line | At::Trailer, _) => At::Trailer,
            (At::TrailerLf, b'\n') => At::Line,
            (At::LastLf, b'\n') => return Some(true),
            _ => return None,
        };
        Some(false)
    }
}

#[cfg(test)]
#[path = "framing_tests.rs"]
mod tests;
