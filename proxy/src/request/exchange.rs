//! One request and its answer, for everything that wants to know how it went: metrics, access log, trace, and the client
//! connection's phase. It ends once: with the last byte of the answer, or when the client leaves.

use std::{
    borrow::Cow,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Response, StatusCode, Uri, Version, request::Parts, uri::Authority};
use http_body::{Body, Frame, SizeHint};
use mainstay_policies::{
    concurrency_limit::Permit,
    evidence::Cause,
    grpc::{Code, Dialect, tells_in_fields},
    idempotency::{Standing, WriteOutcome},
    operation::{OperationId, State},
    problem::Problem,
};
use tokio::time::Instant;

use super::{session::Session, told::Told};
use crate::{
    attempts::run::Tally,
    config::model::Direction,
    listener::Connection,
    respond::{self, failure::Failure},
    runtime::route::Route,
    telemetry::{logs::AccessEntry, propagation::context::TraceId, trace::RequestTrace},
    upstream::InFlight,
    wire::body::{BoxError, ProxyBody},
};

/// One request and its answer.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about one exchange")]
pub(crate) struct Exchange {
    session: Arc<Session>,
    pub(crate) started: Instant,
    /// Who the client is; with port 0 if a front says so, which does not name it.
    pub(crate) client: SocketAddr,
    pub(crate) method: Method,
    /// How its caller is answered, if it is a gRPC call.
    pub(crate) grpc: Option<Dialect>,
    /// What the access log says of it; `None` if there was no log when it came.
    uri: Option<Uri>,
    /// `None` once it has been finished.
    trace: Option<RequestTrace>,
    is_http1: bool,
    /// The client's connection carries a request until this one ends, unless it has changed protocol.
    is_on_connection: bool,
    pub(crate) route: Option<Arc<Route>>,
    /// Held to the end of the answer's body.
    pub(crate) permit: Option<Permit>,
    pub(crate) attempts: u32,
    pub(crate) told: Told,
    /// The route of the fallback, if the last attempt took it.
    other: Option<Arc<Route>>,
    pub(crate) problem: Option<Problem>,
    pub(crate) operation: Option<(OperationId, State)>,
    pub(crate) replayed: bool,
    /// How the write stands, if this is a keyed one.
    pub(crate) standing: Option<Standing>,
    /// How it stood when it ended, where its answer may have begun before.
    pub(crate) write_ended: Option<Arc<OnceLock<Standing>>>,
    /// Bytes of the request's body, as far as they are known.
    pub(crate) bytes_in: u64,
    status: Option<StatusCode>,
    /// The code of a gRPC answer, once it has come.
    code: Option<Code>,
    /// Whether that comes with the trailers.
    awaits_code: bool,
    /// What an adaptive limit learns with the code: how long the head took.
    head_after: Option<Duration>,
    bytes: u64,
}

/// How an exchange ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// The answer was handed over whole.
    Complete,
    /// The upstream broke off inside the body.
    Truncated,
    /// The client left.
    Cancelled,
}

impl Exchange {
    /// Of a request that arrived at `now`.
    pub(crate) fn new(session: Arc<Session>, now: Instant, parts: &Parts, trace: RequestTrace) -> Self {
        if session.client.direction == Direction::Outbound {
            session.runtime.calls_out.begin();
        }
        let uri = session.runtime.access.enabled().then(|| parts.uri.clone());
        Self {
            client: session.peer,
            session,
            started: now,
            method: parts.method.clone(),
            // gRPC calls are POSTs: reads need not be looked at.
            grpc: if parts.method.is_safe() { None } else { Dialect::of(&parts.headers) },
            uri,
            trace: Some(trace),
            is_http1: parts.version != Version::HTTP_2,
            is_on_connection: true,
            route: None,
            permit: None,
            attempts: 0,
            told: Told::default(),
            other: None,
            problem: None,
            operation: None,
            replayed: false,
            standing: None,
            write_ended: None,
            bytes_in: 0,
            status: None,
            code: None,
            awaits_code: false,
            head_after: None,
            bytes: 0,
        }
    }

