//! `fallback`.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE};
use mainstay_policies::fallback::{Answer, Fallback, Reason, To};
use serde_json::Value;

use super::{idempotency::JsonText, route::Headers};
use crate::config::{
    decode::{Cx, Setting, any_of, section, words},
    definitions::Definitions,
    node::{At, Node},
};

section! {
    /// What a caller gets instead of a failure: an answer that never changes, or that of another upstream. Only for safe
    /// methods and for writes of which nothing reached the service.
    RawFallback {
        /// Failures that call for it. Default: all of them.
        on: Vec<Reason>,
        /// The answer's status. Default 200.
        status: StatusCode,
        /// The answer's headers.
        headers: Headers,
        /// The answer's body: a text, or a value that is sent as JSON.
        body: JsonText,
        /// Another upstream, by name, instead of an answer that never changes.
        upstream: At<String>,
        /// The cache's last good answer instead, if it has not been stale for longer than this; needs `cache`.
        stale: Duration,
    }
}

impl Setting for Fallback {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if node.scalar().is_some() {
            let status = StatusCode::decode(node, cx)?;
            let answer = Answer { status, headers: HeaderMap::new(), body: Bytes::new() };
            return Some(Self { on: Reason::ALL.to_vec(), to: To::Answer(answer) });
        }
        let raw = RawFallback::decode(node, cx)?;
        if let Some(on) = raw.on.as_ref().filter(|on| on.value.is_empty()) {
            cx.error::<()>(on.at, "`on` is empty, so there is never a fallback", "name a failure, or remove `on`");
        }
        let on = raw.on.map_or_else(|| Reason::ALL.to_vec(), |on| on.value);
        let fixed = ["status", "headers", "body"].into_iter().find(|key| node.lookup(key).is_some());
        let kinds = [fixed, node.lookup("upstream").map(|_| "upstream"), node.lookup("stale").map(|_| "stale")];
        match kinds.into_iter().flatten().count() {
            0 => return cx.error(node.at, "this fallback is nothing", "give it `status`, `upstream` or `stale`"),
            1 => {}
            _ => {
                let message = "an answer that never changes, `upstream` and `stale` exclude each other";
                return cx.error(node.at, message, "keep one of them");
            }
        }
        let to = match (raw.upstream, raw.stale, fixed) {
            (Some(upstream), ..) => To::Upstream(Arc::from(upstream.value.value)),
            (None, Some(stale), _) => To::Stale(stale.value),
            // Its value was no good, which has been reported.
            (None, None, None) => return None,
            (None, None, Some(_)) => {
                let mut headers: HeaderMap = raw.headers.map(|it| it.value.0).unwrap_or_default().into_iter().collect();
                if node.lookup("body").is_some_and(|body| body.scalar().is_none())
                    && !headers.contains_key(CONTENT_TYPE)
                {
                    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                }
                let body = raw.body.map(|body| body.value.0).unwrap_or_default();
                To::Answer(Answer {
                    status: raw.status.map_or(StatusCode::OK, |status| status.value),
                    headers,
                    body: body.into(),
                })
            }
        };
        Some(Self { on, to })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        any_of([StatusCode::schema(definitions), RawFallback::schema(definitions)])
    }
}

impl Setting for Reason {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &Self::ALL.map(|reason| (reason.label(), reason)))
    }

    fn schema(_: &mut Definitions) -> Value {
        words(&Self::ALL.map(Self::label))
    }
}
