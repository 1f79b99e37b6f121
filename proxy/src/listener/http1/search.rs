//! Where one request's head ends in what has been read.

use bytes::{Buf, Bytes, BytesMut};

use crate::wire::http1::head::{self, Refused};

/// Line ends that may precede a request line (RFC 9112 section 2.2 expects one at most).
const MAX_BLANK_BYTES: usize = 64;

/// The search for one head, which may come in many parts.
#[derive(Default)]
pub(super) struct HeadSearch {
    /// Bytes of blank lines before the head.
    blank: usize,
    /// Bytes that hold no end.
    searched: usize,
}

impl HeadSearch {
    /// Whether some of the head has come, if only a line end before it.
    pub(super) fn has_begun(&self) -> bool {
        self.blank > 0 || self.searched > 0
    }

    /// Takes the head out of `unread` once it is there whole.
    ///
    /// # Errors
    /// It cannot become one of at most `max_bytes`.
    pub(super) fn take(&mut self, unread: &mut BytesMut, max_bytes: usize) -> Result<Option<Bytes>, Refused> {
        while self.searched == 0 {
            let blank = match unread[..] {
                [b'\n', ..] => 1,
                [b'\r', b'\n', ..] => 2,
                // Half of a line end; the rest of it is still to come.
                [b'\r'] => {
                    self.blank = self.blank.max(1);
                    return Ok(None);
                }
                [b'\r', ..] => return Err(Refused::Malformed),
                _ => break,
            };
            unread.advance(blank);
            self.blank += blank;
            if self.blank > MAX_BLANK_BYTES {
                return Err(Refused::Malformed);
            }
        }
        // The blank line may have begun in the last two bytes.
        let from = self.searched.saturating_sub(2);
        if let Some(length) = head::length(&unread[from..]) {
            return Ok(Some(unread.split_to(from + length).freeze()));
        }
        self.searched = unread.len();
        if unread.len() > max_bytes { Err(head::too_large(unread, max_bytes)) } else { Ok(None) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `bytes` in parts of `size`: the head, and what is behind it by then.
    fn search(bytes: &[u8], size: usize) -> Result<Option<(Bytes, Bytes)>, Refused> {
        let (mut search, mut unread) = (HeadSearch::default(), BytesMut::new());
        for part in bytes.chunks(size) {
            unread.extend_from_slice(part);
            if let Some(head) = search.take(&mut unread, 64)? {
                return Ok(Some((head, unread.freeze())));
            }
        }
        Ok(None)
    }

    #[test]
    fn a_head_is_found_however_it_is_split() {
        for (bytes, head) in [
            ("GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"),
            ("\r\n\nGET / HTTP/1.1\r\nA: b\r\n\r\n", "GET / HTTP/1.1\r\nA: b\r\n\r\n"),
            ("GET / HTTP/1.1\nA: b\n\n", "GET / HTTP/1.1\nA: b\n\n"),
            ("GET / HTTP/1.1\nA: b\r\n\n", "GET / HTTP/1.1\nA: b\r\n\n"),
        ] {
            let bytes = [bytes, "body"].concat();
            for size in 1..=bytes.len() {
                let (found, behind) = search(bytes.as_bytes(), size).unwrap().unwrap();
                assert_eq!(found, head, "{bytes:?} by {size}");
                assert!(b"body".starts_with(&behind), "{bytes:?} by {size}");
            }
        }
    }

    #[test]
    fn what_cannot_become_a_head_is_refused_before_it_ends() {
        for size in 1..=9 {
            for bare in ["\rGET / HTTP/1.1\r\n\r\n", "\r\n\rGET /", "\r\r\n"] {
                assert_eq!(search(bare.as_bytes(), size), Err(Refused::Malformed), "{bare:?} by {size}");
            }
        }
        assert_eq!(search(format!("GET /{}", "x".repeat(64)).as_bytes(), 7), Err(Refused::TargetTooLong));
        for size in 1..=65 {
            assert_eq!(search(&[b'x'; 65], size), Err(Refused::TooLarge));
            assert_eq!(search(&b"\r\n".repeat(33), size), Err(Refused::Malformed));
        }
        assert_eq!(search(&[b'x'; 64], 1), Ok(None));
    }
}
