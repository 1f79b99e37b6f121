//! The `idempotency` policy.

mod params;

pub use params::*;
