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
    /// Who may be calling, as the listener knows callers; empty means anybody, also nobody known.
    pub principals: Vec<PrincipalPattern>,
}

/// A caller by name: `spiffe://prod/ns/shop/sa/web`, or with `/**` at its end all that are below: `spiffe://prod/ns/shop/**`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrincipalPattern(pub String);

impl PrincipalPattern {
    /// Whether it means `principal`. Below means a segment further: `a/**` is no `ab`.
    pub fn matches(&self, principal: &[u8]) -> bool {
        match self.0.strip_suffix("/**") {
            None => self.0.as_bytes() == principal,
            Some(above) => {
                let below = principal.strip_prefix(above.as_bytes());
                below.is_some_and(|rest| rest.len() > 1 && rest[0] == b'/')
            }
        }
    }
}

impl AccessList {
    /// Whether the request may pass. `path` is as it was sent, without a query.
    pub fn admits(&self, client: IpAddr, method: &Method, path: &str) -> bool {
        self.admits_caller((client, None), method, path)
    }

    /// The same for a caller who is known by name, or not.
    pub fn admits_caller(&self, caller: (IpAddr, Option<&[u8]>), method: &Method, path: &str) -> bool {
        let has_paths = self.allow.iter().chain(&self.deny).any(|rule| rule.path.is_some());
        if !has_paths {
            return self.admits_reading(caller, method, path);
        }
        // Any of them is what the service may act on.
        readings(path).iter().all(|path| self.admits_reading(caller, method, path))
    }

    fn admits_reading(&self, caller: (IpAddr, Option<&[u8]>), method: &Method, path: &str) -> bool {
        let matches = |rule: &Rule| rule.matches(caller, method, path);
        !self.deny.iter().any(matches) && (self.allow.is_empty() || self.allow.iter().any(matches))
    }
}

impl Rule {
    fn matches(&self, (client, principal): (IpAddr, Option<&[u8]>), method: &Method, path: &str) -> bool {
        (self.clients.is_empty() || self.clients.iter().any(|network| network.contains(client)))
            && (self.methods.is_empty() || self.methods.contains(method))
            && self.path.as_ref().is_none_or(|rule| rule.matches(path))
            && (self.principals.is_empty()
                || principal.is_some_and(|principal| self.principals.iter().any(|pattern| pattern.matches(principal))))
    }
}
