//! Path patterns: exact, `{name}` for one segment, `/**` as a last part for any rest.

use mainstay_policies::path::{InvalidPattern, PathPattern};
use serde_json::{Value, json};

use crate::config::{
    decode::{Cx, Setting},
    definitions::Definitions,
    node::Node,
};

impl Setting for PathPattern {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let Some(scalar) = node.scalar() else {
            return cx.mismatch(node, "a path such as /payments/{id} or /**");
        };
        let wrong = |InvalidPattern { problem, help }| {
            cx.error::<()>(node.at, format!("{} {problem}", scalar.shown()), help);
        };
        scalar.text.parse().map_err(wrong).ok()
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({ "type": "string", "pattern": "^/", "examples": ["/payments/{id}", "/payments/**", "/**"] })
    }
}
