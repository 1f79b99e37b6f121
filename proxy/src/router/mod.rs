//! Which route serves a request: the first in file order that matches.
//!
//! Paths are compiled into a tree of segments, so that a lookup costs the same with one route and with thousands; what a
//! path alone does not decide (method, host, headers) is checked on the few candidates that remain, in file order.
//!
//! Matching is on the normalised path (RFC 3986 section 6.2.2: dot segments removed, needless percent-encoding undone), so
//! that `/%70ayments` cannot slip past the policy of `/payments`. What is forwarded is the path as it came.

use std::collections::BTreeMap;

use http::{HeaderMap, Method, Uri, header::HOST};
use mainstay_policies::path::{PathPattern, Segment, normalise};

use crate::config::model::Match;

#[cfg(test)]
mod tests;

/// What of a request decides its route.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The method.
    pub method: &'a Method,
    /// The host without port, as it came; looked at only if [`Router::asks_for_host`].
    pub host: &'a str,
    /// The port that is asked for; looked at only if [`Router::asks_for_port`], or where a client names one to a forward proxy.
    pub port: Option<AskedPort>,
    /// The path as it came.
    pub path: &'a str,
    /// The header fields.
    pub headers: &'a HeaderMap,
}

/// The port that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskedPort {
    /// As named, or the scheme's own.
    pub number: u16,
    /// Whether only a route that names it may serve the request.
    pub must_be_named: bool,
}

/// Routes, compiled.
pub struct Router<T> {
    routes: Vec<(Match, T)>,
    root: Node,
    asks_for_host: bool,
    asks_for_port: bool,
}

/// A node of the tree; lists hold indices of routes in file order.
#[derive(Default)]
struct Node {
    /// In order: most nodes have a few, of which the right one is found before a hash is made.
    literals: BTreeMap<Box<str>, Node>,
    param: Option<Box<Node>>,
    /// Routes whose pattern ends here.
    ends: Vec<u32>,
    /// Routes whose pattern goes on with `/**` here.
    rest: Vec<u32>,
}

impl<T> Router<T> {
    /// Compiles routes that are given in file order.
    pub fn new(routes: impl IntoIterator<Item = (Match, T)>) -> Self {
        let routes: Vec<_> = routes.into_iter().collect();
        let mut root = Node::default();
        for (index, (matches, _)) in routes.iter().enumerate() {
            root.insert(&matches.path, index as u32);
        }
        let asks_for_host = routes.iter().any(|(matches, _)| matches.host.is_some());
        let asks_for_port = routes.iter().any(|(matches, _)| matches.port.is_some());
        Self { routes, root, asks_for_host, asks_for_port }
    }

    /// Whether any route depends on the host.
    pub fn asks_for_host(&self) -> bool {
        self.asks_for_host
    }

    /// Whether any route depends on the port.
    pub fn asks_for_port(&self) -> bool {
        self.asks_for_port
    }

    /// The first route that matches, with its pattern.
    pub fn find(&self, target: Target<'_>) -> Option<(&T, &Match)> {
        let path = normalise(target.path);
        let mut best = self.routes.len() as u32;
        self.root.search(path.strip_prefix('/').or(Some(&path)), &mut |candidates| {
            let found = candidates.iter().take_while(|index| **index < best).find(|index| {
                let (matches, _) = &self.routes[**index as usize];
                matches_beside_path(matches, &target)
            });
            if let Some(index) = found {
                best = *index;
            }
        });
        self.routes.get(best as usize).map(|(matches, route)| (route, matches))
    }

    /// What is asked of requests for a path on a host beside these two: that of each route that may serve one.
    pub fn offers(&self, path: &str, host: &str) -> impl Iterator<Item = &Match> {
        let path = normalise(path);
        let mut found = Vec::new();
        self.root.search(path.strip_prefix('/').or(Some(&path)), &mut |candidates| found.extend_from_slice(candidates));
        let matches = found.into_iter().filter_map(|index| self.routes.get(index as usize)).map(|(matches, _)| matches);
        matches.filter(move |matches| is_on_host(matches, host))
    }
}

impl Node {
    fn insert(&mut self, pattern: &PathPattern, index: u32) {
        let mut node = self;
        for segment in &pattern.segments {
            node = match segment {
                Segment::Literal(text) => node.literals.entry(text.as_str().into()).or_default(),
                Segment::Param(_) => node.param.get_or_insert_default(),
            };
        }
        if pattern.rest { node.rest.push(index) } else { node.ends.push(index) }
    }

    /// Hands every list of candidates to `offer`. `path` is what is left after the slash; `None` at the end.
    fn search(&self, path: Option<&str>, offer: &mut impl FnMut(&[u32])) {
        offer(&self.rest);
        let Some(path) = path else {
            return offer(&self.ends);
        };
        let (segment, left) = match memchr::memchr(b'/', path.as_bytes()) {
            Some(slash) => (&path[..slash], Some(&path[slash + 1..])),
            None => (path, None),
        };
        if let Some(node) = self.literals.get(segment) {
            node.search(left, offer);
        }
        if let Some(node) = &self.param
            && !segment.is_empty()
        {
            node.search(left, offer);
        }
    }
}

impl<T> Router<T> {
    /// Whether any route leads to a host, and at which ports of it requests in clear are served: `None` is the scheme's own.
    pub fn leads_to<'a>(&'a self, host: &'a str) -> impl Iterator<Item = Option<u16>> + 'a {
        let on_host = self.routes.iter().filter(move |(matches, _)| is_on_host(matches, host));
        on_host.map(|(matches, _)| matches.port)
    }
}

/// Whether a route serves a request, unless one before it does: what [`Router::find`] asks of each.
pub(crate) fn serves(matches: &Match, target: &Target<'_>) -> bool {
    matches.path.captures(&normalise(target.path)).is_some() && matches_beside_path(matches, target)
}

/// The host that the request is for, without its port.
pub(crate) fn host_of<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> &'a str {
    if let Some(host) = uri.host() {
        return host;
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    }
}

/// The port that the request is for, where it says so.
pub(crate) fn port_of(uri: &Uri, headers: &HeaderMap) -> Option<u16> {
    if uri.authority().is_some() {
        return uri.port_u16();
    }
    headers.get(HOST)?.to_str().ok()?.rsplit_once(':')?.1.parse().ok()
}

fn matches_beside_path(matches: &Match, target: &Target<'_>) -> bool {
    (matches.methods.is_empty() || matches.methods.contains(target.method))
        && is_on_host(matches, target.host)
        && target.port.is_none_or(|port| is_on_port(matches, port))
        && matches.headers.iter().all(|(name, value)| target.headers.get_all(name).iter().any(|given| given == value))
}

fn is_on_port(matches: &Match, asked: AskedPort) -> bool {
    matches.port.map_or(!asked.must_be_named, |port| port == asked.number)
}

fn is_on_host(matches: &Match, given: &str) -> bool {
    matches.host.as_ref().is_none_or(|host| given.eq_ignore_ascii_case(host))
}
