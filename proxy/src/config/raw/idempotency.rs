//! `idempotency`.

use std::time::Duration;

use http::{HeaderName, Method};
use mainstay_policies::idempotency::{
    Credentials, Fingerprint, Idempotency, KeyFrom, KeySource, OnConcurrent, Outcomes, Redispatch, ResolvedResponses,
};
use mainstay_policies::retry::Backoff;
use serde_json::{Value, json};

use super::{outcome::to_json, status::MaybeStatus};
use crate::config::{
    decode::{Cx, Setting, any_of, or, section, words},
    definitions::Definitions,
    node::{At, Node, Pos},
    scalars::Size,
};

/// Bodies and responses are held in memory, whole.
const MAX_BODY: u64 = 256 * 1024 * 1024;
/// A repeat that waits holds a connection.
const MAX_WAIT: Duration = Duration::from_mins(5);
/// Repeats of one write without its caller.
const MAX_REDISPATCHES: u32 = 100;

/// Never replayed: they belong to one exchange, not to the outcome (design, section 6).
const NEVER_REPLAYED: [&str; 13] = [
    "set-cookie",
    "date",
    "age",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "x-request-id",
];

section! {
    /// How keyed writes are recognised, recorded and answered.
    RawIdempotency {
        /// A protected request without a key is refused. Default false.
        required: bool,
        /// Which methods are protected. Default [POST, PATCH].
        methods: Vec<Method>,
        /// `required` refuses a keyed write without a principal. Default optional.
        principal: PrincipalRule,
        /// Whether a key belongs to the credentials that it was first used with, where the listener declares no principal:
        /// `bind` or `ignore`. Default bind.
        credentials: Credentials,
        /// Where the key comes from.
        key: KeySource,
        /// What makes two requests the same.
        fingerprint: Fingerprint,
        /// What a response proves.
        outcome: Outcomes,
        /// What a repeat meets while the first is in flight: `reject` or `{ wait: 2s }`. Default reject.
        on_concurrent: OnConcurrent,
        /// A larger request body is refused. Default 1MiB.
        max_body: Size,
        /// A larger response is not kept for replay. Default 256KiB.
        max_response: Size,
        /// How long after settling a response is replayed. Default 24h.
        retention: Duration,
        /// How long after settling a key is remembered. Default 30d.
        tombstone: Duration,
        /// How long after a timeout the attempt is kept open for a late answer. Default 30s.
        late_response: Duration,
        /// What is replayed beyond the built-in allow-list.
        replay: RawReplay,
        /// How to ask the upstream what became of a write; `none` says that a lost answer waits for a person. Default none.
        status: MaybeStatus,
        /// How often a write in doubt is sent again, without its caller. Only to an upstream with `honours_key: true`.
        redispatch: Redispatch,
        /// What repeats get where a write was settled and its own response was never seen.
        resolved_response: ResolvedResponses,
        /// A repeat of such a write that was done is sent to its operation by 303. Default false.
        redirect: bool,
    }
}

section! {
    /// How often a write in doubt is sent again: the same bytes, under the same key.
    RawRedispatch {
        /// How often at most; 0 is never. Default 0.
        attempts: u32,
        /// The waits before each, as those of `retry`. Default { base: 500ms, max: 60s }.
        backoff: RedispatchBackoff,
    }
}

section! {
    /// What is replayed beyond the built-in allow-list.
    RawReplay {
        /// Response headers.
        headers: Vec<At<HeaderName>>,
    }
}

section! {
    /// A repeat waits for the first request's outcome.
    RawWait {
        /// How long, before it gets 409.
        wait: Duration = required,
    }
}

impl Setting for Idempotency {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let default = Self::default();
        if node.is_word("true") {
            return Some(default);
        }
        if node.scalar().is_some() {
            return cx.mismatch(node, "true, off, or a map");
        }
        let raw = RawIdempotency::decode(node, cx)?;
        if let Some(methods) = raw.methods.as_ref() {
            protected(cx, methods);
        }
        let (retention_at, tombstone_at) = (raw.retention.map(|it| it.at), raw.tombstone.map(|it| it.at));
        let retention = cx.positive("retention", raw.retention, default.retention);
        let tombstone = cx.positive("tombstone", raw.tombstone, default.tombstone);
        if let Some(at) = tombstone_at.or(retention_at).filter(|_| tombstone < retention) {
            let help =
                "a key must be remembered (`tombstone`, default 30d) at least as long as its response (`retention`)";
            cx.error::<()>(at, "`tombstone` is shorter than `retention`", help);
        }
        let (key_at, key) = (raw.key.as_ref().map(|key| key.at), or(raw.key, default.key));
        if let (Some(at), Some(KeyFrom::Content { window })) = (key_at, &key.from)
            && *window > retention
        {
            let help = "a repeat within the window gets the first answer, so it must be kept as long";
            cx.error::<()>(at, "`key.window` is longer than `retention`", help);
        }
        let bounded = |cx: &mut Cx, key, setting, default| {
            cx.ranged(key, setting, Size(default), |size| size.0 <= MAX_BODY, "at most 256MiB: it is held in memory")
                .bytes()
        };
        Some(Self {
            required: or(raw.required, default.required),
            methods: or(raw.methods, default.methods),
            principal_required: or(raw.principal, PrincipalRule(default.principal_required)).0,
            credentials: or(raw.credentials, default.credentials),
            key,
            fingerprint: or(raw.fingerprint, default.fingerprint),
            outcome: or(raw.outcome, default.outcome),
            on_concurrent: or(raw.on_concurrent, default.on_concurrent),
            max_body: bounded(cx, "max_body", raw.max_body, 1024 * 1024),
            max_response: bounded(cx, "max_response", raw.max_response, 256 * 1024),
            retention,
            tombstone,
            late_response: or(raw.late_response, default.late_response),
            replay_headers: raw.replay.and_then(|replay| replayed(cx, replay.value)).unwrap_or_default(),
            status: raw.status.and_then(|status| status.value.0),
            redispatch: or(raw.redispatch, default.redispatch),
            resolved_response: or(raw.resolved_response, default.resolved_response),
            redirect: or(raw.redirect, default.redirect),
        })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        any_of([json!({ "const": true }), RawIdempotency::schema(definitions)])
    }
}

