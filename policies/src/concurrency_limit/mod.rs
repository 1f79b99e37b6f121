//! The `concurrency_limit` policy.

mod params;

pub use params::*;
