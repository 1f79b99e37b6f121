//! The standard variables of OpenTelemetry, for what the configuration leaves open.
//!
//! A platform sets `OTEL_EXPORTER_OTLP_ENDPOINT` and its like once for all containers (OpenTelemetry specification, "OTLP
//! exporter configuration" and "Resource SDK"). They are filled in beneath what was written, key by key, before anything is
//! read: so they are held to the same rules, and an error names the variable where it would name a file. An exporter that
//! the configuration switches off (`otlp: none`) stays off, and without an endpoint nothing is exported.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::{
    env::Lookup,
    node::{At, Kind, Node, Pos, Scalar},
    report::{Issue, Sources},
};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const COMPRESSION: &str = "OTEL_EXPORTER_OTLP_COMPRESSION";
const CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
/// The attribute that [`SERVICE_NAME`] is a variable of its own for.
const NAME: &str = "service.name";

/// What the variables are read with.
pub(crate) struct Standard<'a> {
    /// Looks a variable up.
    pub(crate) lookup: Lookup<'a>,
    /// Gets a name for each variable that is used.
    pub(crate) sources: &'a mut Sources,
    /// Gets each value that is not to be shown, and its variable.
    pub(crate) given: &'a mut Vec<(String, String)>,
    /// Gets what is wrong with them.
    pub(crate) issues: &'a mut Vec<Issue>,
}

