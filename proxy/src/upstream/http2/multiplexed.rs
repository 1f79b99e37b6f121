//! HTTP/2 connections of one worker to one endpoint, and the places for streams on them.
//!
//! The first connection with a place is used, so that under light load the others fall idle and are closed.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use h2::client::{self, SendRequest};
use mainstay_policies::evidence::{AttemptError, Cause, Sent};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, oneshot},
    time::{Instant, timeout, timeout_at},
};

use super::frames::{Seen, Watched};
use crate::upstream::{
    connect::{self, Target},
    handshake::Spoken,
    slots::Slots,
};
use crate::wire::{
    age::spread,
    http1::HeadLimits,
    http2::{self, Heard, KeepAlive, Pulse},
    peer::{self, Peer},
    transport::Transport,
};

/// Streams of one connection: what RFC 9113 section 6.5.2 asks every server to take, and most say. Less if the server says so.
const STREAMS: usize = 100;

/// A connection that answers no ping is dead, whatever TCP believes; without this it would take every request with it.
const PULSE: Pulse = Pulse { interval: Duration::from_secs(10), timeout: Duration::from_secs(5) };

/// How long a new connection waits for the server's SETTINGS, which come first and tell how many streams it takes.
const SETTINGS_PATIENCE: Duration = Duration::from_secs(1);

/// How late it is noticed that a server takes more streams than before.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What `h2` reads of an answer's header fields, uncompressed, is so many times what an answer may have: it forgets the status
/// of a larger one, which is evidence however large the rest is.
const READ_BEYOND: usize = 16;

/// The connections, and whoever waits for a place.
pub(crate) struct Multiplexed {
    target: Arc<Target>,
    connect_timeout: Duration,
    idle_timeout: Duration,
    max_age: Duration,
    /// One per connection that is open, also one that takes no more streams.
    slots: Arc<Slots>,
    /// Bytes that `h2` reads of an answer's header fields.
    header_list_bytes: u32,
    all: Mutex<Vec<Connection>>,
    /// Only one connection is opened at a time; the others wait for it.
    connecting: tokio::sync::Mutex<()>,
}

struct Connection {
    sender: SendRequest<Bytes>,
    shared: Arc<Shared>,
    /// Since when no sweep has found it in use.
    idle_since: Option<Instant>,
    /// When it takes no more streams.
    retires: Instant,
    /// To which of a name's sets of addresses it was opened.
    generation: u32,
}

/// What a connection's task, its streams and the pool know of it.
struct Shared {
    streams: AtomicUsize,
    /// A stream has begun since the last sweep.
    used: AtomicBool,
    closed: AtomicBool,
    seen: Arc<Seen>,
    /// Whom it leads to.
    peer: Peer,
    freed: Arc<Notify>,
}

impl Shared {
    fn is_over(&self) -> bool {
        self.closed.load(Ordering::Relaxed) || self.seen.goes_away()
    }
}

/// A place for one stream on a connection.
pub(crate) struct Place {
    shared: Arc<Shared>,
}

impl Place {
    fn take(shared: &Arc<Shared>) -> Self {
        shared.streams.fetch_add(1, Ordering::Relaxed);
        shared.used.store(true, Ordering::Relaxed);
        Self { shared: shared.clone() }
    }

    /// The same place for what may outlive the answer.
    pub(super) fn share(&self) -> Self {
        Self::take(&self.shared)
    }

    /// What the connection's peer has said.
    pub(super) fn seen(&self) -> &Seen {
        &self.shared.seen
    }

    /// Whom the connection leads to.
    pub(super) fn peer(&self) -> &Peer {
        &self.shared.peer
    }

    /// The connection did not take a stream: nobody shall try it again.
    pub(super) fn close(&self) {
        self.shared.closed.store(true, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.streams.fetch_sub(1, Ordering::Relaxed);
        self.shared.freed.notify_one();
    }
}

impl Multiplexed {
    pub(crate) fn new(
        target: Arc<Target>,
        connect_timeout: Duration,
        (idle_timeout, max_age): (Duration, Duration),
        slots: Arc<Slots>,
        limits: HeadLimits,
    ) -> Self {
        Self {
            target,
            connect_timeout,
            idle_timeout,
            max_age,
            slots,
            header_list_bytes: u32::try_from(limits.bytes.saturating_mul(READ_BEYOND)).unwrap_or(u32::MAX),
            all: Mutex::new(Vec::new()),
            connecting: tokio::sync::Mutex::new(()),
        }
    }

