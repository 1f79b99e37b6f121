//! `upstreams.*.balance`: which endpoint a request goes to.

use http::HeaderName;
use mainstay_policies::balance::{Balance, HashOf};
use serde_json::Value;

use crate::config::{
    decode::{Cx, Setting, any_of, section, words},
    definitions::Definitions,
    node::{Kind, Node},
};

const FORMS: &str = "p2c, round_robin, or { hash: principal }, { hash: key }, { hash: { header: NAME } }";

section! {
    /// The same endpoint for requests that belong together, as long as it has not too much to do: bounded-load rendezvous hashing.
    RawHash {
        /// What they have in common: `principal`, their caller; `key`, the key of a keyed write; or a header. Without it the less loaded of two.
        hash: HashOf = required,
    }
}

section! {
    /// A header that requests have in common which belong together.
    RawHashHeader {
        /// Its name; the first value counts.
        header: HeaderName = required,
    }
}

impl Setting for Balance {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        match &node.kind {
            Kind::Map(_) => RawHash::decode(node, cx)?.hash.map(|hash| Self::Hash(hash.value)),
            Kind::Scalar(scalar) if scalar.text == "hash" => cx.error(
                node.at,
                "`hash` does not say of what",
                "say `{ hash: principal }`, `{ hash: key }`, or `{ hash: { header: NAME } }`",
            ),
            Kind::Scalar(_) => {
                let is_in_turn = cx.choice(node, &[("p2c", false), ("round_robin", true)])?;
                Some(if is_in_turn { Self::RoundRobin } else { Self::P2c })
            }
            _ => cx.mismatch(node, FORMS),
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        any_of([words(&["p2c", "round_robin"]), RawHash::schema(definitions)])
    }
}

impl Setting for HashOf {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if matches!(node.kind, Kind::Map(_)) {
            return RawHashHeader::decode(node, cx)?.header.map(|header| Self::Header(header.value));
        }
        if node.is_word("header") {
            return cx.error(node.at, "`header` does not say which", "name it: `{ hash: { header: X-Tenant } }`");
        }
        cx.choice(node, &[("principal", false), ("key", true)])
            .map(|is_key| if is_key { Self::Key } else { Self::Principal })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        any_of([words(&["principal", "key"]), RawHashHeader::schema(definitions)])
    }
}
