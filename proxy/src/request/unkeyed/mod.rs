//! A request without idempotency: attempts until one stands, then its answer, streamed.

mod tunnel;

use std::{pin::pin, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{EXPECT, HOST, HeaderMap},
};
use http_body::Body as _;
use mainstay_policies::{
    body::Replay,
    evidence::{AttemptError, Cause, Sent},
    fallback::Reason,
    retry::{Attempts, Decision, Outcome, Repeatable, Retry, Stop, is_idempotent},
    timeout::IdleBody,
};
use tokio::time::{Instant, sleep};

use super::{
    fallback,
    stack::{Routed, Session},
};
use crate::{
    app::Shared,
    attempts::{
        attempt::{Head, Nth, Outbound},
        first_frame::{self, First, Resumed},
        hedge::Race,
    },
    listener::{
        Upgrade,
        body::{ClientBody, Gate, Owed},
    },
    respond::{self, Failure},
    runtime::snapshot::Route,
    upstream::{InFlight, UpstreamBody},
    wire::{body::ProxyBody, forward, http1::maps},
};

/// A response whose head has come, with the count that it is in flight, and what was read of its body already.
pub(crate) struct Answer {
    pub(crate) response: Response<UpstreamBody>,
    pub(crate) in_flight: InFlight,
    pub(crate) first: First,
}

/// Serves a request that is not a keyed write.
pub(crate) async fn serve(session: &Session, mut routed: Box<Routed>) -> Response<ProxyBody> {
    let idle = routed.outbound.route.params.policy.timeout.idle;
    // The connection offers itself only to a request that asks for it.
    let may_upgrade = routed.beside.upgrade.is_some();
    let upgrade = may_upgrade.then(|| forward::upgrade(&routed.parts.headers, routed.parts.version)).flatten();
    // Where an upgrade would take over the client's connection.
    let client_side = if upgrade.is_some() { routed.beside.upgrade.take() } else { None };
    let mut head = session.head(&mut routed, upgrade);
    if !routed.read.is_empty() {
        forward::fix_length(&mut head.headers, routed.read.len());
    }
    let body = routed.body.take().filter(|body| !body.is_end_stream());
    let gate = body.as_ref().and_then(|_| head.headers.get(EXPECT)).map(|_| Gate::default());
    let mut owed = None;
    let read = std::mem::take(&mut routed.read);
    let body = match body {
        None if read.is_empty() => Resend::Empty,
        None => Resend::Whole(read),
        Some(body) => {
            let body = ClientBody::new(body, idle, session.connection.clone(), gate.clone());
            owed = Some(body.owed());
            match kept_for_replay(&routed.outbound.route) {
                Some(max) => Resend::Replay(Replay::new(body, max)),
                None => Resend::Once(Some(ProxyBody::stream(body))),
            }
        }
    };
    let wants_upgrade = head.upgrade.is_some();
    let mut sending = Sending { body, owed, gate };
    let obtained = { pin!(obtain(session, &mut routed, &mut head, None, &mut sending)).await };
    maps::give_back(head.headers);
    match obtained.answered {
        Ok(answer) if answer.response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            match client_side.filter(|_| wants_upgrade) {
                Some(client_side) => switch_protocols(routed, answer.response, answer.in_flight, client_side, idle),
                // Nobody asked: the upstream speaks nonsense.
                None => routed.refuse(Failure::Attempt(AttemptError::new(Cause::Malformed, Sent::Maybe))),
            }
        }
        answered => deliver(routed, Obtained { answered, ..obtained }),
    }
}

/// What was obtained for a request, to be delivered.
pub(crate) struct Obtained {
    pub(crate) answered: Result<Answer, Failure>,
    pub(crate) attempts: u32,
    /// Why it is the answer of the fallback's upstream.
    pub(crate) instead: Option<Reason>,
    /// Whether its head is what the client gets already.
    pub(crate) finished: bool,
}

/// Makes the attempts, and asks the upstream of the fallback if they fail. `validators` are those of an answer of the first one:
/// they mean nothing to another.
pub(crate) async fn obtain(
    session: &Session,
    routed: &mut Routed,
    head: &mut Head,
    validators: Option<HeaderMap>,
    sending: &mut Sending,
) -> Obtained {
    let mut attempts = 0;
    let other = routed.outbound.route.fallback.as_ref().map(|route| (route.clone(), head.clone()));
    for (name, value) in validators.iter().flatten() {
        head.headers.insert(name, value.clone());
    }
    let mut writing = (!head.method.is_safe()).then(|| Writing::begin(session, &routed.outbound, head));
    let mut answered =
        { pin!(until_one_stands(&session.shared, &routed.outbound, head, sending, &mut attempts)).await };
    routed.exchange.attempts = attempts;
    if answered.is_ok() || !sending.is_owed() {
        routed.exchange.teach_limit(answered.as_ref().map(|answer| answer.response.status()));
    }
    if let Some(writing) = &mut writing {
        writing.ended(&answered, attempts);
    }
    let mut instead = None;
    if let Some((route, head)) = other {
        let other = Outbound { route, ..routed.outbound.clone() };
        instead = Box::pin(try_other(session, routed, other, head, sending, &mut answered)).await;
    }
    Obtained { answered, attempts, instead, finished: false }
}

