//! The protection of one route's writes: from a request with a key to a claim, or to the answer of a repeat.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, request::Parts};
use sha2::{Digest, Sha256};

use super::{
    Answer, Asker, Claim, Fingerprinter, IdKind, IdMint, Idempotency, Incoming, Key, KeyFrom, KeyRead, OnConcurrent,
    Refusal, Settlement, StatusQuery, Underivable,
    answer::answer,
    outcome, replay,
    status::{Held, QUERY_TIMEOUT, QueryGate, TURN_WITHIN, target},
};
use crate::{
    clock::WallClock,
    evidence::Evidence,
    operation::{
        KeptRequest, Operation, OperationId, Retained, State, StoredRequest, StoredResponse, TraceOrigin, UnixMillis,
        ledger::{Begun, Ledger},
        step::{Asking, Event, StepPolicy, after},
    },
    problem::Problem,
};

/// The longest `Prefer: wait` that is honoured: a waiting request holds a connection.
pub const MAX_PREFER_WAIT: Duration = Duration::from_secs(30);

/// The total timeout that is assumed until [`Protection::with_total_timeout`] says another: the policy's default.
const DEFAULT_TOTAL_TIMEOUT: Duration = Duration::from_secs(15);

/// Beyond its timeouts, how long an operation may stay pending while its answer's body is still read.
const PATIENCE: Duration = Duration::from_mins(1);

/// The protection of one route's writes. Shared by all its requests.
pub struct Protection {
    pub(super) params: Idempotency,
    route: Arc<str>,
    upstream: Arc<str>,
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) clock: WallClock,
    honours_key: bool,
    pub(super) policy: StepPolicy,
    fingerprinter: Fingerprinter,
    pub(super) gate: QueryGate,
    mint: Arc<IdMint>,
    in_flight: Arc<str>,
}

/// What a request is to the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recognised {
    /// It passes: its method is not protected, or it has no key and needs none.
    Unprotected,
    /// A keyed write.
    Keyed(Key),
    /// A write whose key is [made](Protection::key) once its body is there; by a template, it may turn out to have none.
    Unnamed,
}

/// What becomes of a keyed request.
#[expect(clippy::large_enum_variant, reason = "taken apart where it is made; the first request is the common case")]
#[derive(Debug)]
pub enum Begin {
    /// It is the first: execute it.
    Execute(Claim),
    /// It is a repeat of a known request.
    Known(Repeat),
    /// It is neither.
    Refused(Refusal),
}

/// What is recorded with a new operation beside what it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Beside {
    /// The request as the upstream is to see it, where it may be dispatched again.
    pub request: Option<StoredRequest>,
    /// The span of this request, if it is recorded.
    pub origin: Option<TraceOrigin>,
}

/// A repeat of a known request: same key, same fingerprint.
#[derive(Clone, Debug, PartialEq)]
pub struct Repeat {
    /// The operation as it stood when the repeat came.
    pub operation: Operation,
}

impl Protection {
    /// The protection by `params` of writes on `route` to `upstream`.
    ///
    /// `honours_key` says that the upstream itself executes a key at most once.
    pub fn new(
        params: Idempotency,
        route: Arc<str>,
        upstream: Arc<str>,
        ledger: Arc<dyn Ledger>,
        clock: WallClock,
        honours_key: bool,
    ) -> Self {
        let fingerprinter = Fingerprinter::new(ledger.fingerprint_secret(), params.fingerprint.clone());
        let policy = params.step_policy(DEFAULT_TOTAL_TIMEOUT);
        let gate = QueryGate::default();
        let mint = Arc::new(IdMint::new(Arc::clone(&ledger), clock.clone()));
        let in_flight = "in_flight".into();
        Self { params, route, upstream, ledger, clock, honours_key, policy, fingerprinter, gate, mint, in_flight }
            .with_total_timeout(DEFAULT_TOTAL_TIMEOUT)
    }

    /// The same with the route's total timeout, which bounds how long an operation may be pending.
    #[must_use]
    pub fn with_total_timeout(mut self, total: Duration) -> Self {
        self.policy = self.params.step_policy(total);
        if !self.honours_key {
            self.policy.redispatch = None;
        }
        self
    }

    /// The same with the process's gate for status queries, so that routes share each upstream's rate.
    #[must_use]
    pub fn with_gate(mut self, gate: QueryGate) -> Self {
        self.gate = gate;
        self
    }

    /// The same with the process's mint, so that the keys of all routes are in order.
    #[must_use]
    pub fn with_mint(mut self, mint: Arc<IdMint>) -> Self {
        self.mint = mint;
        self
    }

    /// The parameters.
    pub const fn params(&self) -> &Idempotency {
        &self.params
    }

    /// Whether the upstream itself executes a key at most once, so that a keyed write may be retried.
    pub const fn honours_key(&self) -> bool {
        self.honours_key
    }

