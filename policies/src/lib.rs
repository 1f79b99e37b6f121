//! The policies of Mainstay, each usable alone as a `tower` layer.
//!
//! No file, socket or driver is known here. Decision logic is pure (state, event, now); services only carry it out.

pub mod access;
pub mod balance;
pub mod body;
pub mod cache;
pub mod caller;
pub mod circuit_breaker;
pub mod clock;
pub mod concurrency_limit;
pub mod cors;
pub mod evidence;
pub mod fallback;
pub mod faults;
pub mod grpc;
pub mod idempotency;
pub mod operation;
pub mod path;
pub mod problem;
pub mod rate_limit;
pub mod retry;
pub mod timeout;
