//! The `cache` policy: a shared cache after RFC 9111, for GET and HEAD.
//!
//! * *What is stored* ([`storable`]): complete answers to GET that say how long they are fresh, or of which a heuristic may
//!   say it; never those marked `no-store` or `private`, those that answer a request with `Authorization` unless the answer
//!   allows it (section 3.5), those with `Set-Cookie` unless they are `public`, and those that vary on everything.
//! * *What may be answered* ([`Stored::verdict`]): a fresh answer; a stale one while it is being revalidated or when the
//!   service fails, within `stale-while-revalidate` and `stale-if-error` (RFC 5861), unless it forbids that.
//! * *What is forgotten* ([`Store::invalidate_path`]): a write marks its path. An answer that was asked for before the mark is
//!   not used, whenever it arrived: a fill that raced with the write brings nothing old back.
//!
//! Bounded by bytes. The proxy talks to the service; this room decides and keeps.

mod directives;
mod flights;
mod freshness;
mod params;
mod store;
#[cfg(test)]
mod tests;
mod validation;

pub use flights::{Flight, Flown, Lead};
pub use freshness::{Stored, Verdict, storable};
pub use params::*;
pub use store::{Key, Store};
pub use validation::{is_not_modified, not_modified_headers, refreshed, validators};
