//! The endpoints of an upstream, by number. Those of the configuration come first, in its order. Behind them are seats for the
//! addresses of names: each address is an endpoint of its own, with its own connections, load and reach. While nobody has said
//! what a name stands for, the name itself is one; its connections wait for the answer.
//!
//! A number means the same endpoint for as long as a request is in flight to it: a seat is given away only when its address has
//! left, and nothing is under way to it. Where there is no name, nothing ever changes, and nothing is looked up.

mod choice;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    ops::Deref,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use arc_swap::{ArcSwap, ArcSwapOption};
use http::{HeaderValue, uri::Authority};
use mainstay_policies::{
    balance::{Affinity, Balance},
    evidence::{AttemptError, Cause, Sent},
};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    Speech,
    connect::{TIMED_OUT, Target},
    handshake::{Handshake, Spoken},
    health::{Checked, Question},
    names::{Address, HearsAddresses, in_turn, race},
    pool::Pool,
    progress::Progress,
    reach::Reach,
    slots::Slots,
};
use crate::{
    config::model,
    telemetry::metrics::endpoint::EndpointMetrics,
    wire::{http1::HeadLimits, tls::Connector},
};

/// Seats beyond those for all addresses that a name may have: for addresses that have left while requests to them go on, and so
/// that one which comes back soon finds its own.
const MORE_SEATS: usize = 64;

/// One endpoint.
pub(super) struct Endpoint {
    pub(super) target: Arc<Target>,
    /// One pool per worker: a connection crosses threads only where there may be no other.
    pub(super) pools: Vec<Arc<Pool>>,
    /// For the connections of all of them.
    pub(super) slots: Arc<Slots>,
    pub(super) reach: Reach,
    /// How attempts at it went.
    pub(super) metrics: EndpointMetrics,
    /// What it says when it is asked.
    pub(super) checked: Arc<Checked>,
    /// Who it is to every process that knows it.
    identity: Affinity,
    /// The `Host` of what is sent to it; `None`: what the request says.
    pub(super) host: Option<HeaderValue>,
}

impl Endpoint {
    /// Whether others should be tried before it.
    fn is_doubtful(&self) -> bool {
        self.reach.is_lost() || self.checked.is_unwell()
    }
}

/// What all endpoints of an upstream are made from.
pub(super) struct Mould {
    pub(super) params: Arc<model::Upstream>,
    pub(super) tls: Option<Arc<Connector>>,
    pub(super) head_limits: HeadLimits,
    pub(super) workers: usize,
}

impl Mould {
    fn handshake(&self, authority: &Authority) -> Option<Handshake> {
        self.tls.as_ref().map(|connector| {
            let name = self.params.tls.as_ref().and_then(|tls| tls.server_name.clone());
            Handshake::new(connector.clone(), name, authority, self.params.protocol)
        })
    }

    fn endpoint(&self, target: Target, host: Option<HeaderValue>) -> Endpoint {
        let params = &self.params;
        let handshake = self.handshake(&target.authority);
        let target = Arc::new(target.over(handshake));
        let slots = Slots::new(params.max_connections.get());
        let ages = (params.idle_timeout, params.max_age);
        let pool =
            || Arc::new(Pool::new(target.clone(), params.connect_timeout, ages, slots.clone(), self.head_limits));
        let pools: Vec<_> = (0..self.workers).map(|_| pool()).collect();
        slots.belong_to(&pools);
        let identity = match target.address() {
            Some(address) => Affinity::of(address.to_string().as_bytes()),
            None => match target.socket() {
                Some(path) => Affinity::of(path.as_os_str().as_encoded_bytes()),
                None => Affinity::of(target.authority.as_str().as_bytes()),
            },
        };
        let (reach, metrics, checked) = (Reach::default(), EndpointMetrics::default(), Arc::default());
        Endpoint { target, pools, slots, reach, metrics, checked, identity, host }
    }
}

/// An endpoint that the configuration names.
struct Configured {
    endpoint: Endpoint,
    /// Requests in flight, all workers together.
    outstanding: AtomicUsize,
    /// Seats for its addresses, if it is a name; from and to.
    seats: (usize, usize),
    /// When a reload brought it; `None`: it was there from the start.
    came: Option<Instant>,
}

