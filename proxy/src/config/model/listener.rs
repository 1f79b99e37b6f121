//! Where HTTP is accepted, and how the caller is known.

use std::{net::SocketAddr, sync::Arc};

use http::HeaderName;
use mainstay_policies::access::AccessList;

/// An address on which Mainstay accepts HTTP.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Its name.
    pub name: Arc<str>,
    /// Where it listens.
    pub address: SocketAddr,
    /// How the caller is known.
    pub principal: Principal,
    /// Whether deadlines in request headers are honoured.
    pub trust_deadline: bool,
    /// `None` lets everybody in.
    pub access: Option<Arc<AccessList>>,
}

/// How the caller is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Not at all.
    Anonymous,
    /// By a header that a trusted front sets.
    Header(HeaderName),
}