impl Setting for Redispatch {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let raw = RawRedispatch::decode(node, cx)?;
        let default = Self::default();
        let attempts = cx.ranged(
            "attempts",
            raw.attempts,
            default.attempts,
            |attempts| *attempts <= MAX_REDISPATCHES,
            "at most 100: what no repeat settles needs a person",
        );
        Some(Self { attempts, backoff: raw.backoff.map_or(default.backoff, |backoff| backoff.value.0) })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        RawRedispatch::schema(definitions)
    }
}

/// A retry's backoff with a redispatch's defaults.
pub(crate) struct RedispatchBackoff(Backoff);

impl Setting for RedispatchBackoff {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        super::retry::backoff(node, cx, Redispatch::default().backoff).map(Self)
    }

    fn schema(definitions: &mut Definitions) -> Value {
        Backoff::schema(definitions)
    }
}

/// Where `redispatch` stands in the node of an `idempotency`.
pub(crate) fn redispatch_at(idempotency: &Node) -> Option<Pos> {
    Some(idempotency.lookup("redispatch")?.at)
}

fn protected(cx: &mut Cx, methods: &At<Vec<Method>>) {
    if methods.value.is_empty() {
        cx.error::<()>(methods.at, "`methods` is empty, so nothing is protected", "name methods, or remove it");
    }
    for method in methods.value.iter().filter(|method| method.is_safe()) {
        let message = format!("`{method}` changes nothing, so it needs no key");
        cx.error::<()>(methods.at, message, "protect POST, PATCH, PUT or DELETE");
    }
}

fn is_never_replayed(name: &str) -> bool {
    NEVER_REPLAYED.contains(&name)
        || ["ratelimit", "x-ratelimit", "access-control-", "mainstay-"].iter().any(|prefix| name.starts_with(prefix))
}

fn replayed(cx: &mut Cx, replay: RawReplay) -> Option<Vec<HeaderName>> {
    let headers = replay.headers?.value;
    for header in headers.iter().filter(|header| is_never_replayed(header.value.as_str())) {
        let message = format!("`{}` belongs to one exchange and is never replayed", header.value);
        cx.error::<()>(header.at, message, "remove it");
    }
    Some(headers.into_iter().map(|header| header.value).collect())
}

/// `off`, or how keyed writes are protected.
pub(crate) struct MaybeIdempotency(pub(crate) Option<Idempotency>);

impl Setting for MaybeIdempotency {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if node.is_word("off") { Some(Self(None)) } else { Idempotency::decode(node, cx).map(Some).map(Self) }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        any_of([words(&["off"]), Idempotency::schema(definitions)])
    }
}

/// `optional` or `required`.
pub(crate) struct PrincipalRule(bool);

impl Setting for PrincipalRule {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &[("optional", false), ("required", true)]).map(Self)
    }

    fn schema(_: &mut Definitions) -> Value {
        words(&["optional", "required"])
    }
}

impl Setting for Credentials {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &[("bind", Self::Bind), ("ignore", Self::Ignore)])
    }

    fn schema(_: &mut Definitions) -> Value {
        words(&["bind", "ignore"])
    }
}

impl Setting for OnConcurrent {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if node.scalar().is_some() {
            return match cx.choice(node, &[("reject", Some(Self::Reject)), ("wait", None)])? {
                Some(reject) => Some(reject),
                None => cx.error(node.at, "`wait` needs a time", "write { wait: 2s }"),
            };
        }
        let wait = RawWait::decode(node, cx)?.wait?;
        let holds = |wait: &Duration| !wait.is_zero() && *wait <= MAX_WAIT;
        Some(Self::Wait(cx.ranged("wait", Some(wait), MAX_WAIT, holds, "it is above 0s and at most 5m")))
    }

    fn schema(definitions: &mut Definitions) -> Value {
        any_of([words(&["reject"]), RawWait::schema(definitions)])
    }
}

/// A text that is JSON, written as text or as the value itself.
pub(crate) struct JsonText(pub(crate) String);

impl Setting for JsonText {
    fn decode(node: &Node, _: &mut Cx) -> Option<Self> {
        match node.scalar() {
            Some(scalar) => Some(Self(scalar.text.clone())),
            None => Some(Self(to_json(node).to_string())),
        }
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({})
    }
}
