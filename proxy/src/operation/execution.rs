//! The execution of one keyed write, in a task of its own.

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, response::Parts};
use mainstay_policies::{
    evidence::{AttemptError, Cause, Evidence, Sent},
    idempotency::{Refusal, Settlement, proof::Testimony},
    operation::{Source, State},
    problem::{Effect, Problem},
    retry::{Decision, Repeatable},
};
use tokio::time::{Instant, timeout_at};

use super::{late, settle, write::Execution};
use crate::{
    attempts::{
        alarm::{self, TimeIsUp},
        attempt::{Attempt, Nth, ended_by, is_of_a_drain},
        decide::{decide, note_denied},
        first_frame::{self, First},
        head::Head,
    },
    faults::{self, Point},
    respond::failure::Failure,
    upstream::{Informed, Progress, UpstreamBody},
    wire::body::{
        ProxyBody,
        collect::{self, Collected},
    },
};

/// For the rest of an answer that is given up, beyond the wait before the next attempt.
pub(crate) const BODY_WITHIN: Duration = Duration::from_millis(100);

/// How the attempts went on after one of them.
pub(super) enum Next {
    Again(Nth),
    Done,
}

/// Whether time ended an attempt that may still be answered.
pub(crate) fn is_unanswered(result: &Result<Response<UpstreamBody>, AttemptError>) -> bool {
    matches!(result, Err(error) if error.cause.is_timeout() && error.sent == Sent::Maybe)
}

impl Execution {
    /// Makes attempts until one stands; settles; answers; waits for a late answer.
    pub(crate) async fn run(mut self) {
        let retrier = self.outbound.route.retrier.clone();
        let mut attempts = retrier.as_ref().map(|retrier| retrier.start(Instant::now()));
        let repeatable = if self.protection.honours_key() { Repeatable::Always } else { Repeatable::OnlyIfUnsent };
        let mut nth = Nth::FIRST;
        loop {
            let now = Instant::now();
            let attempt = match self.outbound.begin(nth, &self.head, now) {
                Ok(attempt) => attempt,
                Err(failure) => return self.not_executed(failure.reason(), failure, nth.number - 1).await,
            };
            if let Err(error) = self.claim.dispatched().await {
                tracing::warn!(%error, operation = %self.claim.id(), "a write was not sent");
                return self.not_dispatched(nth.number - 1).await;
            }
            faults::reach(Point::AfterCheck);
            let mut decide = |execution: &Self, result: &Result<_, AttemptError>, trailers: Option<&HeaderMap>, now| {
                let attempts = attempts.as_mut()?;
                Some(decide(&execution.runtime, attempts, result, trailers, repeatable, &execution.outbound, now))
            };
            match self.attempt(attempt, nth, &mut decide).await {
                Next::Again(next) => nth = next,
                Next::Done => return,
            }
        }
    }

