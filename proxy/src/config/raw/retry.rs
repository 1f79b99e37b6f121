//! `retry`.

use std::time::Duration;

use http::StatusCode;
use mainstay_policies::retry::{Backoff, Budget, Condition, Delays, Hedge, HedgeAfter, Jitter, Retry};
use serde_json::{Value, json};

use crate::config::{
    decode::{Cx, Setting, any_of, or, section, words},
    definitions::Definitions,
    node::{At, Node},
    report::suggest,
    scalars::Size,
};

/// Retries of one request at most: more is a loop, not a retry.
const MAX_RETRIES: u32 = 100;
/// Hedges of one request at most: each one more is another copy of the whole load.
const MAX_HEDGES: u32 = 5;
/// The largest request body kept for replay: it is held in memory per request.
const MAX_BODY: u64 = 64 * 1024 * 1024;

/// The gRPC status codes by number (grpc/grpc, doc/statuscodes.md).
pub(crate) const GRPC: [&str; 17] = [
    "ok",
    "cancelled",
    "unknown",
    "invalid_argument",
    "deadline_exceeded",
    "not_found",
    "already_exists",
    "permission_denied",
    "resource_exhausted",
    "failed_precondition",
    "aborted",
    "out_of_range",
    "unimplemented",
    "internal",
    "unavailable",
    "data_loss",
    "unauthenticated",
];

const WORDS: [(&str, Condition); 4] = [
    ("connect_error", Condition::ConnectError),
    ("refused", Condition::Refused),
    ("reset", Condition::Reset),
    ("timeout", Condition::Timeout),
];

section! {
    /// When and how often a failed attempt is tried again.
    RawRetry {
        /// Retries after the first attempt. Default 0.
        max_retries: u32,
        /// Exponential waits between attempts.
        backoff: Backoff,
        /// A fixed wait before each retry, instead of `backoff`; the last one repeats.
        schedule: Vec<Duration>,
        /// The share of traffic that retries may add; `none` turns it off.
        budget: MaybeBudget,
        /// What counts as a failure worth another try. Default `[connect_error, refused, reset, timeout, 503]`.
        on: Vec<Condition>,
        /// A larger request body is streamed and not retried. Default 64KiB.
        max_body: Size,
        /// Another attempt beside a slow one, for safe methods; the first good answer wins. Default: none.
        hedge: Hedge,
    }
}

section! {
    /// When a safe request that has no answer yet is sent once more beside the first, within the retry budget.
    RawHedge {
        /// After this time, or after a percentile of the route's own latencies: `50ms`, `p95`. Default p95.
        after: HedgeAfter,
        /// Hedges of one request at most. Default 1.
        max: u32,
    }
}

section! {
    /// `min(max, base * multiplier^(k-1))` before retry `k`.
    RawBackoff {
        /// The bound of the first wait. Default 25ms; of a redispatch 500ms.
        base: Duration,
        /// The bound of every wait. Default 1s; of a redispatch 60s.
        max: Duration,
        /// The growth from one retry to the next, at least 1. Default 2.
        multiplier: f64,
        /// `full` draws each wait between 0 and its bound; `none` waits exactly the bound. Default full.
        jitter: Jitter,
    }
}

section! {
    /// Retries that may be made: a floor per second and a share of the original requests.
    RawBudget {
        /// Retries allowed for each hundred original requests. Default 20.
        percent: f64,
        /// Retries per second that are always allowed. Default 3.
        min_retries_per_sec: f64,
        /// How long a deposit or a withdrawal counts. Default 10s.
        ttl: Duration,
    }
}

impl Setting for Retry {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let default = Self::default();
        let bounded = |cx: &mut Cx, key, setting| {
            cx.ranged(key, setting, 0, |retries| *retries <= MAX_RETRIES, "at most 100 retries")
        };
        if node.scalar().is_some() {
            let max_retries = At { value: u32::decode(node, cx)?, at: node.at };
            return Some(Self { max_retries: bounded(cx, "retry", Some(max_retries)), ..default });
        }
        let raw = RawRetry::decode(node, cx)?;
        if let (Some(_), Some(schedule)) = (&raw.backoff, &raw.schedule) {
            cx.error::<()>(schedule.at, "`schedule` and `backoff` exclude each other", "keep one of the two");
        }
        let delays = match raw.schedule {
            Some(schedule) if schedule.value.is_empty() => {
                return cx.error(schedule.at, "`schedule` is empty", "give at least one wait: [1s, 5s, 30s]");
            }
            Some(schedule) => Delays::Schedule(schedule.value),
            None => Delays::Backoff(or(raw.backoff, Backoff::default())),
        };
        if let Some(on) = raw.on.as_ref().filter(|on| on.value.is_empty()) {
            cx.error::<()>(on.at, "`on` is empty, so nothing is ever retried", "name a condition, or remove `on`");
        }
        Some(Self {
            max_retries: bounded(cx, "max_retries", raw.max_retries),
            delays,
            budget: raw.budget.map_or(default.budget, |budget| budget.value.0),
            on: or(raw.on, default.on),
            hedge: raw.hedge.map(|hedge| hedge.value),
            max_body: cx
                .ranged("max_body", raw.max_body, Size(64 * 1024), |size| size.0 <= MAX_BODY, "at most 64MiB")
                .bytes(),
        })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        any_of([u32::schema(definitions), RawRetry::schema(definitions)])
    }
}

