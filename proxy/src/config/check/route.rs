//! What on a route cannot work as it looks: writes, keys, and requests that never come.

use std::{collections::HashMap, sync::Arc};

use http::Method;
use mainstay_policies::{
    evidence::{Evidence, Verdict},
    idempotency::{Idempotency, KeyFrom, KeyTemplate, Rule},
    path::{PathPattern, Segment},
    retry::Condition,
};

use super::found::Found;
use crate::config::{
    model::{Config, HostRule, Match, Route},
    raw::split_variables,
};

/// What a path is thought to mean by those who write regular expressions.
const REGEX: [char; 8] = ['[', ']', '+', '(', ')', '^', '$', '\\'];
/// The methods whose repeats may do something twice, and which `idempotency` protects unless it says otherwise.
const WRITES: [Method; 2] = [Method::POST, Method::PATCH];

pub(super) fn find(config: &Config, found: &mut Found<'_>) {
    replays(config, found);
    strange_keys(config, found);
    let mut earlier = Earlier::default();
    for (index, route) in config.routes.iter().enumerate() {
        let number = index.to_string();
        paths(config, route, &number, found);
        writes(route, &number, found);
        shared_keys(&config.routes[..index], route, found);
        hosts(route, &number, found);
        if let Some(first) = earlier.covering(config, &route.matches) {
            let message = format!(
                "route `{}` never matches: the earlier route `{}` takes all of its requests",
                route.name, first.name
            );
            found.warn("never-matches", &["routes", &number, "match"], message, "put the narrower one first");
        }
        earlier.add(index, &route.matches.path);
    }
}

/// Preflights that go to the service, where answers do not always come from there.
fn replays(config: &Config, found: &mut Found<'_>) {
    let Some(listener) = config.listeners.iter().find(|listener| listener.cors.is_none()) else { return };
    let protects = |route: &&Arc<Route>| route.policy.idempotency.is_some();
    let Some(protected) = config.routes.iter().find(protects) else { return };
    for (index, route) in config.routes.iter().enumerate() {
        if route.matches.methods.contains(&Method::OPTIONS) {
            let message = format!(
                "route `{}`: preflights go to the service, but replays and refusals of route `{}` carry no CORS headers: a \
                 page of another origin cannot read them",
                route.name, protected.name
            );
            let cure =
                format!("add `cors: {{ origins: [...] }}` to listener `{}`, or leave OPTIONS out", listener.name);
            found.warn("replays-without-cors", &["routes", &index.to_string(), "match", "methods"], message, cure);
        }
    }
}

/// Paths that do not mean what they look like.
fn paths(config: &Config, route: &Route, number: &str, found: &mut Found<'_>) {
    let text = &route.matches.path.text;
    // A match may be its path alone.
    let short = ["routes", number, "match"];
    let long = ["routes", number, "match", "path"];
    let at: &[&str] = if found.says(&short, text) { &short } else { &long };
    if text.contains(REGEX) {
        let message = format!(
            "route `{}`: `{text}` looks like a regular expression, and is matched letter by letter",
            route.name
        );
        found.warn("looks-like-regex", at, message, "paths are literal; {name} stands for one segment");
    }
    if text.len() > 1 && text.ends_with('/') {
        let message = format!("route `{}`: `{text}` does not match `{}`", route.name, text.trim_end_matches('/'));
        found.note("trailing-slash", at, message, "leave the slash out, unless the service insists on it");
    }
    let under = |rest: &str| rest.is_empty() || rest.starts_with('/');
    if text.strip_prefix(&*config.control.path).is_some_and(under) {
        let message = format!("route `{}` never matches: `{}` belongs to Mainstay", route.name, config.control.path);
        found.warn("never-matches", at, message, "move `control.path`");
    }
}