    pub(crate) fn trace(&mut self) -> &mut RequestTrace {
        self.trace.as_mut().expect("the trace is taken only when the exchange ends")
    }

    /// What became of the attempts on `route`, which is the request's own or that of its fallback.
    pub(crate) fn tell_attempts(&mut self, tally: Tally, route: &Arc<Route>) {
        self.attempts = tally.attempts;
        self.tell_last(tally, route);
    }

    /// What became of the last attempt of those that are told.
    pub(crate) fn tell_last(&mut self, tally: Tally, route: &Arc<Route>) {
        (self.told.endpoint, self.told.error) = (tally.endpoint, tally.error);
        if self.route.as_ref().is_some_and(|own| !Arc::ptr_eq(own, route)) {
            self.other = Some(route.clone());
        }
    }

    /// What the cache did, or that nobody asked it.
    pub(crate) fn tell_cache(&mut self, how: &'static str) {
        self.told.cache = Some(how);
        if let Some(route) = &self.route {
            route.metrics.cache(how);
        }
    }

    /// Why the answer is a fallback.
    pub(crate) fn tell_fallback(&mut self, reason: &'static str) {
        self.told.fallback = Some(reason);
        if let Some(route) = &self.route {
            route.metrics.fallback(reason);
        }
    }

    /// Whether anybody reads what is told; for what costs more than a few words.
    pub(crate) fn is_told(&self) -> bool {
        self.uri.is_some()
    }

    /// The request takes this route.
    pub(crate) fn take_route(&mut self, route: Arc<Route>) {
        let method = self.method.clone();
        let params = &route.params;
        self.trace().route(&method, &params.matches.path.text, &params.name, &params.policy.name);
        route.metrics.begin();
        self.session.connection.set_idle(params.policy.timeout.idle);
        self.route = Some(route);
    }

    /// An answer that is at hand whole.
    pub(crate) fn answer(mut self, mut response: Response<ProxyBody>) -> Response<ProxyBody> {
        self.begin_answer(&mut response);
        self.bytes = response.body().size_hint().exact().unwrap_or_default();
        self.end(Ended::Complete);
        response
    }

    /// An answer whose body still arrives; the exchange ends with it.
    pub(crate) fn stream<B>(mut self, mut response: Response<B>, held: Option<InFlight>) -> Response<ProxyBody>
    where
        B: Body<Data = Bytes, Error = BoxError> + Send + Unpin + 'static,
    {
        self.begin_answer(&mut response);
        response.map(|body| {
            if body.is_end_stream() {
                self.end(Ended::Complete);
                return ProxyBody::Empty;
            }
            // HTTP/2 leaves a body alone whose client takes nothing; on HTTP/1 the socket says so.
            let http2 = (!self.is_http1).then(|| self.session.connection.clone());
            let idle = self.route.as_ref().map(|route| route.params.policy.timeout.idle);
            let tail = Box::pin(Tail { body, exchange: self, _held: held });
            match http2.zip(idle) {
                Some((connection, idle)) => ProxyBody::stream(connection.watch_answer(tail, idle)),
                None => ProxyBody::Stream(tail),
            }
        })
    }

    /// Says how a keyed write stands, and notes what the answer says by itself.
    fn begin_answer<B>(&mut self, response: &mut Response<B>) {
        if let Some(standing) = self.standing {
            respond::stand(response.headers_mut(), standing);
        }
        self.status = Some(response.status());
        if self.tells_code(response) {
            self.code = Code::in_fields(response.headers());
            self.awaits_code = self.code.is_none();
        }
    }

    /// Whether an answer tells its outcome by a code of gRPC, in its head or in its trailers.
    fn tells_code<B>(&self, response: &Response<B>) -> bool {
        self.grpc.is_some() && response.status().is_success() && tells_in_fields(response.headers())
    }

