//! Reading a body whole, up to a bound.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body;
use http_body_util::BodyExt;

use super::BoxError;

/// A body that was read.
pub(crate) enum Collected<B> {
    /// All of it.
    Whole { body: Bytes, trailers: Option<HeaderMap> },
    /// It goes on after the bound.
    TooLarge { rest: B },
}

/// Reads `body` as long as it has no more than `max` bytes. The first piece is kept as it is; only a body in several is
/// copied together, so that many small pieces cost no more than their bytes.
///
/// # Errors
/// The body broke off.
pub(crate) async fn up_to<B>(mut body: B, max: usize) -> Result<Collected<B>, BoxError>
where
    B: Body<Data = Bytes, Error = BoxError> + Unpin,
{
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) if first.is_empty() && all.is_empty() => first = data,
            Ok(data) => {
                if all.is_empty() {
                    all.extend_from_slice(&first);
                }
                all.extend_from_slice(&data);
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
        if first.len().max(all.len()) > max {
            return Ok(Collected::TooLarge { rest: body });
        }
    }
    let body = if all.is_empty() { first } else { all.freeze() };
    Ok(Collected::Whole { body, trailers })
}

/// Reads a body to its end and keeps nothing but its trailers.
///
/// # Errors
/// The body broke off.
pub(crate) async fn discard<B>(mut body: B) -> Result<Option<HeaderMap>, BoxError>
where
    B: Body<Data = Bytes, Error = BoxError> + Unpin,
{
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        if let Ok(found) = frame?.into_trailers() {
            trailers = Some(found);
        }
    }
    Ok(trailers)
}
