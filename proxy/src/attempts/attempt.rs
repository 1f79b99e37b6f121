//! One attempt: its endpoint, the permit of the breaker, its time, and what it proved.

use std::{borrow::Cow, pin::pin, sync::Arc, time::Duration};

use http::{Response, Uri, uri::PathAndQuery};
use mainstay_policies::{
    balance::Affinity,
    circuit_breaker::{CallOutcome, Permit},
    evidence::{AttemptError, Cause, Sent},
    path::Rewrite,
    problem::Problem,
};
use tokio::time::Instant;

use super::{
    alarm::{self, TimeIsUp},
    decide::first_admitted,
    first_frame::First,
    head::Head,
    judged::{Told, Unjudged, judge, told},
    upload::Upload,
};
use crate::{
    config::model::Direction,
    respond::failure::Failure,
    runtime::{breakers::Breakers, route::Route},
    telemetry::{
        metrics::{AttemptResult, endpoint::Wrong},
        trace::{AttemptSpan, AttemptStart, SpanFields, TraceHandle},
    },
    upstream::{Added, Detour, InFlight, Informed, Progress, UpstreamBody},
    wire::{
        body::ProxyBody,
        forward::{self},
        gate::Gate,
        interim::Interim,
    },
};

/// What all attempts of one request share.
#[derive(Clone)]
pub(crate) struct Outbound {
    pub(crate) route: Arc<Route>,
    pub(crate) worker: usize,
    pub(crate) trace: TraceHandle,
    /// When the total time ends, had the request ended with its head.
    pub(crate) deadline: Instant,
    /// That it is a gRPC call.
    pub(crate) grpc: Option<GrpcCall>,
    /// A body that is sent on as it comes moves that.
    pub(crate) upload: Option<Upload>,
    /// Where the client takes interim responses from.
    pub(crate) interim: Option<Interim>,
    /// Whether a caller of the service sent it, or the service itself.
    pub(crate) direction: Direction,
    /// What it has in common with others that go to the same endpoint.
    pub(crate) affinity: Option<Affinity>,
}

/// What a gRPC call says of itself.
#[derive(Clone, Copy)]
pub(crate) struct GrpcCall {
    /// When its caller gives up, the whole stream included; `None` if it does not say.
    pub(crate) deadline: Option<Instant>,
}

/// One attempt, from the breaker's permit to what it proved.
pub(crate) struct Attempt {
    /// From 1.
    pub(crate) number: u32,
    pub(crate) endpoint: usize,
    pub(crate) progress: Progress,
    pub(crate) in_flight: InFlight,
    /// What is sent in place of the target that came, where the route has another path for it.
    pub(crate) target: Option<Box<Uri>>,
    route: Arc<Route>,
    permit: Option<Permit>,
    /// Endpoints beside it that could not be connected to.
    lost: Vec<usize>,
    span: AttemptSpan,
    is_grpc: bool,
    pub(crate) started: Instant,
}

/// How an attempt comes to be.
#[derive(Clone, Copy)]
pub(crate) struct Nth {
    /// From 1.
    pub(crate) number: u32,
    /// Where the last one went.
    pub(crate) avoid: Option<usize>,
    /// Why it is tried again.
    pub(crate) reason: Option<&'static str>,
}

impl Nth {
    pub(crate) const FIRST: Self = Self { number: 1, avoid: None, reason: None };

    pub(crate) const fn next(self, endpoint: usize, reason: &'static str) -> Self {
        Self { number: self.number + 1, avoid: Some(endpoint), reason: Some(reason) }
    }
}

impl Outbound {
    /// Chooses an endpoint and asks its breaker. With a breaker per endpoint an open one only excludes its endpoint.
    pub(crate) fn begin(&self, nth: Nth, head: &Head, now: Instant) -> Result<Attempt, Failure> {
        if alarm::is_cut_off() {
            return Err(Failure::Draining);
        }
        if now >= self.ends_at(now) {
            return Err(Failure::NoTime(Sent::No));
        }
        let route = &self.route;
        let target = route.params.rewrite.as_ref().map(|rewrite| rewritten(&head.uri, rewrite)).transpose()?;
        let (endpoint, permit) = self.choose(nth, now)?;
        let start = AttemptStart {
            number: nth.number,
            method: &head.method,
            path: target.as_deref().unwrap_or(&head.uri).path(),
            endpoint: route.upstream.configured(endpoint),
            upstream: &route.upstream.params().name,
            retry_reason: nth.reason,
        };
        let mut span = self.trace.attempt(&start, now);
        Ok(Attempt {
            number: nth.number,
            endpoint,
            progress: Progress::default().telling(span.met()),
            in_flight: route.upstream.enter(endpoint),
            target,
            route: route.clone(),
            permit,
            lost: Vec::new(),
            span,
            is_grpc: self.grpc.is_some(),
            started: now,
        })
    }

