//! `timeout`.

use std::time::Duration;

use mainstay_policies::timeout::Timeout;
use serde_json::Value;

use crate::config::{
    decode::{Cx, Setting, any_of, section},
    definitions::Definitions,
    node::{At, Node},
};

section! {
    /// How long a request, an attempt and a silence may last.
    RawTimeout {
        /// Bounds everything from the end of the request to the response's head. Default 15s.
        total: Duration,
        /// Bounds one attempt, to the response's head. Off by default.
        attempt: Duration,
        /// Bounds silence in a body, in either direction. Default 5m.
        idle: Duration,
    }
}

impl Setting for Timeout {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let default = Self::default();
        if node.scalar().is_some() {
            let total = At { value: Duration::decode(node, cx)?, at: node.at };
            return Some(Self { total: cx.positive("timeout", Some(total), default.total), ..default });
        }
        let raw = RawTimeout::decode(node, cx)?;
        Some(Self {
            total: cx.positive("total", raw.total, default.total),
            attempt: raw.attempt.map(|attempt| cx.positive("attempt", Some(attempt), default.total)),
            idle: cx.positive("idle", raw.idle, default.idle),
        })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        any_of([Duration::schema(definitions), RawTimeout::schema(definitions)])
    }
}
