//! What the proxy tells about itself: [traces](trace), [metrics] and [logs], what happens just now (`events`), and the trace
//! context that travels with requests ([propagation]).
//!
//! One rule holds for all of them: no request waits for telemetry and none is lost to it. Every queue is bounded, what does
//! not fit is dropped and counted, and nothing is formatted or allocated for a request that nobody asked to see.
//! Keys, bodies, credentials and query strings never enter.

pub mod build;
pub(crate) mod events;
pub mod logs;
pub mod metrics;
pub mod propagation;
pub mod trace;
