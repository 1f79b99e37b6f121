//! What an upstream's requests say of us, and for it: `host`, `forward`, `trace` and `headers`.

use http::{HeaderName, uri::Authority};
use serde_json::{Value, json};

use crate::{
    config::{
        decode::{Cx, Setting, section, words},
        definitions::Definitions,
        model::{Forward, HeaderSource, HostRule},
        node::{At, Node},
        scalars::Named,
    },
    wire::tls::UpstreamTls,
};

/// Fields on which it depends where a message ends, whose connection it is, and whom it is for.
const FRAMING: [&str; 13] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

section! {
    /// Fields of every request to an upstream.
    RawFields {
        /// Fields that every request to it has, by name, in place of what stands there: a text, or the first line of a file. For credentials that the service then need not hold.
        set: Named<HeaderSource>,
        /// Fields that no request to it has.
        remove: Vec<At<HeaderName>>,
    }
}

impl RawFields {
    /// What is set and what is removed; what cannot be is said.
    pub(super) fn resolve(self, cx: &mut Cx) -> (Vec<(HeaderName, HeaderSource)>, Vec<HeaderName>) {
        let mut set: Vec<(HeaderName, HeaderSource)> = Vec::new();
        for (At { value: name, at }, source) in self.set.map(|set| set.value.0).unwrap_or_default() {
            let Ok(found) = HeaderName::try_from(&name) else {
                let message = format!("`{}` is not a header name", crate::config::node::shorten(&name));
                cx.error::<()>(at, message, "a header name is letters, digits and `-`, such as Authorization");
                continue;
            };
            if set.iter().any(|(other, _)| *other == found) {
                let message = format!("header `{found}` is set twice");
                cx.error::<()>(at, message, "header names ignore case; keep one");
            }
            check(&found, At { value: (), at }, cx);
            set.push((found, source));
        }
        let remove = self.remove.map(|remove| remove.value).unwrap_or_default();
        for name in &remove {
            check(&name.value, At { value: (), at: name.at }, cx);
        }
        (set, remove.into_iter().map(|name| name.value).collect())
    }
}

/// Reports a field that is not the operator's to change.
fn check(name: &HeaderName, At { at, .. }: At<()>, cx: &mut Cx) {
    let text = name.as_str();
    if text == "host" {
        cx.error::<()>(at, "`host` is no field of `headers`", "say `host: NAME` beside `headers`");
    } else if FRAMING.contains(&text) || text.starts_with("mainstay-") {
        let message = format!("`{text}` is Mainstay's own to write");
        cx.error::<()>(at, message, "remove it: it says how the message is framed, or by whom it was passed on");
    }
}

/// What an upstream is told of us, by what was written of it and by who vouches for it.
pub(super) fn forward(
    tls: Option<&UpstreamTls>,
    word: Option<At<ForwardWord>>,
    trace: Option<At<TraceWord>>,
    cx: &mut Cx,
) -> Forward {
    // Whose certificate the public roots sign, anybody may have one: it is none of our own systems.
    let is_public = tls.is_some_and(|tls| tls.client.ca_file.is_none());
    let is_external = word.map_or(is_public, |word| word.value.0);
    if is_external {
        return Forward::External { trace: trace.is_some_and(|trace| trace.value.0) };
    }
    if let Some(At { at, .. }) = trace {
        let help = "say `forward: external`, or remove `trace`: an internal upstream is told every format of `telemetry.propagation`";
        cx.error::<()>(at, "`trace` is given for an upstream that is internal", help);
    }
    Forward::Internal
}

/// Whether the upstream is external.
pub(crate) struct ForwardWord(bool);

impl Setting for ForwardWord {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &[("internal", false), ("external", true)]).map(Self)
    }

    fn schema(_: &mut Definitions) -> Value {
        words(&["internal", "external"])
    }
}

/// Whether it is told `traceparent`.
pub(crate) struct TraceWord(bool);

impl Setting for TraceWord {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &[("none", false), ("w3c", true)]).map(Self)
    }

    fn schema(_: &mut Definitions) -> Value {
        words(&["none", "w3c"])
    }
}

impl Setting for HostRule {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let text = String::decode(node, cx)?;
        match text.as_str() {
            "keep" => Some(Self::Keep),
            "endpoint" => Some(Self::Endpoint),
            name => {
                let found = name.parse::<Authority>().ok();
                let found = found.filter(|found| !found.host().is_empty() && !name.contains('@'));
                match found {
                    Some(found) => Some(Self::Name(found)),
                    None => cx.mismatch(node, "keep, endpoint, or a host such as api.example.com"),
                }
            }
        }
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({ "type": "string", "minLength": 1, "examples": ["keep", "endpoint", "api.example.com"] })
    }
}