    /// The endpoint that an attempt goes to, with the permit of its breaker.
    fn choose(&self, nth: Nth, now: Instant) -> Result<(usize, Option<Permit>), Failure> {
        let route = &self.route;
        let next = |refused: &[usize]| match (refused, &route.breakers) {
            ([], _) => Some(route.upstream.pick(nth.avoid, self.affinity)),
            (_, Breakers::Each(_)) => route.upstream.pick_beside(refused, nth.avoid, self.affinity),
            _ => None,
        };
        let acquire = |endpoint| match route.breakers.of(endpoint) {
            None => Ok(None),
            Some(breaker) => breaker.acquire(now).map(Some).map_err(|rejected| rejected.retry_after),
        };
        first_admitted(next, acquire).map_err(|retry_after| {
            route.metrics.breaker_rejected();
            Failure::CircuitOpen { retry_after }
        })
    }

    /// The request ended so long after its head, and is here as a whole.
    pub(crate) fn begins_late(&mut self, after: Duration) {
        self.deadline += after;
        if let Some(given) = self.grpc.and_then(|call| call.deadline) {
            self.deadline = self.deadline.min(given);
        }
    }

    /// When the total time ends, as far as is known `now`.
    pub(crate) fn ends_at(&self, now: Instant) -> Instant {
        let Some(upload) = &self.upload else { return self.deadline };
        let moved = upload.moved(self.deadline, now);
        // That of a gRPC call is its caller's, who counts from the beginning.
        self.grpc.and_then(|call| call.deadline).map_or(moved, |given| moved.min(given))
    }

    /// When an attempt that starts now must have a response.
    pub(crate) fn attempt_deadline(&self, now: Instant) -> (Instant, Cause) {
        self.deadline_of(now, now)
    }

    /// When an attempt that started at `started` must have a response, as far as is known `now`.
    fn deadline_of(&self, started: Instant, now: Instant) -> (Instant, Cause) {
        let from = self.upload.as_ref().map_or(started, |upload| upload.counts_from(now).max(started));
        let ends_at = self.ends_at(now);
        match self.route.params.policy.timeout.attempt {
            Some(attempt) if from + attempt < ends_at => (from + attempt, Cause::AttemptTimeout),
            _ => (ends_at, Cause::TotalTimeout),
        }
    }

    /// Until when an attempt may go on whose alarm rang; `None` if its time is over.
    fn more_time(&self, started: Instant, progress: &Progress) -> Option<Instant> {
        // A body that nobody takes yet, for want of a connection, may be there as a whole.
        let upload = self.upload.as_ref().filter(|_| progress.sent() == Sent::Maybe)?;
        let now = Instant::now();
        let (until, _) = self.deadline_of(started, now);
        if until <= now || alarm::is_cut_off() {
            return None;
        }
        if upload.owed.ended_at().is_some() { Some(until) } else { upload.look_again(now, until.duration_since(now)) }
    }

    /// Makes a head fit for the upstream's protocol; what another attempt left in it is overwritten.
    pub(crate) fn prepare(&self, head: &mut Head) {
        if !self.route.upstream.speaks_http2() {
            match &head.upgrade {
                Some(protocol) => forward::ask_upgrade(&mut head.headers, protocol.clone()),
                None => forward::announce_te(&mut head.headers),
            }
        }
    }

    /// What an attempt that starts now adds to its head.
    pub(crate) fn added<'a>(&self, trace: SpanFields, head: &'a Head, now: Instant) -> Added<'a> {
        let time_left = self.ends_at(now).saturating_duration_since(now);
        // Not shortened to the total time: that ends with the response's head, and this bounds a stream to its end.
        let grpc_left = self.grpc.and_then(|call| call.deadline).map(|given| {
            let left = given.saturating_duration_since(now);
            self.route.params.policy.timeout.attempt.map_or(left, |attempt| left.min(attempt))
        });
        Added { hop: head.hop.as_ref(), trace, time_left, grpc_left }
    }

    /// Sends one attempt and waits for its response's head, until the attempt's time or the total time ends. When it ends by
    /// time the attempt is dropped, which closes its connection or resets its stream. `gate` opens at `100 Continue`.
    pub(crate) async fn send(
        &self,
        attempt: &Attempt,
        head: &Head,
        body: ProxyBody,
        gate: Option<&Gate>,
        now: Instant,
    ) -> Result<Response<UpstreamBody>, AttemptError> {
        let (mut until, cause) = self.attempt_deadline(now);
        let informed = Informed { gate, interim: self.interim.as_ref() };
        let added = self.added(attempt.trace_fields(), head, now);
        let request = (head.as_request(attempt.target.as_deref(), &added), body);
        let mut sending =
            pin!(self.route.upstream.send(self.worker, attempt.endpoint, request, &attempt.progress, informed));
        loop {
            match alarm::until(until, sending.as_mut()).await {
                Ok(result) => return result,
                Err(TimeIsUp) => match self.more_time(now, &attempt.progress) {
                    Some(later) => until = later,
                    None => return Err(AttemptError::new(ended_by(cause), attempt.progress.sent())),
                },
            }
        }
    }
}

