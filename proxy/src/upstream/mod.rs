//! The service behind: its endpoints, the connections to them, and what each attempt is known to have done.
//!
//! HTTP/1.1 is our own from the socket up (`exchange`): no task and no channel stands between a request and its connection,
//! and the bytes that the kernel took are counted where they are written. HTTP/2 (`http2`) shares its connections
//! (`multiplexed`), whose frames are read along (`frames`) for what they prove.

mod added;
mod body;
mod connect;
mod edits;
mod endpoints;
mod handshake;
pub(crate) mod head;
mod health;
mod http1;
mod http2;
mod informed;
mod names;
mod pool;
mod progress;
mod reach;
mod slots;
mod upload;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use http::{
    Response,
    header::UPGRADE,
    uri::{Authority, Scheme},
};
use mainstay_policies::{balance::Affinity, evidence::AttemptError};
use tokio::{net::TcpStream, time::Instant};

pub(crate) use self::reach::Reached;
use self::{
    connect::Target,
    edits::Edits,
    endpoints::{At, Endpoints, Mould},
    handshake::Spoken,
    head::RequestHead,
};
use crate::{
    config::model::{self, Protocol},
    telemetry::metrics::{
        endpoint::{LastError, Wrong},
        recent::Counts,
    },
    wire::{body::ProxyBody, field_source::SetFields, http1::HeadLimits, tls::Connector},
};

pub use self::added::Added;
pub use self::body::UpstreamBody;
pub(crate) use self::body::{BodyEnd, HearsEnd};
pub use self::informed::Informed;
pub(crate) use self::progress::Detour;
pub use self::progress::Progress;

/// Opens a connection to an address that no upstream has, for a tunnel.
///
/// # Errors
/// There is none within that time; nothing was sent.
pub(crate) async fn dial(authority: Authority, within: Duration) -> Result<TcpStream, AttemptError> {
    connect::tcp(&Target::new(authority, &model::Resolve::default()), Instant::now() + within).await
}

/// The addresses of an endpoint, asked for as requests would have it, and whether they are asked for again as time goes on.
///
/// # Errors
/// Why nobody says.
pub(crate) async fn resolve(
    endpoint: &model::Endpoint,
    resolve: &model::Resolve,
) -> Result<(Vec<SocketAddr>, bool), String> {
    let target = Target::of(endpoint, resolve);
    Ok((target.addresses().await?, target.is_resolved()))
}

/// The running form of an upstream. Unchanged upstreams survive a reload with their connections.
pub struct Upstream {
    params: Arc<model::Upstream>,
    head_limits: HeadLimits,
    endpoints: Arc<Endpoints>,
    speech: Speech,
    /// What is changed of every head, if anything is.
    edits: Option<Arc<Edits>>,
}

/// What was read of files for an upstream.
#[derive(Clone, Copy, Default)]
pub struct FromFiles<'a> {
    /// What its endpoints are reached over, if its parameters say so.
    pub tls: Option<&'a Arc<Connector>>,
    /// The fields that are set in what goes to it.
    pub set: Option<&'a Arc<SetFields>>,
}

/// Which HTTP is spoken to an upstream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speech {
    Http1,
    Http2,
    /// What each endpoint chooses in its handshake.
    Chosen,
}

/// A request in flight to an endpoint; ends when dropped.
pub struct InFlight {
    upstream: Arc<Upstream>,
    endpoint: usize,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.upstream.endpoints.outstanding(self.endpoint).fetch_sub(1, Ordering::Relaxed);
    }
}

impl Upstream {
    /// An upstream with no connection yet, for `workers` threads. `head_limits` bound the heads of its answers.
    /// `read` is what its parameters name of files, and `former` the upstream that it follows: endpoints which that one had are warm.
    pub fn new(
        params: Arc<model::Upstream>,
        FromFiles { tls, set }: FromFiles<'_>,
        head_limits: HeadLimits,
        workers: usize,
        former: Option<&Self>,
    ) -> Self {
        let mould = Mould { params: params.clone(), tls: tls.cloned(), head_limits, workers };
        let endpoints = Endpoints::new(mould, former.map(|former| &*former.endpoints));
        let speech = match params.protocol {
            Protocol::Http2 => Speech::Http2,
            Protocol::Auto if params.tls.is_some() => Speech::Chosen,
            Protocol::Auto | Protocol::Http1 => Speech::Http1,
        };
        let edits = Edits::of(&params, set);
        Self { params, head_limits, endpoints, speech, edits }
    }

