//! The order of the layers, and why each stands where it stands.
//!
//! ```text
//! principal, route         who and where, before any rule can be chosen
//! access                   first of all: who may not send uses up nothing
//! rate limit               next: a flood must cost as little as possible
//! concurrency limit        before the ledger, so that a flood cannot fill it
//! idempotency              before time and retries: one operation, however many attempts, and its replay needs no upstream
//! total timeout            bounds everything below, waits between attempts included
//! retry                    decides on what an attempt proved
//! circuit breaker          sees attempts, not requests; its permit is taken last, so nothing can strand a probe
//! attempt timeout, endpoint, connection
//! ```

use std::{borrow::Cow, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Response, Uri, Version,
    header::{CONNECTION, HOST, USER_AGENT},
    request::Parts,
};
use http_body::Body as _;
use mainstay_policies::{
    access::{AccessList, ClientAddress},
    cache::Store,
    evidence::Sent,
    idempotency::{self, Protection, Recognised},
    problem::Problem,
    rate_limit::{Admission, Key, Usage},
    timeout::deadline_from_headers,
};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::{cached, exchange::Exchange, fallback, keyed, unambiguous, unkeyed};
use crate::{
    app::Shared,
    attempts::attempt::{Head, Outbound},
    config::model::{self, Principal},
    control::{self, ControlContext},
    listener::{Beside, ClientIncoming, ClientRequest, Connection, Serve, body::ClientBody},
    operation::asker::DataPlaneAsker,
    respond::{self, Failure, Voice},
    router::{self, Target},
    runtime::snapshot::{Route, Snapshot},
    telemetry::trace::RequestInfo,
    wire::{
        body::{
            ProxyBody,
            collect::{self, Collected},
        },
        forward::{self, Client, Hop},
    },
};

/// Bytes of a request to the control path; the largest is a batch of 100 keys of 255 bytes.
const CONTROL_BODY_BYTES: usize = 64 * 1024;
/// How long such a request may take to arrive.
const CONTROL_PATIENCE: Duration = Duration::from_secs(10);

const FORBIDDEN: Failure =
    Failure::Request(Problem::Forbidden, Cow::Borrowed("An access list of this proxy does not admit this request."));

/// What all requests of one client connection share.
pub(crate) struct Session {
    pub(crate) shared: Arc<Shared>,
    pub(crate) worker: usize,
    pub(crate) listener: Arc<arc_swap::ArcSwap<model::Listener>>,
    /// What it was called when the connection was accepted, and its address.
    pub(crate) accepted_by: (Arc<str>, SocketAddr),
    pub(crate) client: Client,
    pub(crate) peer: SocketAddr,
    pub(crate) connection: Arc<Connection>,
}

/// A request that has been given a route, on its way through the rest of the stack.
pub(crate) struct Routed {
    pub(crate) exchange: Exchange,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) listener: Arc<model::Listener>,
    pub(crate) outbound: Outbound,
    pub(crate) parts: Box<Parts>,
    /// `None` once it has been read.
    pub(crate) body: Option<ClientIncoming>,
    /// What was read of it, where it is to be forwarded all the same.
    pub(crate) read: Bytes,
    /// What the connection can do besides carrying the answer.
    pub(crate) beside: Beside,
    pub(crate) principal: Option<Bytes>,
}

/// A keyed write.
struct Keyed {
    protection: Arc<Protection>,
    /// `None`: it is made when the body is there.
    key: Option<idempotency::Key>,
}

/// What a request turned out to be.
enum Found {
    Route(Box<Routed>),
    Control(Box<Asked>),
    Refused(Response<ProxyBody>),
}

/// A request to Mainstay itself.
struct Asked {
    exchange: Exchange,
    snapshot: Arc<Snapshot>,
    listener: Arc<model::Listener>,
    parts: Box<Parts>,
    body: ClientIncoming,
    principal: Option<Bytes>,
}

