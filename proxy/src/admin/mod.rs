//! Listeners for those who run the proxy, apart from those for traffic: [probes] and metrics, read only.

pub mod probes;
pub mod readiness;
#[cfg(test)]
mod tests;
