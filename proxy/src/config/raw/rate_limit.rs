//! `rate_limit`.

use std::{num::NonZeroU32, time::Duration};

use http::HeaderName;
use mainstay_policies::rate_limit::{Behavior, Key, RateLimit, Scope, WarmUp};
use serde_json::{Value, json};

use crate::config::{
    decode::{Cx, Setting, any_of, or, section, words},
    definitions::Definitions,
    node::{At, Kind, Node, Scalar},
    report::suggest,
    scalars::Rate,
};

/// Live keys at most: about 100 bytes each.
const MAX_KEYS: usize = 10_000_000;
/// The longest wait in a paced queue, where nothing else is said: Sentinel's default.
const QUEUE_MAX_WAIT: Duration = Duration::from_millis(500);
/// Sentinel's cold factor and warm-up period.
const WARM_UP: WarmUp = WarmUp { period: Duration::from_secs(10), cold_factor: 3.0 };

section! {
    /// How many requests are admitted in a time.
    RawRateLimit {
        /// Requests per `unit`.
        requests: NonZeroU32 = required,
        /// The time in which `requests` are admitted. Default 1s.
        unit: Duration,
        /// Requests that may arrive at once. Default: `requests`.
        burst: NonZeroU32,
        /// What shares one limit: `route` (or `none`), `principal`, `client_ip` or `{header.X}`. Default route.
        key: Key,
        /// Live keys at most; idle ones are evicted. Default 100000.
        max_keys: usize,
        /// What happens to a request over the limit. Default reject.
        behavior: BehaviorWord,
        /// With `behavior: queue` or `warm_up_queue`: how long a request may wait.
        queue: RawQueue,
        /// With `behavior: warm_up` or `warm_up_queue`: how the limit rises.
        warm_up: RawWarmUp,
        /// Whether `x-ratelimit-*` response headers are sent. Default false.
        headers: bool,
        /// `replica`: each has the limit for itself. `service`: one limit for all that share a ledger, each with its part of it by
        /// what it is asked for. Default replica.
        scope: Scope,
    }
}

section! {
    /// Uniform pacing.
    RawQueue {
        /// The longest wait; 0s admits only what needs none. Default 500ms.
        max_wait: Duration,
    }
}

section! {
    /// A limit that rises from cold to full.
    RawWarmUp {
        /// The time from cold to full under saturation. Default 10s.
        period: Duration,
        /// The full rate divided by the cold rate, more than 1. Default 3.
        cold_factor: f64,
    }
}

/// `behavior` as written; its parameters stand beside it.
#[derive(Clone, Copy)]
pub(crate) enum BehaviorWord {
    Reject,
    Queue,
    WarmUp,
    WarmUpQueue,
}

impl BehaviorWord {
    const ALL: [(&'static str, Self); 4] = [
        ("reject", Self::Reject),
        ("queue", Self::Queue),
        ("warm_up", Self::WarmUp),
        ("warm_up_queue", Self::WarmUpQueue),
    ];
}

impl Setting for BehaviorWord {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &Self::ALL)
    }

    fn schema(_: &mut Definitions) -> Value {
        words(&Self::ALL.map(|(word, _)| word))
    }
}

impl Setting for RateLimit {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if let Kind::Scalar(Scalar { .. }) = node.kind {
            let Rate { count, unit } = Rate::decode(node, cx)?;
            return Some(Self::per(count, unit));
        }
        let raw = RawRateLimit::decode(node, cx)?;
        let unit = cx.positive("unit", raw.unit, Duration::from_secs(1));
        let default = Self::per(raw.requests?.value, unit);
        let behavior = behavior(cx, raw.behavior, raw.queue, raw.warm_up);
        let scope = or(raw.scope, default.scope);
        if let Some(key) = raw.key.as_ref().filter(|key| scope == Scope::Service && key.value != Key::Route) {
            let message = "`scope: service` has no `key` yet: replicas tell each other of whole limits only";
            cx.error::<()>(key.at, message, "remove `key`, or `scope`");
        }
        Some(Self {
            burst: or(raw.burst, default.burst),
            key: or(raw.key, default.key.clone()),
            max_keys: cx.ranged(
                "max_keys",
                raw.max_keys,
                default.max_keys,
                |keys| (1..=MAX_KEYS).contains(keys),
                "from 1 to 10000000 keys",
            ),
            behavior,
            headers: or(raw.headers, default.headers),
            scope,
            ..default
        })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        any_of([Rate::schema(definitions), RawRateLimit::schema(definitions)])
    }
}

