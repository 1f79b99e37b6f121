//! What a configuration is while it is served.

pub(crate) mod gauges;
pub mod readiness;
pub(crate) mod snapshot;
