//! HTTP/2 (RFC 9113) as both sides of the proxy need it, over the `h2` crate, which knows frames, windows and streams.
//!
//! | room | says |
//! |---|---|
//! | `body` | what arrives on a stream, and when its window opens again |
//! | `outflow` | a body on its way out, as fast as the peer's windows take it |
//! | `fields` | which header fields HTTP/2 has no place for, and what a length field says |
//! | `keep_alive` | whether the peer is still there |

mod body;
pub(crate) mod fields;
mod keep_alive;
mod outflow;

pub(crate) use body::Http2Body;
pub(crate) use keep_alive::{Heard, KeepAlive, Pulse};
pub(crate) use outflow::{Outflow, Stuck};

/// Flow-control windows, on both sides: large enough for a fast local link, and all that a peer can make wait in memory while
/// the other side does not read.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// Of all streams of a connection together.
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// What one stream may have in memory that its peer has not taken: as much as may wait in the other direction.
pub(crate) const SEND_BUFFER_BYTES: usize = STREAM_WINDOW_BYTES as usize;

/// Streams that one connection may make us reset by its errors before it ends (CVE-2025-8671).
pub(crate) const RESET_BY_ERROR_STREAMS: usize = 1024;

/// Streams that we have reset and still remember, so that what is on its way to them is passed over.
pub(crate) const REMEMBERED_RESET_STREAMS: usize = 50;