    /// Tells an adaptive concurrency limit how the upstream is doing, or keeps what it needs for that until the code comes. An
    /// answered request keeps its place to the end of the body.
    pub(crate) fn teach_limit<B>(&mut self, outcome: Result<&Response<B>, &Failure>) {
        match outcome {
            Ok(response) => {
                let Some(permit) = &self.permit else { return };
                // Not the time in a queue: that is ours, and the longer it is the less may be concluded from it.
                let latency = permit.acquired().elapsed();
                let code = self.tells_code(response).then(|| Code::in_fields(response.headers()));
                match code {
                    None => self.teach(response.status(), latency),
                    Some(Some(code)) => self.teach(code.twin(), latency),
                    Some(None) => self.head_after = Some(latency),
                }
            }
            Err(Failure::Attempt(error)) if matches!(error.cause, Cause::RequestBody | Cause::Drain) => {}
            Err(Failure::Attempt(_) | Failure::OutcomeUnknown { .. }) => {
                if let Some(permit) = self.permit.take() {
                    permit.dropped_by_upstream();
                }
            }
            // Nor is any of these the upstream's doing.
            Err(_) => {}
        }
    }

    /// What all requests of the client's connection share.
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Whether this process is about to end.
    pub(crate) fn is_draining(&self) -> bool {
        self.session.is_draining()
    }

