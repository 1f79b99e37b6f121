//! `idempotency.key` and `idempotency.fingerprint`: which requests are the same.

use std::time::Duration;

use http::HeaderName;
use mainstay_policies::idempotency::{
    Fingerprint, FingerprintBody, Idempotency, KeyFrom, KeySource, KeySyntax, KeyTemplate, Mint,
};
use serde_json::{Value, json};

use crate::config::{
    decode::{Cx, Setting, or, section, words},
    definitions::Definitions,
    node::{Node, Pos},
};

/// Longer than a second click or an impatient client's repeat, shorter than the time in which a person writes the same
/// again and means it.
const WINDOW: Duration = Duration::from_secs(10);

section! {
    /// Where the key comes from.
    RawKey {
        /// The header that carries it. Default Idempotency-Key.
        header: HeaderName,
        /// `lenient` takes a bare value too; `strict` only a quoted String (RFC 9651). Default lenient.
        syntax: KeySyntax,
        /// Makes the key where the client sends none: a template over `{principal}`, `{path.NAME}`, `{query.NAME}`,
        /// `{header.NAME}` and `{json:/pointer}`, or `fingerprint`: the same content is the same write. Default: it is not made.
        from: RawFrom,
        /// With `from: fingerprint`: how long after the first write was settled the same content is a repeat. Default 10s.
        window: Duration,
        /// `uuidv7` or `snowflake` gives a key to a request that has none; the response names it. Default none.
        mint: Mint,
    }
}

/// `fingerprint`, or a template.
pub(crate) enum RawFrom {
    Content,
    Template(KeyTemplate),
}

section! {
    /// What makes two requests the same.
    RawFingerprint {
        /// `exact`: byte for byte; `json`: as canonical JSON (RFC 8785). Default exact.
        body: FingerprintBody,
        /// Request headers that enter.
        headers: Vec<HeaderName>,
    }
}

impl Setting for KeySource {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let raw = RawKey::decode(node, cx)?;
        let default = Self::default();
        let mint_at = raw.mint.as_ref().map(|mint| mint.at);
        let from = raw.from.map(|from| from.value);
        if let Some(window) = raw.window.as_ref().filter(|_| !matches!(from, Some(RawFrom::Content))) {
            let help = "remove it: other keys are remembered as long as `tombstone` says";
            cx.error::<()>(window.at, "`window` has no use without `from: fingerprint`", help);
        }
        let from = match from {
            None => None,
            Some(RawFrom::Template(template)) => Some(KeyFrom::Template(template)),
            Some(RawFrom::Content) => {
                if let Some(at) = mint_at {
                    let help = "remove it: with `from: fingerprint` every write has a key";
                    cx.error::<()>(at, "`mint` has no use beside `from: fingerprint`", help);
                }
                Some(KeyFrom::Content { window: cx.positive("window", raw.window, WINDOW) })
            }
        };
        Some(Self {
            from,
            header: or(raw.header, default.header),
            syntax: or(raw.syntax, default.syntax),
            mint: or(raw.mint, default.mint),
        })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        RawKey::schema(definitions)
    }
}

impl Setting for KeySyntax {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &[("lenient", Self::Lenient), ("strict", Self::Strict)])
    }

    fn schema(_: &mut Definitions) -> Value {
        words(&["lenient", "strict"])
    }
}

impl Setting for Mint {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &[("none", Self::None), ("uuidv7", Self::UuidV7), ("snowflake", Self::Snowflake)])
    }

    fn schema(_: &mut Definitions) -> Value {
        words(&["none", "uuidv7", "snowflake"])
    }
}

impl Setting for RawFrom {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let Some(scalar) = node.scalar() else {
            return cx.mismatch(node, "`fingerprint`, or a template: \"{principal}:{path.id}\"");
        };
        if scalar.text == "fingerprint" {
            return Some(Self::Content);
        }
        match KeyTemplate::parse(&scalar.text) {
            Ok(template) => Some(Self::Template(template)),
            Err(error) => {
                let message = error.to_string();
                let (problem, cure) = message.split_once(": ").unwrap_or((&message, ""));
                cx.error(node.at, format!("{} is no template of keys: {problem}", scalar.shown()), cure)
            }
        }
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({ "type": "string", "examples": ["fingerprint", "{principal}:{path.id}", "{json:/order/id}"] })
    }
}

/// Where `from` stands in the node of an `idempotency`.
pub(crate) fn from_at(idempotency: &Node) -> Option<Pos> {
    Some(idempotency.lookup("key")?.lookup("from")?.at)
}

impl Setting for Fingerprint {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let raw = RawFingerprint::decode(node, cx)?;
        let default = Idempotency::default().fingerprint;
        Some(Self { body: or(raw.body, default.body), headers: or(raw.headers, default.headers) })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        RawFingerprint::schema(definitions)
    }
}

impl Setting for FingerprintBody {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &[("exact", Self::Exact), ("json", Self::Json)])
    }

    fn schema(_: &mut Definitions) -> Value {
        words(&["exact", "json"])
    }
}
