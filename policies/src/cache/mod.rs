//! The `cache` policy: a shared cache after RFC 9111, for GET and HEAD.
//!
//! * *What is stored* ([`storable`]): complete answers to GET that say how long they are fresh, or of which a heuristic may
//!   say it; never those marked `no-store` or `private`, those that answer a request with `Authorization` unless the answer
//!   allows it (section 3.5), those with `Set-Cookie` unless they are `public`, and those that vary on everything.
//! * *What may be answered* ([`Stored::verdict`]): a fresh answer; a stale one while it is being revalidated or when the
//!   service fails, within `stale-while-revalidate` and `stale-if-error` (RFC 5861), unless it forbids that; one [`part`] of a
//!   fresh one.
//! * *What is forgotten* ([`Store::invalidate_path`]): a write marks its path. An answer that was asked for before the mark is
//!   not used, whenever it arrived: a fill that raced with the write brings nothing old back.
//!
//! Bounded by bytes. The proxy talks to the service itself; [`CacheLayer`] is for programs that do not run it.
//!
//! ```
//! use std::{convert::Infallible, sync::{Arc, atomic::{AtomicU32, Ordering}}};
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use mainstay_policies::{cache::{Cache, CacheLayer}, clock::WallClock};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! let calls = Arc::new(AtomicU32::new(0));
//! let counted = Arc::clone(&calls);
//! let prices = service_fn(move |_request: Request<Full<Bytes>>| {
//!     counted.fetch_add(1, Ordering::SeqCst);
//!     let answer = Response::builder().header("cache-control", "max-age=60").body(Full::new(Bytes::from("5 EUR")));
//!     async move { Ok::<_, Infallible>(answer.expect("a valid header")) }
//! });
//! let cached = CacheLayer::new(Cache::default(), WallClock::system()).layer(prices);
//!
//! for _ in 0..3 {
//!     let answer = cached.clone().oneshot(Request::get("/price").body(Full::default())?).await?;
//!     assert_eq!(answer.status(), 200);
//! }
//! assert_eq!(calls.load(Ordering::SeqCst), 1);
//! # Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
//! # }).unwrap();
//! ```

mod body;
mod date;
mod directives;
mod flights;
mod freshness;
mod layer;
mod located;
mod params;
mod part;
mod store;
mod stored;
#[cfg(test)]
mod tests;
mod validation;
mod vary;

pub use body::CacheBody;
pub use flights::{Flight, Flown, Lead};
pub use freshness::{forbids_storing, storable};
pub use layer::*;
pub use located::same_origin_path;
pub use params::*;
pub use part::{Part, part, part_headers};
pub use store::{Key, Store};
pub use stored::{Stored, Verdict};
pub use validation::{is_not_modified, not_modified_headers, refreshed, validators};
