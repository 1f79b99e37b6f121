//! How many connections may be open, and who holds a place.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use crate::wire::direction::Direction;

/// Counts client connections of all workers against `limits.connections`.
pub(crate) struct Places {
    pub(crate) open: AtomicUsize,
    /// Those of them that the service calls out by.
    outbound: AtomicUsize,
    freed: Notify,
}

/// One connection's place; free again when dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    direction: Direction,
}

impl Places {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { open: AtomicUsize::new(0), outbound: AtomicUsize::new(0), freed: Notify::new() })
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Those by which callers reach the service.
    pub(crate) fn open_inbound(&self) -> usize {
        self.open().saturating_sub(self.outbound.load(Ordering::Relaxed))
    }

    /// Waits until fewer than `limit` connections are open. While it waits nothing is accepted, so the kernel's queue
    /// fills and new clients wait instead of being cut off.
    pub(crate) async fn take(self: &Arc<Self>, limit: usize, direction: Direction) -> Place {
        loop {
            let freed = self.freed.notified();
            if self.open.fetch_add(1, Ordering::AcqRel) < limit {
                if direction == Direction::Outbound {
                    self.outbound.fetch_add(1, Ordering::AcqRel);
                }
                return Place { places: self.clone(), direction };
            }
            self.open.fetch_sub(1, Ordering::AcqRel);
            // The timeout covers a limit raised by a reload.
            let _ = tokio::time::timeout(Duration::from_secs(1), freed).await;
        }
    }
}

impl Place {
    pub(super) const fn direction(&self) -> Direction {
        self.direction
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.direction == Direction::Outbound {
            self.places.outbound.fetch_sub(1, Ordering::AcqRel);
        }
        self.places.open.fetch_sub(1, Ordering::AcqRel);
        self.places.freed.notify_one();
    }
}