impl Standard<'_> {
    /// Fills in what `root` does not say; returns the attributes of the resource, which no key says.
    pub(crate) fn fill(mut self, root: &mut Node) -> Vec<(String, String)> {
        let mut attributes = self.attributes();
        let name = self.service_name(&mut attributes);
        let Kind::Map(top) = &mut root.kind else { return attributes };
        let (key, mut telemetry) = match taken(top, "telemetry") {
            None => (None, Vec::new()),
            Some((key, Node { kind: Kind::Map(entries), .. })) => (Some(key), entries),
            Some(other) => {
                // What it is instead of a map is said when it is read.
                top.push(other);
                return attributes;
            }
        };
        if let Some(name) = name.filter(|_| !has(&telemetry, "service_name")) {
            push(&mut telemetry, "service_name", name);
        }
        self.exporter(&mut telemetry);
        put(top, "telemetry", key, telemetry);
        attributes
    }

    /// Fills in `otlp`.
    fn exporter(&mut self, telemetry: &mut Vec<(At<String>, Node)>) {
        let (key, mut otlp) = match taken(telemetry, "otlp") {
            None => (None, Vec::new()),
            Some((key, Node { kind: Kind::Map(entries), .. })) => (Some(key), entries),
            Some((key, node)) if node.scalar().is_some() && !node.is_word("none") => {
                (Some(key.clone()), vec![(At { value: "endpoint".to_owned(), at: key.at }, node)])
            }
            Some(other) => return telemetry.push(other),
        };
        if !has(&otlp, "endpoint")
            && let Some((text, at)) = self.variable(ENDPOINT)
        {
            // It may be an address of this node's own, and replicas are compared by what they show.
            self.hide(&text, ENDPOINT);
            push(&mut otlp, "endpoint", from(ENDPOINT, text, at));
        }
        let endpoint = otlp.iter().find(|(key, _)| key.value == "endpoint").and_then(|(_, node)| node.scalar());
        let is_secure = endpoint.map(|endpoint| endpoint.text.starts_with("https://"));
        if is_secure.is_some() && !has(&otlp, "headers") {
            self.headers(&mut otlp);
        }
        if is_secure.is_some()
            && !has(&otlp, "compression")
            && let Some((text, at)) = self.variable(COMPRESSION)
        {
            push(&mut otlp, "compression", from(COMPRESSION, text, at));
        }
        // One authority for all containers is no fault of an endpoint in clear.
        if is_secure == Some(true) {
            self.certificate(&mut otlp);
        }
        put(telemetry, "otlp", key, otlp);
    }

    fn headers(&mut self, otlp: &mut Vec<(At<String>, Node)>) {
        let Some((text, at)) = self.variable(HEADERS) else { return };
        let Some(pairs) = self.pairs(HEADERS, &text, at) else { return };
        let mut fields: Vec<(At<String>, Node)> = Vec::new();
        for (name, value) in pairs {
            self.hide(&value, HEADERS);
            fields.retain(|(other, _)| !other.value.eq_ignore_ascii_case(&name));
            push(&mut fields, &name, from(HEADERS, value, at));
        }
        push(otlp, "headers", Node { at, kind: Kind::Map(fields) });
    }

    fn certificate(&mut self, otlp: &mut Vec<(At<String>, Node)>) {
        let Some((file, at)) = self.variable(CERTIFICATE) else { return };
        let file = from(CERTIFICATE, file, at);
        match otlp.iter_mut().find(|(key, _)| key.value == "tls").map(|(_, node)| &mut node.kind) {
            None => {
                let mut tls = Vec::new();
                push(&mut tls, "ca_file", file);
                push(otlp, "tls", Node { at, kind: Kind::Map(tls) });
            }
            Some(Kind::Map(tls)) if !has(tls, "ca_file") => push(tls, "ca_file", file),
            Some(_) => {}
        }
    }

    fn attributes(&mut self) -> Vec<(String, String)> {
        let Some((text, at)) = self.variable(ATTRIBUTES) else { return Vec::new() };
        self.pairs(ATTRIBUTES, &text, at).unwrap_or_default()
    }

    /// `service.name`, by its own variable before the one for all attributes.
    fn service_name(&mut self, attributes: &mut Vec<(String, String)>) -> Option<Node> {
        let attribute = attributes.iter().rev().find(|(key, _)| key == NAME).map(|(_, value)| value.clone());
        attributes.retain(|(key, _)| key != NAME);
        if let Some((text, at)) = self.variable(SERVICE_NAME) {
            return Some(from(SERVICE_NAME, text, at));
        }
        let at = Pos::file(self.sources.add(ATTRIBUTES, ""));
        attribute.filter(|name| !name.is_empty()).map(|name| from(ATTRIBUTES, name, at))
    }

    /// A variable's value, and its place. An empty one is none ("Environment Variable Specification", "Parsing empty value").
    fn variable(&mut self, name: &str) -> Option<(String, Pos)> {
        let text = (self.lookup)(name)?.trim().to_owned();
        (!text.is_empty()).then(|| (text, Pos::file(self.sources.add(name, ""))))
    }

    /// `key=value,key=value`, percent-encoded where needed, as the specification has it after W3C Baggage.
    fn pairs(&mut self, variable: &str, text: &str, at: Pos) -> Option<Vec<(String, String)>> {
        let parts = text.split(',').map(str::trim).enumerate().filter(|(_, part)| !part.is_empty());
        let mut pairs = Vec::new();
        for (number, part) in parts {
            let decoded = |text: &str| percent_decode_str(text.trim()).decode_utf8().ok().map(Cow::into_owned);
            let pair = part.split_once('=').and_then(|(key, value)| Some((decoded(key)?, decoded(value)?)));
            let Some(pair) = pair.filter(|(key, _)| !key.is_empty()) else {
                // The value may be a secret: only its place is said.
                let message = format!("part {} of `{variable}` is not key=value", number + 1);
                let help = "write key=value,key=value, with `,` in a value as %2C and a space as %20, or unset it";
                self.issues.push(Issue::new(at, message).code("environment").help(help));
                return None;
            };
            pairs.push(pair);
        }
        Some(pairs)
    }

    fn hide(&mut self, value: &str, variable: &str) {
        self.given.push((value.to_owned(), variable.to_owned()));
    }
}

/// The entry, taken out of a map.
fn taken(entries: &mut Vec<(At<String>, Node)>, key: &str) -> Option<(At<String>, Node)> {
    let at = entries.iter().position(|(name, _)| name.value == key)?;
    Some(entries.remove(at))
}

fn has(entries: &[(At<String>, Node)], key: &str) -> bool {
    entries.iter().any(|(name, _)| name.value == key)
}

fn key_at(key: &str, at: Pos) -> At<String> {
    At { value: key.to_owned(), at }
}

fn push(entries: &mut Vec<(At<String>, Node)>, key: &str, node: Node) {
    entries.push((key_at(key, node.at), node));
}

/// Puts a map back, or a new one if it says anything.
fn put(into: &mut Vec<(At<String>, Node)>, name: &str, key: Option<At<String>>, entries: Vec<(At<String>, Node)>) {
    let key = key.or_else(|| entries.first().map(|(first, _)| key_at(name, first.at)));
    if let Some(key) = key {
        into.push((key.clone(), Node { at: key.at, kind: Kind::Map(entries) }));
    }
}

fn from(variable: &str, text: String, at: Pos) -> Node {
    Node { at, kind: Kind::Scalar(Scalar { text, plain: false, written: Some(format!("${{{variable}}}")) }) }
}