/// A backoff of which `default` fills what is not said.
pub(super) fn backoff(node: &Node, cx: &mut Cx, default: Backoff) -> Option<Backoff> {
    let raw = RawBackoff::decode(node, cx)?;
    let (base_at, max_at) = (raw.base.map(|base| base.at), raw.max.map(|max| max.at));
    let backoff = Backoff {
        base: or(raw.base, default.base),
        max: or(raw.max, default.max),
        multiplier: cx.ranged(
            "multiplier",
            raw.multiplier,
            default.multiplier,
            |multiplier| (1.0..=1000.0).contains(multiplier),
            "it is at least 1 (waits do not shrink) and at most 1000",
        ),
        jitter: or(raw.jitter, default.jitter),
    };
    if backoff.max < backoff.base {
        let at = max_at.or(base_at).unwrap_or(node.at);
        cx.error::<()>(at, "`max` is less than `base`", "`max` bounds every wait, the first one too");
    }
    Some(backoff)
}

impl Setting for Backoff {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        backoff(node, cx, Self::default())
    }

    fn schema(definitions: &mut Definitions) -> Value {
        RawBackoff::schema(definitions)
    }
}

impl Setting for Hedge {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let raw = RawHedge::decode(node, cx)?;
        Some(Self {
            // Dean and Barroso, "The Tail at Scale" (2013): after the 95th percentile, hedges add 5 % of load.
            after: or(raw.after, HedgeAfter::Percentile(95)),
            max: cx.ranged("max", raw.max, 1, |max| (1..=MAX_HEDGES).contains(max), "it is from 1 to 5"),
        })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        RawHedge::schema(definitions)
    }
}

impl Setting for HedgeAfter {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let percent = node.scalar().and_then(|scalar| scalar.text.strip_prefix('p')?.parse().ok());
        match percent {
            Some(percent) if (50..=99).contains(&percent) => Some(Self::Percentile(percent)),
            Some(_) => cx.mismatch(node, "a percentile from p50 to p99, or a duration"),
            None => Duration::decode(node, cx).map(Self::Fixed),
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        any_of([json!({ "type": "string", "pattern": "^p[5-9][0-9]$" }), Duration::schema(definitions)])
    }
}

impl Setting for Jitter {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &[("full", Self::Full), ("none", Self::None)])
    }

    fn schema(_: &mut Definitions) -> Value {
        words(&["full", "none"])
    }
}

/// `none` or a budget.
pub(crate) struct MaybeBudget(Option<Budget>);

impl Setting for MaybeBudget {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if node.is_word("none") {
            return Some(Self(None));
        }
        if node.scalar().is_some() {
            return cx.mismatch(node, "none, or a map of percent, min_retries_per_sec, ttl");
        }
        let raw = RawBudget::decode(node, cx)?;
        let default = Budget::default();
        Some(Self(Some(Budget {
            percent: cx.ranged(
                "percent",
                raw.percent,
                default.percent,
                |percent| (0.0..=1000.0).contains(percent),
                "it is from 0 to 1000",
            ),
            min_retries_per_sec: cx.ranged(
                "min_retries_per_sec",
                raw.min_retries_per_sec,
                default.min_retries_per_sec,
                |floor| (0.0..=1e6).contains(floor),
                "it is from 0 to 1000000",
            ),
            ttl: cx.positive("ttl", raw.ttl, default.ttl),
        })))
    }

    fn schema(definitions: &mut Definitions) -> Value {
        any_of([words(&["none"]), RawBudget::schema(definitions)])
    }
}

impl Setting for Condition {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let expected = "connect_error, refused, reset, timeout, a status such as 503, or grpc:unavailable";
        let Some(scalar) = node.scalar() else {
            return cx.mismatch(node, expected);
        };
        let text = scalar.text.as_str();
        if let Some((_, condition)) = WORDS.iter().find(|(word, _)| *word == text) {
            return Some(*condition);
        }
        if let Some(code) = text.strip_prefix("grpc:") {
            let number = GRPC.iter().position(|name| *name == code).or_else(|| code.parse().ok());
            return if let Some(number) =
                number.filter(|number| (1..GRPC.len()).contains(number)).and_then(|n| u16::try_from(n).ok())
            {
                Some(Self::Grpc(number))
            } else {
                let names: Vec<String> = GRPC[1..].iter().map(|name| format!("grpc:{name}")).collect();
                let help = suggest(text, names.iter().map(String::as_str));
                let help = help.unwrap_or_else(|| "a gRPC code is a name or 1 to 16: grpc:unavailable".into());
                cx.error(node.at, format!("{} is not a gRPC error", scalar.shown()), help)
            };
        }
        match text.parse::<u16>().ok().and_then(|code| StatusCode::from_u16(code).ok()) {
            Some(status) if (400..600).contains(&status.as_u16()) => Some(Self::Status(status)),
            Some(_) => {
                let message = format!("{} is not an error status", scalar.shown());
                cx.error(node.at, message, "statuses worth a retry are from 400 to 599")
            }
            None if text.eq_ignore_ascii_case("5xx") || text.eq_ignore_ascii_case("4xx") => {
                cx.error(node.at, format!("{} is not one status", scalar.shown()), "name each one: 502, 503, 504")
            }
            None => {
                let help = suggest(text, WORDS.iter().map(|(word, _)| *word));
                let help = help.unwrap_or_else(|| format!("expected {expected}"));
                cx.error(node.at, format!("{} is not a condition for a retry", scalar.shown()), help)
            }
        }
    }

    fn schema(_: &mut Definitions) -> Value {
        let named: Vec<&str> = WORDS.iter().map(|(word, _)| *word).collect();
        json!({ "anyOf": [
            { "enum": named },
            { "type": "integer", "minimum": 400, "maximum": 599 },
            { "type": "string", "pattern": format!("^grpc:({}|[1-9]|1[0-6])$", GRPC[1..].join("|")) },
        ]})
    }
}
