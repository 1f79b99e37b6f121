//! Connections of one worker to one endpoint.
//!
//! The last connection used is the first used again, so that under light load the others grow old and are closed. A
//! connection changes its worker only where there may be no other (`slots`): no hop between threads on the path of a request.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use h2::client::SendRequest;
use http::uri::Authority;
use mainstay_policies::evidence::{AttemptError, Cause, Sent};
use parking_lot::Mutex;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout_at},
};

use super::{
    connect::{self, Target},
    handshake::{Handshake, Spoken},
    http2::multiplexed::{Multiplexed, Place},
    slots::{Slots, Turn},
};
use crate::wire::{
    age::spread,
    http1::HeadLimits,
    peer::Peer,
    transport::{Reader, Transport, Writer},
};

/// Connections of one worker to one endpoint.
pub(crate) struct Pool {
    target: Arc<Target>,
    connect_timeout: Duration,
    idle_timeout: Duration,
    max_age: Duration,
    /// Shared by the pools of all workers.
    slots: Arc<Slots>,
    idle: Mutex<IdleList>,
    multiplexed: Multiplexed,
    head_limits: HeadLimits,
}

/// The connections between two requests, and the time of the last sweep, by which they are as old as they need to be known: no
/// request reads the clock for them.
struct IdleList {
    connections: Vec<(Idle, OwnedSemaphorePermit)>,
    swept: Instant,
}

impl IdleList {
    fn new() -> Self {
        Self { connections: Vec::new(), swept: Instant::now() }
    }

    /// The youngest connection that can be used. Those found otherwise are closed.
    fn take(&mut self, idle_timeout: Duration) -> Option<(Idle, OwnedSemaphorePermit)> {
        while let Some((mut entry, slot)) = self.connections.pop() {
            if entry.is_young(self.swept, idle_timeout) && entry.is_usable() {
                return Some((entry, slot));
            }
        }
        None
    }
}

/// A connection between two requests. Nothing watches it meanwhile: what happened to it is seen when it is taken.
pub(crate) struct Idle {
    stream: Transport,
    /// It has served a request.
    served: bool,
    /// The last sweep before.
    since: Instant,
    origin: Origin,
}

/// When a connection has served its time, and to which of a name's sets of addresses it was opened.
#[derive(Clone, Copy)]
struct Origin {
    retires: Instant,
    generation: u32,
}

impl Idle {
    fn is_young(&self, now: Instant, idle_timeout: Duration) -> bool {
        now.duration_since(self.since) < idle_timeout
    }

    /// Whether it can carry another request: open, and silent. Anything that came unasked would be taken for the next answer.
    fn is_usable(&mut self) -> bool {
        self.stream.is_silent()
    }
}

/// An HTTP/1 connection in the hands of one request.
pub(crate) struct Lease {
    stream: Transport,
    origin: Origin,
    reused: bool,
    pool: Arc<Pool>,
    slot: OwnedSemaphorePermit,
}

impl Lease {
    pub(super) fn stream(&mut self) -> &mut Transport {
        &mut self.stream
    }

    /// Whom it leads to.
    pub(super) fn peer(&self) -> Peer {
        self.stream.peer("1.1")
    }

    /// It has served a request before, so the peer may be closing it at this moment.
    pub(super) fn is_reused(&self) -> bool {
        self.reused
    }

    /// Gives the connection back, once its response has ended cleanly.
    pub(super) fn give_back(self) {
        let Self { stream, origin, pool, slot, .. } = self;
        pool.lay_aside((stream, origin), true, slot);
    }

    /// The two directions apart; they are never joined again.
    pub(super) fn split(self) -> (Reader, Writer, OwnedSemaphorePermit) {
        let (reader, writer) = self.stream.split();
        (reader, writer, self.slot)
    }
}

impl Pool {
    pub(crate) fn new(
        target: Arc<Target>,
        connect_timeout: Duration,
        (idle_timeout, max_age): (Duration, Duration),
        slots: Arc<Slots>,
        head_limits: HeadLimits,
    ) -> Self {
        let ages = (idle_timeout, max_age);
        let multiplexed = Multiplexed::new(target.clone(), connect_timeout, ages, slots.clone(), head_limits);
        let idle = Mutex::new(IdleList::new());
        Self { target, connect_timeout, idle_timeout, max_age, slots, idle, multiplexed, head_limits }
    }