/// Writes without a key, and retries of those with one.
fn writes(route: &Route, number: &str, found: &mut Found<'_>) {
    let policy = &route.policy;
    let methods = &route.matches.methods;
    let protected = policy.idempotency.as_ref().map(|idempotency| idempotency.methods.as_slice()).unwrap_or_default();
    let matched = |method: &&Method| methods.is_empty() || methods.contains(method);
    let (keyed, bare): (Vec<&Method>, Vec<&Method>) =
        WRITES.iter().filter(matched).partition(|method| protected.contains(method));
    let list = |methods: &[&Method]| methods.iter().map(|method| method.as_str()).collect::<Vec<_>>().join(" and ");
    let path = ["routes", number];
    // What was provably not sent may be sent by anybody, and a policy that asks for no more gets what it says.
    let is_unsent = |condition: &Condition| matches!(condition, Condition::ConnectError | Condition::Refused);
    let retries = policy.retry.as_ref().is_some_and(|it| it.max_retries > 0 && !it.on.iter().all(is_unsent));
    let off = found.says(&["policies", &policy.name, "idempotency"], "off");
    let name = &route.name;
    if !bare.is_empty() && !off {
        let once = if retries { ", and they are retried only when nothing was sent" } else { "" };
        let message = format!(
            "route `{name}`: {} requests carry no key here: nobody can tell what became of one whose answer is lost{once}",
            list(&bare)
        );
        let narrower = if methods.is_empty() { "name the `methods` of this route, or " } else { "" };
        let cure = format!("{narrower}add `idempotency` to the policy, or say `idempotency: off`");
        found.warn("unprotected-write", &path, message, cure);
    }
    if !bare.is_empty() && off && retries {
        let message = format!(
            "route `{name}`: {} requests carry no key here, so they are retried only when nothing was sent",
            list(&bare)
        );
        found.warn("retry-without-key", &path, message, "add `idempotency`, or give writes a policy without `retry`");
    }
    if !keyed.is_empty() && retries && !route.upstream.honours_key {
        let message = format!(
            "route `{name}`: upstream `{}` does not declare `honours_key: true`, so keyed {} requests are retried only when nothing \
             was sent",
            route.upstream.name,
            list(&keyed)
        );
        let cure = "declare it if the service executes a key once, or retry on [connect_error, refused] only";
        found.warn("retry-not-honoured", &path, message, cure);
    }
}

/// The template from which a policy makes keys.
pub(super) fn template_of(idempotency: &Idempotency) -> Option<&KeyTemplate> {
    match &idempotency.key.from {
        Some(KeyFrom::Template(template)) => Some(template),
        Some(KeyFrom::Content { .. }) | None => None,
    }
}

/// Keys that are made of what the service knows by itself, where a client's own key counts before it: of a write under such a
/// key the service is asked by what it may never have seen, and its no is believed. A key of the whole content is known to
/// nobody but by its header, so whoever is asked by it has stored what stood there; and so has a service that honours keys.
/// Whoever has written the header has meant it.
fn strange_keys(config: &Config, found: &mut Found<'_>) {
    let frees = |rule: &Rule| matches!(rule.then, Verdict::NotFound | Verdict::Evidence(Evidence::NotExecuted));
    for policy in &config.policies {
        let name = &*policy.name;
        let Some(idempotency) = &policy.idempotency else { continue };
        let (Some(template), Some(status)) = (template_of(idempotency), &idempotency.status) else { continue };
        let asks_by_key = split_variables(&status.path).is_some_and(|names| names.contains(&"key"));
        let is_stored = |route: &Arc<Route>| route.policy.name != policy.name || route.upstream.honours_key;
        if !asks_by_key
            || !status.rules.iter().any(frees)
            || config.routes.iter().all(is_stored)
            || found.writes(&["policies", name, "idempotency", "key", "header"])
        {
            continue;
        }
        let template = template.as_str();
        let message = format!(
            "policy `{name}`: a key that a client sends in `Idempotency-Key` counts before the one that is made of `{template}`, and \
             `status.request` asks by it: a service that knows its own reference only has never seen it, says that there is no such \
             write, and is believed, so that a repeat executes again"
        );
        let cure = format!(
            "name a header that no client sends: `key: {{ header: X-Write-Ref, from: \"{template}\" }}`; if the service stores the \
             key that it gets, say so by naming the usual one: `header: Idempotency-Key`"
        );
        found.warn("status-key-mismatch", &["policies", name, "idempotency", "key", "from"], message, cure);
    }
}

