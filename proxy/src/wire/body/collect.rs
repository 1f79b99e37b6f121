//! Reading a body whole, up to a bound.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body;
use http_body_util::BodyExt;

use super::BoxError;
use crate::wire::turns::{STEP_BYTES, Turn};

/// A body that was read.
pub(crate) enum Collected<B> {
    /// All of it.
    Whole { body: Bytes, trailers: Option<HeaderMap> },
    /// It goes on after the bound.
    TooLarge { rest: B },
}

/// Reads `body` as long as it has no more than `max` bytes. The first piece is kept as it is; only a body in several is
/// copied together, so that many small pieces cost no more than their bytes, and a long body comes in [turns](Turn).
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
    let (mut turn, mut taken) = (Turn::default(), 0);
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) if first.is_empty() && all.is_empty() => first = data,
            Ok(data) => {
                if all.is_empty() {
                    // What was announced, so that it is not moved while it grows; the memory is the kernel's until it is written.
                    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(max);
                    all.reserve((first.len() + data.len()).saturating_add(announced).min(max));
                    all.extend_from_slice(&first);
                }
                all.extend_from_slice(&data);
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
        let length = first.len().max(all.len());
        if length > max {
            return Ok(Collected::TooLarge { rest: body });
        }
        // Of a long one the first step is due as soon as it begins: many may begin at once.
        let is_long = taken == 0 && body.size_hint().lower() > STEP_BYTES as u64;
        if (is_long || length - taken >= STEP_BYTES) && !body.is_end_stream() {
            turn.take().await;
            taken = length;
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
