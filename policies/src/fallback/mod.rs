//! The `fallback` policy: what a caller gets instead of a refusal or a failure.
//!
//! Only where nothing is lost by it: for safe methods, and for writes of which it is proven that nothing reached the
//! application ([`Sent::No`]). A write that may have happened is never answered with something else.
//!
//! | reason | what happened |
//! |---|---|
//! | `circuit-open` | the breaker made no call |
//! | `overloaded`, `rate-limited` | a limit refused the request |
//! | `timeout` | an attempt's time or the total time ran out |
//! | `5xx` | the service answered so, or could not be reached |
//!
//! ```
//! use http::{Method, StatusCode};
//! use mainstay_policies::{evidence::Sent, fallback::{Answer, Fallback, Reason, To}};
//!
//! let fallback = Fallback { on: vec![Reason::ServerError], to: To::Answer(Answer::status(StatusCode::OK)) };
//! assert!(fallback.applies(Reason::ServerError, &Method::GET, Sent::Maybe));
//! assert!(!fallback.applies(Reason::ServerError, &Method::POST, Sent::Maybe), "it may have happened");
//! assert!(fallback.applies(Reason::ServerError, &Method::POST, Sent::No));
//! assert!(!fallback.applies(Reason::Timeout, &Method::GET, Sent::No), "not listed");
//! ```

mod layer;
mod params;
#[cfg(test)]
mod tests;

pub use layer::*;
pub use params::*;

use http::Method;

use crate::evidence::{AttemptError, Cause, Sent};

impl Fallback {
    /// Whether the caller gets the fallback. `sent` is what is known of all attempts together.
    pub fn applies(&self, reason: Reason, method: &Method, sent: Sent) -> bool {
        (method.is_safe() || sent == Sent::No) && self.on.contains(&reason)
    }
}

impl Reason {
    /// Why an attempt without a response calls for a fallback; `None`: it is the caller's own doing, or ours.
    pub fn of_attempt(error: &AttemptError) -> Option<Self> {
        match error.cause {
            Cause::AttemptTimeout | Cause::TotalTimeout => Some(Self::Timeout),
            Cause::RequestBody | Cause::Drain => None,
            Cause::Connect | Cause::Tls | Cause::Refused | Cause::Reset | Cause::Malformed => Some(Self::ServerError),
        }
    }
}