/// Routes whose writes get the same keys.
fn shared_keys(earlier: &[Arc<Route>], route: &Route, found: &mut Found<'_>) {
    let template = |route: &Route| route.policy.idempotency.as_ref().and_then(template_of).cloned();
    let Some(keys) = template(route) else { return };
    let mut earlier = earlier.iter().filter(|earlier| earlier.upstream.name == route.upstream.name);
    if let Some(earlier) = earlier.find(|earlier| template(earlier).as_ref() == Some(&keys)) {
        let message = format!(
            "route `{}`: its keys are those of route `{}`, so the second of two writes gets 422",
            route.name, earlier.name
        );
        let path = ["policies", &route.policy.name, "idempotency", "key", "from"];
        let cure = "begin `key.from` with a word of its own in each policy, such as `like:`";
        found.warn("shared-keys", &path, message, cure);
    }
}

/// A host that callers ask for, where another one is sent. Whoever has said which one has meant it.
fn hosts(route: &Route, number: &str, found: &mut Found<'_>) {
    let upstream = &route.upstream;
    let Some(asked) = route.matches.host.as_deref().filter(|_| !found.writes(&["upstreams", &upstream.name, "host"]))
    else {
        return;
    };
    let mut sent = upstream.endpoints.iter().filter(|_| upstream.host == HostRule::Endpoint);
    if let Some(other) = sent.find(|endpoint| !endpoint.authority.host().eq_ignore_ascii_case(asked)) {
        let sent = other.authority.host();
        let message = format!(
            "route `{}`: callers ask for `{asked}`, and upstream `{}` is asked for `{sent}`, which is the name that its certificate \
             proves",
            route.name, upstream.name
        );
        let cure =
            format!("if that is meant, say `host: endpoint` at the upstream; if it serves `{asked}`, `host: keep`");
        found.warn("host-differs", &["routes", number, "match", "host"], message, cure);
    }
}

/// The routes before, as a tree of their paths' segments, so that thousands of routes are not compared with each other.
#[derive(Default)]
struct Earlier {
    literals: HashMap<String, Earlier>,
    param: Option<Box<Earlier>>,
    /// Routes whose paths end here.
    exact: Vec<usize>,
    /// Routes whose paths end here with any rest.
    rest: Vec<usize>,
}

impl Earlier {
    fn add(&mut self, index: usize, path: &PathPattern) {
        let mut node = self;
        for segment in &path.segments {
            node = match segment {
                Segment::Literal(text) => node.literals.entry(text.clone()).or_default(),
                Segment::Param(_) => node.param.get_or_insert_default(),
            };
        }
        if path.rest { &mut node.rest } else { &mut node.exact }.push(index);
    }

    /// The first route that takes everything that this match would.
    fn covering<'r>(&self, config: &'r Config, matches: &Match) -> Option<&'r Route> {
        let mut candidates = Vec::new();
        self.collect(&matches.path.segments, matches.path.rest, &mut candidates);
        candidates.retain(|index| covers(config, &config.routes[*index].matches, matches));
        candidates.iter().min().map(|index| &*config.routes[*index])
    }

    /// The routes whose paths cover these segments.
    fn collect(&self, segments: &[Segment], rest: bool, found: &mut Vec<usize>) {
        found.extend(&self.rest);
        let Some((first, others)) = segments.split_first() else {
            if !rest {
                found.extend(&self.exact);
            }
            return;
        };
        let literal = match first {
            Segment::Literal(text) => self.literals.get(text),
            Segment::Param(_) => None,
        };
        // A parameter is never empty, as the segment behind a last slash is.
        let param = self.param.as_deref().filter(|_| !matches!(first, Segment::Literal(text) if text.is_empty()));
        for next in literal.into_iter().chain(param) {
            next.collect(others, rest, found);
        }
    }
}

/// Whether everything that the second matches is matched by the first, whose path covers the second's.
fn covers(config: &Config, first: &Match, second: &Match) -> bool {
    let methods = first.methods.is_empty()
        || (!second.methods.is_empty() && second.methods.iter().all(|method| first.methods.contains(method)));
    let host = first.host.is_none() || first.host == second.host;
    let headers = first.headers.iter().all(|header| second.headers.contains(header));
    let port = first.port.is_none() || first.port == second.port;
    methods && host && port && headers && is_wherever(config, first, second)
}

/// Whether the first belongs to every listener that the second belongs to.
fn is_wherever(config: &Config, first: &Match, second: &Match) -> bool {
    first.listeners == second.listeners
        || config.listeners.iter().all(|listener| first.belongs_to(listener) || !second.belongs_to(listener))
}
