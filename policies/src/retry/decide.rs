//! Whether an attempt is followed by another.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, Method, StatusCode};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Condition, HedgeAfter, Retry, backoff::retry_after, budget::Balance, latency::Latencies};
use crate::{
    clock::UnixMillis,
    evidence::{AttemptError, Cause, Sent},
};

/// A retry policy and the budget that its requests share; one per route policy.
#[derive(Debug)]
pub struct Retrier {
    params: Retry,
    budget: Option<Arc<Balance>>,
    /// Kept where a percentile decides when to hedge.
    latencies: Option<Arc<Mutex<Latencies>>>,
}

/// How an attempt ended.
#[derive(Debug)]
pub enum Outcome<'a> {
    /// Without a response head.
    Error(&'a AttemptError),
    /// With a response.
    Response {
        /// Its status.
        status: StatusCode,
        /// Its headers; or, of a gRPC response whose trailers came at once, its trailers.
        headers: &'a HeaderMap,
    },
}

/// May this request be sent again although it may have been processed?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeatable {
    /// A safe or idempotent method ([`is_idempotent`]), or a keyed write to an upstream with `honours_key`.
    Always,
    /// Anything else: only when it is proven that nothing reached the application.
    OnlyIfUnsent,
}

/// What to do after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Wait, then send again.
    Retry {
        /// How long to wait.
        after: Duration,
        /// The entry of `on` that matched, for metrics and spans; bounded.
        reason: &'static str,
    },
    /// The outcome at hand stands.
    Stop(Stop),
}

/// Why there is no further attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stop {
    /// The outcome is not listed in `on`.
    NotRetryable,
    /// The request may have been processed and must not be processed twice.
    Unsafe,
    /// `max_retries` were made.
    Exhausted,
    /// The route's retry budget is spent.
    Budget,
    /// The wait would outlast the remaining total time.
    NoTime,
    /// The request body was too large to keep. For callers: [`Attempts::next`] knows no body.
    Body,
    /// There was no memory to keep the request body. For callers, too.
    Memory,
}

impl Stop {
    /// The bounded label for metrics and spans.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NotRetryable => "not_retryable",
            Self::Unsafe => "unsafe",
            Self::Exhausted => "exhausted",
            Self::Budget => "budget",
            Self::NoTime => "no_time",
            Self::Body => "body",
            Self::Memory => "memory",
        }
    }
}

/// Whether the method is idempotent (RFC 9110 section 9.2.2): the safe methods, PUT and DELETE.
pub fn is_idempotent(method: &Method) -> bool {
    method.is_idempotent()
}

impl Retrier {
    /// A policy with a fresh budget.
    pub fn new(params: Retry) -> Self {
        let budget = params.budget.as_ref().map(|budget| Arc::new(Balance::new(budget.ttl)));
        let latencies = params.needs_latencies().then(|| Arc::new(Mutex::new(Latencies::new(Instant::now()))));
        Self { params, budget, latencies }
    }

    /// The parameters.
    pub fn params(&self) -> &Retry {
        &self.params
    }

    /// The same policy under new parameters. What was earned and spent still counts; with an unchanged `ttl`, requests that
    /// began under the old parameters go on sharing the budget.
    #[must_use]
    pub fn reconfigured(&self, params: Retry) -> Self {
        let budget = match (&params.budget, &self.params.budget, &self.budget) {
            (Some(new), Some(old), Some(ledger)) if new.ttl == old.ttl => Some(Arc::clone(ledger)),
            (Some(new), _, Some(ledger)) => Some(Arc::new(ledger.resized(new.ttl))),
            (Some(new), _, None) => Some(Arc::new(Balance::new(new.ttl))),
            (None, ..) => None,
        };
        let known = self.latencies.clone();
        let latencies = params
            .needs_latencies()
            .then(|| known.unwrap_or_else(|| Arc::new(Mutex::new(Latencies::new(Instant::now())))));
        Self { params, budget, latencies }
    }

    /// A request arrived: it deposits its share and begins its first attempt.
    pub fn start(&self, now: Instant) -> Attempts<'_> {
        if let Some(budget) = &self.budget {
            budget.deposit(now);
        }
        Attempts { retrier: self, made: 1 }
    }

    /// How long an attempt may take before it is hedged; `None`: it is not, or too few attempts are known yet.
    pub fn hedge_after(&self, now: Instant) -> Option<Duration> {
        match self.params.hedge.as_ref()?.after {
            HedgeAfter::Fixed(after) => Some(after),
            HedgeAfter::Percentile(percent) => self.latencies.as_ref()?.lock().percentile(percent, now),
        }
    }

    /// An attempt brought an answer after `latency`, or was given up after it for another that was faster.
    pub fn observe(&self, latency: Duration, now: Instant) {
        if let Some(latencies) = &self.latencies {
            latencies.lock().observe(latency, now);
        }
    }

    /// Whether the outcome is a failure worth another try.
    pub fn is_failure(&self, outcome: &Outcome<'_>) -> bool {
        matches!(outcome, Outcome::Error(_)) || self.matching(outcome).is_some()
    }

    /// The budget's balance in retries; infinite without a budget.
    pub fn balance(&self, now: Instant) -> f64 {
        match (&self.params.budget, &self.budget) {
            (Some(params), Some(ledger)) => ledger.balance(params, now),
            _ => f64::INFINITY,
        }
    }

    pub(super) fn withdraw(&self, now: Instant) -> bool {
        match (&self.params.budget, &self.budget) {
            (Some(params), Some(ledger)) => ledger.withdraw(params, now),
            _ => true,
        }
    }

    /// The first entry of `on` that the outcome meets.
    fn matching(&self, outcome: &Outcome<'_>) -> Option<Condition> {
        self.params.on.iter().copied().find(|condition| condition.meets(outcome))
    }
}

