//! `concurrency_limit`.

use std::{num::NonZeroU32, time::Duration};

use mainstay_policies::concurrency_limit::{Adaptive, Aimd, Bbr, ConcurrencyLimit};
use serde_json::Value;

use crate::config::{
    decode::{Cx, Setting, any_of, or, section, words},
    definitions::Definitions,
    node::{At, Node, Pos},
    scalars::Percent,
};

section! {
    /// How many requests may be in flight.
    RawConcurrencyLimit {
        /// Requests in flight at most; with `adaptive: aimd`, where the limit starts.
        max_concurrent: NonZeroU32 = required,
        /// How long a request may wait for a place; 0s refuses at once. Default 0s.
        max_wait: Duration,
        /// How many requests may wait. Default: `max_concurrent` if there is a `max_wait`, else 0.
        max_queue: u32,
        /// How the limit follows what the upstream can take: `aimd` by latency and failures, with a `threshold`; `bbr` sheds
        /// what is more than the upstream was seen to manage while the CPU is busy.
        adaptive: Word,
        /// With `adaptive: aimd`: the limit never falls below this. Default 1.
        min: NonZeroU32,
        /// With `adaptive: aimd`: the limit never rises above this. Default: `max_concurrent`.
        max: NonZeroU32,
        /// With `adaptive: aimd`: a request slower than this counts as a drop.
        threshold: Duration,
        /// With `adaptive: bbr`: requests are shed only while the CPU is at least this busy. Default 80%.
        cpu: Percent,
        /// With `adaptive: bbr`: how far back the highest throughput and the lowest latency are looked for. Default 10s.
        window: Duration,
        /// With `adaptive: bbr`: how long after the last request that was shed on a busy CPU the rule still holds on an idle
        /// one. Default 1s.
        cool_off: Duration,
    }
}

/// What `adaptive` can be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    Aimd,
    Bbr,
}

impl Setting for Word {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &[("aimd", Self::Aimd), ("bbr", Self::Bbr)])
    }

    fn schema(_: &mut Definitions) -> Value {
        words(&["aimd", "bbr"])
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
        let word = raw.adaptive.as_ref().map(|adaptive| adaptive.value);
        let keys = [
            ("min", raw.min.as_ref().map(|it| it.at), Word::Aimd),
            ("max", raw.max.as_ref().map(|it| it.at), Word::Aimd),
            ("threshold", raw.threshold.as_ref().map(|it| it.at), Word::Aimd),
            ("cpu", raw.cpu.as_ref().map(|it| it.at), Word::Bbr),
            ("window", raw.window.as_ref().map(|it| it.at), Word::Bbr),
            ("cool_off", raw.cool_off.as_ref().map(|it| it.at), Word::Bbr),
        ];
        // If `adaptive` is there and cannot be read, nobody knows which keys go with it.
        if word.is_some() || node.lookup("adaptive").is_none() {
            strays(cx, word, &keys);
        }
        let adaptive = match raw.adaptive {
            None => None,
            Some(At { value: Word::Aimd, at }) => {
                Some(Adaptive::Aimd(aimd(cx, at, max_concurrent, raw.min, raw.max, raw.threshold)?))
            }
            Some(At { value: Word::Bbr, .. }) => Some(Adaptive::Bbr(bbr(cx, raw.cpu, raw.window, raw.cool_off))),
        };
        Some(Self { max_concurrent, max_wait, max_queue: or(raw.max_queue, max_queue), adaptive })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        any_of([NonZeroU32::schema(definitions), RawConcurrencyLimit::schema(definitions)])
    }
}

/// Keys that mean something only with another word, or with one at all.
fn strays(cx: &mut Cx, word: Option<Word>, keys: &[(&str, Option<Pos>, Word)]) {
    for (key, at, of) in keys {
        let Some(at) = at.filter(|_| word != Some(*of)) else { continue };
        let name = match of {
            Word::Aimd => "aimd",
            Word::Bbr => "bbr",
        };
        let (message, help) = match word {
            None => {
                (format!("`{key}` has no effect without `adaptive`"), format!("add `adaptive: {name}`, or remove it"))
            }
            Some(_) => {
                (format!("`{key}` has no effect with this `adaptive`"), format!("it belongs to `{name}`; remove it"))
            }
        };
        cx.error::<()>(at, message, help);
    }
}

fn aimd(
    cx: &mut Cx,
    adaptive: Pos,
    start: NonZeroU32,
    min: Option<At<NonZeroU32>>,
    max: Option<At<NonZeroU32>>,
    threshold: Option<At<Duration>>,
) -> Option<Aimd> {
    let Some(threshold) = threshold else {
        let help = "add `threshold`: the latency above which a request counts as a drop, such as 500ms";
        return cx.error(adaptive, "`adaptive: aimd` needs a `threshold`", help);
    };
    let threshold = cx.positive("threshold", Some(threshold), Duration::from_secs(1));
    let min = cx.ranged("min", min, NonZeroU32::MIN, |min| *min <= start, "it is at most `max_concurrent`");
    let max = cx.ranged("max", max, start, |max| *max >= start, "it is at least `max_concurrent`");
    Some(Aimd { min, max, threshold })
}

fn bbr(cx: &mut Cx, cpu: Option<At<Percent>>, window: Option<At<Duration>>, cool_off: Option<At<Duration>>) -> Bbr {
    let default = Bbr::default();
    Bbr {
        cpu_percent: cpu.map_or(default.cpu_percent, |cpu| cpu.value.0),
        window: cx.ranged(
            "window",
            window,
            default.window,
            |window| (Duration::from_secs(1)..=Duration::from_mins(10)).contains(window),
            "it is from 1s to 10m: it has a hundred buckets, and what it remembers shall still be so",
        ),
        cool_off: or(cool_off, default.cool_off),
    }
}
