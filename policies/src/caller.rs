//! Who is calling, as whoever accepted the request has established it: extensions of a request, which the policies read.
//!
//! They are three things. An address is where a connection comes from; a principal is who somebody has proven to be; a caller
//! is the one of both by which a limit counts and a cache keeps private answers apart.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;

/// The client's address: a request extension, set by whoever accepted the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// Who is calling, as the program has established it: put into the request's extensions before this layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal(pub Bytes);

/// Who is calling: a request extension, for a limit by principal or client address, set by whoever knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller(pub Arc<[u8]>);
