//! The `circuit_breaker` policy.

mod params;

pub use params::*;
