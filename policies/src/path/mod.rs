//! Paths: their normal form, and what has the shape that somebody wrote down.
//!
//! All who compare paths do it here, on the [normal form](normalise): the router, access lists, caches that forget, and whoever
//! finds the route of a path without a request.

mod normal;
mod rule;

pub use normal::normalise;
pub(crate) use normal::recode;
pub use rule::PathRule;
