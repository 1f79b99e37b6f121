//! Connections of one worker to one endpoint.
//!
//! The last connection used is the first used again, so that under light load the others grow old and are closed. A
//! connection never changes its worker: no hop between threads on the path of a request.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use h2::client::SendRequest;
use http::uri::Authority;
use mainstay_policies::evidence::{AttemptError, Cause, Sent};
use parking_lot::Mutex;
use tokio::{
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::{
    connect::{self, Target},
    multiplexed::{Multiplexed, Place},
};

/// Connections of one worker to one endpoint.
pub(crate) struct Pool {
    target: Arc<Target>,
    connect_timeout: Duration,
    idle_timeout: Duration,
    /// One permit per HTTP/1 connection in use, or HTTP/2 connection that is open.
    in_use: Arc<Semaphore>,
    idle: Mutex<IdleList>,
    multiplexed: Multiplexed,
}

/// The connections between two requests, and the time of the last sweep, by which they are as old as they need to be known: no
/// request reads the clock for them.
struct IdleList {
    connections: Vec<Idle>,
    swept: Instant,
}

/// A connection between two requests. Nothing watches it meanwhile: what happened to it is seen when it is taken.
struct Idle {
    stream: TcpStream,
    /// The last sweep before.
    since: Instant,
}

impl Idle {
    /// Whether it can carry another request: open, and silent. Anything that came unasked would be taken for the next answer.
    /// Costs a system call only if something has come.
    fn is_usable(&self) -> bool {
        let mut byte = [0];
        matches!(self.stream.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// An HTTP/1 connection in the hands of one request.
pub(crate) struct Lease {
    stream: TcpStream,
    reused: bool,
    pool: Arc<Pool>,
    permit: OwnedSemaphorePermit,
}

impl Lease {
    pub(super) fn stream(&mut self) -> &mut TcpStream {
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
        idle.connections.push(Idle { stream: self.stream, since });
    }

    /// The two directions apart; they are never joined again.
    pub(super) fn split(self) -> (OwnedReadHalf, OwnedWriteHalf, OwnedSemaphorePermit) {
        let (reader, writer) = self.stream.into_split();
        (reader, writer, self.permit)
    }
}

impl Pool {
    pub(crate) fn new(
        target: Arc<Target>,
        connect_timeout: Duration,
        idle_timeout: Duration,
        max_connections: usize,
    ) -> Self {
        let in_use = Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS)));
        let multiplexed = Multiplexed::new(target.clone(), connect_timeout, idle_timeout, in_use.clone());
        let idle = Mutex::new(IdleList { connections: Vec::new(), swept: Instant::now() });
        Self { target, connect_timeout, idle_timeout, in_use, idle, multiplexed }
    }

    /// The endpoint's address.
    pub(super) fn authority(&self) -> &Authority {
        &self.target.authority
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
        if !fresh && let Some(stream) = self.take_idle() {
            return Ok(Lease { stream, reused: true, pool: self.clone(), permit });
        }
        // Boxed, so that a request on a warm connection does not carry the room for a handshake.
        let stream = Box::pin(connect::tcp(&self.target, Instant::now() + self.connect_timeout)).await?;
        Ok(Lease { stream, reused: false, pool: self.clone(), permit })
    }

    /// The youngest idle connection that can be used. Those found otherwise are closed.
    fn take_idle(&self) -> Option<TcpStream> {
        let mut idle = self.idle.lock();
        while let Some(entry) = idle.connections.pop() {
            if idle.swept.duration_since(entry.since) < self.idle_timeout && entry.is_usable() {
                return Some(entry.stream);
            }
        }
        None
    }

    /// A place for a stream on an HTTP/2 connection. Waits while all are full and `max_connections` are open.
    pub(crate) async fn place(&self) -> Result<(SendRequest<Bytes>, Place), AttemptError> {
        self.multiplexed.place().await
    }

    /// Closes what has been idle for too long, or was closed by the peer; off the path of requests.
    pub(crate) fn sweep(&self, now: Instant) {
        let mut idle = self.idle.lock();
        idle.swept = now;
        idle.connections.retain(|entry| now.duration_since(entry.since) < self.idle_timeout && entry.is_usable());
        drop(idle);
        self.multiplexed.sweep(now);
    }

    /// Whether no idle connection can be used, though there is one.
    #[cfg(test)]
    pub(super) fn is_idle_closed(&self) -> bool {
        let idle = &self.idle.lock().connections;
        !idle.is_empty() && !idle.iter().any(Idle::is_usable)
    }
}
