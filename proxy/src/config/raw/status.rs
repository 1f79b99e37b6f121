//! `idempotency.status`: how the upstream is asked what became of a write.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use http::Method;
use mainstay_policies::idempotency::{QuerySchedule, ResponseStatus, Rule, StatusQuery};
use serde_json::{Value, json};

use crate::config::{
    decode::{Cx, Setting, any_of, or, section, words},
    definitions::Definitions,
    node::{At, Node, Pos, shorten},
    report::suggest,
    scalars::Rate,
};

/// Longer than any sane request takes to arrive, so that `not_found` cannot be about a write still on its way.
const SETTLE_AFTER: Duration = Duration::from_mins(1);
/// Gentle to a service that has just failed.
const RATE: Rate = Rate { count: NonZeroU32::new(20).expect("20 is not zero"), unit: Duration::from_secs(1) };

section! {
    /// The upstream's own status endpoint.
    RawStatus {
        /// Method and path: `GET /payments/by-ref/{key}`; also `{operation}` and `{path.NAME}` of the route.
        request: Request = required,
        /// What its answers mean; the first match wins, and no match is no evidence.
        rules: Vec<At<Rule>> = required,
        /// `not_found` proves that nothing happened only this long after the last dispatch: at least `timeout.total` and
        /// `late_response` together. Default 60s.
        settle_after: Duration,
        /// The endpoint itself bars a late original, so `not_found` proves at once. Default false.
        fenced: bool,
        /// The service's instances share their data, so that whichever is asked answers for all. Says so, and changes nothing
        /// else. Default false.
        shared: bool,
        /// When the next query is made.
        schedule: QuerySchedule,
        /// Queries to one upstream. Default 20/s.
        rate: Rate,
    }
}

section! {
    /// When the next query is made.
    RawSchedule {
        /// The first wait. Default 200ms.
        first: Duration,
        /// The growth of the wait, at least 1. Default 2.
        factor: f64,
        /// The longest wait. Default 60s.
        max: Duration,
        /// When a person is called. Default 24h.
        give_up: Duration,
    }
}

impl Setting for StatusQuery {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let raw = RawStatus::decode(node, cx)?;
        let rules = raw.rules?;
        if rules.value.is_empty() {
            return cx.error(rules.at, "`rules` is empty, so no answer proves anything", "say what the answers mean");
        }
        for rule in &rules.value {
            if let Some(ResponseStatus::Grpc(_)) = rule.value.status {
                let help = "the question is asked over HTTP: name the status, such as 200 or 404";
                cx.error::<()>(rule.at, "a status endpoint answers with no gRPC code", help);
            }
        }
        let request = raw.request?.value;
        let usual = [1, 60, 3600, 86400].map(Duration::from_secs);
        let rate =
            cx.ranged("rate", raw.rate, RATE, |rate| usual.contains(&rate.unit), "a rate per s, m, h or d: 20/s");
        Some(Self {
            method: request.method,
            path: request.path,
            rules: rules.value.into_iter().map(|rule| rule.value).collect(),
            settle_after: or(raw.settle_after, SETTLE_AFTER),
            fenced: or(raw.fenced, false),
            shared: or(raw.shared, false),
            schedule: or(raw.schedule, QuerySchedule::default()),
            rate_per_sec: f64::from(rate.count.get()) / rate.unit.as_secs_f64(),
        })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        RawStatus::schema(definitions)
    }
}

/// `none`, or how the upstream is asked.
pub(crate) struct MaybeStatus(pub(crate) Option<StatusQuery>);

impl Setting for MaybeStatus {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if node.is_word("none") {
            return Some(Self(None));
        }
        if node.scalar().is_some() {
            return cx.mismatch(node, "none, or a map of request, rules");
        }
        StatusQuery::decode(node, cx).map(Some).map(Self)
    }

    fn schema(definitions: &mut Definitions) -> Value {
        any_of([words(&["none"]), StatusQuery::schema(definitions)])
    }
}

impl Setting for QuerySchedule {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let raw = RawSchedule::decode(node, cx)?;
        let default = Self::default();
        let max_at = raw.max.or(raw.first).map_or(node.at, |setting| setting.at);
        let schedule = Self {
            first: cx.positive("first", raw.first, default.first),
            factor: cx.ranged(
                "factor",
                raw.factor,
                default.factor,
                |factor| (1.0..=1000.0).contains(factor),
                "it is at least 1 (waits do not shrink) and at most 1000",
            ),
            max: cx.positive("max", raw.max, default.max),
            give_up: cx.positive("give_up", raw.give_up, default.give_up),
        };
        if schedule.max < schedule.first {
            cx.error::<()>(max_at, "`max` is less than `first`", "`max` bounds every wait, the first one too");
        }
        Some(schedule)
    }

    fn schema(definitions: &mut Definitions) -> Value {
        RawSchedule::schema(definitions)
    }
}

/// Method and path template.
pub(crate) struct Request {
    method: Method,
    path: Arc<str>,
}

impl Setting for Request {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let expected = "a method and a path: GET /payments/by-ref/{key}";
        let Some(scalar) = node.scalar() else {
            return cx.mismatch(node, expected);
        };
        let Some((method, path)) = scalar.text.split_once(' ') else {
            return cx.mismatch(node, expected);
        };
        let method = match method {
            "GET" => Method::GET,
            "POST" => Method::POST,
            other => {
                let message = format!("`{}` cannot ask for a status", shorten(other));
                return cx.error(node.at, message, "use GET or POST");
            }
        };
        let path = path.trim();
        let printable = path.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        if !path.starts_with('/') || path.starts_with("//") || !printable {
            let message = format!("`{}` is not a path", shorten(path));
            return cx.error(node.at, message, "a path starts with one slash and is percent-encoded ASCII");
        }
        for name in variables(cx, node, path)? {
            let known =
                matches!(name, "key" | "operation") || name.strip_prefix("path.").is_some_and(|name| !name.is_empty());
            if !known {
                let help = suggest(name, ["key", "operation", "path.NAME"])
                    .unwrap_or_else(|| "use {key}, {operation} or {path.NAME}".into());
                cx.error::<()>(node.at, format!("unknown variable `{{{}}}`", shorten(name)), help);
            }
        }
        Some(Self { method, path: path.into() })
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({ "type": "string", "pattern": "^(GET|POST) +/", "examples": ["GET /payments/by-ref/{key}"] })
    }
}

/// The names between braces.
fn variables<'p>(cx: &mut Cx, node: &Node, path: &'p str) -> Option<Vec<&'p str>> {
    match split_variables(path) {
        Some(names) => Some(names),
        None => cx.error(node.at, "the braces of the path do not match", "write {key}, {operation} or {path.NAME}"),
    }
}

/// The names between braces, or `None` if the braces do not match.
pub(crate) fn split_variables(path: &str) -> Option<Vec<&str>> {
    let mut names = Vec::new();
    let mut rest = path;
    while let Some(at) = rest.find(['{', '}']) {
        let inside = rest[at..].strip_prefix('{')?;
        let (name, after) = inside.split_once('}')?;
        if name.contains('{') {
            return None;
        }
        names.push(name);
        rest = after;
    }
    Some(names)
}

/// Where `request` stands in the node of an `idempotency`.
pub(crate) fn request_at(idempotency: &Node) -> Option<Pos> {
    Some(idempotency.lookup("status")?.lookup("request")?.at)
}
