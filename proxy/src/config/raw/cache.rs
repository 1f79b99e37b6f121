//! `cache`.

use std::time::Duration;

use mainstay_policies::cache::Cache;

use mainstay_policies::path::PathPattern;
use serde_json::{Value, json};

use crate::config::{
    decode::{Cx, Setting, any_of, or, section},
    definitions::Definitions,
    model,
    node::{At, Node},
    scalars::Size,
};

/// The smallest cache that is one.
const MIN_BYTES: u64 = 64 * 1024;

section! {
    /// A shared cache (RFC 9111) for GET and HEAD, and what writes make it forget.
    RawCache {
        /// All answers together, with their headers. Default 64MiB.
        max_bytes: Size,
        /// The body of one answer; a larger one passes and is not kept. Default 1MiB.
        max_body: Size,
        /// How long a stale answer may stand in for a failure, where the answer says nothing of it. Default 0s.
        stale_if_error: Duration,
        /// How long a stale answer may be given while it is revalidated, where the answer says nothing of it. Default 0s.
        stale_while_revalidate: Duration,
        /// Paths that a write on this route makes every cache of its upstream forget, beside its own: `/posts/{id}` with the
        /// write's own `{id}`, or any where the route has no such segment.
        invalidate: Vec<PathPattern>,
    }
}

impl Setting for model::Cache {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let default = Cache::default();
        let range = "it is at least 64KiB";
        if node.is_word("true") {
            return Some(Self { params: default, invalidate: Vec::new() });
        }
        if node.scalar().is_some() {
            let bytes = At { value: Size::decode(node, cx)?, at: node.at };
            let bytes = cx.ranged("cache", Some(bytes), Size(default.max_bytes), |it| it.0 >= MIN_BYTES, range);
            return Some(Self { params: Cache { max_bytes: bytes.0, ..default }, invalidate: Vec::new() });
        }
        let raw = RawCache::decode(node, cx)?;
        let max_bytes = cx.ranged("max_bytes", raw.max_bytes, Size(default.max_bytes), |it| it.0 >= MIN_BYTES, range).0;
        Some(Self {
            params: Cache {
                max_bytes,
                max_body: raw.max_body.map_or(default.max_body, |size| size.value.bytes()),
                stale_if_error: or(raw.stale_if_error, default.stale_if_error),
                stale_while_revalidate: or(raw.stale_while_revalidate, default.stale_while_revalidate),
            },
            invalidate: raw.invalidate.map(|it| it.value).unwrap_or_default(),
        })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        any_of([json!({ "const": true }), Size::schema(definitions), RawCache::schema(definitions)])
    }
}
