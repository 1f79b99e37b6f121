//! Connections of one worker to one endpoint.
//!
//! The last connection used is the first used again, so that under light load the others grow old and are closed. A
//! connection never changes its worker: no hop between threads on the path of a request.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use h2::client::SendRequest;
use http::uri::Authority;
use mainstay_policies::evidence::{AttemptError, Cause, Sent};
use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::{
    connect::{self, Target},
    handshake::{Handshake, Spoken},
    http2::multiplexed::{Multiplexed, Place},
};
use crate::wire::{
    http1::HeadLimits,
    transport::{Reader, Transport, Writer},
};

/// Connections of one worker to one endpoint.
pub(crate) struct Pool {
    target: Arc<Target>,
    connect_timeout: Duration,
    idle_timeout: Duration,
    max_connections: usize,
    /// One permit per HTTP/1 connection in use, or HTTP/2 connection that is open. Those that are not in use may be in the
    /// idle list.
    in_use: Arc<Semaphore>,
    idle: Mutex<IdleList>,
    multiplexed: Multiplexed,
    head_limits: HeadLimits,
}

/// The connections between two requests, and the time of the last sweep, by which they are as old as they need to be known: no
/// request reads the clock for them.
struct IdleList {
    connections: Vec<Idle>,
    swept: Instant,
    /// Permits that came back with connections, for the next ones to take: the semaphore is asked only where there are none.
    permits: Vec<OwnedSemaphorePermit>,
    /// Requests that wait for a permit.
    waiting: usize,
}

impl IdleList {
    fn new() -> Self {
        Self { connections: Vec::new(), swept: Instant::now(), permits: Vec::new(), waiting: 0 }
    }

    /// The youngest connection that can be used. Those found otherwise are closed.
    fn take(&mut self, idle_timeout: Duration) -> Option<Idle> {
        while let Some(mut entry) = self.connections.pop() {
            if self.swept.duration_since(entry.since) < idle_timeout && entry.is_usable() {
                return Some(entry);
            }
        }
        None
    }

    /// A permit that is at hand, and with it a connection, unless a `fresh` one is wanted.
    fn take_with_permit(
        &mut self,
        fresh: bool,
        idle_timeout: Duration,
    ) -> (Option<OwnedSemaphorePermit>, Option<Idle>) {
        let permit = self.permits.pop();
        let idle = if permit.is_some() && !fresh { self.take(idle_timeout) } else { None };
        (permit, idle)
    }
}

/// A connection between two requests. Nothing watches it meanwhile: what happened to it is seen when it is taken.
struct Idle {
    stream: Transport,
    /// It has served a request.
    served: bool,
    /// The last sweep before.
    since: Instant,
}

impl Idle {
    /// Whether it can carry another request: open, and silent. Anything that came unasked would be taken for the next answer.
    fn is_usable(&mut self) -> bool {
        self.stream.is_silent()
    }
}

/// An HTTP/1 connection in the hands of one request.
pub(crate) struct Lease {
    stream: Transport,
    reused: bool,
    pool: Arc<Pool>,
    permit: OwnedSemaphorePermit,
}

impl Lease {
    pub(super) fn stream(&mut self) -> &mut Transport {
        &mut self.stream
    }

    /// It has served a request before, so the peer may be closing it at this moment.
    pub(super) fn is_reused(&self) -> bool {
        self.reused
    }

    /// Gives the connection back, once its response has ended cleanly.
    pub(super) fn give_back(self) {
        let mut idle = self.pool.idle.lock();
        let since = idle.swept;
        idle.connections.push(Idle { stream: self.stream, served: true, since });
        if idle.waiting == 0 {
            idle.permits.push(self.permit);
        }
    }

    /// The two directions apart; they are never joined again.
    pub(super) fn split(self) -> (Reader, Writer, OwnedSemaphorePermit) {
        let (reader, writer) = self.stream.split();
        (reader, writer, self.permit)
    }
}

/// Counts a request that waits for a permit.
struct Waiting<'a>(&'a Mutex<IdleList>);

