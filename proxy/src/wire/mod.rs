//! What both sides speak: HTTP (heads, fields, bodies, and what a proxy changes in them), and TLS below it.

pub(crate) mod age;
pub mod body;
pub mod direction;
pub mod field_source;
pub(crate) mod forward;
pub(crate) mod gate;
pub mod http1;
pub(crate) mod http2;
pub mod interim;
pub(crate) mod peer;
pub mod tls;
pub(crate) mod trailers;
pub(crate) mod transport;
pub(crate) mod turns;
pub(crate) mod via;
