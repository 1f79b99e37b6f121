//! `idempotency.key` and `idempotency.fingerprint`: which requests are the same.

use http::HeaderName;
use mainstay_policies::idempotency::{Fingerprint, FingerprintBody, Idempotency, KeySource, KeySyntax, Mint};
use schemars::{Schema, SchemaGenerator};

use crate::config::{
    decode::{Cx, Setting, or, section, words},
    node::Node,
};

section! {
    /// Where the key comes from.
    RawKey {
        /// The header that carries it. Default Idempotency-Key.
        header: HeaderName,
        /// `lenient` takes a bare value too; `strict` only a quoted String (RFC 9651). Default lenient.
        syntax: KeySyntax,
        /// `uuidv7` gives a key to a request that has none. Default none.
        mint: Mint,
    }
    later ["from", "window"]
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
        Some(Self {
            header: or(raw.header, default.header),
            syntax: or(raw.syntax, default.syntax),
            mint: or(raw.mint, default.mint),
        })
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        RawKey::schema(generator)
    }
}

impl Setting for KeySyntax {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &[("lenient", Self::Lenient), ("strict", Self::Strict)])
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        words(&["lenient", "strict"])
    }
}

impl Setting for Mint {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if node.is_word("snowflake") {
            return cx.error(node.at, "`mint: snowflake` is not available in this version", "use uuidv7");
        }
        cx.choice(node, &[("none", Self::None), ("uuidv7", Self::UuidV7)])
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        words(&["none", "uuidv7"])
    }
}

impl Setting for Fingerprint {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let raw = RawFingerprint::decode(node, cx)?;
        let default = Idempotency::default().fingerprint;
        Some(Self { body: or(raw.body, default.body), headers: or(raw.headers, default.headers) })
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        RawFingerprint::schema(generator)
    }
}

impl Setting for FingerprintBody {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &[("exact", Self::Exact), ("json", Self::Json)])
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        words(&["exact", "json"])
    }
}