    /// What is sent over connections that are opened from now on arrives within `bound`, or never.
    pub(crate) fn bound_delivery(&self, bound: Option<Duration>) {
        self.endpoints.all().for_each(|endpoint| endpoint.target.bound_delivery(bound));
    }

    /// Its parameters.
    pub fn params(&self) -> &Arc<model::Upstream> {
        &self.params
    }

    /// Bounds on the heads of its answers.
    pub fn head_limits(&self) -> HeadLimits {
        self.head_limits
    }

    /// How many endpoints are in use.
    pub fn endpoint_count(&self) -> usize {
        self.endpoints.count()
    }

    /// The numbers of those in use. An endpoint keeps its number; each address of a name is one.
    pub fn live(&self) -> Vec<usize> {
        self.endpoints.live()
    }

    /// One more than the highest number that an endpoint can have.
    pub(crate) fn numbers(&self) -> usize {
        self.endpoints.numbers()
    }

    /// Changes when another address is given the number; 0 for what the configuration names.
    pub(crate) fn occupant(&self, endpoint: usize) -> u32 {
        self.endpoints.occupant(endpoint)
    }

    /// The name or address that the configuration gives an endpoint, for `Host` and spans.
    pub fn authority(&self, endpoint: usize) -> &Authority {
        self.endpoints.authority(endpoint)
    }

    /// The same as the configuration has it.
    pub(crate) fn configured(&self, endpoint: usize) -> &model::Endpoint {
        self.endpoints.configured(endpoint)
    }

