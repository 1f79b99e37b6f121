//! The `access` policy: who may send what.
//!
//! `deny` wins: a request that a deny rule matches is refused, whatever `allow` says. Where there are allow rules, a request
//! that none of them matches is refused as well. A rule matches if every part that it gives does: the client's address in one
//! of its networks (CIDR, RFC 4632), one of its methods, its path, who is calling.
//!
//! A path is denied if anything that a service may take it for is, and allowed only if all of that is: `//admin`, `/x%2F..%2Fadmin`
//! and `/admin;v=1` are no ways around a rule for `/admin` (module `reading`).
//!
//! The client is the peer of the connection: a header like `X-Forwarded-For` says what its sender likes. Where [`Peers`] are
//! trusted to say whom they forward for, [`ForwardedField`] reads it from them.
//!
//! ```
//! use mainstay_policies::access::{AccessList, Rule};
//! use http::Method;
//!
//! let list = AccessList {
//!     allow: vec![Rule { clients: vec!["10.0.0.0/8".parse()?], ..Rule::default() }],
//!     deny: vec![Rule { methods: vec![Method::DELETE], ..Rule::default() }],
//! };
//! let inside = "10.1.2.3".parse()?;
//! assert!(list.admits(inside, &Method::GET, "/orders"));
//! assert!(!list.admits(inside, &Method::DELETE, "/orders"));
//! assert!(!list.admits("192.0.2.1".parse()?, &Method::GET, "/orders"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cidr;
mod forwarded;
mod layer;
mod list;
mod peers;
mod reading;
#[cfg(test)]
mod tests;

pub use crate::{caller::ClientAddress, path::PathRule};
pub use cidr::*;
pub use forwarded::{ForwardedField, counted};
pub use layer::*;
pub use list::*;
pub use peers::{Peer, Peers};
