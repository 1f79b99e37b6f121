//! The record of one operation.

use std::{fmt, str::FromStr, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use super::history::History;
use crate::{clock::UnixMillis, evidence::Evidence};

/// The public name of an operation: an integer in arrival order, which is the ledger's key, and a random tag, which keeps
/// the name from being guessed. Shown as 32 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId {
    /// Arrival order, from 1.
    pub seq: u64,
    /// Random.
    pub tag: u64,
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.seq, self.tag)
    }
}

impl FromStr for OperationId {
    type Err = InvalidOperationId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 32 || !text.bytes().all(lower_hex) {
            return Err(InvalidOperationId);
        }
        let half = |s: &str| u64::from_str_radix(s, 16).map_err(|_| InvalidOperationId);
        Ok(Self { seq: half(&text[..16])?, tag: half(&text[16..])? })
    }
}

/// The text is not an operation id: 32 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an operation id is 32 lower-case hex digits")]
pub struct InvalidOperationId;

/// SHA-256 over length-prefixed (principal, upstream, key).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash(pub [u8; 32]);

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One run of one process; an operation's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InstanceId(pub u128);

/// Where an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// In flight.
    Pending,
    /// The service did it.
    Succeeded,
    /// The service decided against it.
    Failed,
    /// The service did nothing; the key is free.
    NotExecuted,
    /// Nobody knows yet.
    Unknown,
}

impl State {
    /// Whether nothing more will happen.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::NotExecuted)
    }

    /// The name used in documents, metrics and the ledger.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::NotExecuted => "not_executed",
            Self::Unknown => "unknown",
        }
    }
}

/// What told us where the operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The answer to the attempt.
    Response,
    /// The answer to the attempt, after the caller had been answered.
    LateResponse,
    /// The upstream's status endpoint.
    StatusQuery,
    /// A repeat by the resolver.
    Redispatch,
    /// A person.
    Operator,
}

impl Source {
    /// The name used in documents.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Response => "response",
            Self::LateResponse => "late_response",
            Self::StatusQuery => "status_query",
            Self::Redispatch => "redispatch",
            Self::Operator => "operator",
        }
    }
}

/// Why a person is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attention {
    /// Since when.
    pub since: UnixMillis,
    /// Why.
    pub reason: AttentionReason,
    /// What was heard against a settled state, where that is why.
    pub heard: Option<Contradiction>,
}

impl Attention {
    /// A person is needed since then, for this reason.
    pub const fn new(since: UnixMillis, reason: AttentionReason) -> Self {
        Self { since, reason, heard: None }
    }
}

/// What speaks against a settled state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// What was heard.
    pub evidence: Evidence,
    /// Who said it.
    pub source: Source,
    /// By which status, where there was one.
    pub status: Option<StatusCode>,
}

/// Why a person is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttentionReason {
    /// Evidence contradicts a terminal state.
    Conflict,
    /// The resolver gave up.
    ResolveExhausted,
}

impl AttentionReason {
    /// The name used in documents.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::ResolveExhausted => "resolve_exhausted",
        }
    }
}

/// A response kept for replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredResponse {
    /// The status.
    pub status: StatusCode,
    /// The allow-listed headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// What is kept of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retained {
    /// There was none, or not yet.
    None,
    /// All of it.
    Stored(Arc<StoredResponse>),
    /// Only its status: it was over `max_response`, or streamed.
    StatusOnly,
}

/// A request kept for a redispatch: what every attempt sent, before what each of them added.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredRequest {
    /// The method.
    pub method: Method,
    /// Path and query, as they came.
    pub target: Arc<str>,
    /// The headers, credentials among them, as the upstream is to see them.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl fmt::Debug for StoredRequest {
    /// Neither headers nor body: they hold the key and credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredRequest").field("method", &self.method).finish_non_exhaustive()
    }
}

/// What is kept of the request. Only an open operation that may be dispatched again keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KeptRequest {
    /// Nothing.
    #[default]
    None,
    /// This, which the ledger is asked to keep: only in a draft.
    Given(Arc<StoredRequest>),
    /// [`Ledger::request`](super::ledger::Ledger::request) has it.
    Kept,
}

/// The span of the request that began an operation, for links to it. Kept only if that span was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceOrigin {
    /// W3C trace id.
    pub trace_id: [u8; 16],
    /// The server span's id.
    pub span_id: [u8; 8],
}

/// How the first request of an operation came in, for whoever looks at the operation later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Its trace, whether that was recorded or not.
    pub trace_id: Option<[u8; 16]>,
    /// The policy's name; empty for what was begun before this was kept.
    pub policy: Arc<str>,
    /// The listener's name.
    pub listener: Arc<str>,
    /// Its method.
    pub method: Option<Method>,
}

/// Which parts of a request its fingerprint was made of. A repeat is compared by the parts that counted when the operation
/// began, so that a new version of this program takes no repeat of an old write for another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FingerprintVersion {
    /// Method, path, query, media type, `Content-Encoding`, body and the headers that the policy names.
    WithoutHost,
    /// The same, and the host.
    WithHost,
}

impl FingerprintVersion {
    /// The version under which new fingerprints are made.
    pub const CURRENT: Self = Self::WithHost;
}

