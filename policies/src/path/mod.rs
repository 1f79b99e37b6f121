//! Paths: their normal form, and what has the shape that somebody wrote down.
//!
//! All who compare paths do it here, on the [normal form](normalise): the router, access lists, caches that forget, and whoever
//! looks for the route of a path without a request. So `/%70ayments` is `/payments` to each of them, or to none.

mod normal;
mod pattern;
mod rewrite;
mod rule;

pub use normal::normalise;
pub(crate) use normal::recode;
pub use pattern::{InvalidPattern, MAX_SEGMENTS, PathPattern, Segment, filled, params};
pub use rewrite::{InvalidRewrite, Rewrite};
pub use rule::{PathRule, after_root, split_first};
