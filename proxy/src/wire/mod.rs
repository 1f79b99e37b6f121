//! HTTP as both sides need it: heads, fields, bodies, and what a proxy changes in them.

pub mod body;
pub(crate) mod forward;
pub(crate) mod gate;
pub mod http1;
pub(crate) mod http2;
pub mod interim;
pub(crate) mod trailers;
pub(crate) mod via;
