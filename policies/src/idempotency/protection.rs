//! The protection of one route's writes: from a request with a key to a claim, or to the answer of a repeat.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, request::Parts};
use sha2::{Digest, Sha256};

use super::{
    Claim, Credentials, Fingerprinter, Fingerprinting, IdMint, Idempotency, Key, KeyFrom, KeyOwner, Refusal,
    Settlement, StatusQuery,
    status::{GivenUpGuard, QueryGate, target},
};
use crate::{
    clock::WallClock,
    operation::{
        FingerprintVersion, KeptRequest, Operation, OperationId, Provenance, Recorder, Retained, Source, State,
        StoredRequest, TraceOrigin, UnixMillis,
        history::History,
        ledger::{Begun, Ledger, LedgerError},
        step::{Asking, StepPolicy, after},
    },
};

/// The total timeout that is assumed until [`Protection::with_total_timeout`] says another: the policy's default.
const DEFAULT_TOTAL_TIMEOUT: Duration = Duration::from_secs(15);

/// Why an operation was not executed: it was begun under another name of its owner already.
const GIVEN_WAY: &str = "begun_before";

/// Beyond its timeouts, how long an operation may stay pending while its answer's body is still read.
const PATIENCE: Duration = Duration::from_mins(1);

/// The protection of one route's writes. Shared by all its requests.
pub struct Protection {
    pub(super) params: Idempotency,
    route: Arc<str>,
    upstream: Arc<str>,
    pub(super) recorder: Arc<Recorder>,
    honours_key: bool,
    pub(super) policy: StepPolicy,
    /// Made of the ledger's secret, when that is known.
    fingerprinter: OnceLock<Fingerprinter>,
    pub(super) gate: QueryGate,
    pub(super) mint: Arc<IdMint>,
    in_flight: Arc<str>,
}

/// Credentials that could not be made out, because the ledger was never reached: nothing is recorded with them.
const UNKNOWN: [u8; 32] = [0; 32];

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
pub struct RecordedWith {
    /// The request as the upstream is to see it, where it may be dispatched again.
    pub request: Option<StoredRequest>,
    /// The span of this request, if it is recorded.
    pub origin: Option<TraceOrigin>,
    /// How this request came in.
    pub provenance: Provenance,
    /// What [`Protection::credentials`] says of it, where no principal is declared: only these may repeat it.
    pub credentials: Option<[u8; 32]>,
    /// What [`Protection::fingerprinting`] made of it. `None`: it is made when it is asked for.
    pub fingerprint: Option<[u8; 32]>,
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
        let policy = params.step_policy(DEFAULT_TOTAL_TIMEOUT);
        let gate = QueryGate::default();
        let mint = Arc::new(IdMint::new(Arc::clone(&ledger), clock.clone()));
        let in_flight = "in_flight".into();
        let recorder = Arc::new(Recorder::new(ledger, clock));
        let fingerprinter = OnceLock::new();
        Self { params, route, upstream, recorder, honours_key, policy, fingerprinter, gate, mint, in_flight }
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