    /// One attempt, to its end or to the decision that it is tried again.
    pub(super) async fn attempt(
        &mut self,
        mut attempt: Attempt,
        nth: Nth,
        decide: &mut impl FnMut(
            &Self,
            &Result<Response<UpstreamBody>, AttemptError>,
            Option<&HeaderMap>,
            Instant,
        ) -> Option<Decision>,
    ) -> Next {
        let outbound = self.outbound.clone();
        let now = Instant::now();
        let mut head = self.head.clone();
        outbound.prepare(&mut head);
        let (until, cause) = outbound.attempt_deadline(now);
        let progress = Arc::new(std::mem::take(&mut attempt.progress).only_if(self.claim.permission()));
        let mut sending = self.sending(head, &attempt, Arc::clone(&progress), now);
        // Its borrow ends here: the attempt may be listened to for longer.
        let mut result = {
            let answering = pin!(faults::after_send(|| progress.sent(), sending.as_mut()));
            match alarm::until(until, answering).await {
                Ok(result) => result,
                Err(TimeIsUp) => Err(AttemptError::new(ended_by(cause), progress.sent())),
            }
        };
        let first = match &mut result {
            Ok(response) if self.peeks() => first_frame::peek(response, until).await,
            _ => None,
        };
        let now = Instant::now();
        if self.runtime.is_draining(outbound.direction) && result.as_ref().is_err_and(is_of_a_drain) {
            attempt.excuse();
        }
        attempt.follow(progress.detour(), now);
        let endpoint = attempt.endpoint;
        attempt.record(&mut result, &first, now);
        (self.last.endpoint, self.last.error) = (Some(endpoint), result.as_ref().err().map(AttemptError::word));
        match decide(self, &result, first_frame::trailers(&first), now) {
            Some(Decision::Retry { after, reason }) => {
                outbound.route.metrics.retry(reason);
                let in_flight = attempt.finish(now);
                if is_unanswered(&result) {
                    // Ends with its answer, or when it is no longer waited for.
                    tokio::spawn(late::GivenUp::of(self, in_flight).overhear(sending));
                } else {
                    drop(sending);
                }
                self.give_up(result, &first, now + after).await;
                alarm::pause_until(now + after).await;
                return Next::Again(nth.next(endpoint, reason));
            }
            Some(Decision::Stop(stop)) => note_denied(&outbound.route, stop),
            None => {}
        }
        let timed_out = is_unanswered(&result);
        let in_flight = attempt.finish(now);
        self.finish(result, first, nth.number).await;
        if timed_out {
            // The caller has been told that nobody knows; the attempt may still tell us.
            late::wait(self, sending).await;
        }
        drop(in_flight);
        Next::Done
    }

    /// One attempt on its way. It owns what it sends, so it may outlive the decision that it is not waited for.
    fn sending(&self, head: Head, attempt: &Attempt, progress: Arc<Progress>, now: Instant) -> late::Sending {
        let (outbound, body) = (self.outbound.clone(), ProxyBody::from(self.body.clone()));
        let (endpoint, trace, target) = (attempt.endpoint, attempt.trace_fields(), attempt.target.clone());
        Box::pin(async move {
            let informed = Informed { gate: None, interim: outbound.interim.as_ref() };
            let added = outbound.added(trace, &head, now);
            let request = (head.as_request(target.as_deref(), &added), body);
            outbound.route.upstream.send(outbound.worker, endpoint, request, &progress, informed).await
        })
    }

    /// An attempt is given up for another one. What it said is kept for the client, in case the other ones say nothing.
    async fn give_up(&mut self, result: Result<Response<UpstreamBody>, AttemptError>, first: &First, next: Instant) {
        let response = match result {
            Err(error) => {
                if error.sent == Sent::Maybe {
                    self.claim.leave_in_doubt();
                }
                return;
            }
            Ok(response)
                if (Testimony {
                    to_grpc: self.head.is_grpc(),
                    status: response.status(),
                    headers: response.headers(),
                    trailers: first_frame::trailers(first),
                })
                .proves_nothing_was_done(&self.protection) =>
            {
                return;
            }
            Ok(response) => response,
        };
        self.claim.leave_in_doubt();
        let (head, body) = response.into_parts();
        if !head.status.is_server_error() {
            return;
        }
        // It costs the next attempt no time to speak of.
        let until = next.max(Instant::now() + BODY_WITHIN).min(self.outbound.deadline);
        let max = self.protection.params().max_response;
        if let Ok(Ok(Collected::Whole { body, trailers: None })) = timeout_at(until, collect::up_to(body, max)).await {
            self.given_up = Some((head, body));
        }
    }

    /// Nothing came of the later attempts: the client gets the answer to the earlier one.
    async fn fall_back(&mut self, head: Parts, body: Bytes, attempts: u32) {
        let settlement = self.protection.settlement(head.status, &head.headers, Some(body.clone()));
        let recorded = self.settle(settlement, Source::Response).await.is_some();
        let outcome = if recorded {
            Ok(Response::from_parts(head, ProxyBody::from(body)))
        } else {
            Err(self.outcome_unknown(StatusCode::BAD_GATEWAY))
        };
        self.tell(outcome, attempts);
    }

