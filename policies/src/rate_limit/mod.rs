//! The `rate_limit` policy.

mod params;

pub use params::*;