/// A place for an address.
#[derive(Default)]
struct Seat {
    endpoint: ArcSwapOption<Endpoint>,
    outstanding: AtomicUsize,
    /// How many addresses have sat here.
    occupant: AtomicU32,
    /// When its address left, by the count of such moments; 0: it is there.
    left: AtomicUsize,
    /// When it came, in ms since the upstream was made; 0: with the first answer.
    came_ms: AtomicU64,
    /// Its part of the requests, as the bits of a float.
    share: AtomicU64,
}

/// The name at a place of the configuration.
struct NameOf {
    all: Weak<Endpoints>,
    at: usize,
}

impl HearsAddresses for NameOf {
    fn changed(&self, addresses: &[Address]) {
        if let Some(all) = self.all.upgrade() {
            all.resettle(self.at, addresses);
        }
    }
}

/// All endpoints of an upstream.
pub(super) struct Endpoints {
    configured: Vec<Configured>,
    /// Their numbers go on where those of the configured ones end.
    seats: Vec<Seat>,
    /// Numbers of those in use, where there are names.
    live: ArcSwap<Vec<usize>>,
    /// Whose turn it is, where each has one.
    turn: AtomicUsize,
    /// The same ones for ever, and the less loaded of two gets a request.
    is_plain: bool,
    /// Some address has, or had, less than a whole share.
    has_shares: AtomicBool,
    made: Instant,
    mould: Mould,
    /// One change at a time, and how many there were.
    changes: Mutex<usize>,
    /// Connections that were not made, of addresses whose seat another one has now.
    former: Mutex<BTreeMap<&'static str, u64>>,
}

/// An endpoint, wherever it stands.
pub(super) enum At<'a> {
    Configured(&'a Endpoint),
    Address(Arc<Endpoint>),
}

impl Deref for At<'_> {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        match self {
            Self::Configured(endpoint) => endpoint,
            Self::Address(endpoint) => endpoint,
        }
    }
}

impl Endpoints {
    /// Those of the configuration. What `former` had too is as warm as it was there.
    pub(super) fn new(mould: Mould, former: Option<&Self>) -> Arc<Self> {
        let (mut taken, now) = (0, Instant::now());
        let configured: Vec<_> = mould
            .params
            .endpoints
            .iter()
            .map(|endpoint| {
                let came = former.and_then(|former| former.came(endpoint, now));
                let target = Target::of(endpoint, &mould.params.resolve);
                let endpoint = mould.endpoint(target, mould.params.host_at(endpoint));
                let from = taken;
                if endpoint.target.is_resolved() {
                    taken += mould.params.resolve.max_addresses.get() + MORE_SEATS;
                }
                Configured { endpoint, outstanding: AtomicUsize::new(0), seats: (from, taken), came }
            })
            .collect();
        let endpoints = Arc::new(Self {
            live: ArcSwap::from_pointee((0..configured.len()).collect()),
            turn: AtomicUsize::new(0),
            is_plain: taken == 0
                && mould.params.balance == Balance::P2c
                && mould.params.health.is_none()
                && (mould.params.slow_start.is_zero() || configured.iter().all(|it| it.came.is_none())),
            seats: (0..taken).map(|_| Seat::default()).collect(),
            configured,
            has_shares: AtomicBool::new(false),
            made: now,
            mould,
            changes: Mutex::default(),
            former: Mutex::default(),
        });
        for (at, configured) in endpoints.configured.iter().enumerate() {
            configured.endpoint.target.on_change(Box::new(NameOf { all: Arc::downgrade(&endpoints), at }));
        }
        endpoints
    }

    /// When the endpoint came that is configured so, which is `now` where there is none.
    fn came(&self, endpoint: &model::Endpoint, now: Instant) -> Option<Instant> {
        let at = self.mould.params.endpoints.iter().position(|known| known == endpoint);
        at.map_or(Some(now), |at| self.configured[at].came)
    }

    /// How many are in use.
    pub(super) fn count(&self) -> usize {
        if self.seats.is_empty() { self.configured.len() } else { self.live.load().len() }
    }

    /// Their numbers.
    pub(super) fn live(&self) -> Vec<usize> {
        self.live.load().to_vec()
    }

