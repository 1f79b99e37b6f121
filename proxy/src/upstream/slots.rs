//! How many connections an endpoint may have, whichever worker opens them.
//!
//! A slot belongs to a connection from its opening to its end, also while it waits for its next request. A worker that finds
//! none free takes over an idle connection of another worker; where there is none of those either it waits its turn, and whoever
//! has a connection to give back meanwhile gives it to whoever has waited longest.

use std::sync::{
    Arc, OnceLock, Weak,
    atomic::{AtomicUsize, Ordering},
};

use mainstay_policies::evidence::{AttemptError, Cause, Sent};
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::pool::{Idle, Pool};

/// The slots of one endpoint.
pub(crate) struct Slots {
    /// One permit per connection that may be opened beside those there are.
    free: Arc<Semaphore>,
    most: usize,
    /// Requests that wait for a slot.
    waiting: AtomicUsize,
    /// Connections without a slot, each on its way to somebody who is given one.
    handed: Mutex<Vec<Idle>>,
    /// Of every worker.
    pools: OnceLock<Vec<Weak<Pool>>>,
    /// A stream or a connection of HTTP/2 has ended, at any worker.
    pub(super) freed: Arc<Notify>,
    /// Only one connection at a time, of all workers, finds out which HTTP the endpoint speaks: the one slot there may be cannot
    /// be waited for by those who would share what it is given to.
    pub(super) choosing: tokio::sync::Mutex<()>,
}

/// What a request was given.
pub(super) enum Turn {
    /// A connection may be opened.
    Slot(OwnedSemaphorePermit),
    /// One that is there already.
    Connection(Idle, OwnedSemaphorePermit),
}

/// Counts a request that waits for a slot.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Slots {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        let most = most.min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            free: Arc::new(Semaphore::new(most)),
            most,
            waiting: AtomicUsize::new(0),
            handed: Mutex::default(),
            pools: OnceLock::new(),
            freed: Arc::default(),
            choosing: tokio::sync::Mutex::new(()),
        })
    }

    /// Whose connections they are; said once, when all pools have been made.
    pub(super) fn belong_to(&self, pools: &[Arc<Pool>]) {
        let _ = self.pools.set(pools.iter().map(Arc::downgrade).collect());
    }

    /// The pools of all workers.
    pub(super) fn pools(&self) -> impl Iterator<Item = Arc<Pool>> + '_ {
        self.pools.get().into_iter().flatten().filter_map(Weak::upgrade)
    }

    /// Connections at most.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Connections that may still be opened.
    pub(super) fn left(&self) -> usize {
        self.free.available_permits()
    }

    /// Whether somebody waits for a slot. Told by whoever holds the lock of a pool's idle list, which those who begin to wait take,
    /// too: no connection is laid aside unseen.
    pub(super) fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Gives a connection to who has waited longest.
    pub(super) fn hand_on(&self, connection: Idle, slot: OwnedSemaphorePermit) {
        self.handed.lock().push(connection);
        drop(slot);
    }

    /// A slot that is free now, or that of an idle connection, which is closed for it.
    pub(super) fn try_room(&self) -> Option<OwnedSemaphorePermit> {
        let (Turn::Slot(slot) | Turn::Connection(_, slot)) = self.try_turn()?;
        Some(slot)
    }

    fn try_slot(&self) -> Option<OwnedSemaphorePermit> {
        self.free.clone().try_acquire_owned().ok()
    }

    /// A slot, or a connection with one, as soon as there is any.
    pub(super) async fn turn(&self) -> Result<Turn, AttemptError> {
        if let Some(turn) = self.try_turn() {
            return Ok(turn);
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        // What was given back a moment ago was laid aside; what is given back from now on is handed on.
        if let Some(turn) = self.try_turn() {
            return Ok(turn);
        }
        let slot = self.free.clone().acquire_owned().await;
        let slot = slot.map_err(|error| AttemptError::new(Cause::Connect, Sent::No).with_source(error))?;
        Ok(self.with_handed(slot))
    }

    fn try_turn(&self) -> Option<Turn> {
        if let Some(slot) = self.try_slot() {
            return Some(self.with_handed(slot));
        }
        let idle = self.pools().find_map(|pool| pool.take_oldest())?;
        Some(Turn::Connection(idle.0, idle.1))
    }

    /// Whoever has a slot takes a connection that waits for one: there are never more than slots for them.
    fn with_handed(&self, slot: OwnedSemaphorePermit) -> Turn {
        match self.handed.lock().pop() {
            Some(connection) => Turn::Connection(connection, slot),
            None => Turn::Slot(slot),
        }
    }

    /// Closes connections that nobody came for.
    pub(super) fn sweep(&self, is_of_use: impl FnMut(&mut Idle) -> bool) {
        self.handed.lock().retain_mut(is_of_use);
    }
}
