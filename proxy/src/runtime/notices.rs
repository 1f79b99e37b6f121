//! Log lines for what the program is for: writes in doubt, breakers, upstreams that cannot be reached.
//!
//! What happens to an operation is told as it happens, so many lines a second of each kind. How breakers and upstreams stand
//! is looked at once a second, so no request pays for it, and none of them can flood the log.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use mainstay_policies::{
    circuit_breaker::{State as BreakerState, Transitions},
    operation::{Operation, Source, State},
};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{named::NamedBreaker, snapshot::Snapshot};
use crate::{
    listener::handshake::Unshaken,
    telemetry::logs::bound::Bound,
    upstream::{Reached, Upstream},
};

/// How often it is said again that an endpoint cannot be reached.
const SAY_AGAIN: Duration = Duration::from_mins(1);

/// What is told, and what has been.
pub(crate) struct Notices {
    doubts: Bound,
    settlements: Bound,
    people: Bound,
    refused: Bound,
    /// By their word.
    unshaken: Mutex<HashMap<&'static str, Bound>>,
    seen: Mutex<Seen>,
}

/// How things stood at the last look. Only what is configured now is in it.
#[derive(Default)]
struct Seen {
    breakers: HashMap<String, Transitions>,
    lost: HashMap<(Arc<str>, String), Lost>,
    /// Endpoints that say that they cannot serve, since when.
    unwell: HashMap<(Arc<str>, String), Instant>,
    /// Upstreams of which all say so.
    panicking: HashSet<Arc<str>>,
}

/// An endpoint that cannot be reached.
struct Lost {
    since: Instant,
    said: Instant,
    /// Failures that have been told.
    told: u64,
}

impl Default for Notices {
    fn default() -> Self {
        Self {
            doubts: Bound::new("a write is in doubt"),
            settlements: Bound::new("a write was settled"),
            people: Bound::new("an operation needs a person"),
            refused: Bound::one_a_second("a keyed write was refused"),
            unshaken: Mutex::default(),
            seen: Mutex::default(),
        }
    }
}

impl Notices {
    /// An operation changed. Its beginning and an end without doubt are an access line's to tell.
    pub(super) fn changed(&self, before: &Operation, after: &Operation) {
        let now = Instant::now();
        if before.state != State::Unknown && after.state == State::Unknown {
            if self.doubts.admits(now) {
                tracing::info!(
                    operation = %after.id, route = %after.route, upstream = %after.upstream, cause = %after.reason,
                    "a write is in doubt"
                );
            }
        } else if before.state == State::Unknown && after.state.is_terminal() && self.settlements.admits(now) {
            tracing::info!(
                operation = %after.id, route = %after.route, upstream = %after.upstream, state = after.state.label(),
                source = after.source.map(Source::label),
                after_ms = after.settled_at.map(|at| at.saturating_sub(after.created_at)),
                "a write was settled"
            );
        }
    }

    /// Whether one more may be told that needs a person.
    pub(super) fn may_call(&self) -> bool {
        self.people.admits(Instant::now())
    }

    /// A keyed write was refused because the ledger did not take it: its own log line may be long past, and a limit has none.
    pub(crate) fn not_recorded(&self, route: &str, why: &str) {
        if self.refused.admits(Instant::now()) {
            tracing::warn!(route, why, "a keyed write was refused");
        }
    }

    /// A client's TLS handshake failed. Of clients that left without a word nothing is told: every probe of a port is one.
    pub(crate) fn unshaken(&self, listener: &str, peer: SocketAddr, failed: &Unshaken) {
        if failed.is_silence() {
            tracing::debug!(listener, %peer, reason = failed.reason, "a client left in its TLS handshake");
            return;
        }
        let what = "a TLS handshake failed";
        let mut unshaken = self.unshaken.lock();
        let bound = unshaken.entry(failed.word).or_insert_with(|| Bound::one_a_second(what));
        if bound.admits(Instant::now()) {
            let names = failed.caller.as_ref();
            let list = |names: &[String]| (!names.is_empty()).then(|| names.join(", "));
            tracing::warn!(
                listener, %peer, result = failed.word, reason = failed.reason, uri = names.and_then(|it| list(&it.uris)),
                dns = names.and_then(|it| list(&it.dns)), serial = names.map(|it| &*it.serial), "{what}"
            );
        }
    }