impl Serve for Session {
    /// The whole stack, from the outside in.
    async fn serve(self: &Arc<Self>, request: ClientRequest, beside: Beside) -> Response<ProxyBody> {
        let is_http1 = request.parts.version != Version::HTTP_2;
        let mut response = match self.find_route(request, beside) {
            Found::Refused(response) => response,
            Found::Control(request) => Box::pin(self.control(*request)).await,
            Found::Route(mut routed) => {
                let mut usage = None;
                let admitted = { pin!(self.admit(&mut routed, &mut usage)).await };
                let mut response = match admitted {
                    Err(failure) if routed.outbound.route.params.policy.fallback.is_some() => {
                        Box::pin(fallback::refused(self, routed, failure)).await
                    }
                    Err(failure) => routed.refuse(failure),
                    Ok(()) => match recognise(&mut routed) {
                        Err(failure) => routed.refuse(failure),
                        Ok(None) => match cache(&routed) {
                            Some(store) => Box::pin(cached::serve(self, routed, store)).await,
                            // Pinned where it is made: to await it as it is would move it first, which is most of a kilobyte.
                            None => pin!(unkeyed::serve(self, routed)).await,
                        },
                        // Boxed, as all that is rare, so that every request does not carry its room.
                        Ok(Some(Keyed { protection, key })) => {
                            Box::pin(keyed::serve(self, routed, protection, key)).await
                        }
                    },
                };
                if let Some(usage) = &usage {
                    respond::rate_limit_headers(response.headers_mut(), usage);
                }
                response
            }
        };
        // A connection that changes protocol says so, and carries no further request anyway.
        let switches = response.status() == http::StatusCode::SWITCHING_PROTOCOLS;
        if is_http1 && !switches && self.shared.is_draining() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl Session {
    /// Begins the exchange: connection phase, trace, access log.
    fn begin(self: &Arc<Self>, parts: &Parts, body: &ClientIncoming, listener: &model::Listener) -> Exchange {
        let now = Instant::now();
        let is_http1 = parts.version != Version::HTTP_2;
        if is_http1 {
            self.connection.begin(!body.is_end_stream());
        } else {
            self.connection.stream_begun();
        }
        let mut trace = self.shared.tracing.start(&parts.headers, now);
        if trace.is_recorded() {
            trace.describe(&RequestInfo {
                method: &parts.method,
                path: parts.uri.path(),
                scheme: "http",
                host: Some(host(&parts.uri, &parts.headers)),
                port: port(&parts.uri, &parts.headers),
                client: Some(self.peer),
                user_agent: parts.headers.get(USER_AGENT).and_then(|name| name.to_str().ok()),
                version: parts.version,
                listener: &listener.name,
            });
        }
        let mut exchange = Exchange::new(self.clone(), now, parts, trace);
        exchange.bytes_in = body.size_hint().exact().unwrap_or_default();
        exchange
    }

    /// The listener's parameters in the configuration that the request keeps; its last ones if it is not in there any more.
    fn listener_in(&self, snapshot: &Snapshot) -> Arc<model::Listener> {
        let listeners = &snapshot.config.listeners;
        // No reload has renamed it in most cases.
        let (name, address) = &self.accepted_by;
        if let Some(same) = listeners.iter().find(|listener| listener.name == *name && listener.address == *address) {
            return same.clone();
        }
        let last = self.listener.load();
        listeners.iter().find(|listener| listener.name == last.name).unwrap_or(&last).clone()
    }

    /// Who is calling, and where it leads.
    fn find_route(self: &Arc<Self>, request: ClientRequest, mut beside: Beside) -> Found {
        let ClientRequest { parts, body } = request;
        let snapshot = self.shared.snapshot.load_full();
        let listener = self.listener_in(&snapshot);
        let mut exchange = self.begin(&parts, &body, &listener);
        if let Err(failure) = unambiguous::check(&parts, &listener, snapshot.config.limits.header_count.get()) {
            return Found::Refused(refuse(exchange, &snapshot, failure));
        }
        if let Some(access) = &listener.access
            && !self.may_pass(access, &parts)
        {
            return Found::Refused(refuse(exchange, &snapshot, FORBIDDEN));
        }
        let principal = principal(&listener, &parts.headers);
        if is_control(&snapshot, parts.uri.path()) {
            return Found::Control(Box::new(Asked { exchange, snapshot, listener, parts, body, principal }));
        }
        let target = Target {
            method: &parts.method,
            host: if snapshot.router.asks_for_host() { host(&parts.uri, &parts.headers) } else { "" },
            path: parts.uri.path(),
            headers: &parts.headers,
        };
        let Some((route, _)) = snapshot.router.find(target) else {
            let detail = Cow::Borrowed("No route of this proxy matches the method, host, path and headers.");
            return Found::Refused(refuse(exchange, &snapshot, Failure::Request(Problem::NoRoute, detail)));
        };
        let route = route.clone();
        exchange.take_route(route.clone());
        let outbound = Outbound {
            deadline: deadline(&exchange, &route, &listener, &parts.headers),
            trace: exchange.trace().handle().clone(),
            worker: self.worker,
            interim: beside.interim.take(),
            route,
        };
        let (body, read) = (Some(body), Bytes::new());
        Found::Route(Box::new(Routed { exchange, snapshot, listener, outbound, parts, body, read, beside, principal }))
    }

    /// What Mainstay itself serves on this listener: operations, problem pages, keys. Bounded apart from traffic.
    async fn control(&self, request: Asked) -> Response<ProxyBody> {
        let Asked { mut exchange, snapshot, listener, mut parts, body, principal } = request;
        if let Some(limiter) = snapshot.control_limits.get(&listener.name)
            && let Admission::Rejected { retry_after, .. } = limiter.admit(&[], exchange.started)
        {
            return refuse(exchange, &snapshot, Failure::RateLimited { retry_after });
        }
        let body = ClientBody::new(body, CONTROL_PATIENCE, self.connection.clone(), None);
        let body = match timeout(CONTROL_PATIENCE, collect::up_to(body, CONTROL_BODY_BYTES)).await {
            Ok(Ok(Collected::Whole { body, .. })) => body,
            Ok(Ok(Collected::TooLarge { .. })) => {
                let detail = format!("A body here may have at most {CONTROL_BODY_BYTES} bytes.");
                return refuse(exchange, &snapshot, Failure::Request(Problem::BodyTooLarge, Cow::Owned(detail)));
            }
            Ok(Err(_)) | Err(_) => {
                let detail = Cow::Borrowed("The request's body broke off or stalled before it was complete.");
                return refuse(exchange, &snapshot, Failure::Request(Problem::BadRequest, detail));
            }
        };
        let asker = DataPlaneAsker::new(self.shared.clone(), snapshot.clone(), self.worker);
        let context = ControlContext {
            ledger: self.shared.parts.ledger.clone(),
            config: snapshot.config.clone(),
            clock: self.shared.parts.clock.clone(),
            gate: self.shared.parts.gate.clone(),
            mint: self.shared.parts.mint.clone(),
            asker: Some(Arc::new(asker)),
        };
        parts.extensions.insert(control::TraceId(exchange.trace().trace_id().to_string().into()));
        parts.extensions.insert(ClientAddress(self.peer.ip()));
        let response = control::handle(&context, &parts, body, principal.as_deref()).await;
        exchange.answer(response.map(ProxyBody::from))
    }

    /// Whether an access list lets the request pass. The client is the peer: a header says what its sender likes.
    fn may_pass(&self, access: &AccessList, parts: &Parts) -> bool {
        access.admits(self.peer.ip(), &parts.method, parts.uri.path())
    }

    /// Access, rate limit, then concurrency limit. `shown` is set where the limit's headers are wanted.
    async fn admit(&self, routed: &mut Routed, shown: &mut Option<Usage>) -> Result<(), Failure> {
        if let Some(access) = &routed.outbound.route.params.policy.access
            && !self.may_pass(access, &routed.parts)
        {
            return Err(FORBIDDEN);
        }
        if let Some(limiter) = &routed.outbound.route.limiter {
            let params = limiter.params();
            let key: &[u8] = match &params.key {
                Key::Route => &[],
                Key::Principal => routed.principal.as_deref().unwrap_or_default(),
                Key::ClientIp => self.client.address.as_bytes(),
                Key::Header(name) => routed.parts.headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default(),
            };
            let admission = limiter.admit(key, routed.exchange.started);
            let (Admission::Admitted(usage) | Admission::Wait(_, usage) | Admission::Rejected { usage, .. }) =
                &admission;
            *shown = params.headers.then_some(*usage);
            match admission {
                Admission::Admitted(_) => {}
                // Dropping the slot gives it back.
                Admission::Wait(slot, _) if slot.until() > routed.outbound.deadline => {
                    return Err(Failure::NoTime(Sent::No));
                }
                Admission::Wait(slot, _) => {
                    self.unless_cut_off(sleep_until(slot.until())).await?;
                    slot.taken();
                }
                Admission::Rejected { retry_after, .. } => {
                    routed.outbound.route.metrics.rate_limited();
                    routed.exchange.trace().event("rate_limited", Instant::now());
                    return Err(Failure::RateLimited { retry_after });
                }
            }
        }
        if let Some(limit) = routed.outbound.route.concurrency.clone() {
            // The queue has its own bound; the request's time ends the waiting, too.
            let acquired = self.unless_cut_off(timeout_at(routed.outbound.deadline, limit.acquire())).await?;
            let Ok(acquired) = acquired else {
                return Err(Failure::NoTime(Sent::No));
            };
            routed.exchange.permit = Some(acquired.map_err(|overloaded| {
                routed.outbound.route.metrics.overloaded(overloaded.by);
                routed.exchange.trace().event("overloaded", Instant::now());
                Failure::Overloaded(overloaded)
            })?);
        }
        Ok(())
    }

    /// Waits for a request's turn, but not past the end of a drain: nothing of it was sent, so another instance may have it.
    async fn unless_cut_off<T>(&self, turn: impl Future<Output = T>) -> Result<T, Failure> {
        let _queued = self.connection.queued();
        tokio::select! {
            biased;
            turn = turn => Ok(turn),
            () = self.shared.cut_off() => Err(Failure::Draining),
        }
    }

    /// The request's head as the upstream shall see it.
    pub(crate) fn head(&self, routed: &mut Routed, upgrade: Option<HeaderValue>) -> Head {
        let Routed { parts, listener, .. } = routed;
        let mut headers = std::mem::take(&mut parts.headers);
        let identifies = match &listener.principal {
            Principal::Header(name) => Some(name),
            Principal::Anonymous => None,
        };
        forward::request(&mut headers, parts.version, parts.uri.authority(), identifies);
        let hop = Some(Hop::new(&self.client, parts.version));
        Head { method: parts.method.clone(), uri: parts.uri.clone(), headers, hop, upgrade }
    }
}

/// Idempotency: whether this is a keyed write, and its key if that is known before its body is read.
fn recognise(routed: &mut Routed) -> Result<Option<Keyed>, Failure> {
    let Some(protection) = routed.outbound.route.protection.clone() else { return Ok(None) };
    let params = if protection.needs_path() {
        router::params(&routed.outbound.route.params.matches.path, routed.parts.uri.path())
    } else {
        Vec::new()
    };
    let path_params: Vec<_> = params.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let principal = routed.principal.as_deref();
    match protection.recognise(&idempotency::Incoming { parts: &routed.parts, principal, path_params: &path_params }) {
        Ok(Recognised::Unprotected) => Ok(None),
        Ok(Recognised::Keyed(key)) => Ok(Some(Keyed { protection, key: Some(key) })),
        Ok(Recognised::Unnamed) => Ok(Some(Keyed { protection, key: None })),
        Err(refusal) => {
            routed.outbound.route.metrics.idempotency_refused(refusal.problem);
            Err(Failure::Refused(refusal))
        }
    }
}

/// Whether an operation holds the key of a write that was not let in. Where that cannot be told, it may.
pub(crate) async fn may_be_repeat(routed: &mut Routed) -> bool {
    match recognise(routed) {
        Ok(None) => false,
        Ok(Some(Keyed { protection, key: Some(key) })) => protection.may_hold(&key, routed.principal.as_deref()).await,
        // The key would be made of its body, which nobody reads now; or it is refused for its key.
        Ok(Some(Keyed { key: None, .. })) | Err(_) => true,
    }
}

/// The cache that the request may be answered from.
fn cache(routed: &Routed) -> Option<Arc<Store>> {
    let store = routed.outbound.route.cache.as_ref()?;
    matches!(routed.parts.method, Method::GET | Method::HEAD).then(|| store.clone())
}

impl Routed {
    pub(crate) fn refuse(mut self, failure: Failure) -> Response<ProxyBody> {
        let route = self.outbound.route.clone();
        if let Some(reason) = fallback::of_failure(&route, &self.exchange.method, &failure)
            && let Some(response) = fallback::fixed(&route, reason)
        {
            route.metrics.fallback(reason.label());
            self.exchange.trace().event("fallback", Instant::now());
            return self.exchange.answer(response);
        }
        refuse(self.exchange, &self.snapshot, failure)
    }
}

/// Answers with a problem document.
pub(crate) fn refuse(mut exchange: Exchange, snapshot: &Snapshot, failure: Failure) -> Response<ProxyBody> {
    let trace_id = exchange.trace().trace_id().to_string();
    let operation = exchange.operation.map(|(id, _)| id);
    let voice = Voice { prefix: &snapshot.config.control.path, trace_id: Some(&trace_id), operation };
    let (response, problem) = respond::failure(&voice, failure);
    exchange.problem = Some(problem);
    exchange.answer(response)
}

/// When the total time ends. A deadline that the caller sends counts only where it is trusted, and only if it is smaller.
fn deadline(exchange: &Exchange, route: &Route, listener: &model::Listener, headers: &HeaderMap) -> Instant {
    let total = route.params.policy.timeout.total;
    let given = if listener.trust_deadline { deadline_from_headers(headers) } else { None };
    exchange.started + given.map_or(total, |given| given.min(total))
}

/// Who is calling; an empty header is no principal.
fn principal(listener: &model::Listener, headers: &HeaderMap) -> Option<Bytes> {
    match &listener.principal {
        Principal::Anonymous => None,
        Principal::Header(name) => {
            headers.get(name).map(|value| Bytes::copy_from_slice(value.as_bytes())).filter(|value| !value.is_empty())
        }
    }
}

/// The host that the request is for, without its port.
fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> &'a str {
    if let Some(host) = uri.host() {
        return host;
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    }
}

/// The port that the request is for, where it says so.
fn port(uri: &Uri, headers: &HeaderMap) -> Option<u16> {
    if uri.authority().is_some() {
        return uri.port_u16();
    }
    headers.get(HOST)?.to_str().ok()?.rsplit_once(':')?.1.parse().ok()
}

/// Whether the path is under the control prefix, on a segment's boundary.
fn is_control(snapshot: &Snapshot, path: &str) -> bool {
    path.strip_prefix(&*snapshot.config.control.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