    /// A place on a connection that takes one more stream, on a new one if none does. Waits while there may be no more.
    pub(crate) async fn place(&self) -> Result<(SendRequest<Bytes>, Place), AttemptError> {
        loop {
            let freed = self.slots.freed.notified();
            if let Some(place) = self.free_place() {
                return Ok(place);
            }
            {
                let _one_at_a_time = self.connecting.lock().await;
                if let Some(place) = self.free_place() {
                    return Ok(place);
                }
                if let Some(slot) = self.slots.try_room() {
                    return self.open(slot).await;
                }
                // One of another worker's: its frames take another thread, which is better than no connection.
                if let Some(place) = self.slots.pools().find_map(|pool| pool.free_place()) {
                    return Ok(place);
                }
            }
            // Elapsed or not, there is something to look at.
            let _ = timeout(LOOK_AGAIN, freed).await;
        }
    }

    pub(crate) fn free_place(&self) -> Option<(SendRequest<Bytes>, Place)> {
        let mut all = self.all.lock();
        all.retain(|connection| !connection.shared.is_over());
        all.iter()
            .find(|connection| {
                let most = connection.sender.current_max_send_streams().min(STREAMS);
                connection.shared.streams.load(Ordering::Relaxed) < most
            })
            .map(|connection| (connection.sender.clone(), Place::take(&connection.shared)))
    }

    /// No stream begins any more on the connections there are, which end with those that have.
    pub(crate) fn let_go(&self) {
        self.all.lock().clear();
    }

    /// Keeps others from opening a connection.
    pub(crate) async fn connecting(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.connecting.lock().await
    }

    /// Takes a connection that is there.
    pub(crate) async fn adopt(
        &self,
        stream: Transport,
        permit: OwnedSemaphorePermit,
        (generation, deadline): (u32, Instant),
    ) -> Result<(), AttemptError> {
        self.begin(stream, permit, (generation, deadline)).await.map(drop)
    }

    /// Opens a connection (in clear by prior knowledge); nothing of a request can have been sent if this fails.
    async fn open(&self, permit: OwnedSemaphorePermit) -> Result<(SendRequest<Bytes>, Place), AttemptError> {
        let (generation, deadline) = (self.target.generation(), Instant::now() + self.connect_timeout);
        // Boxed, so that a request on a warm connection does not carry the room for a handshake.
        let (stream, _) = Box::pin(connect::ready(&self.target, Some(Spoken::Http2), deadline)).await?;
        self.begin(stream, permit, (generation, deadline)).await
    }

    /// A place on a connection whose bytes are there, and which was opened to the addresses of `generation`.
    async fn begin(
        &self,
        stream: Transport,
        permit: OwnedSemaphorePermit,
        (generation, deadline): (u32, Instant),
    ) -> Result<(SendRequest<Bytes>, Place), AttemptError> {
        let peer = stream.peer("2");
        let shared = Arc::new(Shared {
            streams: AtomicUsize::new(0),
            used: AtomicBool::new(true),
            closed: AtomicBool::new(false),
            seen: Arc::default(),
            peer,
            freed: self.slots.freed.clone(),
        });
        let place = Place::take(&shared);
        let sender =
            match timeout_at(deadline, Box::pin(handshake(stream, shared.clone(), permit, self.header_list_bytes)))
                .await
            {
                Ok(shaken) => {
                    let failed = |failed| AttemptError::new(Cause::Connect, Sent::No).with_source(failed);
                    // The first thing that it says may be that it refuses our certificate.
                    shaken.map_err(|error| place.seen().refusal().unwrap_or_else(|| failed(error)))?
                }
                Err(_) => return Err(AttemptError::new(Cause::Connect, Sent::No).with_source("connect_timeout")),
            };
        let retires = Instant::now() + spread(self.max_age);
        let sender_of_it = sender.clone();
        self.all.lock().push(Connection { sender: sender_of_it, shared, idle_since: None, retires, generation });
        // Those of other workers may share it.
        self.slots.freed.notify_waiters();
        Ok((sender, place))
    }