fn behavior(
    cx: &mut Cx,
    word: Option<At<BehaviorWord>>,
    queue: Option<At<RawQueue>>,
    warm_up: Option<At<RawWarmUp>>,
) -> Behavior {
    let word = or(word, BehaviorWord::Reject);
    let (paced, warming) = match word {
        BehaviorWord::Reject => (false, false),
        BehaviorWord::Queue => (true, false),
        BehaviorWord::WarmUp => (false, true),
        BehaviorWord::WarmUpQueue => (true, true),
    };
    if let Some(queue) = queue.as_ref().filter(|_| !paced) {
        cx.error::<()>(queue.at, "`queue` has no effect with this behavior", "add `behavior: queue`, or remove it");
    }
    if let Some(warm_up) = warm_up.as_ref().filter(|_| !warming) {
        cx.error::<()>(
            warm_up.at,
            "`warm_up` has no effect with this behavior",
            "add `behavior: warm_up`, or remove it",
        );
    }
    let max_wait = queue.and_then(|queue| queue.value.max_wait).map_or(QUEUE_MAX_WAIT, |wait| wait.value);
    let curve = warm_up.map_or(WARM_UP, |warm_up| {
        let raw = warm_up.value;
        WarmUp {
            period: cx.positive("period", raw.period, WARM_UP.period),
            cold_factor: cx.ranged(
                "cold_factor",
                raw.cold_factor,
                WARM_UP.cold_factor,
                |factor| *factor > 1.0 && *factor <= 1000.0,
                "it is more than 1 (the cold rate lies below the full one) and at most 1000",
            ),
        }
    });
    match word {
        BehaviorWord::Reject => Behavior::Reject,
        BehaviorWord::Queue => Behavior::Queue { max_wait },
        BehaviorWord::WarmUp => Behavior::WarmUp(curve),
        BehaviorWord::WarmUpQueue => Behavior::WarmUpQueue { warm_up: curve, max_wait },
    }
}

impl Setting for Scope {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &[("replica", Self::Replica), ("service", Self::Service)])
    }

    fn schema(_: &mut Definitions) -> Value {
        words(&["replica", "service"])
    }
}

impl Setting for Key {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        const WORDS: [&str; 3] = ["route", "principal", "client_ip"];
        let expected = "route, principal, client_ip or \"{header.X-Tenant}\"";
        let text = match &node.kind {
            Kind::Scalar(scalar) => scalar.text.clone(),
            // `{header.X}` without quotes is a map to YAML; what is meant is clear.
            Kind::Map(entries) => match entries.as_slice() {
                [(key, Node { kind: Kind::Null, .. })] => format!("{{{}}}", key.value),
                _ => return cx.mismatch(node, expected),
            },
            _ => return cx.mismatch(node, expected),
        };
        match text.as_str() {
            "route" | "none" => return Some(Self::Route),
            "principal" => return Some(Self::Principal),
            "client_ip" => return Some(Self::ClientIp),
            _ => {}
        }
        let header = text.strip_prefix("{header.").and_then(|rest| rest.strip_suffix('}'));
        match header.map(|name| HeaderName::from_bytes(name.as_bytes())) {
            Some(Ok(name)) => Some(Self::Header(name)),
            Some(Err(_)) => {
                cx.error(node.at, format!("`{text}` does not name a header"), format!("expected {expected}"))
            }
            None => match suggest(&text, WORDS) {
                Some(help) => cx.error(node.at, format!("`{text}` is not a key for a rate limit"), help),
                None => cx.mismatch(node, expected),
            },
        }
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({ "anyOf": [
            { "enum": ["route", "principal", "client_ip"] },
            { "type": "string", "pattern": r"^\{header\.[^}]+\}$" },
            { "type": "object", "propertyNames": { "pattern": r"^header\." }, "maxProperties": 1 },
        ]})
    }
}
