//! `upstreams.*.health`: endpoints are asked whether they can serve.

use std::{num::NonZeroU32, time::Duration};

use http::uri::PathAndQuery;
use mainstay_policies::balance::Thresholds;
use serde_json::{Value, json};

use crate::config::{
    decode::{Cx, ENV, Setting, or, section},
    definitions::Definitions,
    model::Health,
    node::Node,
};

/// Envoy's and Kubernetes' examples ask every 5 to 10 s: an instance that hangs is left alone after a quarter of a minute.
const INTERVAL: Duration = Duration::from_secs(5);
/// What serves can say so within a second.
const TIMEOUT: Duration = Duration::from_secs(1);
/// One answer that is lost says nothing.
const UNHEALTHY: NonZeroU32 = NonZeroU32::new(3).expect("3 is not zero");
/// One good answer may be luck.
const HEALTHY: NonZeroU32 = NonZeroU32::new(2).expect("2 is not zero");
/// Names are looked after, and questions asked, four times a second.
const SHORTEST: Duration = Duration::from_millis(250);

section! {
    /// Each endpoint is asked with GET, over a connection of its own, whether it can serve: any 2xx says yes.
    RawHealth {
        /// What is asked for: a path, with a query if need be.
        path: HealthPath = required,
        /// How often, a tenth more or less; at least 250ms. Default 5s.
        interval: Duration,
        /// How long an answer is waited for, connecting included. Default 1s.
        timeout: Duration,
        /// So many bad answers in a row, and it gets no new requests. Default 3.
        unhealthy: NonZeroU32,
        /// So many good ones in a row, and it gets them again. Default 2.
        healthy: NonZeroU32,
    }
}

/// A path that can be asked for.
pub(crate) struct HealthPath(PathAndQuery);

impl Setting for HealthPath {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let Some(scalar) = node.scalar() else { return cx.mismatch(node, "a path: /healthz") };
        let path = scalar.text.strip_prefix('/').and_then(|_| scalar.text.parse::<PathAndQuery>().ok());
        match path.filter(|path| path.as_str() == scalar.text) {
            Some(path) => Some(Self(path)),
            None => cx.error(
                node.at,
                format!("{} is not a path that can be asked for", scalar.shown()),
                "it begins with `/`: /healthz",
            ),
        }
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({ "type": "string", "pattern": format!("^/|{ENV}") })
    }
}

impl Setting for Health {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let raw = RawHealth::decode(node, cx)?;
        let interval =
            cx.ranged("interval", raw.interval, INTERVAL, |interval| *interval >= SHORTEST, "it is at least 250ms");
        Some(Self {
            path: raw.path?.value.0,
            interval,
            timeout: cx.positive("timeout", raw.timeout, TIMEOUT),
            thresholds: Thresholds { unhealthy: or(raw.unhealthy, UNHEALTHY), healthy: or(raw.healthy, HEALTHY) },
        })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        RawHealth::schema(definitions)
    }
}