    /// The same with the process's recorder, over the same ledger, so that one witness learns of the changes of all routes.
    #[must_use]
    pub fn with_recorder(mut self, recorder: Arc<Recorder>) -> Self {
        self.recorder = recorder;
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

    /// Begins to make a request's fingerprint, which [`RecordedWith`] takes. `None`: the ledger was never reached, so there is
    /// none.
    pub fn fingerprinting<'a>(&'a self, parts: &'a Parts, body: &Bytes) -> Option<Fingerprinting<'a>> {
        Some(self.fingerprinter()?.in_steps(parts, body))
    }

    /// Makes fingerprints, once the ledger has been reached for the first time.
    pub(super) fn fingerprinter(&self) -> Option<&Fingerprinter> {
        if let Some(fingerprinter) = self.fingerprinter.get() {
            return Some(fingerprinter);
        }
        let secret = self.recorder.ledger().fingerprint_secret()?;
        Some(self.fingerprinter.get_or_init(|| Fingerprinter::new(secret, self.params.fingerprint.clone())))
    }

    /// The parameters.
    pub const fn params(&self) -> &Idempotency {
        &self.params
    }

    /// Whether the upstream itself executes a key at most once, so that a keyed write may be retried.
    pub const fn honours_key(&self) -> bool {
        self.honours_key
    }

    /// Says that an attempt which was given up for another one may still be answered, until the guard is dropped. As long as
    /// any is open, that the service does not know the write proves nothing.
    pub fn give_up(&self, operation: OperationId) -> GivenUpGuard {
        self.gate.give_up(operation)
    }

    /// The time by which its operations change.
    pub fn now(&self) -> UnixMillis {
        self.recorder.clock().now()
    }

    /// What the transitions of this route's operations depend on.
    pub const fn step_policy(&self) -> &StepPolicy {
        &self.policy
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
        self.begin_keeping(key, KeyOwner::of(principal), parts, body, path_params, RecordedWith::default()).await
    }

    /// The same, and records what is given with it. A key that is not known under its owner's principal is looked up under the
    /// former ones.
    ///
    /// # Panics
    /// A ledger that gives a new operation the name of one that is being attempted.
    pub async fn begin_keeping(
        &self,
        key: &Key,
        owner: KeyOwner<'_>,
        parts: &Parts,
        body: &Bytes,
        path_params: &[(&str, &str)],
        with: RecordedWith,
    ) -> Begin {
        let Some(fingerprinter) = self.fingerprinter().filter(|_| with.credentials != Some(UNKNOWN)) else {
            return Begin::Refused(Refusal::never_reached().after(self.recorder.ledger().retry_after()));
        };
        let fingerprint = with.fingerprint.unwrap_or_else(|| fingerprinter.of(parts, body));
        let now = self.recorder.clock().now();
        let presented = with.credentials;
        let KeyOwner { principal, former } = owner;
        if !former.is_empty()
            && let Some(known) = self.begun_by_former(key, owner, parts, body, fingerprint).await
        {
            return known;
        }
        let begun = match self.begun_before(key, principal, parts, body, now).await {
            Ok(Some(operation)) => Ok(Begun::Known(operation)),
            Ok(None) => {
                let mut draft = self.draft(key, principal, fingerprint, path_params, now);
                draft.request = with.request.map_or(KeptRequest::None, |request| KeptRequest::Given(Arc::new(request)));
                draft.origin = with.origin;
                draft.provenance = with.provenance;
                draft.credentials = with.credentials;
                self.recorder.ledger().begin(draft, now).await
            }
            Err(error) => Err(error),
        };
        match begun {
            Ok(Begun::New(operation)) => {
                let claim = self.claim(operation);
                let mut claim = claim.expect("nobody knew of a new operation, so nobody attempts it");
                // Whoever still makes principals in a former way may have begun it since the look before: of two that look again
                // after they have begun, one sees the other at least, and gives way.
                if !former.is_empty()
                    && let Some(known) = self.begun_by_former(key, owner, parts, body, fingerprint).await
                {
                    // Should the ledger not take that nothing was sent, it is in doubt, and its key is not freed.
                    let _ = claim.settle(Settlement::NotExecuted { reason: GIVEN_WAY }, Source::Response).await;
                    return known;
                }
                Begin::Execute(claim)
            }
            Ok(Begun::Known(operation)) => {
                let fingerprint = self.fingerprint_as_of(&operation, fingerprint, parts, body);
                self.known(operation, fingerprint, presented)
            }
            Err(error) => Begin::Refused(self.unavailable(&error)),
        }
    }

    fn unavailable(&self, error: &LedgerError) -> Refusal {
        Refusal::ledger_unavailable(error).after(self.recorder.ledger().retry_after())
    }

    /// What the request's fingerprint is by the version under which an operation's was made.
    fn fingerprint_as_of(&self, operation: &Operation, current: [u8; 32], parts: &Parts, body: &Bytes) -> [u8; 32] {
        match operation.fingerprint_version {
            FingerprintVersion::CURRENT => current,
            // Whoever has a fingerprint of now has what makes it.
            earlier => self.fingerprinter().map_or(current, |made| made.of_version(earlier, parts, body)),
        }
    }

    /// What becomes of a request whose key is held by an operation of its owner under a former principal.
    async fn begun_by_former(
        &self,
        key: &Key,
        owner: KeyOwner<'_>,
        parts: &Parts,
        body: &Bytes,
        fingerprint: [u8; 32],
    ) -> Option<Begin> {
        let current = key.hash(owner.principal, &self.upstream);
        for owner in owner.former {
            let (key, principal) = (owner.key.as_ref().unwrap_or(key), owner.principal.as_deref());
            // Whose name has not changed is looked up anyway, and would find what it has just begun.
            if key.hash(principal, &self.upstream) == current {
                continue;
            }
            let now = self.recorder.clock().now();
            let found = match self.begun_before(key, principal, parts, body, now).await {
                Ok(None) => self.held_under(key, principal, now).await,
                found => found,
            };
            match found {
                Ok(None) => {}
                Ok(Some(operation)) => {
                    let fingerprint = self.fingerprint_as_of(&operation, fingerprint, parts, body);
                    return Some(self.known(operation, fingerprint, owner.credentials));
                }
                Err(error) => return Some(Begin::Refused(self.unavailable(&error))),
            }
        }
        None
    }

    /// An operation that holds the content of a request by what counted of it in an earlier version: its repeat is no new
    /// write only because more counts today.
    async fn begun_before(
        &self,
        key: &Key,
        principal: Option<&[u8]>,
        parts: &Parts,
        body: &Bytes,
        now: UnixMillis,
    ) -> Result<Option<Operation>, LedgerError> {
        if !key.is_content() {
            return Ok(None);
        }
        let Some(fingerprinter) = self.fingerprinter() else { return Ok(None) };
        let earlier = fingerprinter.of_version(FingerprintVersion::WithoutHost, parts, body);
        let Some(key) = key.by_content(earlier) else { return Ok(None) };
        self.held_under(&key, principal, now).await
    }

    /// The operation that holds this key of this principal.
    async fn held_under(
        &self,
        key: &Key,
        principal: Option<&[u8]>,
        now: UnixMillis,
    ) -> Result<Option<Operation>, LedgerError> {
        let known = self.recorder.ledger().find(key.hash(principal, &self.upstream)).await?;
        let steady = self.recorder.clock().steady(now);
        Ok(known.filter(|operation| operation.holds_key(now, steady)))
    }

    /// What becomes of a request whose key `operation` holds.
    fn known(&self, operation: Operation, fingerprint: [u8; 32], credentials: Option<[u8; 32]>) -> Begin {
        let is_callers = self.params.credentials == Credentials::Ignore || operation.is_open_to(credentials);
        match (operation.fingerprint == fingerprint, is_callers) {
            (true, true) => Begin::Known(Repeat { operation }),
            (true, false) => Begin::Refused(Refusal::caller_differs()),
            (false, true) => Begin::Refused(Refusal::key_reused().about(&operation)),
            // Another caller learns no address of it.
            (false, false) => Begin::Refused(Refusal::key_reused()),
        }
    }

    /// The credentials to which a request's key is bound, for one that came where no principal is declared. `None`: the
    /// policy does not ask for them.
    pub fn credentials(&self, headers: &HeaderMap) -> Option<[u8; 32]> {
        let of = |fingerprinter: &Fingerprinter| fingerprinter.of_credentials(headers);
        (self.params.credentials == Credentials::Bind).then(|| self.fingerprinter().map_or(UNKNOWN, of))
    }

    /// Whether a request with this key may be a repeat: an operation holds the key, or the ledger cannot say.
    pub async fn may_hold(&self, key: &Key, owner: KeyOwner<'_>) -> bool {
        let now = self.recorder.clock().now();
        let former = owner.former.iter().map(|owner| (owner.key.as_ref().unwrap_or(key), owner.principal.as_deref()));
        for (key, principal) in std::iter::once((key, owner.principal)).chain(former) {
            if !matches!(self.held_under(key, principal, now).await, Ok(None)) {
                return true;
            }
        }
        false
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
            fingerprint_version: FingerprintVersion::CURRENT,
            credentials: None,
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
            provenance: Provenance::default(),
            history: History::default(),
            retention_ms: millis(self.params.retention),
            tombstone_ms: millis(self.params.tombstone),
            window_ms: match self.params.key.from {
                Some(KeyFrom::Content { window }) if key.is_content() => Some(millis(window)),
                _ => None,
            },
            owner: self.recorder.ledger().instance(),
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

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
