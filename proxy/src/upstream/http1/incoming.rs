//! A response's body in the bytes of its connection.

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName};
use http_body::{Frame, SizeHint};

use crate::wire::{
    forward,
    http1::{
        chunked::{Decoded, Decoder, Malformed},
        response::Framing,
    },
};

/// What follows the data of the last chunk in the usual case: the end, without trailers.
const USUAL_END: &[u8] = b"\r\n0\r\n\r\n";

/// Finds the pieces of a body in what is read.
pub(crate) struct Incoming {
    left: Left,
    /// What has been read and not been looked at.
    ahead: Bytes,
}

enum Left {
    /// Bytes that are still to come; never 0.
    Length(u64),
    /// With the names that its head makes this connection's own: they must not come in trailers either.
    Chunked(Decoder, Vec<HeaderName>),
    /// Until the connection ends.
    Close,
    Nothing,
}

/// The connection ended inside the body.
#[derive(Debug, thiserror::Error)]
#[error("the connection was closed before the body's end")]
pub(in crate::upstream) struct Truncated;

impl Incoming {
    /// The body of a head with these fields, which begins with `ahead`.
    pub(super) fn new(framing: Framing, fields: &HeaderMap, ahead: Bytes) -> Self {
        let left = match framing {
            Framing::Length(0) => Left::Nothing,
            Framing::Length(length) => Left::Length(length),
            Framing::Chunked => Left::Chunked(Decoder::lenient(), forward::nominated(fields)),
            Framing::Close => Left::Close,
        };
        Self { left, ahead }
    }

    /// The next piece of what has been read. None if there is none, or no more.
    pub(crate) fn next(&mut self) -> Result<Option<Frame<Bytes>>, Malformed> {
        if self.ahead.is_empty() {
            return Ok(None);
        }
        match &mut self.left {
            Left::Nothing => Ok(None),
            Left::Close => Ok(Some(Frame::data(std::mem::take(&mut self.ahead)))),
            Left::Length(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(self.ahead.len());
                *left -= length as u64;
                if *left == 0 {
                    self.left = Left::Nothing;
                }
                Ok(Some(Frame::data(self.ahead.split_to(length))))
            }
            Left::Chunked(..) => self.next_chunk(),
        }
    }

    fn next_chunk(&mut self) -> Result<Option<Frame<Bytes>>, Malformed> {
        let Left::Chunked(decoder, nominated) = &mut self.left else { return Ok(None) };
        match decoder.decode(&self.ahead)? {
            Decoded::More => {
                self.ahead.clear();
                Ok(None)
            }
            Decoded::Data { skip, data } => {
                self.ahead.advance(skip);
                let data = self.ahead.split_to(data);
                // Whoever gets the last piece is told that it is the last.
                if self.ahead.starts_with(USUAL_END) {
                    self.next_chunk()?;
                }
                Ok(Some(Frame::data(data)))
            }
            Decoded::End { used, mut trailers } => {
                if let Some(trailers) = &mut trailers {
                    for name in nominated {
                        trailers.remove(&*name);
                    }
                }
                self.ahead.advance(used);
                self.left = Left::Nothing;
                Ok(trailers.filter(|trailers| !trailers.is_empty()).map(Frame::trailers))
            }
        }
    }

    /// Takes what was read; nothing is the end of the connection.
    pub(crate) fn read(&mut self, bytes: Bytes) -> Result<(), Truncated> {
        if !bytes.is_empty() {
            self.ahead = bytes;
            return Ok(());
        }
        match self.left {
            Left::Close | Left::Nothing => {
                self.left = Left::Nothing;
                Ok(())
            }
            Left::Length(_) | Left::Chunked(..) => Err(Truncated),
        }
    }

    /// Whether all of the body has been taken.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.left, Left::Nothing)
    }

    /// Whether bytes came that belong to no response: the next request's answer could not be told from them.
    pub(crate) fn has_more(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// How many bytes are worth reading at once. One more than the body has, where that is known: then a read that is not
    /// filled shows that nothing came behind the body.
    pub(crate) fn worth_reading(&self) -> usize {
        match self.left {
            Left::Length(left) => usize::try_from(left).unwrap_or(usize::MAX).saturating_add(1),
            Left::Chunked(..) | Left::Close => usize::MAX,
            Left::Nothing => 0,
        }
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match self.left {
            Left::Length(left) => SizeHint::with_exact(left),
            Left::Nothing => SizeHint::with_exact(0),
            Left::Chunked(..) | Left::Close => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `bytes` in pieces of `size`: the data, how many frames of trailers, and whether anything came behind it.
    fn taken(framing: Framing, bytes: &'static [u8], size: usize) -> Option<(Vec<u8>, usize, bool)> {
        let mut incoming = Incoming::new(framing, &HeaderMap::new(), Bytes::new());
        let (mut data, mut trailers, mut more) = (Vec::new(), 0, false);
        for piece in bytes.chunks(size) {
            if incoming.has_ended() {
                more = true;
                break;
            }
            incoming.read(Bytes::from_static(piece)).ok()?;
            while let Some(frame) = incoming.next().ok()? {
                match frame.into_data() {
                    Ok(piece) => data.extend_from_slice(&piece),
                    Err(_) => trailers += 1,
                }
            }
        }
        if !incoming.has_ended() {
            incoming.read(Bytes::new()).ok()?;
        }
        Some((data, trailers, more || incoming.has_more()))
    }

    #[track_caller]
    fn check(framing: Framing, bytes: &'static [u8], expected: Option<(&str, usize, bool)>) {
        let expected = expected.map(|(data, trailers, more)| (data.as_bytes().to_vec(), trailers, more));
        for size in 1..=bytes.len() {
            assert_eq!(taken(framing, bytes, size), expected, "{framing:?} in pieces of {size}");
        }
    }

    #[test]
    fn a_body_ends_where_its_framing_says() {
        check(Framing::Length(5), b"hello", Some(("hello", 0, false)));
        check(Framing::Close, b"hello", Some(("hello", 0, false)));
        check(Framing::Chunked, b"5\r\nhello\r\n0\r\n\r\n", Some(("hello", 0, false)));
        check(Framing::Chunked, b"2\r\nhe\r\n3\r\nllo\r\n0\r\nA: b\r\n\r\n", Some(("hello", 1, false)));
    }

    #[test]
    fn what_comes_behind_a_body_is_noticed() {
        check(Framing::Length(0), b"H", Some(("", 0, true)));
        check(Framing::Length(5), b"helloH", Some(("hello", 0, true)));
        check(Framing::Chunked, b"5\r\nhello\r\n0\r\n\r\nHTTP", Some(("hello", 0, true)));
    }

    #[test]
    fn a_part_is_not_the_whole() {
        check(Framing::Length(6), b"hello", None);
        check(Framing::Chunked, b"5\r\nhello\r\n0\r\n", None);
        check(Framing::Chunked, b"5\r\nhello\r\n", None);
    }

    #[test]
    fn the_last_piece_is_known_as_the_last() {
        for (framing, bytes) in [(Framing::Length(5), &b"hello"[..]), (Framing::Chunked, b"5\r\nhello\r\n0\r\n\r\n")] {
            let mut incoming = Incoming::new(framing, &HeaderMap::new(), Bytes::from_static(bytes));
            assert!(incoming.next().unwrap().is_some());
            assert!(incoming.has_ended() && !incoming.has_more());
        }
    }
}