/// The record of one operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// The public name.
    pub id: OperationId,
    /// The ledger key.
    pub key_hash: KeyHash,
    /// SHA-256 of the principal: who may read it.
    pub principal: [u8; 32],
    /// HMAC-SHA-256 of the request.
    pub fingerprint: [u8; 32],
    /// What the fingerprint was made of.
    pub fingerprint_version: FingerprintVersion,
    /// HMAC-SHA-256 of the first request's credentials, where it had no principal: who may repeat it and find it by its key.
    /// `None`: it is bound to none.
    pub credentials: Option<[u8; 32]>,
    /// The route's name, for documents and metrics.
    pub route: Arc<str>,
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// Where it stands.
    pub state: State,
    /// Why it stands there: a short fixed phrase, such as `attempt_timeout` or `http_200`.
    pub reason: Arc<str>,
    /// What told us so; `None` while nothing has.
    pub source: Option<Source>,
    /// The upstream's status, where there was one.
    pub http_status: Option<StatusCode>,
    /// Attempts that may have reached the upstream.
    pub attempts: u32,
    /// When the first request arrived.
    pub created_at: UnixMillis,
    /// When the last attempt was sent.
    pub dispatched_at: Option<UnixMillis>,
    /// When it became terminal.
    pub settled_at: Option<UnixMillis>,
    /// When it will next be asked about.
    pub next_check_at: Option<UnixMillis>,
    /// Status queries made so far.
    pub checks: u32,
    /// A person is needed.
    pub attention: Option<Attention>,
    /// The last thing that was proven, or was not.
    pub last_evidence: Option<Evidence>,
    /// The answer.
    pub retained: Retained,
    /// The rendered request target of the status query, from the route's template.
    pub status_target: Option<Arc<str>>,
    /// The request, where it may be dispatched again.
    pub request: KeptRequest,
    /// Times that it was dispatched again without its caller.
    pub redispatches: u32,
    /// The span of the request that began it.
    pub origin: Option<TraceOrigin>,
    /// How the first request came in.
    pub provenance: Provenance,
    /// What has happened to it.
    pub history: History,
    /// How long after settling the answer is replayed, in ms; from the policy that began it.
    pub retention_ms: u64,
    /// How long after settling the key is remembered, in ms.
    pub tombstone_ms: u64,
    /// How long after settling a request with the same key is still a repeat, in ms; `None`: as long as the key is remembered.
    pub window_ms: Option<u64>,
    /// Which process began or took it over.
    pub owner: InstanceId,
    /// Grows with each takeover.
    pub epoch: u64,
    /// Grows with each change; the `ETag`.
    pub revision: u64,
}

impl Operation {
    /// What [`Ledger::sent`](super::ledger::Ledger::sent) said of `known`, this operation's last version, is not lost by a change
    /// that was made from an earlier look.
    pub fn keep_sent(&mut self, known: &Self) {
        self.attempts = self.attempts.max(known.attempts);
        self.dispatched_at = self.dispatched_at.max(known.dispatched_at);
    }

    /// Whether `next` is this operation looked at another time, or once more, and nothing else of it is another.
    pub fn differs_in_time_only(&self, next: &Self) -> bool {
        let of_time = Self {
            next_check_at: next.next_check_at,
            checks: next.checks,
            last_evidence: next.last_evidence,
            ..self.clone()
        };
        of_time == *next
    }

    /// Whether a repeat of the request executes. An operation that was settled as `not_executed` and then contradicted
    /// does not: the write may have happened after all.
    pub const fn frees_key(&self) -> bool {
        matches!(self.state, State::NotExecuted) && self.attention.is_none()
    }

    /// Whether a request with its key is a repeat at `now`: unless the key is [free](Self::frees_key), the operation is
    /// forgotten at `steady` (the same time, [without what the clock was put
    /// forward](crate::clock::WallClock::steady)), or its window is over. While nobody knows what became of it, or a
    /// person is needed, it always is.
    pub fn holds_key(&self, now: UnixMillis, steady: UnixMillis) -> bool {
        let is_over = |window: u64| self.settled_at.is_some_and(|at| at.saturating_add(window) <= now);
        let is_past_window =
            self.attention.is_none() && self.state.is_terminal() && self.window_ms.is_some_and(is_over);
        !self.frees_key() && !is_past_window && self.forgotten_at().is_none_or(|at| steady < at)
    }

    /// Whether a caller with these credentials may repeat it and find it by its key. Its principal is another matter.
    pub fn is_open_to(&self, credentials: Option<[u8; 32]>) -> bool {
        self.credentials.is_none() || self.credentials == credentials
    }

    /// When something is to be done about it; `None` if it is terminal, or a person's alone.
    pub const fn due_at(&self) -> Option<UnixMillis> {
        if self.state.is_terminal() { None } else { self.next_check_at }
    }

    /// When its answer is no longer replayed; `None` while it is open.
    pub fn expires_at(&self) -> Option<UnixMillis> {
        self.settled_at.map(|at| at.saturating_add(self.retention_ms))
    }

    /// When it is forgotten; `None` while it is open. A person's attention keeps it.
    pub fn forgotten_at(&self) -> Option<UnixMillis> {
        if self.attention.is_some() {
            return None;
        }
        self.settled_at.map(|at| at.saturating_add(self.tombstone_ms.max(self.retention_ms)))
    }
}