/// A write on its way: after one that happened, or may have, no cache may answer with what was before (RFC 9111 section 4.4).
/// Dropped before its [end](Self::ended) is known it is one whose client has left: it may have happened.
struct Writing {
    shared: Arc<Shared>,
    route: Arc<Route>,
    path: Box<str>,
    host: HeaderMap,
    is_open: bool,
}

impl Writing {
    fn begin(session: &Session, outbound: &Outbound, head: &Head) -> Self {
        Self {
            shared: session.shared.clone(),
            route: outbound.route.clone(),
            path: head.uri.path().into(),
            host: head.headers.get(HOST).map(|host| (HOST, host.clone())).into_iter().collect(),
            is_open: true,
        }
    }

    fn ended(&mut self, answered: &Result<Answer, Failure>, attempts: u32) {
        self.is_open = false;
        let changed = match answered {
            // A 4xx speaks for its own attempt only, and any other answer may come from one that acted.
            Ok(answer) => !answer.response.status().is_client_error() || attempts > 1,
            Err(Failure::Attempt(error)) => error.sent == Sent::Maybe,
            Err(Failure::NoTime(sent)) => *sent == Sent::Maybe,
            Err(_) => false,
        };
        if changed {
            self.forget();
            if let Ok(answer) = answered {
                let snapshot = self.shared.snapshot.load();
                snapshot.forget_named(&self.route, &self.host, &self.path, answer.response.headers());
            }
        }
    }

    fn forget(&self) {
        // Those in force now: a reload may have come between.
        self.shared.snapshot.load().forget(&self.route, &self.path);
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if self.is_open {
            self.forget();
        }
    }
}

/// Gives the client what was obtained.
pub(crate) fn deliver(mut routed: Box<Routed>, obtained: Obtained) -> Response<ProxyBody> {
    let Obtained { answered, attempts, instead, finished } = obtained;
    let idle = routed.outbound.route.params.policy.timeout.idle;
    match answered {
        Ok(Answer { mut response, in_flight, first }) => {
            if let Some(reason) = fallback::of_response(&routed.outbound.route, &routed.exchange.method, &response)
                .filter(|_| instead.is_none())
                && let Some(mut fixed) = fallback::fixed(&routed.outbound.route, reason)
            {
                routed.outbound.route.metrics.fallback(reason.label());
                name_attempts(fixed.headers_mut(), attempts);
                return routed.exchange.answer(fixed);
            }
            if !finished {
                finish_head(&mut response, attempts);
            }
            if let Some(reason) = instead {
                fallback::mark(&mut response, reason);
            }
            if first.is_some() {
                let resumed = |body| Resumed::new(first, IdleBody::new(body, idle));
                return routed.exchange.stream(response.map(resumed), Some(in_flight));
            }
            match response.body_mut().take_whole() {
                Some(whole) => routed.exchange.answer(response.map(|_| ProxyBody::from(whole))),
                None => routed.exchange.stream(response.map(|body| IdleBody::new(body, idle)), Some(in_flight)),
            }
        }
        Err(failure) => {
            if matches!(failure, Failure::CircuitOpen { .. }) {
                routed.exchange.trace().event("breaker_open", Instant::now());
            }
            let mut response = routed.refuse(failure);
            name_attempts(response.headers_mut(), attempts);
            response
        }
    }
}

/// What every forwarded answer's head gets.
pub(crate) fn finish_head<B>(response: &mut Response<B>, attempts: u32) {
    let (version, status) = (response.version(), response.status());
    forward::response(response.headers_mut(), version, status);
    // The version is each connection's own.
    *response.version_mut() = http::Version::HTTP_11;
    name_attempts(response.headers_mut(), attempts);
}