    /// What the transitions of this route's operations depend on.
    pub const fn step_policy(&self) -> &StepPolicy {
        &self.policy
    }

    /// Whether a request is a keyed write. To be asked before its body is read.
    ///
    /// # Errors
    /// It must not pass: its key is malformed, or it lacks one, or its principal, that the policy wants.
    pub fn recognise(&self, incoming: &Incoming<'_>) -> Result<Recognised, Refusal> {
        if !self.params.methods.contains(&incoming.parts.method) {
            return Ok(Recognised::Unprotected);
        }
        let source = &self.params.key;
        if let KeyRead::Key(key) = source.read(&incoming.parts.headers)? {
            return self.identified(incoming, Recognised::Keyed(key));
        }
        match &source.from {
            Some(KeyFrom::Template(template)) if template.needs_body() => Ok(Recognised::Unnamed),
            Some(KeyFrom::Template(template)) => match template.render(incoming, &Bytes::new()) {
                Ok(text) => self.identified(incoming, Recognised::Keyed(Key::derived(text)?)),
                Err(underivable) => self.without_key(incoming, Some(underivable)),
            },
            Some(KeyFrom::Content { .. }) => self.identified(incoming, Recognised::Unnamed),
            None => self.without_key(incoming, None),
        }
    }

    /// The key of a request that was recognised without one, now that its body is there. `None`: it has none, and passes
    /// unprotected.
    ///
    /// # Errors
    /// As of [`recognise`](Self::recognise); or the ledger takes no writes, so that no key can be minted.
    pub async fn key(&self, incoming: &Incoming<'_>, body: &Bytes) -> Result<Option<Key>, Refusal> {
        let key = match &self.params.key.from {
            Some(KeyFrom::Template(template)) if template.needs_body() => match template.render(incoming, body) {
                Ok(text) => Key::derived(text)?,
                Err(underivable) => {
                    if self.without_key(incoming, Some(underivable))? == Recognised::Unprotected {
                        return Ok(None);
                    }
                    self.minted().await?
                }
            },
            Some(KeyFrom::Content { .. }) => {
                let text = self.mint.mint(IdKind::UuidV7).await.map_err(|error| Refusal::ledger_unavailable(&error))?;
                Key::of_content(self.fingerprinter.of(incoming.parts, body), text)
            }
            Some(KeyFrom::Template(_)) | None => self.minted().await?,
        };
        self.identified(incoming, Some(key))
    }

    /// What becomes of a write that has no key of its own.
    fn without_key(&self, incoming: &Incoming<'_>, why: Option<Underivable>) -> Result<Recognised, Refusal> {
        match why {
            Some(Underivable::Missing(part)) if part == "principal" && self.params.principal_required => {
                self.identified(incoming, Recognised::Unnamed)
            }
            Some(Underivable::Unusable(part, why)) => {
                let detail = format!("The key is made of `{part}`, and in this request that {why}. Nothing was sent.");
                Err(Refusal::new(Problem::KeyInvalid, detail))
            }
            _ if self.params.key.mint.kind().is_some() => self.identified(incoming, Recognised::Unnamed),
            why if self.params.required => Err(key_missing(&self.params, why)),
            _ => Ok(Recognised::Unprotected),
        }
    }

    async fn minted(&self) -> Result<Key, Refusal> {
        let kind = self.params.key.mint.kind().unwrap_or(IdKind::UuidV7);
        let text = self.mint.mint(kind).await.map_err(|error| Refusal::ledger_unavailable(&error))?;
        Ok(Key::minted(text))
    }

    /// What was found, if the caller of a keyed write is known where it must be.
    fn identified<T>(&self, incoming: &Incoming<'_>, found: T) -> Result<T, Refusal> {
        if self.params.principal_required && incoming.principal.is_none_or(<[u8]>::is_empty) {
            let detail = "Keyed writes need an identified caller here. Nothing was sent.";
            return Err(Refusal::new(Problem::PrincipalMissing, detail));
        }
        Ok(found)
    }

    /// Whether keys are made of the route's path parameters, which must be given then.
    pub fn needs_path(&self) -> bool {
        matches!(&self.params.key.from, Some(KeyFrom::Template(template)) if template.needs_path())
    }

    /// Records a keyed request before it is sent, or finds what is known of it. `path_params` are the route's, as they
    /// stand in the path (percent-encoded).
    pub async fn begin(
        &self,
        key: &Key,
        principal: Option<&[u8]>,
        parts: &Parts,
        body: &Bytes,
        path_params: &[(&str, &str)],
    ) -> Begin {
        self.begin_keeping(key, principal, parts, body, path_params, Beside::default()).await
    }