    /// Bounds on an answer's head.
    pub(super) fn head_limits(&self) -> HeadLimits {
        self.head_limits
    }

    /// The endpoint's address.
    pub(super) fn authority(&self) -> &Authority {
        &self.target.authority
    }

    /// An HTTP/1 connection: the one used last if one is idle, else a new one. Waits while there may be no more.
    pub(crate) async fn lease(self: &Arc<Self>, fresh: bool) -> Result<Lease, AttemptError> {
        let idle = if fresh { None } else { self.idle.lock().take(self.idle_timeout) };
        match idle {
            Some((Idle { stream, origin, served: reused, .. }, slot)) => {
                Ok(Lease { stream, origin, reused, pool: self.clone(), slot })
            }
            // Boxed, so that a request on a warm connection does not carry the room for a handshake.
            None => Box::pin(self.lease_slowly(fresh)).await,
        }
    }

    /// The same for a request that has to wait for its turn, or for a handshake.
    async fn lease_slowly(self: &Arc<Self>, fresh: bool) -> Result<Lease, AttemptError> {
        let slot = match self.slots.turn().await? {
            Turn::Slot(slot) => slot,
            Turn::Connection(mut idle, slot) => {
                if !fresh && idle.is_usable() {
                    let Idle { stream, origin, served: reused, .. } = idle;
                    return Ok(Lease { stream, origin, reused, pool: self.clone(), slot });
                }
                // Another one is opened in its place.
                slot
            }
        };
        let (origin, deadline) = (self.origin(), Instant::now() + self.connect_timeout);
        let (stream, _) = connect::ready(&self.target, Some(Spoken::Http1), deadline).await?;
        Ok(Lease { stream, origin, reused: false, pool: self.clone(), slot })
    }

    /// Of a connection that is opened now: what changes while its name is resolved is looked at again.
    fn origin(&self) -> Origin {
        Origin { retires: Instant::now() + spread(self.max_age), generation: self.target.generation() }
    }

    /// Keeps a connection for the next request, which may be one of another worker that waits for it.
    /// One that has served its time, or leads where its name no longer does, is closed.
    fn lay_aside(&self, (stream, mut origin): (Transport, Origin), served: bool, slot: OwnedSemaphorePermit) {
        let generation = self.target.generation();
        if generation != origin.generation {
            if !self.target.still_leads(&stream) {
                return close(stream, slot);
            }
            origin.generation = generation;
        }
        let mut idle = self.idle.lock();
        if idle.swept >= origin.retires {
            drop(idle);
            return close(stream, slot);
        }
        let connection = Idle { stream, served, since: idle.swept, origin };
        if self.slots.is_waited_for() {
            drop(idle);
            self.slots.hand_on(connection, slot);
        } else {
            idle.connections.push((connection, slot));
        }
    }

    /// The connection that has been idle for longest, for another worker.
    pub(super) fn take_oldest(&self) -> Option<(Idle, OwnedSemaphorePermit)> {
        let mut idle = self.idle.lock();
        (!idle.connections.is_empty()).then(|| idle.connections.remove(0))
    }

    /// A place on an HTTP/2 connection of this worker that takes one more stream.
    pub(super) fn free_place(&self) -> Option<(SendRequest<Bytes>, Place)> {
        self.multiplexed.free_place()
    }

    /// Whether a request that comes now need not connect, or may not.
    pub(super) fn is_warm(&self, wanted: Option<Spoken>) -> bool {
        let is_there = match wanted.or_else(|| self.target.tls.as_ref().and_then(Handshake::chosen)) {
            Some(Spoken::Http1) => self.has_idle(),
            Some(Spoken::Http2) => self.multiplexed.free_place().is_some(),
            None => false,
        };
        is_there || self.slots.left() == 0
    }

    fn has_idle(&self) -> bool {
        let mut idle = self.idle.lock();
        let found = idle.take(self.idle_timeout);
        let is_there = found.is_some();
        idle.connections.extend(found);
        is_there
    }

