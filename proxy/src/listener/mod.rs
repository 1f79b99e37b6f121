//! Accepting HTTP: sockets, client connections, and the bounds on both.
//!
//! HTTP/1.1 is our own: `http1` is a connection's life; `search`, `request` and `reply` are pure and turn bytes into requests
//! and answers into bytes; `wire` and `writer` do the reading and the writing. HTTP/2 is `streams`, over `h2` and the bytes of
//! `http2`.

mod buffers;
mod connection;
pub mod head;
mod http1;
mod http2;
mod incoming;
mod phase;
mod reply;
pub mod request;
mod search;
mod socket;
mod streams;
mod untaken;
mod upgrade;
mod wire;
mod writer;

pub(crate) use connection::{Session, serve};
pub(crate) use incoming::{Beside, ClientIncoming, ClientRequest, Serve};
pub(crate) use phase::{Connection, Connections, Patience, Place, Places, SWEEP_EVERY};
pub(crate) use socket::listen;
pub(crate) use upgrade::Upgrade;