    /// The endpoint of a number.
    pub(super) fn at(&self, number: usize) -> At<'_> {
        match self.configured.get(number) {
            Some(configured) => At::Configured(&configured.endpoint),
            None => At::Address(self.sitting(number).expect("a number is given out once somebody sits there")),
        }
    }

    fn sitting(&self, number: usize) -> Option<Arc<Endpoint>> {
        self.seats[number - self.configured.len()].endpoint.load_full()
    }

    /// All that there are, also those whose address has left.
    pub(super) fn all(&self) -> impl Iterator<Item = At<'_>> {
        let seated = self.seats.iter().filter_map(|seat| seat.endpoint.load_full()).map(At::Address);
        self.configured.iter().map(|configured| At::Configured(&configured.endpoint)).chain(seated)
    }

    /// Who the endpoint is to the service behind it: an address is who its name is.
    pub(super) fn authority(&self, number: usize) -> &Authority {
        &self.configured[self.name_of(number)].endpoint.target.authority
    }

    /// The same with all that the configuration says of it.
    pub(super) fn configured(&self, number: usize) -> &model::Endpoint {
        &self.mould.params.endpoints[self.name_of(number)]
    }

    /// The configured endpoint that a number belongs to.
    fn name_of(&self, number: usize) -> usize {
        let Some(seat) = number.checked_sub(self.configured.len()) else { return number };
        let is_of = |configured: &Configured| (configured.seats.0..configured.seats.1).contains(&seat);
        self.configured.iter().position(is_of).expect("every seat is one of a name's")
    }

    /// Where it is, for people.
    pub(super) fn address(&self, number: usize) -> Cow<'_, str> {
        match self.at(number) {
            At::Configured(endpoint) => match endpoint.target.socket() {
                Some(path) => Cow::Owned(format!("{}{}", model::UNIX, path.display())),
                None => Cow::Borrowed(endpoint.target.authority.as_str()),
            },
            At::Address(endpoint) => match endpoint.target.address() {
                Some(address) => Cow::Owned(address.to_string()),
                None => Cow::Borrowed(self.authority(number).as_str()),
            },
        }
    }

    /// How many have sat in a seat before, and who does now: what is kept of one is not the next one's. 0 for others.
    pub(super) fn occupant(&self, number: usize) -> u32 {
        let seat = number.checked_sub(self.configured.len()).and_then(|seat| self.seats.get(seat));
        seat.map_or(0, |seat| seat.occupant.load(Relaxed))
    }

    /// How many numbers there are.
    pub(super) fn numbers(&self) -> usize {
        self.configured.len() + self.seats.len()
    }

    /// Requests in flight to an endpoint, all workers together.
    pub(super) fn outstanding(&self, number: usize) -> &AtomicUsize {
        match self.configured.get(number) {
            Some(configured) => &configured.outstanding,
            None => &self.seats[number - self.configured.len()].outstanding,
        }
    }

    /// Sees to it that there is a connection to the address `first`, or to another one of its name: connects start 250 ms apart,
    /// families alternating, and the first that stands wins (RFC 8305). Those that can be connected to, as far as is known, come
    /// first. Whoever failed or was overtaken is known as lost; `progress` tells who failed.
    pub(super) async fn connect(
        &self,
        (worker, wanted): (usize, Option<Spoken>),
        first: usize,
        progress: &Progress,
    ) -> Result<usize, AttemptError> {
        let warm = |number: usize| async move {
            let here = self.at(number);
            match here.pools[worker].warm(wanted).await {
                Ok(()) => Ok(number),
                Err(error) => {
                    here.reach.fail(&error);
                    progress.lose(number);
                    Err(error)
                }
            }
        };
        let won = race(&self.beside(first), warm).await.unwrap_or(Ok(first))?;
        let beaten = self.at(first);
        if won != first && !beaten.reach.is_lost() {
            beaten.reach.fail(&AttemptError::new(Cause::Connect, Sent::No).named(TIMED_OUT));
        }
        Ok(won)
    }

    /// An address, and those of the same name that may stand in for it.
    fn beside(&self, first: usize) -> Vec<usize> {
        let name = self.name_of(first);
        let live = self.live.load();
        let mut others: Vec<usize> =
            live.iter().copied().filter(|number| *number != first && self.name_of(*number) == name).collect();
        let turn = fastrand::usize(..others.len().max(1));
        others.rotate_left(turn);
        let (lost, mut fine): (Vec<_>, Vec<_>) = others.into_iter().partition(|number| self.at(*number).is_doubtful());
        fine.insert(0, first);
        let is_v4 = |number: &usize| self.at(*number).target.address().is_none_or(|address| address.is_ipv4());
        let mut order = in_turn(&fine, 0, is_v4);
        order.extend(lost);
        order
    }

    /// A name stands for these addresses from now on.
    fn resettle(&self, name: usize, addresses: &[Address]) {
        let mut changes = self.changes.lock();
        *changes += 1;
        let (from, to) = self.configured[name].seats;
        let seats = &self.seats[from..to];
        let address_of = |seat: &Seat| seat.endpoint.load().as_ref().and_then(|endpoint| endpoint.target.address());
        let is_first = seats.iter().all(|seat| seat.endpoint.load().is_none());
        let came_ms = if is_first && self.configured[name].came.is_none() { 0 } else { self.age_ms().max(1) };
        let mut gone = Vec::new();
        for seat in seats {
            if let Some(address) = address_of(seat)
                && seat.left.load(Relaxed) == 0
                && !addresses.iter().any(|known| known.at == address)
            {
                seat.left.store(*changes, Relaxed);
                gone.extend(seat.endpoint.load_full());
            }
        }
        for Address { at: address, share } in addresses {
            if let Some(seat) = seats.iter().find(|seat| address_of(seat) == Some(*address)) {
                seat.share.store(share.to_bits(), Relaxed);
                if seat.left.swap(0, Relaxed) != 0 {
                    seat.came_ms.store(came_ms, Relaxed);
                    seat.endpoint.load().as_ref().inspect(|endpoint| endpoint.target.come());
                }
                continue;
            }
            let is_free = |seat: &&Seat| {
                let is_left = seat.left.load(Relaxed) != 0 && seat.outstanding.load(Relaxed) == 0;
                seat.endpoint.load().is_none() || is_left
            };
            // An empty one, or that of who left first. If each is needed still, the address is left out until the next change.
            let Some(seat) = seats.iter().filter(is_free).min_by_key(|seat| seat.left.load(Relaxed)) else { break };
            let target = self.configured[name].endpoint.target.at_address(*address);
            let before = seat
                .endpoint
                .swap(Some(Arc::new(self.mould.endpoint(target, self.configured[name].endpoint.host.clone()))));
            seat.occupant.fetch_add(1, Relaxed);
            seat.left.store(0, Relaxed);
            seat.share.store(share.to_bits(), Relaxed);
            seat.came_ms.store(came_ms, Relaxed);
            let mut former = self.former.lock();
            for (cause, count) in before.iter().flat_map(|endpoint| endpoint.reach.causes()) {
                *former.entry(cause).or_default() += count;
            }
        }
        if addresses.iter().any(|address| address.share < 1.0) {
            self.has_shares.store(true, Relaxed);
        }
        self.live.store(Arc::new(self.in_use()));
        let now_known = &self.configured[name].endpoint;
        now_known.pools.iter().for_each(|pool| pool.close_idle());
        for endpoint in gone {
            endpoint.target.leave();
            endpoint.pools.iter().for_each(|pool| pool.close_idle());
        }
    }

    fn age_ms(&self) -> u64 {
        u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn in_use(&self) -> Vec<usize> {
        let mut live = Vec::new();
        for (number, configured) in self.configured.iter().enumerate() {
            let before = live.len();
            let (from, to) = configured.seats;
            let is_there = |seat: &Seat| seat.left.load(Relaxed) == 0 && seat.endpoint.load().is_some();
            live.extend((from..to).filter(|at| is_there(&self.seats[*at])).map(|at| self.configured.len() + at));
            if live.len() == before {
                live.push(number);
            }
        }
        live
    }

    /// Attempts that found no connection, by cause.
    pub(super) fn connect_errors(&self) -> BTreeMap<&'static str, u64> {
        let mut sums = self.former.lock().clone();
        for endpoint in self.all() {
            for (cause, count) in endpoint.reach.causes() {
                *sums.entry(cause).or_default() += count;
            }
        }
        sums
    }

    /// Asks those in use whose time it is. A name that nobody has answered for yet is no endpoint to ask.
    pub(super) fn check_health(&self, speech: Speech, now: Instant) {
        for number in self.live() {
            let endpoint = self.at(number);
            if !endpoint.target.is_resolved() {
                let question = Question {
                    params: self.mould.params.clone(),
                    target: endpoint.target.clone(),
                    host: endpoint.host.clone(),
                    head_limits: self.mould.head_limits,
                    checked: endpoint.checked.clone(),
                };
                question.ask(speech, now);
            }
        }
    }

    /// Closes connections of `worker` that have been idle for too long; names are asked for again if it is time.
    pub(super) fn sweep(&self, worker: usize, now: Instant) {
        for endpoint in self.all() {
            // One of them asks for all.
            if worker == 0 {
                endpoint.target.renew();
                endpoint.reach.try_again();
            }
            endpoint.pools[worker].sweep(now);
        }
    }
}

#[cfg(test)]
mod tests;