    fn teach(&mut self, status: StatusCode, latency: Duration) {
        let Some(permit) = &mut self.permit else { return };
        match status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => permit.observe_drop(),
            _ if status.is_server_error() => permit.observe_error(latency),
            _ => permit.observe_latency(latency),
        }
    }

    /// The trailers, or the end without any, tell the code; clients read a missing one as UNKNOWN.
    fn hear_code(&mut self, code: Option<Code>) {
        self.awaits_code = false;
        let code = code.unwrap_or(Code::Unknown);
        self.code = Some(code);
        if let Some(latency) = self.head_after.take() {
            self.teach(code.twin(), latency);
        }
    }

    /// The connection changes protocol and carries no further request: what was the request's is now the tunnel's.
    pub(crate) fn switch(&mut self) -> (Option<Permit>, Arc<Connection>) {
        self.is_on_connection = false;
        (self.permit.take(), self.session.connection.clone())
    }

    /// Where the last attempt went.
    fn endpoint(&self) -> Option<Cow<'_, str>> {
        let route = self.other.as_ref().or(self.route.as_ref())?;
        Some(route.upstream.address(self.told.endpoint?))
    }

    /// What is known of the write, if this is a keyed one.
    fn outcome(&self) -> Option<WriteOutcome> {
        let ended = self.write_ended.as_ref().and_then(|ended| ended.get()).copied();
        ended.or(self.standing).map(|standing| standing.outcome)
    }

    fn end(&mut self, how: Ended) {
        let Some(mut trace) = self.trace.take() else { return };
        if self.awaits_code && how != Ended::Cancelled {
            self.hear_code(None);
        }
        if self.is_on_connection && self.is_http1 {
            self.session.connection.end();
        } else if self.is_on_connection {
            self.session.connection.stream_ended();
        }
        self.permit = None;
        if self.session.client.direction == Direction::Outbound {
            self.session.runtime.calls_out.end();
        }
        let now = Instant::now();
        let status = self.status.filter(|_| how != Ended::Cancelled);
        let took = now.saturating_duration_since(self.started);
        self.count(status, took, &trace);
        if let Some(status) = status {
            trace.status(status);
        }
        if let Some(code) = self.code {
            trace.code(code);
        }
        if let Some((id, state)) = self.operation {
            trace.operation(id, state);
        }
        if how == Ended::Truncated {
            trace.error("truncated");
        } else if let Some(problem) = self.problem {
            trace.error(problem.slug());
        }
        if let Some(uri) = self.uri.as_ref().filter(|_| self.session.runtime.access.enabled()) {
            self.log(uri, how, (status, took), trace.trace_id());
        }
        if how == Ended::Cancelled {
            // Dropped without `finish`: the span says that the client left.
            drop(trace);
        } else {
            trace.finish(now);
        }
    }

    /// Counts it where it belongs.
    fn count(&self, status: Option<StatusCode>, took: Duration, trace: &RequestTrace) {
        let runtime = &self.session.runtime;
        if let Some(route) = &self.route {
            // As if it were the code's twin.
            route.metrics.end(status.map(|status| self.code.map_or(status, Code::twin)), took);
            // Sampled, and whole: its trace can be looked at.
            if status.is_some() && trace.is_recorded() {
                let now = runtime.resources.clock.now();
                route.metrics.exemplar(took, trace.trace_id().to_string(), now);
            }
        }
        match (&self.route, self.problem) {
            (Some(route), Some(problem)) => route.metrics.problem(problem),
            (None, Some(problem)) => {
                runtime.resources.metrics.listener(&self.session.accepted_by.0).unrouted(problem);
            }
            (_, None) => {}
        }
    }

    /// Its line in the access log.
    fn log(&self, uri: &Uri, how: Ended, (status, took): (Option<StatusCode>, Duration), trace_id: TraceId) {
        let session = &*self.session;
        session.runtime.access.record(&AccessEntry {
            listener: &session.accepted_by.0,
            direction: session.client.direction.word(),
            client: Some(self.client),
            method: &self.method,
            // The target of a tunnel has no path.
            path: if uri.path().is_empty() { uri.authority().map_or("", Authority::as_str) } else { uri.path() },
            route: self.route.as_ref().map(|route| &*route.params.name),
            upstream: self.route.as_ref().map(|route| &*route.params.upstream.name),
            status,
            duration: took,
            attempts: self.attempts,
            endpoint: self.endpoint().as_deref(),
            error: self.told.error,
            cache: self.told.cache,
            fallback: self.told.fallback,
            waited: self.told.waited,
            principal: self.told.principal,
            key: self.told.key,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes,
            trace_id,
            outcome: self.in_a_word(how),
            operation: self.operation,
        });
    }

    /// How it went, for the access log.
    fn in_a_word(&self, how: Ended) -> &'static str {
        match (how, self.problem) {
            // Whoever has no answer, or not all of it, when the time of the drain is over.
            (Ended::Cancelled | Ended::Truncated, _)
            | (Ended::Complete, Some(Problem::Draining | Problem::OutcomeUnknown | Problem::Timeout))
                if self.session.runtime.is_cutting_off() =>
            {
                "cut_off"
            }
            (Ended::Cancelled, _) => "client_disconnected",
            (Ended::Truncated, _) => "truncated",
            (Ended::Complete, Some(problem)) => problem.slug(),
            (Ended::Complete, None) => match self.outcome() {
                // Whatever was answered: nobody knows, so it is not well.
                Some(outcome @ WriteOutcome::Unknown) => outcome.label(),
                _ if self.replayed => "replayed",
                Some(outcome) => outcome.label(),
                None => "ok",
            },
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.end(Ended::Cancelled);
    }
}

/// The rest of an answer, with what must last as long.
struct Tail<B> {
    body: B,
    exchange: Exchange,
    _held: Option<InFlight>,
}

impl<B> Body for Tail<B>
where
    B: Body<Data = Bytes, Error = BoxError> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                this.exchange.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                if let Some(trailers) = frame.trailers_ref().filter(|_| this.exchange.awaits_code) {
                    this.exchange.hear_code(Code::in_fields(trailers));
                }
                if this.body.is_end_stream() {
                    this.exchange.end(Ended::Complete);
                }
            }
            Poll::Ready(Some(Err(_))) => this.exchange.end(Ended::Truncated),
            Poll::Ready(None) => this.exchange.end(Ended::Complete),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
