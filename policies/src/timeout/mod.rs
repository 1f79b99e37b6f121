//! The `timeout` policy.

mod params;

pub use params::*;
