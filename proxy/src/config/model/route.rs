//! Which requests go where, under which policy.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};

use mainstay_policies::path::{PathPattern, Rewrite};

use super::{listener::Listener, policy::Policy, upstream::Upstream};

/// A match with an upstream and a policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Its name in logs, metrics and documents: `name:` if given, else the path pattern.
    pub name: Arc<str>,
    /// What it matches.
    pub matches: Match,
    /// Where it leads.
    pub upstream: Arc<Upstream>,
    /// What is enforced; a route without one has the default timeout and nothing else.
    pub policy: Arc<Policy>,
    /// The path that is sent instead of the one that came.
    pub rewrite: Option<Rewrite>,
}

/// What a route matches; every part that is given must match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The path.
    pub path: PathPattern,
    /// Any of these methods; empty means all.
    pub methods: Vec<Method>,
    /// The host, without port, in lower case; `None` means any.
    pub host: Option<String>,
    /// The port that the request asks for; `None` means its scheme's, where a request of a forward proxy's client names one.
    pub port: Option<u16>,
    /// The listeners that it belongs to; empty means every inbound one.
    pub listeners: Vec<Arc<str>>,
    /// Headers with these exact values.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Match {
    /// Every request for a path, on every inbound listener.
    pub const fn of_path(path: PathPattern) -> Self {
        Self { path, methods: Vec::new(), host: None, port: None, listeners: Vec::new(), headers: Vec::new() }
    }

    /// Whether it is one of those that a listener serves.
    pub fn belongs_to(&self, listener: &Listener) -> bool {
        if self.listeners.is_empty() { !listener.is_outbound() } else { self.listeners.contains(&listener.name) }
    }
}
