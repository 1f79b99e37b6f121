//! Accepting HTTP: sockets, client connections, and the bounds on both.
//!
//! HTTP/1.1 is our own: `http1` is a connection's life; `search`, `request` and `reply` are pure and turn bytes into requests
//! and answers into bytes; `wire` and `writer` do the reading and the writing. HTTP/2 is `streams`, over `h2` and the bytes of
//! `http2`.

pub(crate) mod body;
mod buffers;
mod connection;
mod ending;
pub(crate) mod handshake;
pub mod http1;
pub mod http2;
mod incoming;
pub(crate) mod local;
mod phase;
mod places;
mod socket;
mod sweep;
mod ticks;
mod untaken;

pub(crate) use self::http1::upgrade::Upgrade;
pub(crate) use self::{connection::serve, incoming::Serving};
pub(crate) use self::{
    ending::Ending,
    phase::{Connection, Patience},
    places::{Place, Places},
    sweep::Connections,
    ticks::SWEEP_EVERY,
};
pub(crate) use incoming::{ClientExtras, ClientIncoming, ClientRequest, Serve};
pub(crate) use socket::listen;