/// Asks the upstream of the fallback, if what there is calls for it and the request can be sent again. What it answers takes the
/// place of what there was; if it does not answer, the first failure stands.
async fn try_other(
    session: &Session,
    routed: &Routed,
    other: Outbound,
    mut head: Head,
    sending: &mut Sending,
    answered: &mut Result<Answer, Failure>,
) -> Option<Reason> {
    let (route, method) = (&routed.outbound.route, &routed.exchange.method);
    let reason = match &*answered {
        Ok(answer) => fallback::of_response(route, method, &answer.response),
        Err(failure) => fallback::of_failure(route, method, failure),
    }?;
    if !sending.body.can_repeat() {
        return None;
    }
    let mut writing = (!method.is_safe()).then(|| Writing::begin(session, &other, &head));
    let mut attempts = 0;
    let other_answered = until_one_stands(&session.shared, &other, &mut head, sending, &mut attempts).await;
    if let Some(writing) = &mut writing {
        writing.ended(&other_answered, attempts);
    }
    match other_answered {
        Ok(answer) => {
            route.metrics.fallback(reason.label());
            *answered = Ok(answer);
            Some(reason)
        }
        // What is told speaks for both: the other one may have acted.
        Err(Failure::Attempt(error)) if error.sent == Sent::Maybe && !method.is_safe() => {
            *answered = Err(Failure::Attempt(error));
            None
        }
        Err(_) => None,
    }
}

/// Bytes of a request's body that are kept to send it again; `None`: it is sent once.
fn kept_for_replay(route: &Route) -> Option<usize> {
    let retry = route.retrier.as_ref().map(|retrier| retrier.params());
    let wanted = route.fallback.is_some() || retry.is_some_and(|retry| retry.max_retries > 0);
    wanted.then(|| retry.map_or_else(|| Retry::default().max_body, |retry| retry.max_body))
}

pub(crate) fn name_attempts(headers: &mut HeaderMap, attempts: u32) {
    if attempts > 1 {
        headers.insert(respond::MAINSTAY_ATTEMPTS, HeaderValue::from(attempts));
    }
}

fn switch_protocols(
    mut routed: Box<Routed>,
    mut response: Response<UpstreamBody>,
    in_flight: InFlight,
    client_side: Upgrade,
    idle: std::time::Duration,
) -> Response<ProxyBody> {
    let Some(upstream_side) = response.body_mut().take_switched() else {
        // HTTP/2 knows no such status.
        return routed.refuse(Failure::Attempt(AttemptError::new(Cause::Malformed, Sent::Maybe)));
    };
    finish_head(&mut response, routed.exchange.attempts);
    // The tunnel is the request's body: it holds the concurrency permit as long as it lasts.
    let held = (in_flight, routed.exchange.switch());
    tunnel::spawn(client_side, upstream_side, idle, held);
    routed.exchange.answer(response.map(|_| ProxyBody::Empty))
}

/// A request body in a form that can, or cannot, be sent again.
enum Resend {
    Empty,
    /// It was read before it turned out not to be a keyed write's.
    Whole(Bytes),
    Once(Option<ProxyBody>),
    Replay(Replay<ClientBody>),
}

impl Resend {
    /// The body for the next attempt, if there can be one.
    fn take(&mut self) -> Option<ProxyBody> {
        match self {
            Self::Empty => Some(ProxyBody::Empty),
            Self::Whole(body) => Some(ProxyBody::from(body.clone())),
            Self::Once(body) => body.take(),
            Self::Replay(body) => body.attempt().map(ProxyBody::stream),
        }
    }

    fn can_repeat(&self) -> bool {
        match self {
            Self::Empty | Self::Whole(_) => true,
            Self::Once(body) => body.is_some(),
            Self::Replay(body) => body.replayable(),
        }
    }
}

/// What the client sends, and what is known of its sending.
pub(crate) struct Sending {
    body: Resend,
    owed: Option<Owed>,
    gate: Option<Gate>,
}

impl Sending {
    /// No body.
    pub(crate) const fn empty() -> Self {
        Self { body: Resend::Empty, owed: None, gate: None }
    }

    /// Whether the client has not sent all of it, although it was waited for.
    fn is_owed(&self) -> bool {
        self.owed.as_ref().is_some_and(|owed| owed.is_waited_for() || owed.is_broken())
    }
}

