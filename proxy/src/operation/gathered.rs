//! An answer's body as far as it has come: what is kept of it, and what is still to come.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body;
use http_body_util::BodyExt as _;

use crate::wire::body::BoxError;

/// A copy of a body, as long as it is no larger than it may be.
pub(super) struct Kept {
    max: usize,
    /// A body that comes in one piece is not copied.
    first: Bytes,
    all: BytesMut,
    is_over: bool,
}

impl Kept {
    /// Nothing, of a body of which at most `max` bytes are kept.
    pub(super) fn new(max: usize) -> Self {
        Self { max, first: Bytes::new(), all: BytesMut::new(), is_over: false }
    }

    /// Another piece has come.
    pub(super) fn add(&mut self, data: &Bytes) {
        let length = self.first.len().max(self.all.len()) + data.len();
        if self.is_over || length > self.max {
            (self.is_over, self.first, self.all) = (true, Bytes::new(), BytesMut::new());
        } else if self.first.is_empty() && self.all.is_empty() {
            self.first = data.clone();
        } else {
            if self.all.is_empty() {
                self.all.extend_from_slice(&self.first);
            }
            self.all.extend_from_slice(data);
        }
    }

    /// All that has come; `None` where that was too much.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        let all = if self.all.is_empty() { std::mem::take(&mut self.first) } else { self.all.split().freeze() };
        (!self.is_over).then_some(all)
    }
}

/// A body that is gathered for a while, and then perhaps goes on.
pub(super) struct Gathered<B> {
    /// What is still to come.
    pub(super) rest: B,
    /// What has come, in pieces.
    pub(super) pieces: Vec<Bytes>,
    length: usize,
    max: usize,
    pub(super) trailers: Option<HeaderMap>,
    /// Whether that was all of it.
    pub(super) is_whole: bool,
}

impl<B> Gathered<B>
where
    B: Body<Data = Bytes, Error = BoxError> + Unpin,
{
    pub(super) const fn new(rest: B, max: usize) -> Self {
        Self { rest, pieces: Vec::new(), length: 0, max, trailers: None, is_whole: false }
    }

    /// Gathers until the body ends, or is more than `max` bytes. Whoever stops waiting has what has come so far.
    pub(super) async fn gather(&mut self) -> Result<(), BoxError> {
        while self.length <= self.max {
            let Some(frame) = self.rest.frame().await else {
                self.is_whole = true;
                return Ok(());
            };
            match frame?.into_data() {
                Ok(data) => {
                    self.length += data.len();
                    self.pieces.push(data);
                }
                Err(frame) => self.trailers = frame.into_trailers().ok(),
            }
        }
        Ok(())
    }

    /// What has come, in one piece.
    pub(super) fn joined(&self) -> Bytes {
        match &self.pieces[..] {
            [] => Bytes::new(),
            [only] => only.clone(),
            pieces => pieces.concat().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{Empty, Full};

    use super::*;

    #[test]
    fn a_body_is_kept_as_long_as_it_is_not_too_large() {
        for (pieces, expected) in [
            (&[][..], Some("")),
            (&["ab"], Some("ab")),
            (&["ab", "", "c"], Some("abc")),
            (&["", "ab", "cd"], Some("abcd")),
            (&["ab", "cde"], None),
            (&["abcde", "f"], None),
            (&["abcde", ""], None),
        ] {
            let mut kept = Kept::new(4);
            for piece in pieces {
                kept.add(&Bytes::from_static(piece.as_bytes()));
            }
            assert_eq!(kept.take().as_deref(), expected.map(str::as_bytes), "{pieces:?}");
        }
    }

    #[tokio::test]
    async fn a_body_is_gathered_to_its_end_or_its_bound() {
        let body = |text: &'static str| Full::new(Bytes::from_static(text.as_bytes())).map_err(BoxError::from);
        for (text, max, whole) in [("abc", 3, true), ("abc", 2, false), ("", 0, true)] {
            let mut gathered = Gathered::new(body(text), max);
            gathered.gather().await.unwrap();
            assert_eq!((gathered.joined(), gathered.is_whole), (Bytes::from_static(text.as_bytes()), whole));
        }
        let mut none = Gathered::new(Empty::new().map_err(BoxError::from), 0);
        none.gather().await.unwrap();
        assert!(none.is_whole && none.pieces.is_empty());
    }
}
