//! Accepting HTTP: sockets, client connections, and the bounds on both.

mod connection;
mod framing;
pub mod head;
mod io;
mod phase;
mod socket;
mod untaken;

pub(crate) use connection::{Session, serve};
pub(crate) use phase::{Connection, Connections, Patience, Place, Places, SWEEP_EVERY};
pub(crate) use socket::listen;
