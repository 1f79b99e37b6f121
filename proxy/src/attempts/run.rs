//! Attempts until one stands, time runs out, or trying again would not be safe.

use std::pin::pin;

use http::Response;
use mainstay_policies::{
    evidence::{AttemptError, Cause, Sent},
    retry::{Attempts, Decision, Repeatable, is_idempotent},
};
use tokio::time::Instant;

use super::{
    alarm,
    attempt::{Attempt, Nth, Outbound, is_of_a_drain},
    decide::{decide, note_denied, outcome},
    first_frame::{self, First},
    head::Head,
    hedge::Race,
    sending::{Resend, Sending},
};
use crate::{
    respond::failure::Failure,
    runtime::Runtime,
    upstream::{InFlight, UpstreamBody},
};

/// How many attempts were made, and what became of the last one, for those who tell of the request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) attempts: u32,
    /// Where the last one went.
    pub(crate) endpoint: Option<usize>,
    /// Why the last one brought no answer, in one word.
    pub(crate) error: Option<&'static str>,
}

/// A response whose head has come, with the count that it is in flight, and what was read of its body already.
pub(crate) struct UpstreamResponse {
    pub(crate) response: Response<UpstreamBody>,
    pub(crate) in_flight: InFlight,
    pub(crate) first: First,
}

/// Makes attempts until one stands, time runs out, or trying again would not be safe.
pub(crate) async fn until_one_stands(
    runtime: &Runtime,
    outbound: &Outbound,
    head: &mut Head,
    sending: &mut Sending,
    tally: &mut Tally,
) -> Result<UpstreamResponse, Failure> {
    let route = &outbound.route;
    let mut now = Instant::now();
    let mut attempts = route.retrier.as_ref().map(|retrier| retrier.start(now));
    // The service may process each of several attempts, and all need the same body.
    let hedging = route.retrier.as_ref().filter(|retrier| {
        retrier.params().hedge.is_some()
            && head.method.is_safe()
            && matches!(sending.body, Resend::Empty)
            && head.upgrade.is_none()
    });
    let peeks = route.retrier.as_ref().is_some_and(|retrier| retrier.params().knows_grpc()) && head.is_grpc();
    let repeatable = if is_idempotent(&head.method) { Repeatable::Always } else { Repeatable::OnlyIfUnsent };
    let mut judge = Judge { runtime, outbound, repeatable, reached: Sent::No };
    let mut next_body = sending.body.take().expect("every body can be sent once");
    let mut nth = Nth::FIRST;
    let mut last: Option<Result<UpstreamResponse, Failure>> = None;
    loop {
        let mut attempt = match outbound.begin(nth, head, now) {
            Ok(attempt) => attempt,
            // The breaker opened between attempts: what the last one brought stands.
            Err(failure) => return last.unwrap_or(Err(failure)),
        };
        drop(last.take());
        tally.attempts = nth.number;
        let mut result;
        if let (Some(retrier), Some(attempts)) = (hedging, &attempts) {
            let race = Race { outbound, retrier, attempts, head };
            (attempt, result) = Box::pin(race.run(attempt, now, &mut nth, &mut tally.attempts)).await;
        } else {
            outbound.prepare(head);
            result = pin!(outbound.send(&attempt, head, next_body, sending.gate.as_ref(), now)).await;
        }
        let first = match &mut result {
            Ok(response) if peeks => Box::pin(first_frame::peek(response, outbound.ends_at(Instant::now()))).await,
            _ => None,
        };
        now = Instant::now();
        attempt.follow(attempt.progress.detour(), now);
        let endpoint = attempt.endpoint;
        (tally.endpoint, tally.error) = (Some(endpoint), result.as_ref().err().map(AttemptError::word));
        let (outcome, decision) = judge.judge(attempt, result, first, attempts.as_mut(), sending, now);
        match decision {
            Some(Decision::Retry { after, reason }) => {
                // Taken before the wait, so that the stream of the last attempt reads no further.
                let Some(again) = sending.body.take() else { return outcome };
                route.metrics.retry(reason);
                next_body = again;
                // Kept while waiting, so that it can still be the answer if no further attempt is allowed.
                last = Some(outcome);
                alarm::pause_until(now + after).await;
                now = Instant::now();
                nth = nth.next(endpoint, reason);
            }
            Some(Decision::Stop(stop)) => {
                note_denied(route, stop);
                return outcome;
            }
            None => return outcome,
        }
    }
}

/// What follows an attempt. Synchronous, so that no request's future holds its room while it waits.
struct Judge<'a> {
    runtime: &'a Runtime,
    outbound: &'a Outbound,
    repeatable: Repeatable,
    /// Whether any attempt may have reached the application.
    reached: Sent,
}

impl Judge<'_> {
    /// Whose fault it was, what is counted, and whether another attempt is made.
    fn judge(
        &mut self,
        mut attempt: Attempt,
        mut result: Result<Response<UpstreamBody>, AttemptError>,
        first: First,
        attempts: Option<&mut Attempts<'_>>,
        sending: &Sending,
        now: Instant,
    ) -> (Result<UpstreamResponse, Failure>, Option<Decision>) {
        if let (Err(error), Some(owed)) = (&mut result, &sending.owed) {
            if owed.is_broken() && !matches!(error.cause, Cause::Connect | Cause::Tls) {
                error.cause = Cause::RequestBody;
            } else if owed.is_waited_for() && error.cause.is_timeout() {
                attempt.excuse();
            }
        }
        if self.runtime.is_draining(self.outbound.direction) && result.as_ref().is_err_and(is_of_a_drain) {
            attempt.excuse();
        }
        attempt.record(&mut result, &first, now);
        let decision = attempts.map(|attempts| {
            let trailers = first_frame::trailers(&first);
            // Asked first: a retry that cannot be sent must not cost the budget.
            if !sending.body.can_repeat() && attempts.retrier().is_failure(&outcome(&result, trailers)) {
                return Decision::Stop(sending.not_kept());
            }
            decide(self.runtime, attempts, &result, trailers, self.repeatable, self.outbound, now)
        });
        match &mut result {
            // What the caller is told about the effect speaks for every attempt, not only for the last.
            Err(error) if self.reached == Sent::Maybe => error.sent = Sent::Maybe,
            Err(error) => self.reached = error.sent,
            Ok(_) => self.reached = Sent::Maybe,
        }
        let in_flight = attempt.finish(now);
        let outcome = match result {
            Ok(response) => Ok(UpstreamResponse { response, in_flight, first }),
            Err(error) => Err(Failure::Attempt(error)),
        };
        (outcome, decision)
    }
}
