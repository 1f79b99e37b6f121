//! The chunked transfer coding (RFC 9112 section 7.1).
//!
//! ```
//! use mainstay::wire::http1::chunked::{Decoded, Decoder};
//!
//! let mut decoder = Decoder::default();
//! let bytes = b"5\r\nhello\r\n0\r\n\r\nnext";
//! assert_eq!(decoder.decode(bytes).unwrap(), Decoded::Data { skip: 3, data: 5 });
//! assert_eq!(decoder.decode(&bytes[8..]).unwrap(), Decoded::End { used: 7, trailers: None });
//! ```
//!
//! Lines end with CRLF and with nothing else: a lone LF, or a CR inside of a line, is how one message is hidden in another.

use http::HeaderMap;

use super::fields;
use crate::wire::trailers;

/// Digits of a chunk's size; 16 are all that a 64-bit number has.
const MAX_SIZE_DIGITS: u8 = 16;

/// Bytes of chunk extensions, and of white space in their place, in all of one body: nobody reads them, so that they are
/// only a way to send much and say little.
const MAX_EXTENSION_BYTES: u16 = 16 * 1024;

/// Bytes and fields of a trailer section.
const MAX_TRAILER_BYTES: usize = 16 * 1024;
const MAX_TRAILERS: usize = 100;

/// Bytes that precede and follow the data of a chunk that is written: 16 digits and two line ends.
pub const MAX_CHUNK_HEAD_BYTES: usize = 18;

/// Reads one chunked body. By default as a request's is read: strictly, for what two readers of it could understand
/// differently is how a request is hidden in another.
#[derive(Debug, Default)]
pub struct Decoder {
    at: At,
    /// White space before the line end of a chunk's size is passed over.
    is_lenient: bool,
    digits: u8,
    extensions: u16,
    /// Bytes of the chunk that are still to come.
    left: u64,
    /// The trailer section so far, with its line ends.
    trailers: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Size,
    /// White space between the size and what follows it.
    Space,
    Extension,
    /// White space in an extension, or behind it.
    ExtensionSpace,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the beginning of a trailer line, or of the blank line that ends the body.
    Line,
    Trailer,
    TrailerLf,
    LastLf,
    Ended,
}

/// What the front of the bytes is.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    /// First `skip` bytes of framing, then `data` bytes of the body, at least one.
    Data {
        /// Bytes of framing.
        skip: usize,
        /// Bytes of the body.
        data: usize,
    },
    /// All of it is framing, which goes on.
    More,
    /// The body ended after `used` bytes, which were framing; what follows is another message.
    End {
        /// Bytes up to the body's end.
        used: usize,
        /// The trailer section, if it had fields that may stand there (`trailers::received`).
        trailers: Option<HeaderMap>,
    },
}

/// The bytes are no chunked body, or exceed a bound. Nothing behind them can be told from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A byte that does not belong there.
    #[error("a chunk is malformed")]
    Byte,
    /// A chunk larger than any.
    #[error("a chunk's size is too large")]
    Size,
    /// More extensions than are accepted.
    #[error("the chunk extensions are too long")]
    Extensions,
    /// More trailers than are accepted, or malformed ones.
    #[error("the trailer section is malformed or too long")]
    Trailers,
}

impl Decoder {
    /// Reads a response's body: some servers fill up the line of a chunk's size with blanks, and nothing follows it that another
    /// reader could take for something else.
    pub fn lenient() -> Self {
        Self { is_lenient: true, ..Self::default() }
    }