    /// Tells what has changed since the last look.
    pub(crate) fn look(&self, snapshot: &Snapshot, now: Instant) {
        for bound in [&self.doubts, &self.settlements, &self.people, &self.refused] {
            bound.look(now);
        }
        self.unshaken.lock().values().for_each(|bound| bound.look(now));
        let seen = &mut *self.seen.lock();
        let breakers = snapshot.breakers();
        seen.breakers.retain(|name, _| breakers.iter().any(|named| named.name == *name));
        for named in &breakers {
            let stands = named.breaker.snapshot(now);
            let before = seen.breakers.insert(named.name.clone(), stands.transitions).unwrap_or_default();
            tell_breaker(named, before, stands.transitions, stands.state);
        }
        let is_there = |(upstream, endpoint): &(Arc<str>, String)| {
            snapshot.upstreams.get(upstream).is_some_and(|upstream| endpoints(upstream).any(|(_, it)| it == *endpoint))
        };
        seen.lost.retain(|endpoint, _| is_there(endpoint));
        seen.unwell.retain(|endpoint, _| is_there(endpoint));
        for upstream in snapshot.upstreams.values() {
            seen.tell_health(upstream, now);
            for (at, endpoint) in endpoints(upstream) {
                seen.tell_endpoint(&upstream.params().name, &endpoint, upstream.reached(at), now);
            }
        }
    }
}

fn endpoints(upstream: &Upstream) -> impl Iterator<Item = (usize, String)> {
    upstream.live().into_iter().map(|at| (at, upstream.address(at).into_owned()))
}

fn tell_breaker(named: &NamedBreaker<'_>, before: Transitions, now: Transitions, state: BreakerState) {
    let opened = || {
        let Some(trip) = named.breaker.trip().filter(|_| now.opened > before.opened) else { return };
        tracing::warn!(
            breaker = named.name,
            condition = trip.condition,
            value = trip.value,
            threshold = trip.threshold,
            requests = trip.requests,
            times = now.opened - before.opened,
            "breaker opened"
        );
    };
    // Between two looks it may have done both; what stands is told last.
    let is_open = matches!(state, BreakerState::Open | BreakerState::HalfOpen);
    if !is_open {
        opened();
    }
    if now.closed > before.closed {
        tracing::info!(breaker = named.name, "breaker closed");
    }
    if is_open {
        opened();
    }
    if now.half_opened > before.half_opened {
        tracing::debug!(breaker = named.name, "breaker half-open");
    }
}

impl Seen {
    fn tell_health(&mut self, upstream: &Upstream, now: Instant) {
        let name = &upstream.params().name;
        let (mut all, mut unwell) = (0, 0);
        for (at, endpoint) in endpoints(upstream) {
            all += 1;
            let key = (name.clone(), endpoint);
            if let Some(cause) = upstream.unwell(at) {
                unwell += 1;
                if let Entry::Vacant(news) = self.unwell.entry(key) {
                    let endpoint = &news.key().1;
                    tracing::warn!(upstream = %name, %endpoint, cause, "an endpoint is unhealthy");
                    news.insert(now);
                }
            } else if let Some(since) = self.unwell.remove(&key) {
                let after_ms = now.saturating_duration_since(since).as_millis() as u64;
                tracing::info!(upstream = %name, endpoint = %key.1, after_ms, "an endpoint is healthy again");
            }
        }
        if unwell < all {
            self.panicking.remove(name);
        } else if self.panicking.insert(name.clone()) {
            tracing::warn!(upstream = %name, endpoints = all, "no endpoint of an upstream is healthy: all are used");
        }
    }

    fn tell_endpoint(&mut self, upstream: &Arc<str>, endpoint: &str, reached: Reached, now: Instant) {
        let name = (upstream.clone(), endpoint.to_owned());
        let Some(cause) = reached.lost else {
            if let Some(lost) = self.lost.remove(&name) {
                let after_ms = now.saturating_duration_since(lost.since).as_millis() as u64;
                tracing::info!(%upstream, %endpoint, after_ms, "an upstream is reachable again");
            }
            return;
        };
        let failures = match self.lost.get_mut(&name) {
            None => {
                self.lost.insert(name, Lost { since: now, said: now, told: reached.failures });
                None
            }
            Some(lost) if now.saturating_duration_since(lost.said) < SAY_AGAIN || lost.told == reached.failures => {
                return;
            }
            Some(lost) => {
                let since = reached.failures - lost.told;
                (lost.said, lost.told) = (now, reached.failures);
                Some(since)
            }
        };
        tracing::warn!(%upstream, %endpoint, cause, failures, "an upstream is unreachable");
    }
}
