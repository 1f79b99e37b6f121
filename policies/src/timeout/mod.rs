//! The `timeout` policy: how long a request, an attempt and a silence may last.
//!
//! `total` runs from the end of the request to the response's head, `attempt` bounds each attempt within it (as layers, which see
//! no body's end, they run from the call: put them behind whatever reads the body), and
//! `idle` bounds silence in a body ([`IdleBody`]). A timeout says nothing about whether the service acted.
//!
//! The time that remains travels upstream as `Mainstay-Deadline-Ms`. A gRPC call's own deadline, `grpc-timeout`, is the
//! caller's: it passes, only ever shortened, and none is made for a call that has none:
//!
//! ```
//! use std::time::Duration;
//! use mainstay_policies::timeout::{deadline_from_headers, set_deadline_headers};
//!
//! let mut headers = http::HeaderMap::new();
//! set_deadline_headers(&mut headers, Duration::from_millis(1500), None);
//! assert_eq!(headers["mainstay-deadline-ms"], "1500");
//! assert_eq!(deadline_from_headers(&headers), Some(Duration::from_millis(1500)));
//! assert!(!headers.contains_key("grpc-timeout"));
//! ```

mod deadline;
mod error;
mod idle;
mod layer;
mod params;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use deadline::*;
pub use error::*;
pub use idle::*;
pub use layer::*;
pub use params::*;
