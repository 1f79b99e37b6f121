//! Lists of rules, and their decision.

use std::net::IpAddr;

use http::Method;

use super::{Cidr, reading::readings};
use crate::path::PathRule;

/// Who may send what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessList {
    /// If there are any, one must match.
    pub allow: Vec<Rule>,
    /// None may match.
    pub deny: Vec<Rule>,
}

/// Matches a request if every part that is given does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Networks that the client may be in; empty means any.
    pub clients: Vec<Cidr>,
    /// Methods; empty means any.
    pub methods: Vec<Method>,
    /// The path; `None` means any.
    pub path: Option<PathRule>,
}

impl AccessList {
    /// Whether the request may pass. `path` is as it was sent, without a query.
    pub fn admits(&self, client: IpAddr, method: &Method, path: &str) -> bool {
        let has_paths = self.allow.iter().chain(&self.deny).any(|rule| rule.path.is_some());
        if !has_paths {
            return self.admits_reading(client, method, path);
        }
        // Any of them is what the service may act on.
        readings(path).iter().all(|path| self.admits_reading(client, method, path))
    }

    fn admits_reading(&self, client: IpAddr, method: &Method, path: &str) -> bool {
        let matches = |rule: &Rule| rule.matches(client, method, path);
        !self.deny.iter().any(matches) && (self.allow.is_empty() || self.allow.iter().any(matches))
    }
}

impl Rule {
    fn matches(&self, client: IpAddr, method: &Method, path: &str) -> bool {
        (self.clients.is_empty() || self.clients.iter().any(|network| network.contains(client)))
            && (self.methods.is_empty() || self.methods.contains(method))
            && self.path.as_ref().is_none_or(|rule| rule.matches(path))
    }
}
