//! `concurrency_limit`.

use std::{num::NonZeroU32, time::Duration};

use mainstay_policies::concurrency_limit::{Aimd, ConcurrencyLimit};
use schemars::{Schema, SchemaGenerator};

use crate::config::{
    decode::{Cx, Setting, any_of, or, section, words},
    node::{At, Node},
};

section! {
    /// How many requests may be in flight.
    RawConcurrencyLimit {
        /// Requests in flight at most; with `adaptive`, where the limit starts.
        max_concurrent: NonZeroU32 = required,
        /// How long a request may wait for a place; 0s refuses at once. Default 0s.
        max_wait: Duration,
        /// How many requests may wait. Default: `max_concurrent` if there is a `max_wait`, else 0.
        max_queue: u32,
        /// `aimd` lets the limit follow what the upstream can take; it needs `threshold`.
        adaptive: Adaptive,
        /// With `adaptive`: the limit never falls below this. Default 1.
        min: NonZeroU32,
        /// With `adaptive`: the limit never rises above this. Default: `max_concurrent`.
        max: NonZeroU32,
        /// With `adaptive`: a request slower than this counts as a drop.
        threshold: Duration,
    }
}

/// The word `aimd`.
#[derive(Clone, Copy)]
pub(crate) struct Adaptive;

impl Setting for Adaptive {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &[("aimd", Self)])
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        words(&["aimd"])
    }
}

impl Setting for ConcurrencyLimit {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if node.scalar().is_some() {
            let max_concurrent = NonZeroU32::decode(node, cx)?;
            return Some(Self { max_concurrent, max_wait: Duration::ZERO, max_queue: 0, adaptive: None });
        }
        let raw = RawConcurrencyLimit::decode(node, cx)?;
        let max_concurrent = raw.max_concurrent?.value;
        let max_wait = or(raw.max_wait, Duration::ZERO);
        // As many may wait as may run: a longer queue only turns overload into timeouts.
        let max_queue = if max_wait.is_zero() { 0 } else { max_concurrent.get() };
        let adaptive = if let Some(adaptive) = raw.adaptive {
            Some(aimd(cx, &adaptive, max_concurrent, raw.min, raw.max, raw.threshold)?)
        } else {
            let stray = [
                ("min", raw.min.map(|n| n.at)),
                ("max", raw.max.map(|n| n.at)),
                ("threshold", raw.threshold.map(|n| n.at)),
            ];
            for (key, at) in stray {
                if let Some(at) = at {
                    let message = format!("`{key}` has no effect without `adaptive`");
                    cx.error::<()>(at, message, "add `adaptive: aimd`, or remove it");
                }
            }
            None
        };
        Some(Self { max_concurrent, max_wait, max_queue: or(raw.max_queue, max_queue), adaptive })
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        any_of([NonZeroU32::schema(generator), RawConcurrencyLimit::schema(generator)])
    }
}

fn aimd(
    cx: &mut Cx,
    adaptive: &At<Adaptive>,
    start: NonZeroU32,
    min: Option<At<NonZeroU32>>,
    max: Option<At<NonZeroU32>>,
    threshold: Option<At<Duration>>,
) -> Option<Aimd> {
    let Some(threshold) = threshold else {
        let help = "add `threshold`: the latency above which a request counts as a drop, such as 500ms";
        return cx.error(adaptive.at, "`adaptive: aimd` needs a `threshold`", help);
    };
    let threshold = cx.positive("threshold", Some(threshold), Duration::from_secs(1));
    let min = cx.ranged("min", min, NonZeroU32::MIN, |min| *min <= start, "it is at most `max_concurrent`");
    let max = cx.ranged("max", max, start, |max| *max >= start, "it is at least `max_concurrent`");
    Some(Aimd { min, max, threshold })
}
