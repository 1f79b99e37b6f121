//! How many connections may be open, and who holds a place.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

/// Counts client connections of all workers against `limits.connections`.
pub(crate) struct Places {
    pub(crate) open: AtomicUsize,
    freed: Notify,
}

/// One connection's place; free again when dropped.
pub(crate) struct Place(Arc<Places>);

impl Places {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { open: AtomicUsize::new(0), freed: Notify::new() })
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Waits until fewer than `limit` connections are open. While it waits nothing is accepted, so the kernel's queue
    /// fills and new clients wait instead of being cut off.
    pub(crate) async fn take(self: &Arc<Self>, limit: usize) -> Place {
        loop {
            let freed = self.freed.notified();
            if self.open.fetch_add(1, Ordering::AcqRel) < limit {
                return Place(self.clone());
            }
            self.open.fetch_sub(1, Ordering::AcqRel);
            // The timeout covers a limit raised by a reload.
            let _ = tokio::time::timeout(Duration::from_secs(1), freed).await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
        self.0.freed.notify_one();
    }
}
