//! Which requests go where, under which policy.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};

use mainstay_policies::path::PathPattern;

use super::{policy::Policy, upstream::Upstream};

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
    /// Headers with these exact values.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}
