//! A request's life, once it is parsed. [`stack`] is the order of its layers.

mod admission;
mod arrival;
pub(crate) mod cached;
mod connect;
mod control;
mod cors;
mod egress;
mod exchange;
mod fallback;
mod heads;
mod keyed;
mod max_forwards;
pub(crate) mod refused;
mod routed;
pub(crate) mod session;
pub(crate) mod stack;
pub(crate) mod told;
mod unambiguous;
pub(crate) mod unkeyed;
mod xfcc;