/// Makes attempts until one stands, time runs out, or trying again would not be safe.
pub(crate) async fn until_one_stands(
    shared: &Shared,
    outbound: &Outbound,
    head: &mut Head,
    sending: &mut Sending,
    made: &mut u32,
) -> Result<Answer, Failure> {
    let Sending { body, owed, gate } = sending;
    let route = &outbound.route;
    let mut now = Instant::now();
    let mut attempts = route.retrier.as_ref().map(|retrier| retrier.start(now));
    // The service may process each of several attempts, and all need the same body.
    let hedging = route.retrier.as_ref().filter(|retrier| {
        retrier.params().hedge.is_some()
            && head.method.is_safe()
            && matches!(body, Resend::Empty)
            && head.upgrade.is_none()
    });
    let peeks = route.retrier.as_ref().is_some_and(|retrier| retrier.params().knows_grpc()) && head.is_grpc();
    let repeatable = if is_idempotent(&head.method) { Repeatable::Always } else { Repeatable::OnlyIfUnsent };
    let mut next_body = body.take().expect("every body can be sent once");
    let mut nth = Nth::FIRST;
    let mut last: Option<Result<Answer, Failure>> = None;
    let mut reached = Sent::No;
    loop {
        let mut attempt = match outbound.begin(nth, head, now) {
            Ok(attempt) => attempt,
            // The breaker opened between attempts: what the last one brought stands.
            Err(failure) => return last.unwrap_or(Err(failure)),
        };
        drop(last.take());
        *made = nth.number;
        let mut result;
        if let (Some(retrier), Some(attempts)) = (hedging, &attempts) {
            let race = Race { outbound, retrier, attempts, head };
            (attempt, result) = Box::pin(race.run(attempt, now, &mut nth, made)).await;
        } else {
            outbound.prepare(head);
            result = pin!(outbound.send(&attempt, head, next_body, gate.as_ref(), now)).await;
        }
        let first = match &mut result {
            Ok(response) if peeks => Box::pin(first_frame::peek(response, outbound.deadline)).await,
            _ => None,
        };
        now = Instant::now();
        if let (Err(error), Some(owed)) = (&mut result, &owed) {
            if owed.is_broken() && !matches!(error.cause, Cause::Connect | Cause::Tls) {
                error.cause = Cause::RequestBody;
            } else if owed.is_waited_for() && error.cause.is_timeout() {
                attempt.excuse();
            }
        }
        attempt.record(&result, now);
        let endpoint = attempt.endpoint;
        let decision = attempts.as_mut().map(|attempts| {
            let trailers = first_frame::trailers(&first);
            // Asked first: a retry that cannot be sent must not cost the budget.
            if !body.can_repeat() && attempts.retrier().is_failure(&outcome(&result, trailers)) {
                return Decision::Stop(Stop::Body);
            }
            decide(shared, attempts, &result, trailers, repeatable, outbound, now)
        });
        match &mut result {
            // What the caller is told about the effect speaks for every attempt, not only for the last.
            Err(error) if reached == Sent::Maybe => error.sent = Sent::Maybe,
            Err(error) => reached = error.sent,
            Ok(_) => reached = Sent::Maybe,
        }
        let in_flight = attempt.finish(now);
        let outcome = match result {
            Ok(response) => Ok(Answer { response, in_flight, first }),
            Err(error) => Err(Failure::Attempt(error)),
        };
        match decision {
            Some(Decision::Retry { after, reason }) => {
                // Taken before the wait, so that the stream of the last attempt reads no further.
                let Some(again) = body.take() else { return outcome };
                route.metrics.retry(reason);
                next_body = again;
                // Kept while waiting, so that it can still be the answer if no further attempt is allowed.
                last = Some(outcome);
                sleep(after).await;
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

/// Asks the retry policy about an attempt's result.
pub(crate) fn decide(
    shared: &Shared,
    attempts: &mut Attempts<'_>,
    result: &Result<Response<UpstreamBody>, AttemptError>,
    trailers: Option<&HeaderMap>,
    repeatable: Repeatable,
    outbound: &Outbound,
    now: Instant,
) -> Decision {
    let outcome = outcome(result, trailers);
    // Most attempts stand, and those need to know neither the time that is left nor what day it is.
    if !attempts.retrier().is_failure(&outcome) {
        return Decision::Stop(Stop::NotRetryable);
    }
    let remaining = Some(outbound.deadline.saturating_duration_since(now));
    attempts.next(&outcome, repeatable, remaining, now, shared.parts.clock.now())
}

/// How an attempt ended, as the retry policy sees it; a gRPC answer whose trailers are there already, by them.
fn outcome<'a>(
    result: &'a Result<Response<UpstreamBody>, AttemptError>,
    trailers: Option<&'a HeaderMap>,
) -> Outcome<'a> {
    match result {
        Ok(response) => {
            Outcome::Response { status: response.status(), headers: trailers.unwrap_or(response.headers()) }
        }
        Err(error) => Outcome::Error(error),
    }
}

/// Counts a failure that would have been tried again, but for a bound.
pub(crate) fn note_denied(route: &crate::runtime::snapshot::Route, stop: Stop) {
    if stop != Stop::NotRetryable {
        route.metrics.retry_denied(stop.label());
    }
}