    /// The same, and keeps what is given beside.
    ///
    /// # Panics
    /// A ledger that gives a new operation the name of one that is being attempted.
    pub async fn begin_keeping(
        &self,
        key: &Key,
        principal: Option<&[u8]>,
        parts: &Parts,
        body: &Bytes,
        path_params: &[(&str, &str)],
        beside: Beside,
    ) -> Begin {
        let fingerprint = self.fingerprinter.of(parts, body);
        let now = self.clock.now();
        let mut draft = self.draft(key, principal, fingerprint, path_params, now);
        draft.request = beside.request.map_or(KeptRequest::None, |request| KeptRequest::Given(Arc::new(request)));
        draft.origin = beside.origin;
        match self.ledger.begin(draft, now).await {
            Ok(Begun::New(operation)) => {
                let claim = self.claim(operation);
                Begin::Execute(claim.expect("nobody knew of a new operation, so nobody attempts it"))
            }
            Ok(Begun::Known(operation)) if operation.fingerprint != fingerprint => {
                Begin::Refused(Refusal::key_reused(&operation))
            }
            Ok(Begun::Known(operation)) => Begin::Known(Repeat { operation }),
            Err(error) => Begin::Refused(Refusal::ledger_unavailable(&error)),
        }
    }

    /// Whether a request with this key may be a repeat: an operation holds the key, or the ledger cannot say.
    pub async fn may_hold(&self, key: &Key, principal: Option<&[u8]>) -> bool {
        let known = self.ledger.find(key.hash(principal, &self.upstream)).await;
        let now = self.clock.now();
        let steady = self.clock.steady(now);
        known.map_or(true, |known| known.is_some_and(|operation| operation.holds_key(now, steady)))
    }

    /// How a complete response settles its operation. `body` is `None` where it was not kept whole: streamed, or over
    /// `max_response`.
    pub fn settlement(&self, status: StatusCode, headers: &HeaderMap, body: Option<Bytes>) -> Settlement {
        let evidence = outcome::classify(&self.params.outcome, status, headers, body.as_deref());
        let of_state = outcome::speaks_of_state(&self.params.outcome, status, headers, body.as_deref());
        let stored = body.filter(|body| body.len() <= self.params.max_response).map(|body| {
            let headers = replay::kept_headers(headers, &self.params.replay_headers);
            Arc::new(StoredResponse { status, headers, body })
        });
        match evidence {
            Evidence::Ambiguous => {
                // Any other status would, replayed, claim an outcome that nobody knows.
                let stored = stored.filter(|_| status.is_server_error());
                let reason = if status.is_server_error() { "http_5xx" } else { "http_no_proof" };
                Settlement::Ambiguous { reason, status: Some(status), stored }
            }
            Evidence::NotExecuted => {
                Settlement::Response { evidence, status, retained: Retained::None, of_state: false }
            }
            Evidence::Succeeded | Evidence::Failed | Evidence::Ongoing => {
                let retained = stored.map_or(Retained::StatusOnly, Retained::Stored);
                Settlement::Response { evidence, status, retained, of_state }
            }
        }
    }

    /// The answer to a repeat: waits for the first request if the policy or the caller says so, then asks the upstream
    /// once if the outcome is unknown and it can be asked.
    pub async fn resolve_repeat(
        &self,
        repeat: Repeat,
        prefer_wait: Option<Duration>,
        asker: Option<&dyn Asker>,
    ) -> Answer {
        let mut operation = self.catch_up(repeat.operation).await;
        let mut preference_applied = None;
        if operation.state == State::Pending {
            let preferred = prefer_wait.map(|wait| wait.min(MAX_PREFER_WAIT));
            let wait = preferred.unwrap_or(match self.params.on_concurrent {
                OnConcurrent::Reject => Duration::ZERO,
                OnConcurrent::Wait(wait) => wait,
            });
            preference_applied = preferred;
            operation = self.wait_while_pending(operation, wait).await;
        }
        if operation.state == State::Unknown
            && let Some(asker) = asker
        {
            operation = self.query(operation, asker).await;
        }
        let kind = answer(&operation, self.clock.now(), &self.params);
        Answer { operation, kind, preference_applied }
    }

    /// Asks the upstream about an unknown operation, unless it cannot be asked or was asked often enough; returns the
    /// operation as it stands then.
    pub async fn query(&self, operation: Operation, asker: &dyn Asker) -> Operation {
        let Some(status) = self.params.status.as_ref().filter(|_| operation.status_target.is_some()) else {
            return operation;
        };
        let permit = match self.gate.enter(operation.id, &operation.upstream, status.rate_per_sec, TURN_WITHIN) {
            Ok(permit) => permit,
            // The other one's result is as good.
            Err(Held::InFlight) => return self.wait_for_query(operation).await,
            Err(Held::Rate) => return operation,
        };
        permit.turn().await;
        match self.ask(operation.clone(), asker).await {
            Ok(Some((_, applied))) => applied.operation,
            // What the ledger does not take is lost: the operation stays as open as it was.
            Ok(None) | Err(_) => operation,
        }
    }

