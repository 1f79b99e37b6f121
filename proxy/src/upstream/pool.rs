//! Connections of one worker to one endpoint.
//!
//! The last connection used is the first used again, so that under light load the others grow old and are closed. A
//! connection never changes its worker: no hop between threads on the path of a request.

use std::{sync::Arc, time::Duration};

use hyper::client::conn::{http1, http2};
use mainstay_policies::evidence::{AttemptError, Cause, Sent};
use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::{
    connect::{self, Target},
    io::Written,
};
use crate::body::ProxyBody;

/// Streams opened on one HTTP/2 connection before another is opened; the usual server limit.
const HTTP2_STREAMS: usize = 100;

/// Connections of one worker to one endpoint.
pub(crate) struct Pool {
    target: Arc<Target>,
    connect_timeout: Duration,
    idle_timeout: Duration,
    /// One permit per HTTP/1 connection in use.
    in_use: Arc<Semaphore>,
    idle: Mutex<Vec<Idle>>,
    multiplexed: Mutex<Vec<Multiplexed>>,
    /// Only one HTTP/2 connection is opened at a time; the others wait for it.
    connecting: tokio::sync::Mutex<()>,
}

struct Idle {
    sender: http1::SendRequest<ProxyBody>,
    written: Written,
    since: Instant,
}

#[derive(Clone)]
struct Multiplexed {
    sender: http2::SendRequest<ProxyBody>,
    /// One strong count per stream in flight, and one for the pool's own.
    streams: Arc<()>,
}

/// An HTTP/1 connection in the hands of one request.
pub(crate) struct Lease {
    pub(crate) sender: http1::SendRequest<ProxyBody>,
    pub(crate) written: Written,
    /// It has served a request before, so the peer may be closing it at this moment.
    pub(crate) reused: bool,
    pool: Arc<Pool>,
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    /// Gives the connection back, once its response has ended cleanly.
    pub(crate) fn give_back(self, now: Instant) {
        if !self.sender.is_closed() {
            self.pool.idle.lock().push(Idle { sender: self.sender, written: self.written, since: now });
        }
    }
}

/// A place on an HTTP/2 connection.
pub(crate) struct StreamLease {
    pub(crate) sender: http2::SendRequest<ProxyBody>,
    _stream: Arc<()>,
}

impl Pool {
    pub(crate) fn new(
        target: Arc<Target>,
        connect_timeout: Duration,
        idle_timeout: Duration,
        max_connections: usize,
    ) -> Self {
        Self {
            target,
            connect_timeout,
            idle_timeout,
            in_use: Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS))),
            idle: Mutex::new(Vec::new()),
            multiplexed: Mutex::new(Vec::new()),
            connecting: tokio::sync::Mutex::new(()),
        }
    }

    /// An HTTP/1 connection: the one used last if one is idle, else a new one. Waits while `max_connections` are in use.
    pub(crate) async fn lease(self: &Arc<Self>, fresh: bool) -> Result<Lease, AttemptError> {
        let permit = match self.in_use.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => self
                .in_use
                .clone()
                .acquire_owned()
                .await
                .map_err(|error| AttemptError::new(Cause::Connect, Sent::No).with_source(error))?,
        };
        let now = Instant::now();
        if !fresh && let Some(idle) = self.take_idle(now) {
            return Ok(Lease {
                sender: idle.sender,
                written: idle.written,
                reused: true,
                pool: self.clone(),
                _permit: permit,
            });
        }
        // Boxed, so that a request on a warm connection does not carry the room for a handshake.
        let (sender, written) = Box::pin(connect::http1(&self.target, now + self.connect_timeout)).await?;
        Ok(Lease { sender, written, reused: false, pool: self.clone(), _permit: permit })
    }

    /// The youngest idle connection that is ready. One that is still finishing its last exchange stays for later.
    fn take_idle(&self, now: Instant) -> Option<Idle> {
        let mut idle = self.idle.lock();
        let mut at = idle.len();
        while at > 0 {
            at -= 1;
            let entry = &idle[at];
            if entry.sender.is_closed() || now.duration_since(entry.since) >= self.idle_timeout {
                idle.remove(at);
            } else if entry.sender.is_ready() {
                return Some(idle.remove(at));
            }
        }
        None
    }

    /// A place on an HTTP/2 connection, opening another one when all are full.
    pub(crate) async fn stream(&self) -> Result<StreamLease, AttemptError> {
        if let Some(lease) = self.free_stream() {
            return Ok(lease);
        }
        let _one_at_a_time = self.connecting.lock().await;
        if let Some(lease) = self.free_stream() {
            return Ok(lease);
        }
        let sender = connect::http2(&self.target, Instant::now() + self.connect_timeout).await?;
        let entry = Multiplexed { sender, streams: Arc::new(()) };
        let lease = StreamLease { sender: entry.sender.clone(), _stream: entry.streams.clone() };
        self.multiplexed.lock().push(entry);
        Ok(lease)
    }

    fn free_stream(&self) -> Option<StreamLease> {
        let mut all = self.multiplexed.lock();
        all.retain(|connection| !connection.sender.is_closed());
        all.iter()
            .find(|connection| Arc::strong_count(&connection.streams) <= HTTP2_STREAMS)
            .map(|connection| StreamLease { sender: connection.sender.clone(), _stream: connection.streams.clone() })
    }

    /// Closes what has been idle for too long; off the path of requests.
    pub(crate) fn sweep(&self, now: Instant) {
        self.idle
            .lock()
            .retain(|entry| !entry.sender.is_closed() && now.duration_since(entry.since) < self.idle_timeout);
        self.multiplexed.lock().retain(|connection| !connection.sender.is_closed());
    }
}