    /// Sees to it that there is a connection for the next request, which is not sent yet.
    pub(super) async fn warm(&self, wanted: Option<Spoken>) -> Result<(), AttemptError> {
        let spoken = match wanted {
            Some(spoken) => spoken,
            None => self.choice().await?,
        };
        if spoken == Spoken::Http2 {
            return self.place().await.map(drop);
        }
        if self.has_idle() {
            return Ok(());
        }
        let (Turn::Slot(slot) | Turn::Connection(_, slot)) = self.slots.turn().await?;
        let (origin, deadline) = (self.origin(), Instant::now() + self.connect_timeout);
        let (stream, _) = connect::ready(&self.target, Some(Spoken::Http1), deadline).await?;
        self.lay_aside((stream, origin), false, slot);
        Ok(())
    }

    /// Closes what waits for a request, and lets nobody begin on what is shared: its address has left.
    pub(super) fn close_idle(&self) {
        let idle = std::mem::take(&mut self.idle.lock().connections);
        drop(idle);
        self.multiplexed.let_go();
    }

    /// Which HTTP the endpoint chose. The first to ask brings its connection, which then serves a request.
    pub(super) async fn choice(&self) -> Result<Spoken, AttemptError> {
        let chosen = || self.target.tls.as_ref().and_then(Handshake::chosen);
        if let Some(chosen) = chosen() {
            return Ok(chosen);
        }
        // All who wait for one that does not answer give up when they would have by themselves.
        let deadline = Instant::now() + self.connect_timeout;
        let one_at_a_time = async { (self.slots.choosing.lock().await, self.multiplexed.connecting().await) };
        let Ok(_one_at_a_time) = timeout_at(deadline, one_at_a_time).await else {
            return Err(AttemptError::new(Cause::Connect, Sent::No)
                .named(connect::TIMED_OUT)
                .with_source("connect_timeout"));
        };
        if let Some(chosen) = chosen() {
            return Ok(chosen);
        }
        let began = Instant::now();
        let (Turn::Slot(slot) | Turn::Connection(_, slot)) = self.slots.turn().await?;
        let deadline = deadline + began.elapsed();
        let origin = self.origin();
        let (stream, spoken) = connect::ready(&self.target, None, deadline).await?;
        match spoken {
            Spoken::Http1 => self.lay_aside((stream, origin), false, slot),
            Spoken::Http2 => self.multiplexed.adopt(stream, slot, (origin.generation, deadline)).await?,
        }
        Ok(spoken)
    }

    /// A place for a stream on an HTTP/2 connection. Waits while all are full and there may be no more.
    pub(crate) async fn place(&self) -> Result<(SendRequest<Bytes>, Place), AttemptError> {
        self.multiplexed.place().await
    }

    /// Closes what has been idle for too long, or was closed by the peer; off the path of requests.
    pub(crate) fn sweep(&self, now: Instant) {
        let generation = self.target.generation();
        let is_of_use = |entry: &mut Idle| {
            let leads = entry.origin.generation == generation || self.target.still_leads(&entry.stream);
            leads && now < entry.origin.retires && entry.is_young(now, self.idle_timeout) && entry.is_usable()
        };
        let mut idle = self.idle.lock();
        idle.swept = now;
        idle.connections.retain_mut(|(entry, _)| is_of_use(entry));
        drop(idle);
        self.slots.sweep(is_of_use);
        self.multiplexed.sweep(now);
    }

    /// Connections that wait for a request.
    pub(super) fn idle(&self) -> usize {
        self.idle.lock().connections.len()
    }

    /// Whether no idle connection can be used, though there is one.
    #[cfg(test)]
    pub(super) fn is_idle_closed(&self) -> bool {
        let idle = &mut self.idle.lock().connections;
        !idle.is_empty() && !idle.iter_mut().any(|(entry, _)| entry.is_usable())
    }
}

/// A connection is closed before its slot is free for another one.
fn close(stream: Transport, slot: OwnedSemaphorePermit) {
    drop(stream);
    drop(slot);
}

/// Times that a request which an aged connection did not take is given to another one before a fresh one is opened for it.
pub(super) const AGED_CONNECTIONS: usize = 3;
