//! `routes`.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};

use mainstay_policies::path::{InvalidRewrite, PathPattern, Rewrite};
use serde_json::{Value, json};

use crate::config::{
    decode::{Cx, Setting, any_of, or, section},
    definitions::Definitions,
    model::Match,
    node::{At, Kind, Node},
    scalars::integer_schema,
};

section! {
    /// Where a request goes, and what is enforced on the way.
    RawRoute {
        /// Its name in logs, metrics and documents. Default: its path.
        name: At<RouteName>,
        /// What it matches: a path, or a map of path, methods, host and headers.
        matches["match"]: Match = required,
        /// Where it leads, by name.
        upstream: At<String> = required,
        /// What is enforced, by name. Default: the default timeout and nothing else.
        policy: At<String>,
        /// The path that is sent, where the service knows it by another. Default: the path as it came.
        rewrite: Rewrite,
    }
}

section! {
    /// Another beginning of the path, in what is sent alone: routes, fingerprints and status queries have the path as it came.
    RawRewrite {
        /// The beginning that is taken off; every path of the route must have it. Default: nothing.
        strip_prefix: String,
        /// The beginning that is put before the rest. Default: nothing.
        prefix: String,
    }
}

impl Setting for Rewrite {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let raw = RawRewrite::decode(node, cx)?;
        let (strip_prefix, prefix) = (or(raw.strip_prefix, String::new()), or(raw.prefix, String::new()));
        match Self::new(&strip_prefix, &prefix) {
            Ok(rewrite) => Some(rewrite),
            Err(InvalidRewrite::Nothing) => {
                cx.error(node.at, "`rewrite` changes nothing", "give it `strip_prefix`, `prefix` or both")
            }
            Err(error @ InvalidRewrite::NoPrefix(_)) => {
                cx.error(node.at, error.to_string(), "write it as /stripe/v1: whole segments, and no slash at the end")
            }
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        RawRewrite::schema(definitions)
    }
}

section! {
    /// What a route matches; every part that is given must match.
    RawMatch {
        /// Exact, with `{name}` for one segment, with a last `/**` for any rest. Default /**.
        path: PathPattern,
        /// Any of these methods. Default: all.
        methods: Vec<Method>,
        /// The listeners that it belongs to, by name: one or several. Default: every inbound one, and no outbound one.
        listener: Listeners,
        /// The host, without a port. Default: any.
        host: Host,
        /// The port that is asked for, where it is not the scheme's own. Default: the scheme's, or whatever `Host` says.
        port: Port,
        /// Headers with these exact values.
        headers: Headers,
    }
}

impl Setting for Match {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if node.scalar().is_some() {
            let path = PathPattern::decode(node, cx)?;
            return Some(Self::of_path(path));
        }
        let raw = RawMatch::decode(node, cx)?;
        if let Some(methods) = raw.methods.as_ref().filter(|methods| methods.value.is_empty()) {
            cx.error::<()>(methods.at, "`methods` is empty, so nothing matches", "name methods, or remove it");
        }
        Some(Self {
            path: match raw.path {
                Some(path) => path.value,
                None => PathPattern { text: "/**".into(), segments: Vec::new(), rest: true },
            },
            methods: raw.methods.map(|methods| methods.value).unwrap_or_default(),
            host: raw.host.map(|host| host.value.0),
            port: raw.port.map(|port| port.value.0),
            listeners: raw.listener.map(|names| names.value.0).unwrap_or_default(),
            headers: raw.headers.map(|headers| headers.value.0).unwrap_or_default(),
        })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        any_of([PathPattern::schema(definitions), RawMatch::schema(definitions)])
    }
}

/// A route's name: a label in metrics.
pub(crate) struct RouteName(pub(crate) String);

impl Setting for RouteName {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let text = String::decode(node, cx)?;
        let valid = text.len() <= 128 && text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\'));
        if valid { Some(Self(text)) } else { cx.mismatch(node, "up to 128 printable characters without spaces") }
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({ "type": "string", "minLength": 1, "maxLength": 128 })
    }
}

/// One name or several.
pub(crate) struct Listeners(Vec<Arc<str>>);

impl Setting for Listeners {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if node.scalar().is_some() {
            return Some(Self(vec![Arc::from(String::decode(node, cx)?)]));
        }
        let names = Vec::<String>::decode(node, cx)?;
        if names.is_empty() {
            return cx.error(node.at, "`listener` is empty, so nothing matches", "name listeners, or remove it");
        }
        Some(Self(names.into_iter().map(Arc::from).collect()))
    }

    fn schema(definitions: &mut Definitions) -> Value {
        any_of([String::schema(definitions), Vec::<String>::schema(definitions)])
    }
}

/// A port of TCP.
pub(crate) struct Port(u16);

impl Setting for Port {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let port = node.scalar().and_then(|scalar| scalar.text.parse().ok()).filter(|port| *port > 0);
        port.map(Self).or_else(|| cx.mismatch(node, "a port from 1 to 65535"))
    }

    fn schema(_: &mut Definitions) -> Value {
        integer_schema(1, u64::from(u16::MAX))
    }
}

/// A host name or address, in lower case, without a port.
pub(crate) struct Host(String);

impl Setting for Host {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let text = String::decode(node, cx)?.to_ascii_lowercase();
        if text.contains('*') {
            return cx.error(node.at, "a host has no wildcard", "write the whole host, or remove it to match any");
        }
        let bracketed = text.starts_with('[') && text.ends_with(']');
        if !bracketed && text.contains(':') {
            return cx.error(node.at, format!("`{text}` has a port"), "a host is matched without its port");
        }
        let valid = bracketed || text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'));
        if valid { Some(Self(text)) } else { cx.mismatch(node, "a host name such as api.example.com") }
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({ "type": "string", "examples": ["api.example.com"] })
    }
}

/// Header names with the values they must have.
pub(crate) struct Headers(pub(crate) Vec<(HeaderName, HeaderValue)>);

impl Setting for Headers {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let Kind::Map(entries) = &node.kind else {
            return cx.mismatch(node, "a map of header names to values");
        };
        let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let Ok(name) = HeaderName::from_bytes(key.value.as_bytes()) else {
                let message = format!("`{}` is not a header name", crate::config::node::shorten(&key.value));
                cx.error::<()>(key.at, message, "a header name is letters, digits and `-`, such as X-Tenant");
                continue;
            };
            if headers.iter().any(|(other, _)| *other == name) {
                let message = format!("header `{name}` is matched twice");
                cx.error::<()>(key.at, message, "header names ignore case; keep one");
                continue;
            }
            if let Some(value) = cx.value(&key.value, value) {
                headers.push((name, value));
            }
        }
        Some(Self(headers))
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({ "type": "object", "additionalProperties": HeaderValue::schema(definitions) })
    }
}