impl<'a> Waiting<'a> {
    fn begin(idle: &'a Mutex<IdleList>) -> Self {
        let mut list = idle.lock();
        list.waiting += 1;
        let permits = std::mem::take(&mut list.permits);
        drop(list);
        drop(permits);
        Self(idle)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

impl Pool {
    pub(crate) fn new(
        target: Arc<Target>,
        connect_timeout: Duration,
        idle_timeout: Duration,
        max_connections: usize,
        head_limits: HeadLimits,
    ) -> Self {
        let max_connections = max_connections.min(Semaphore::MAX_PERMITS);
        let in_use = Arc::new(Semaphore::new(max_connections));
        let multiplexed = Multiplexed::new(target.clone(), connect_timeout, idle_timeout, in_use.clone(), head_limits);
        let idle = Mutex::new(IdleList::new());
        Self { target, connect_timeout, idle_timeout, max_connections, in_use, idle, multiplexed, head_limits }
    }

    /// Bounds on an answer's head.
    pub(super) fn head_limits(&self) -> HeadLimits {
        self.head_limits
    }

    /// The endpoint's address.
    pub(super) fn authority(&self) -> &Authority {
        &self.target.authority
    }

    /// An HTTP/1 connection: the one used last if one is idle, else a new one. Waits while `max_connections` are in use.
    pub(crate) async fn lease(self: &Arc<Self>, fresh: bool) -> Result<Lease, AttemptError> {
        let (permit, idle) = self.idle.lock().take_with_permit(fresh, self.idle_timeout);
        match (permit, idle) {
            (Some(permit), Some(Idle { stream, served: reused, .. })) => {
                Ok(Lease { stream, reused, pool: self.clone(), permit })
            }
            // Boxed, so that a request on a warm connection does not carry the room for a handshake.
            (permit, _) => Box::pin(self.lease_slowly(fresh, permit)).await,
        }
    }

    /// The same for a request that has to wait for its turn, or for a handshake.
    async fn lease_slowly(
        self: &Arc<Self>,
        fresh: bool,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Lease, AttemptError> {
        let permit = match permit {
            Some(permit) => permit,
            None => self.permit().await?,
        };
        let idle = if fresh { None } else { self.idle.lock().take(self.idle_timeout) };
        let (stream, reused) = if let Some(Idle { stream, served, .. }) = idle {
            (stream, served)
        } else {
            let deadline = Instant::now() + self.connect_timeout;
            (connect::ready(&self.target, Some(Spoken::Http1), deadline).await?.0, false)
        };
        Ok(Lease { stream, reused, pool: self.clone(), permit })
    }

    /// A permit from the semaphore, in turn. Meanwhile those that come back go there, too.
    async fn permit(&self) -> Result<OwnedSemaphorePermit, AttemptError> {
        if let Ok(permit) = self.in_use.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let _waiting = Waiting::begin(&self.idle);
        let permit = self.in_use.clone().acquire_owned().await;
        permit.map_err(|error| AttemptError::new(Cause::Connect, Sent::No).with_source(error))
    }

    /// Which HTTP the endpoint chose. The first to ask brings its connection, which then serves a request.
    pub(super) async fn choice(&self) -> Result<Spoken, AttemptError> {
        let chosen = || self.target.tls.as_ref().and_then(Handshake::chosen);
        if let Some(chosen) = chosen() {
            return Ok(chosen);
        }
        let permit = self.permit().await?;
        // All who wait for one that does not answer give up when they would have by themselves.
        let deadline = Instant::now() + self.connect_timeout;
        let Ok(_one_at_a_time) = timeout_at(deadline, self.multiplexed.connecting()).await else {
            return Err(AttemptError::new(Cause::Connect, Sent::No)
                .named(connect::TIMED_OUT)
                .with_source("connect_timeout"));
        };
        if let Some(chosen) = chosen() {
            return Ok(chosen);
        }
        let (stream, spoken) = connect::ready(&self.target, None, deadline).await?;
        match spoken {
            Spoken::Http1 => {
                let mut idle = self.idle.lock();
                let since = idle.swept;
                idle.connections.push(Idle { stream, served: false, since });
            }
            Spoken::Http2 => self.multiplexed.adopt(stream, permit, deadline).await?,
        }
        Ok(spoken)
    }

    /// A place for a stream on an HTTP/2 connection. Waits while all are full and `max_connections` are open.
    pub(crate) async fn place(&self) -> Result<(SendRequest<Bytes>, Place), AttemptError> {
        self.multiplexed.place().await
    }

    /// Closes what has been idle for too long, or was closed by the peer; off the path of requests.
    pub(crate) fn sweep(&self, now: Instant) {
        let mut idle = self.idle.lock();
        idle.swept = now;
        idle.connections.retain_mut(|entry| now.duration_since(entry.since) < self.idle_timeout && entry.is_usable());
        drop(idle);
        self.multiplexed.sweep(now);
    }

    /// Connections: those in use, of which HTTP/2 has all that are open, and those that wait for a request.
    pub(super) fn connections(&self) -> [usize; 2] {
        let idle = self.idle.lock();
        let unused = self.in_use.available_permits() + idle.permits.len();
        [self.max_connections.saturating_sub(unused), idle.connections.len()]
    }

    /// Whether no idle connection can be used, though there is one.
    #[cfg(test)]
    pub(super) fn is_idle_closed(&self) -> bool {
        let idle = &mut self.idle.lock().connections;
        !idle.is_empty() && !idle.iter_mut().any(Idle::is_usable)
    }
}

/// Times that a request which an aged connection did not take is given to another one before a fresh one is opened for it.
pub(super) const AGED_CONNECTIONS: usize = 3;
