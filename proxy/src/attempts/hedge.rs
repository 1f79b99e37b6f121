//! Hedging: a slow attempt gets a rival, and the first good answer wins.
//!
//! Only requests without a body and with a safe method come here, for the service may process every attempt. A rival goes to
//! another endpoint where there is one, and is paid for from the retry budget, so that a slow service is not made slower. The
//! attempts that lose are dropped, which closes their connection or resets their stream.

use futures_util::{
    future::BoxFuture,
    stream::{FuturesUnordered, StreamExt as _},
};
use http::Response;
use mainstay_policies::{
    evidence::AttemptError,
    retry::{Attempts, Outcome, Retrier, Stop},
};
use tokio::time::{Instant, sleep_until};

use super::decide::note_denied;
use super::{
    attempt::{Attempt, Nth, Outbound},
    head::Head,
};
use crate::{telemetry::metrics::AttemptResult, upstream::UpstreamBody, wire::body::ProxyBody};

/// Why the rival is sent, for metrics and spans.
const REASON: &str = "hedge";

type Sent = Result<Response<UpstreamBody>, AttemptError>;
type Running<'a> = FuturesUnordered<BoxFuture<'a, (Attempt, Sent)>>;

/// What a race needs beside its first attempt.
pub(crate) struct Race<'a> {
    pub(crate) outbound: &'a Outbound,
    pub(crate) retrier: &'a Retrier,
    pub(crate) attempts: &'a Attempts<'a>,
    pub(crate) head: &'a Head,
}

impl Race<'_> {
    /// Sends the request as `first`, and rivals when it is slow. The attempt that stands has not been recorded yet; `nth` is
    /// moved on to the last attempt that was made, `made` counts them.
    pub(crate) async fn run(&self, first: Attempt, now: Instant, nth: &mut Nth, made: &mut u32) -> (Attempt, Sent) {
        let after = self.retrier.hedge_after(now);
        let mut left = self.retrier.params().hedge.as_ref().map_or(0, |hedge| hedge.max);
        let mut due = after.and_then(|after| now.checked_add(after));
        let mut last = first.endpoint;
        let mut running = Running::new();
        // Attempts in flight, oldest first, for what a loser teaches about latency.
        let mut begun = vec![(nth.number, now)];
        running.push(self.send(first, now));
        loop {
            let rival = async {
                match due.filter(|_| left > 0) {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some((mut attempt, mut result)) = running.next() => {
                    let now = Instant::now();
                    begun.retain(|(number, _)| *number != attempt.number);
                    if self.is_good(&result) || running.is_empty() {
                        self.learn(&attempt, &result, &begun, now);
                        return (attempt, result);
                    }
                    attempt.record(&mut result, &None, now);
                    attempt.finish(now);
                }
                () = rival => {
                    left -= 1;
                    let now = Instant::now();
                    due = after.and_then(|after| now.checked_add(after));
                    if let Some(attempt) = self.rival(nth.next(last, REASON), now) {
                        *nth = nth.next(last, REASON);
                        *made = nth.number;
                        last = attempt.endpoint;
                        begun.push((nth.number, now));
                        running.push(self.send(attempt, now));
                    } else {
                        left = 0;
                    }
                }
            }
        }
    }

    /// Another attempt, if the breaker and the budget let it be made.
    fn rival(&self, nth: Nth, now: Instant) -> Option<Attempt> {
        let route = &self.outbound.route;
        let attempt = self.outbound.begin(nth, self.head, now).ok()?;
        if !self.attempts.hedge(now) {
            note_denied(route, Stop::Budget);
            return None;
        }
        route.metrics.retry(REASON);
        Some(attempt)
    }

    fn send(&self, mut attempt: Attempt, now: Instant) -> BoxFuture<'_, (Attempt, Sent)> {
        Box::pin(async move {
            let mut head = self.head.clone();
            self.outbound.prepare(&mut head);
            let result = self.outbound.send(&attempt, &head, ProxyBody::Empty, None, now).await;
            attempt.follow(attempt.progress.detour(), Instant::now());
            (attempt, result)
        })
    }

    fn is_good(&self, result: &Sent) -> bool {
        let Ok(response) = result else { return false };
        !self.retrier.is_failure(&Outcome::Response { status: response.status(), headers: response.headers() })
    }

    /// An attempt that is given up took at least as long as it ran: leaving it out would make the percentile sink with every
    /// hedge.
    fn learn(&self, winner: &Attempt, result: &Sent, losers: &[(u32, Instant)], now: Instant) {
        if result.is_ok() {
            self.retrier.observe(now.duration_since(winner.started), now);
        }
        for (_, begun) in losers {
            let ran = now.duration_since(*begun);
            self.retrier.observe(ran, now);
            self.outbound.route.metrics.attempt(AttemptResult::Cancelled, ran);
        }
    }
}
