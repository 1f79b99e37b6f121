//! A request's life, once it is parsed. [`stack`] is the order of its layers.

pub(crate) mod cached;
mod exchange;
mod fallback;
mod keyed;
pub(crate) mod refused;
pub(crate) mod stack;
mod unambiguous;
pub(crate) mod unkeyed;