    /// Where an endpoint is: of a name, at which address.
    pub fn address(&self, endpoint: usize) -> Cow<'_, str> {
        self.endpoints.address(endpoint)
    }

    /// Whether HTTP/2 is spoken to it, and nothing else.
    pub fn speaks_http2(&self) -> bool {
        self.speech == Speech::Http2
    }

    /// Whether it is reached over TLS.
    pub fn is_secure(&self) -> bool {
        self.params.tls.is_some()
    }

    /// An endpoint for a request. A retry avoids the one that it comes from; what belongs together goes to the same one, where the
    /// upstream is balanced so.
    pub fn pick(&self, avoid: Option<usize>, affinity: Option<Affinity>) -> usize {
        self.endpoints.pick(avoid, affinity)
    }

    /// The same, if there is one that has not `refused` the request.
    pub fn pick_beside(&self, refused: &[usize], avoid: Option<usize>, affinity: Option<Affinity>) -> Option<usize> {
        self.endpoints.pick_beside(refused, avoid, affinity)
    }

    /// Requests in flight to an endpoint, all workers together.
    pub fn in_flight(&self, endpoint: usize) -> usize {
        self.endpoints.outstanding(endpoint).load(Ordering::Relaxed)
    }

    /// Counts a request in flight to `endpoint` until the guard is dropped.
    pub fn enter(self: &Arc<Self>, endpoint: usize) -> InFlight {
        self.endpoints.outstanding(endpoint).fetch_add(1, Ordering::Relaxed);
        InFlight { upstream: self.clone(), endpoint }
    }

    /// Sends one request from `worker` to `endpoint`, or to another address of the same name where that one cannot be connected to,
    /// which `progress` then tells.
    ///
    /// # Errors
    /// Why there is no response, and whether the application may have seen the request. `progress` tells the same for an
    /// attempt that is dropped before it ends, and `informed` hears what comes before the response.
    pub async fn send(
        &self,
        worker: usize,
        endpoint: usize,
        (head, body): (RequestHead<'_>, ProxyBody),
        progress: &Progress,
        informed: Informed<'_>,
    ) -> Result<Response<UpstreamBody>, AttemptError> {
        // Boxed, so that every request does not carry its room.
        let edited = self.edits.as_deref().map(|edits| Box::new(edits.apply(head)));
        let head = match &edited {
            Some(headers) => RequestHead { headers, added: None, ..head },
            None => head,
        };
        let body = match &self.edits {
            Some(edits) => edits.apply_to_body(body),
            None => body,
        };
        let mut here = self.endpoints.at(endpoint);
        if let At::Address(there) = &here {
            let wanted = self.wanted(head);
            if !there.pools[worker].is_warm(wanted) {
                // Boxed, so that a request on a warm connection does not carry the room for it.
                let reached = Box::pin(self.endpoints.connect((worker, wanted), endpoint, progress)).await?;
                if reached != endpoint {
                    progress.lead_to(reached);
                    here = self.endpoints.at(reached);
                }
            }
        }
        let head = RequestHead { host: here.host.as_ref(), ..head };
        let pool = &here.pools[worker];
        let spoken = match self.speech {
            Speech::Http1 => Spoken::Http1,
            Speech::Http2 => Spoken::Http2,
            // What comes then is no HTTP, and no stream carries it.
            Speech::Chosen if head.headers.contains_key(UPGRADE) => Spoken::Http1,
            Speech::Chosen => Box::pin(pool.choice()).await.inspect_err(|error| here.reach.fail(error))?,
        };
        let answered = if spoken == Spoken::Http2 {
            let scheme = if self.is_secure() { Scheme::HTTPS } else { Scheme::HTTP };
            let head = (head, self.authority(endpoint), scheme);
            Box::pin(http2::send(pool, head, body, progress, informed))
                .await
                .map(|response| response.map(UpstreamBody::from))
        } else {
            pin!(http1::send(pool, head, body, progress, informed))
                .await
                .map(|response| response.map(UpstreamBody::from))
        };
        here.reach.note(&answered);
        answered
    }

    /// What a connection for this request must speak; `None`: what the endpoint chooses.
    fn wanted(&self, head: RequestHead<'_>) -> Option<Spoken> {
        match self.speech {
            Speech::Http2 => Some(Spoken::Http2),
            Speech::Chosen if !head.headers.contains_key(UPGRADE) => None,
            Speech::Http1 | Speech::Chosen => Some(Spoken::Http1),
        }
    }

    /// Attempts that found no connection, of all endpoints together, by cause.
    pub(crate) fn connect_errors(&self) -> BTreeMap<&'static str, u64> {
        self.endpoints.connect_errors()
    }

    /// Answers about the names of its endpoints, and answers that were none; nothing where no endpoint has a name.
    pub(crate) fn resolutions(&self) -> Option<[u64; 2]> {
        let each = self.endpoints.all().filter_map(|endpoint| endpoint.target.resolutions());
        each.reduce(|[good, bad], [more_good, more_bad]| [good + more_good, bad + more_bad])
    }

    /// Connections of all endpoints and workers together: in use, and idle.
    pub(crate) fn connections(&self) -> [usize; 2] {
        self.endpoints.all().fold([0, 0], |[in_use, idle], endpoint| {
            let more_idle: usize = endpoint.pools.iter().map(|pool| pool.idle()).sum();
            let open = endpoint.slots.most().saturating_sub(endpoint.slots.left());
            [in_use + open.saturating_sub(more_idle), idle + more_idle]
        })
    }

    /// Whether an endpoint can be connected to.
    pub(crate) fn reached(&self, endpoint: usize) -> Reached {
        let endpoint = self.endpoints.at(endpoint);
        endpoint.reach.look(endpoint.target.authority.host())
    }

    /// An attempt at an endpoint ended well, or `wrong`, after so long.
    pub(crate) fn ended(&self, endpoint: usize, took: Duration, wrong: Option<Wrong>, now: Instant) {
        self.endpoints.at(endpoint).metrics.ended(took, wrong, now);
    }

    /// What the last minute of an endpoint was like, as far as that is known.
    pub(crate) fn last_minute(&self, endpoint: usize) -> Option<Counts> {
        self.endpoints.at(endpoint).metrics.last_minute()
    }

    /// The last attempt at an endpoint that went wrong.
    pub(crate) fn last_error(&self, endpoint: usize) -> Option<LastError> {
        self.endpoints.at(endpoint).metrics.last_error()
    }

    /// Looks at what is counted of the endpoints, at that place of a minute, and remembers up to `room` of them; how many it does.
    pub(crate) fn look(&self, slot: usize, room: usize) -> usize {
        let mut kept = 0;
        for endpoint in self.live() {
            kept += usize::from(self.endpoints.at(endpoint).metrics.look(slot, kept < room));
        }
        kept
    }

    /// Why an endpoint is not well, by its own word when it was asked; `None`: it is, or nobody asks.
    pub(crate) fn unwell(&self, endpoint: usize) -> Option<String> {
        self.endpoints.at(endpoint).checked.why()
    }

    /// Asks those endpoints whether they can serve whose time it is, in the background.
    pub(crate) fn check_health(&self, now: Instant) {
        if self.params.health.is_some() {
            self.endpoints.check_health(self.speech, now);
        }
    }

    /// Closes connections of `worker` that have been idle for too long.
    pub fn sweep(&self, worker: usize, now: Instant) {
        self.endpoints.sweep(worker, now);
    }
}