    /// Lets go of connections that have been idle for too long; their tasks then close them.
    pub(crate) fn sweep(&self, now: Instant) {
        let generation = self.target.generation();
        self.all.lock().retain_mut(|connection| {
            // Its streams end; new ones go over another connection.
            if now >= connection.retires {
                return false;
            }
            if connection.generation != generation {
                match connection.shared.peer.place {
                    Some(peer::Place::Network(address)) if self.target.stands_for(address) => {}
                    _ => return false,
                }
                connection.generation = generation;
            }
            let shared = &connection.shared;
            if shared.used.swap(false, Ordering::Relaxed) || shared.streams.load(Ordering::Relaxed) > 0 {
                connection.idle_since = None;
            } else {
                let since = *connection.idle_since.get_or_insert(now);
                if now.duration_since(since) >= self.idle_timeout {
                    return false;
                }
            }
            !shared.is_over()
        });
    }
}

/// Why a connection cannot be used, of whose peer nothing has been asked.
#[derive(Debug, thiserror::Error)]
enum Unshaken {
    #[error("the HTTP/2 preface was not taken")]
    Preface(#[from] h2::Error),
    #[error("the peer ended the connection, or does not speak HTTP/2")]
    Ended,
}

async fn handshake(
    stream: Transport,
    shared: Arc<Shared>,
    permit: OwnedSemaphorePermit,
    header_list_bytes: u32,
) -> Result<SendRequest<Bytes>, Unshaken> {
    let heard = Heard::default();
    let io = Watched::new(stream, shared.seen.clone(), heard.clone());
    let (sender, mut frames) = client::Builder::new()
        .enable_push(false)
        .initial_max_send_streams(STREAMS)
        .max_header_list_size(header_list_bytes)
        .initial_window_size(http2::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(http2::CONNECTION_WINDOW_BYTES)
        .max_send_buffer_size(http2::SEND_BUFFER_BYTES)
        .max_concurrent_reset_streams(http2::REMEMBERED_RESET_STREAMS)
        .max_local_error_reset_streams(Some(http2::RESET_BY_ERROR_STREAMS))
        .handshake(io)
        .await?;
    let pings = frames.ping_pong().expect("a new connection's pings are taken once");
    let keep_alive = KeepAlive::new(pings, heard, PULSE);
    let (settled, has_settings) = oneshot::channel();
    // Ends when its senders are dropped and its streams are done, when the peer closes, or when it answers no ping.
    tokio::spawn(drive(frames, keep_alive, shared, (settled, permit)));
    match timeout(SETTINGS_PATIENCE, has_settings).await {
        Ok(Err(_)) => Err(Unshaken::Ended),
        // Some say nothing until they are asked.
        Ok(Ok(())) | Err(_) => Ok(sender),
    }
}

/// Reads and writes a connection's frames to its end.
async fn drive(
    mut frames: client::Connection<Watched, Bytes>,
    mut keep_alive: KeepAlive,
    shared: Arc<Shared>,
    (settled, permit): (oneshot::Sender<()>, OwnedSemaphorePermit),
) {
    let mut settled = Some(settled);
    let ended = poll_fn(|cx| {
        // An idle connection is closed soon anyway, and some servers take a ping without a stream for an attack.
        if keep_alive.poll(cx, shared.streams.load(Ordering::Relaxed) > 0).is_ready() {
            return Poll::Ready(Err(None));
        }
        let polled = std::pin::Pin::new(&mut frames).poll(cx);
        if shared.seen.has_settings()
            && let Some(settled) = settled.take()
        {
            // Whoever opened the connection may have left.
            let _ = settled.send(());
        }
        polled.map_err(Some)
    })
    .await;
    match ended {
        Ok(()) => {}
        Err(Some(error)) => tracing::debug!(%error, "upstream connection ended"),
        Err(None) => tracing::debug!("upstream connection ended: no answer to a ping"),
    }
    shared.closed.store(true, Ordering::Relaxed);
    drop((frames, permit));
    // One of those who wait may open another.
    shared.freed.notify_one();
}