    /// Looks at the bytes that follow those of the last call's `skip`, `data` and `used`.
    ///
    /// # Errors
    /// They are no chunked body.
    pub fn decode(&mut self, bytes: &[u8]) -> Result<Decoded, Malformed> {
        let mut position = 0;
        while position < bytes.len() {
            match self.at {
                At::Data => {
                    let data = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - position);
                    self.left -= data as u64;
                    if self.left == 0 {
                        self.at = At::DataCr;
                    }
                    return Ok(Decoded::Data { skip: position, data });
                }
                At::Trailer => position += self.trailer(&bytes[position..])?,
                _ => {
                    self.step(bytes[position])?;
                    position += 1;
                    if self.at == At::Ended {
                        return Ok(Decoded::End { used: position, trailers: self.take_trailers()? });
                    }
                }
            }
        }
        Ok(Decoded::More)
    }

    /// Whether the body has been read to its end.
    pub fn has_ended(&self) -> bool {
        self.at == At::Ended
    }

    /// One byte outside a chunk's data and its trailers.
    fn step(&mut self, byte: u8) -> Result<(), Malformed> {
        self.at = match (self.at, byte) {
            (At::Size, digit) if digit.is_ascii_hexdigit() => {
                self.digits += 1;
                if self.digits > MAX_SIZE_DIGITS {
                    return Err(Malformed::Size);
                }
                let digit = char::from(digit).to_digit(16).ok_or(Malformed::Byte)?;
                self.left = self.left << 4 | u64::from(digit);
                At::Size
            }
            (At::Size, _) if self.digits == 0 => return Err(Malformed::Byte),
            (At::Size | At::Space, b' ' | b'\t') => self.extension(At::Space)?,
            (At::Size | At::Extension, b'\r') => At::SizeLf,
            (At::Space | At::ExtensionSpace, b'\r') if self.is_lenient => At::SizeLf,
            (At::Extension | At::ExtensionSpace, b' ' | b'\t') => self.extension(At::ExtensionSpace)?,
            (At::Size | At::Space, b';') | (At::Extension | At::ExtensionSpace, b'!'..=b'~' | 0x80..) => {
                self.extension(At::Extension)?
            }
            (At::SizeLf, b'\n') => {
                self.digits = 0;
                if self.left == 0 { At::Line } else { At::Data }
            }
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size,
            (At::Line, b'\r') => At::LastLf,
            (At::Line, first) if first != b'\n' => {
                self.keep_trailer(&[first])?;
                At::Trailer
            }
            (At::TrailerLf, b'\n') => {
                self.keep_trailer(b"\r\n")?;
                At::Line
            }
            (At::LastLf, b'\n') => At::Ended,
            _ => return Err(Malformed::Byte),
        };
        Ok(())
    }

    fn extension(&mut self, then: At) -> Result<At, Malformed> {
        self.extensions += 1;
        if self.extensions > MAX_EXTENSION_BYTES { Err(Malformed::Extensions) } else { Ok(then) }
    }

    /// The rest of a trailer line, as far as it goes.
    fn trailer(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let Some(end) = memchr::memchr2(b'\r', b'\n', bytes) else {
            self.keep_trailer(bytes)?;
            return Ok(bytes.len());
        };
        self.keep_trailer(&bytes[..end])?;
        if bytes[end] == b'\n' {
            return Err(Malformed::Byte);
        }
        self.at = At::TrailerLf;
        Ok(end + 1)
    }

    fn keep_trailer(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        if self.trailers.len() + bytes.len() > MAX_TRAILER_BYTES {
            return Err(Malformed::Trailers);
        }
        self.trailers.extend_from_slice(bytes);
        Ok(())
    }

    fn take_trailers(&mut self) -> Result<Option<HeaderMap>, Malformed> {
        if self.trailers.is_empty() {
            return Ok(None);
        }
        let mut section = std::mem::take(&mut self.trailers);
        section.extend_from_slice(b"\r\n");
        fields::parse(&section.into(), MAX_TRAILERS).map(trailers::received).map_err(|_| Malformed::Trailers)
    }
}

/// Writes what precedes the `length` bytes of a chunk's data, which is not 0; [`CHUNK_END`] follows the data.
pub fn write_chunk_head(out: &mut Vec<u8>, length: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    debug_assert!(length > 0, "an empty chunk would end the body");
    let digits = (usize::BITS - length.leading_zeros()).div_ceil(4);
    out.extend((0..digits).rev().map(|digit| DIGITS[length >> (digit * 4) & 0xf]));
    out.extend_from_slice(b"\r\n");
}

/// What follows a chunk's data.
pub const CHUNK_END: &[u8] = b"\r\n";

/// Writes the end of a body with its trailers, but for those that a trailer section must not have (`trailers::is_misplaced`).
pub fn write_end(out: &mut Vec<u8>, section: Option<&HeaderMap>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in section.into_iter().flatten().filter(|(name, _)| !trailers::is_misplaced(name)) {
        fields::write_field(out, name.as_str(), value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
