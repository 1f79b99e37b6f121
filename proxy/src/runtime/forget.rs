//! What a write makes caches forget.

use http::{
    HeaderMap,
    header::{CONTENT_LOCATION, HOST, LOCATION},
};
use mainstay_policies::{
    cache::same_origin_path,
    operation::{Operation, State},
    path::{PathPattern, PathRule, filled, normalise},
};

use super::{route::Route, snapshot::Snapshot};

impl Snapshot {
    /// A write on `route` happened, or may have: what is stored for its path, and what its policy names, is forgotten.
    pub(crate) fn forget(&self, route: &Route, path: &str) {
        if self.caches.is_empty() {
            return;
        }
        let path = normalise(path);
        let service = &route.params.upstream.name;
        let also = route.params.policy.cache.as_ref().map(|cache| &*cache.invalidate).unwrap_or_default();
        let also: Vec<_> = also.iter().map(|pattern| filled(pattern, &route.params.matches.path, &path)).collect();
        for store in self.caches.values() {
            store.invalidate_path(service, &path);
            for (pattern, filled) in &also {
                match filled {
                    Some(path) => store.invalidate_path(service, path),
                    None => store.invalidate_pattern(service, pattern),
                }
            }
        }
    }

    /// The answer to such a write names what it changed beside (RFC 9111 section 4.4): that is forgotten, too.
    pub(crate) fn forget_named(&self, route: &Route, sent: &HeaderMap, path: &str, answer: &HeaderMap) {
        if self.caches.is_empty() {
            return;
        }
        let host = sent.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        for reference in [LOCATION, CONTENT_LOCATION].iter().filter_map(|name| answer.get(name)?.to_str().ok()) {
            let Some(named) = same_origin_path(reference, host, path) else { continue };
            for store in self.caches.values() {
                store.invalidate_path(&route.params.upstream.name, &normalise(&named));
            }
        }
    }

    /// An operation was settled without its request at hand. If it succeeded, what is stored for any path of its route is
    /// forgotten, and what the policy names: its own path is not recorded. Without its route, all of its upstream.
    pub(crate) fn forget_settled(&self, before: State, operation: &Operation) {
        if self.caches.is_empty() || operation.state != State::Succeeded || before == State::Succeeded {
            return;
        }
        let mut patterns: Vec<_> = self
            .routes
            .iter()
            .map(|route| &route.params)
            .filter(|params| params.name == operation.route && params.upstream.name == operation.upstream)
            .flat_map(|params| {
                let also = params.policy.cache.as_ref().map(|cache| &*cache.invalidate).unwrap_or_default();
                std::iter::once(&params.matches.path).chain(also).map(PathPattern::rule)
            })
            .collect();
        if patterns.is_empty() {
            patterns.push(PathRule { segments: Vec::new(), rest: true });
        }
        for store in self.caches.values() {
            for pattern in &patterns {
                store.invalidate_pattern(&operation.upstream, pattern);
            }
        }
    }
}
