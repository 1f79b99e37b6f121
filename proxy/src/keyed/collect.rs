//! Reading a body whole, up to a bound.

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use http_body_util::BodyExt;

use crate::body::BoxError;

/// A body that was read.
pub(crate) enum Collected<B> {
    /// All of it; trailers are not kept.
    Whole(Bytes),
    /// It goes on after the bound: what was read so far, and the rest.
    TooLarge { head: Vec<Frame<Bytes>>, rest: B },
}

/// Reads `body` as long as it has no more than `max` bytes.
///
/// # Errors
/// The body broke off.
pub(crate) async fn up_to<B>(mut body: B, max: usize) -> Result<Collected<B>, BoxError>
where
    B: Body<Data = Bytes, Error = BoxError> + Unpin,
{
    let mut frames: Vec<Bytes> = Vec::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        length += data.len();
        frames.push(data);
        if length > max {
            return Ok(Collected::TooLarge { head: frames.into_iter().map(Frame::data).collect(), rest: body });
        }
    }
    Ok(Collected::Whole(match frames.len() {
        0 => Bytes::new(),
        1 => frames.remove(0),
        _ => {
            let mut whole = BytesMut::with_capacity(length);
            for frame in &frames {
                whole.extend_from_slice(frame);
            }
            whole.freeze()
        }
    }))
}

/// Reads a body to its end and keeps nothing.
///
/// # Errors
/// The body broke off.
pub(crate) async fn discard<B>(mut body: B) -> Result<(), BoxError>
where
    B: Body<Data = Bytes, Error = BoxError> + Unpin,
{
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(())
}
