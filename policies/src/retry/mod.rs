//! The `retry` policy.

mod params;

pub use params::*;