/// The same target with another path.
fn rewritten(uri: &Uri, rewrite: &Rewrite) -> Result<Box<Uri>, Failure> {
    let mut target = rewrite.path(uri.path());
    if let Some(query) = uri.query() {
        target.extend(["?", query]);
    }
    let target = PathAndQuery::try_from(target).map_err(|_| {
        let detail = "The path that this route has for it is too long. Nothing was sent.";
        Failure::Request(Problem::BadRequest, Cow::Borrowed(detail))
    })?;
    Ok(Box::new(Uri::from(target)))
}

/// What ended a wait that `cause` bounds.
pub(crate) fn ended_by(cause: Cause) -> Cause {
    if alarm::is_cut_off() { Cause::Drain } else { cause }
}

/// Whether an attempt failed because the service is going, as this process is: nothing was sent, and it says nothing of the
/// service's health.
pub(crate) const fn is_of_a_drain(error: &AttemptError) -> bool {
    matches!((error.cause, error.sent), (Cause::Connect | Cause::Refused, Sent::No))
}

impl Attempt {
    /// What the upstream is told of its span.
    pub(crate) const fn trace_fields(&self) -> SpanFields {
        self.span.fields()
    }

    /// Another address of the same name stands in for the one that was picked, which could not be connected to: that is an error
    /// of the one, and what comes now is told of the other. Those that were tried beside it are told of when the attempt is.
    pub(crate) fn follow(&mut self, Detour { stand_in, lost }: Detour, now: Instant) {
        let picked = self.endpoint;
        self.lost = lost;
        self.lost.retain(|endpoint| *endpoint != picked);
        let Some(endpoint) = stand_in.filter(|endpoint| *endpoint != picked) else { return };
        if let Breakers::Each(_) = &self.route.breakers {
            if let Some(permit) = self.permit.take() {
                permit.record(CallOutcome::Error, now);
            }
            self.permit = self.route.breakers.of(endpoint).and_then(|breaker| breaker.acquire(self.started).ok());
        }
        self.in_flight = self.route.upstream.enter(endpoint);
        self.endpoint = endpoint;
    }

    /// It failed through no fault of the upstream: whatever comes of it is no sample for the breaker.
    pub(crate) fn excuse(&mut self) {
        self.permit = None;
        self.lost.clear();
    }

    /// Addresses that were tried beside the one that was picked, and could not be connected to: an error of each, by its own
    /// breaker, which nobody had asked before.
    fn record_lost(&mut self, now: Instant) {
        let Breakers::Each(_) = &self.route.breakers else { return };
        for endpoint in self.lost.drain(..) {
            let permit = self.route.breakers.of(endpoint).and_then(|breaker| breaker.acquire(self.started).ok());
            if let Some(permit) = permit {
                permit.record(CallOutcome::Error, now);
            }
        }
    }

    /// Tells breaker, span and metrics what became of the attempt; a gRPC answer that has not told its code tells it at its end.
    /// A permit that is dropped without this is a cancel, and no sample.
    pub(crate) fn record(
        &mut self,
        result: &mut Result<Response<UpstreamBody>, AttemptError>,
        first: &First,
        now: Instant,
    ) {
        if !self.lost.is_empty() {
            self.record_lost(now);
        }
        if let Some(trace_id) = self.span.exported_trace() {
            self.route.metrics.attempt_exemplar(now.duration_since(self.started), trace_id);
        }
        let (outcome, counted) = match result {
            Ok(response) => return self.answered(response, first, now),
            // The caller's doing, or our end: its permit is dropped, which is a cancel and no sample.
            Err(error) if matches!(error.cause, Cause::RequestBody | Cause::Drain) => {
                self.span.error(error.cause.label());
                self.permit = None;
                (CallOutcome::Success, AttemptResult::Failed(error.word()))
            }
            Err(error) => {
                self.span.error(error.cause.label());
                let wrong = Some(Wrong::Failed(error.word()));
                self.route.upstream.ended(self.endpoint, now.duration_since(self.started), wrong, now);
                (CallOutcome::Error, AttemptResult::Failed(error.word()))
            }
        };
        if let Some(permit) = self.permit.take() {
            permit.record(outcome, now);
        }
        self.route.metrics.attempt(counted, now.duration_since(self.started));
    }

    fn answered(&mut self, response: &mut Response<UpstreamBody>, first: &First, now: Instant) {
        self.span.status(response.status());
        let took = now.duration_since(self.started);
        let told = if self.is_grpc { told(response, first) } else { Told::Status(response.status()) };
        let status = match told {
            Told::Status(status) => status,
            Told::Code(code) => {
                self.span.code(code);
                code.twin()
            }
            Told::Later => {
                return response.body_mut().tell(Box::new(Unjudged {
                    route: self.route.clone(),
                    endpoint: self.endpoint,
                    permit: self.permit.take(),
                    span: Some(self.span.take()),
                    took,
                }));
            }
        };
        judge(&self.route, self.endpoint, self.permit.take(), status, took, now);
    }

    /// Ends the attempt's span; what stays is the count of requests in flight, until the body has ended.
    pub(crate) fn finish(self, now: Instant) -> InFlight {
        self.span.finish(now);
        self.in_flight
    }
}
