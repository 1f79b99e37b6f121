//! Addresses that are Unix sockets: `unix:/run/app.sock`.

use serde_json::{Value, json};
use std::{path::Path, sync::Arc};

use crate::config::{
    decode::{Cx, Setting},
    definitions::Definitions,
    model::{Address, UNIX},
    node::{Node, shorten},
};

/// Bytes of a path that fit into the address of a Unix socket, which ends with a zero.
const LONGEST: usize = 107;

/// The path of `text`, which begins with `unix:`; what is wrong with it is said.
pub(super) fn socket_path(node: &Node, text: &str, cx: &mut Cx) -> Option<Arc<Path>> {
    let path = text.strip_prefix(UNIX).unwrap_or(text);
    let wrong = |cx: &mut Cx, problem: &str, help: &str| {
        cx.error(node.at, format!("`{}` {problem}", shorten(text)), help.to_owned())
    };
    if !path.starts_with('/') || path.ends_with('/') || path.starts_with("//") {
        return wrong(cx, "names no file by its whole path", "write it from the root: unix:/run/app.sock");
    }
    if path.len() > LONGEST || path.contains('\0') {
        return wrong(cx, "is too long for a socket", "its path has at most 107 bytes");
    }
    Some(Arc::from(Path::new(path)))
}

impl Setting for Address {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        match node.scalar().filter(|scalar| scalar.text.starts_with(UNIX)) {
            Some(scalar) => Some(Self::Unix(socket_path(node, &scalar.text, cx)?)),
            None => Setting::decode(node, cx).map(Self::Internet),
        }
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({ "type": "string", "examples": ["0.0.0.0:8080", "unix:/run/mainstay.sock"] })
    }
}