/// The attempts of one request.
#[derive(Debug)]
pub struct Attempts<'a> {
    retrier: &'a Retrier,
    made: u32,
}

impl Attempts<'_> {
    /// The policy that they are made under.
    pub fn retrier(&self) -> &Retrier {
        self.retrier
    }

    /// Attempts so far; 1 while the first one runs.
    pub fn made(&self) -> u32 {
        self.made
    }

    /// Whether the budget pays for a hedge; if so it has. Hedges are not counted in [`made`](Self::made).
    pub fn hedge(&self, now: Instant) -> bool {
        self.retrier.withdraw(now)
    }

    /// Decides after an attempt. `remaining` is the total time left (`None`: no bound); `wall` serves `Retry-After` dates.
    ///
    /// [`Decision::Retry`] has already been paid for from the budget and counted in [`made`](Self::made).
    pub fn next(
        &mut self,
        outcome: &Outcome<'_>,
        repeatable: Repeatable,
        remaining: Option<Duration>,
        now: Instant,
        wall: UnixMillis,
    ) -> Decision {
        let Some(condition) = self.retrier.matching(outcome) else {
            return Decision::Stop(Stop::NotRetryable);
        };
        if repeatable == Repeatable::OnlyIfUnsent && !outcome.is_unsent() {
            return Decision::Stop(Stop::Unsafe);
        }
        if self.made > self.retrier.params.max_retries {
            return Decision::Stop(Stop::Exhausted);
        }
        let mut after = self.retrier.params.delays.wait(self.made);
        if let Outcome::Response { status, headers } = outcome
            && let Some(asked) = retry_after(*status, headers, wall)
        {
            after = after.max(asked);
        }
        // A wait that takes all the time leaves none for the attempt.
        if remaining.is_some_and(|remaining| after >= remaining) {
            return Decision::Stop(Stop::NoTime);
        }
        // Last, so that only a retry that is made is paid for.
        if !self.retrier.withdraw(now) {
            return Decision::Stop(Stop::Budget);
        }
        self.made += 1;
        Decision::Retry { after, reason: condition.label() }
    }
}

impl Outcome<'_> {
    fn is_unsent(&self) -> bool {
        matches!(self, Self::Error(error) if error.sent == Sent::No)
    }
}

impl Condition {
    fn meets(self, outcome: &Outcome<'_>) -> bool {
        match outcome {
            Outcome::Error(error) => match error.cause {
                Cause::Connect | Cause::Tls => self == Self::ConnectError,
                Cause::Refused => self == Self::Refused,
                Cause::Reset | Cause::Malformed => self == Self::Reset,
                Cause::AttemptTimeout => self == Self::Timeout,
                Cause::RequestBody | Cause::TotalTimeout | Cause::Drain => false,
            },
            Outcome::Response { status, headers } => match self {
                Self::Status(listed) => listed == *status,
                Self::Grpc(code) => grpc_status(headers) == Some(code),
                _ => false,
            },
        }
    }

    /// The bounded label for metrics and spans: statuses beyond the usual ones share one.
    pub const fn label(self) -> &'static str {
        match self {
            Self::ConnectError => "connect_error",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Status(status) => match status.as_u16() {
                408 => "408",
                425 => "425",
                429 => "429",
                500 => "500",
                502 => "502",
                503 => "503",
                504 => "504",
                _ => "status",
            },
            Self::Grpc(code) => match code {
                1 => "grpc:cancelled",
                2 => "grpc:unknown",
                4 => "grpc:deadline_exceeded",
                8 => "grpc:resource_exhausted",
                10 => "grpc:aborted",
                13 => "grpc:internal",
                14 => "grpc:unavailable",
                _ => "grpc",
            },
        }
    }
}

impl Retry {
    /// Whether an entry of `on` is about gRPC.
    pub fn knows_grpc(&self) -> bool {
        self.on.iter().any(|condition| matches!(condition, Condition::Grpc(_)))
    }

    fn needs_latencies(&self) -> bool {
        self.hedge.as_ref().is_some_and(|hedge| matches!(hedge.after, HedgeAfter::Percentile(_)))
    }
}

/// The code of a trailers-only gRPC response, or of trailers that came without a message before them; those after a message
/// are too late for a retry.
fn grpc_status(headers: &HeaderMap) -> Option<u16> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}