    /// Does what is due for an operation that time alone moves on, so that its repeats do not depend on a resolver.
    async fn catch_up(&self, operation: Operation) -> Operation {
        let is_due = operation.next_check_at.is_some_and(|due| due <= self.clock.now());
        let can_be_asked = self.policy.asking.is_some() && operation.status_target.is_some();
        if is_due && (operation.state == State::Pending || !can_be_asked) {
            let applied = self.apply(operation.clone(), &Event::Due).await;
            return applied.map_or(operation, |applied| applied.operation);
        }
        operation
    }

    async fn wait_while_pending(&self, mut operation: Operation, wait: Duration) -> Operation {
        let deadline = tokio::time::Instant::now() + wait;
        while operation.state == State::Pending {
            let changed = self.ledger.changed(operation.id, operation.revision);
            match tokio::time::timeout_at(deadline, changed).await {
                Ok(Ok(current)) => operation = current,
                Ok(Err(_)) | Err(_) => break,
            }
        }
        operation
    }

    /// Waits until a query that another one makes has been heard, or its time is over.
    async fn wait_for_query(&self, mut operation: Operation) -> Operation {
        let deadline = tokio::time::Instant::now() + QUERY_TIMEOUT;
        let checks = operation.checks;
        while operation.state == State::Unknown && operation.checks == checks {
            let changed = self.ledger.changed(operation.id, operation.revision);
            match tokio::time::timeout_at(deadline, changed).await {
                Ok(Ok(current)) => operation = current,
                Ok(Err(_)) | Err(_) => break,
            }
        }
        operation
    }

    fn draft(
        &self,
        key: &Key,
        principal: Option<&[u8]>,
        fingerprint: [u8; 32],
        path_params: &[(&str, &str)],
        now: UnixMillis,
    ) -> Operation {
        let render = |status: &StatusQuery| target::target(&status.path, key.as_str(), path_params);
        Operation {
            id: OperationId { seq: 0, tag: random_tag() },
            key_hash: key.hash(principal, &self.upstream),
            principal: principal_hash(principal),
            fingerprint,
            route: Arc::clone(&self.route),
            upstream: Arc::clone(&self.upstream),
            state: State::Pending,
            reason: Arc::clone(&self.in_flight),
            source: None,
            http_status: None,
            attempts: 0,
            created_at: now,
            dispatched_at: None,
            settled_at: None,
            next_check_at: Some(after(now, self.policy.patience)),
            checks: 0,
            attention: None,
            last_evidence: None,
            retained: Retained::None,
            status_target: self.params.status.as_ref().and_then(render).map(Arc::from),
            request: KeptRequest::None,
            redispatches: 0,
            origin: None,
            retention_ms: millis(self.params.retention),
            tombstone_ms: millis(self.params.tombstone),
            window_ms: match self.params.key.from {
                Some(KeyFrom::Content { window }) if key.is_content() => Some(millis(window)),
                _ => None,
            },
            owner: self.ledger.instance(),
            epoch: 0,
            revision: 0,
        }
    }
}

impl Idempotency {
    /// What the transitions of operations under this policy depend on.
    pub fn step_policy(&self, total_timeout: Duration) -> StepPolicy {
        StepPolicy {
            patience: total_timeout.saturating_add(self.late_response).saturating_add(PATIENCE),
            late_response: self.late_response,
            asking: self.status.as_ref().map(|status| Asking {
                settle_after: status.settle_after,
                fenced: status.fenced,
                schedule: status.schedule,
            }),
            redispatch: Some(self.redispatch).filter(|redispatch| redispatch.attempts > 0),
        }
    }
}

impl std::fmt::Debug for Protection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Protection").field("route", &self.route).finish_non_exhaustive()
    }
}

/// SHA-256 of the principal, as operations carry it; no principal counts as an empty one.
pub fn principal_hash(principal: Option<&[u8]>) -> [u8; 32] {
    Sha256::digest(principal.unwrap_or_default()).into()
}

fn random_tag() -> u64 {
    // Each half has bits that are fixed; no bit is fixed in both.
    let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
    high ^ low
}

fn key_missing(params: &Idempotency, why: Option<Underivable>) -> Refusal {
    let header = &params.key.header;
    let detail = match why {
        Some(Underivable::Missing(part) | Underivable::Unusable(part, _)) => format!(
            "The key of writes here is made of `{part}`, which this request does not have: send it, or a key of its own in \
             the header {header}."
        ),
        None => format!(
            "Writes here need the header {header}: send a fresh UUID with each new write, and the same one with its repeats."
        ),
    };
    Refusal::new(Problem::KeyMissing, detail)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