    /// Whether a gRPC error may be told by trailers that come with the head, and is worth a retry.
    fn peeks(&self) -> bool {
        self.head.is_grpc() && self.outbound.route.retrier.as_ref().is_some_and(|retrier| retrier.params().knows_grpc())
    }

    /// Settles what the last attempt proved, then answers.
    async fn finish(&mut self, result: Result<Response<UpstreamBody>, AttemptError>, first: First, attempts: u32) {
        match result {
            Ok(response) => settle::response(self, response, first, attempts).await,
            Err(error) if error.sent == Sent::No => {
                let reason = error.cause.label();
                self.not_executed(reason, Failure::Attempt(error), attempts).await;
            }
            Err(error) if let Some(status) = error.status => {
                let why = error.source.map(|source| source.to_string()).unwrap_or_default();
                tracing::warn!(why, %status, operation = %self.claim.id(), "the answer to a write cannot be passed on");
                self.not_passable(status, attempts).await;
            }
            Err(error) => {
                let has_ended = error.cause.is_timeout() || error.cause == Cause::Drain;
                let status = if has_ended { StatusCode::GATEWAY_TIMEOUT } else { StatusCode::BAD_GATEWAY };
                tracing::debug!(%error, operation = %self.claim.id(), "a write's answer was lost");
                self.in_doubt(error.cause.label(), None, status, attempts).await;
            }
        }
    }

    /// The service has answered, and its answer cannot be passed on: its status settles the operation all the same.
    async fn not_passable(&mut self, status: StatusCode, attempts: u32) {
        let told = settle::told_by(status, self.head.is_grpc());
        let testimony = Testimony { to_grpc: self.head.is_grpc(), status, headers: &told.headers, trailers: None };
        let settlement = testimony.settlement(&self.protection, None);
        let says = settlement.evidence();
        let recorded = self.settle(settlement, Source::Response).await;
        let failure = match says {
            Evidence::Succeeded | Evidence::Failed | Evidence::NotExecuted if recorded.is_some() => {
                let happened = says == Evidence::Succeeded || recorded == Some(State::Succeeded);
                Failure::NotPassable { status, effect: if happened { Effect::Unknown } else { Effect::None } }
            }
            _ => self.outcome_unknown(StatusCode::BAD_GATEWAY),
        };
        self.tell(Err(failure), attempts);
    }

    /// The ledger did not let the attempt go: it cannot write, or somebody else settled the operation meanwhile.
    async fn not_dispatched(&mut self, attempts: u32) {
        if self.claim.operation().state.is_terminal() {
            let detail = "The operation was settled meanwhile. Repeat with the same key to get its outcome.";
            let mut refusal = Refusal::new(Problem::InProgress, detail);
            refusal.operation = Some(self.claim.id());
            refusal.retry_after = Some(Duration::from_secs(1));
            return self.tell(Err(Failure::Refused(refusal)), attempts);
        }
        self.not_executed("ledger_unavailable", Failure::LedgerUnavailable, attempts).await;
    }

    /// The last attempt proved that it did nothing. Earlier ones may have acted: then the outcome is unknown.
    async fn not_executed(&mut self, reason: &'static str, failure: Failure, attempts: u32) {
        if let Some((head, body)) = self.given_up.take() {
            return self.fall_back(head, body, attempts).await;
        }
        let outcome = match self.settle(Settlement::NotExecuted { reason }, Source::Response).await {
            Some(State::NotExecuted) => failure,
            None if !self.claim.is_in_doubt() => Failure::LedgerUnavailable,
            Some(_) | None => {
                let timed_out = matches!(failure, Failure::NoTime(_) | Failure::Draining);
                self.outcome_unknown(if timed_out { StatusCode::GATEWAY_TIMEOUT } else { StatusCode::BAD_GATEWAY })
            }
        };
        self.tell(Err(outcome), attempts);
    }
}
