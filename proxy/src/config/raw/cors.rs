//! `listeners.NAME.cors`.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, Uri};
use mainstay_policies::cors::{Cors, Origins};
use serde_json::{Value, json};

use crate::config::{
    decode::{Cx, Setting, any_of, or, section, words},
    definitions::Definitions,
    node::{At, Node, shorten},
};

/// Chromium forgets a preflight after two hours whatever is said, and Firefox after a day.
const MAX_AGE: Duration = Duration::from_hours(24);
/// Short enough for a changed list to be in force soon, long enough to spare nearly every second request.
const DEFAULT_AGE: Duration = Duration::from_mins(10);

section! {
    /// Which pages of other origins may read answers; Mainstay says so itself on every one of them.
    RawCors {
        /// Origins as browsers send them: `https://shop.example`, or `"*"` for all.
        origins: Vec<At<Origin>> = required,
        /// Whether pages may send cookies and the like. Default false.
        credentials: bool,
        /// How long a browser may remember what it may send. Default 10m.
        max_age: Duration,
        /// Request headers that pages may send beside those that a keyed write needs.
        headers: Vec<HeaderName>,
        /// Response headers that pages may read beside those that a keyed write needs.
        expose: Vec<HeaderName>,
    }
}

/// `upstream`, or which origins.
pub(crate) struct MaybeCors(pub(crate) Option<Arc<Cors>>);

impl Setting for MaybeCors {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if node.is_word("upstream") {
            return Some(Self(None));
        }
        if node.scalar().is_some() {
            return cx.mismatch(node, "upstream, or a map: { origins: [\"https://shop.example\"] }");
        }
        let raw = RawCors::decode(node, cx)?;
        let origins = raw.origins?;
        if origins.value.is_empty() {
            return cx.error(
                origins.at,
                "`origins` is empty, so no page may read anything",
                "name one, or remove `cors`",
            );
        }
        let any = origins.value.iter().any(|origin| &*origin.value.0 == "*");
        if any && origins.value.len() > 1 {
            let message = "`*` is every origin, so the others say nothing";
            return cx.error(origins.at, message, "keep `\"*\"` alone, or name origins only");
        }
        let listed = || Origins::Listed(origins.value.iter().map(|origin| origin.value.0.clone()).collect());
        let age = |age: &Duration| *age <= MAX_AGE;
        let max_age = cx.ranged("max_age", raw.max_age, DEFAULT_AGE, age, "at most 24h: no browser remembers longer");
        let (headers, expose) = (or(raw.headers, Vec::new()), or(raw.expose, Vec::new()));
        let credentials_at = raw.credentials.as_ref().map_or(node.at, |it| it.at);
        let credentials = or(raw.credentials, false);
        let origins = if any { Origins::Any } else { listed() };
        match Cors::new(origins, credentials, max_age, &headers, &expose) {
            Ok(cors) => Some(Self(Some(Arc::new(cors)))),
            Err(wrong) => cx.error(credentials_at, wrong.to_string(), "name the origins, or leave `credentials` out"),
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        any_of([words(&["upstream"]), RawCors::schema(definitions)])
    }
}

/// An origin as a browser writes it: scheme and host in lower case, the port unless it is the scheme's own, and nothing else.
pub(crate) struct Origin(Box<str>);

impl Setting for Origin {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let text = String::decode(node, cx)?;
        if text == "*" {
            return Some(Self(text.into()));
        }
        let expected = "an origin as browsers send it: https://shop.example, http://localhost:5173, or \"*\"";
        if text.contains('*') {
            let message = format!("`{}` is no origin: there are no patterns", shorten(&text));
            return cx.error(node.at, message, "name each origin, or give `\"*\"` alone");
        }
        let Ok(uri) = text.parse::<Uri>() else { return cx.mismatch(node, expected) };
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return cx.mismatch(node, expected);
        };
        let own_port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return cx.mismatch(node, expected),
        };
        let port = authority.port_u16().filter(|port| *port != own_port);
        let host = authority.host().to_ascii_lowercase();
        let right = port.map_or_else(|| format!("{scheme}://{host}"), |port| format!("{scheme}://{host}:{port}"));
        if right != text {
            let message = format!("no browser sends `{}` as its origin", shorten(&text));
            return cx.error(node.at, message, format!("write {right}"));
        }
        Some(Self(right.into()))
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({ "type": "string", "pattern": r"^(\*|https?://[^/]+|\$\{.*)$", "examples": ["https://shop.example", "*"] })
    }
}
